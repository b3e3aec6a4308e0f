"""Labelled rows as an artifact sees them: what calibration and evaluation are made of."""

from collections.abc import Sequence

import numpy as np

from octoroute_py.neural.artifact import Artifact
from octoroute_py.neural.calibrate import fit_calibration
from octoroute_py.neural.calibration import Calibration
from octoroute_py.training.dataset import Row
from octoroute_py.training.evaluate import Evidence
from octoroute_py.training.metrics import Floats
from octoroute_py.training.raw import raw_scores
from octoroute_py.training.targets import table_of


def evidence_of(rows: Sequence[Row], artifact: Artifact, *, linear: Artifact | None = None) -> Evidence:
    """The rows with the artifact's raw numbers, and the gain score of the linear baseline when it is given."""
    return Evidence(
        raw=raw_scores(artifact, [row.prompt for row in rows]),
        outcomes=outcomes_of(rows),
        pair=table_of([row.pair for row in rows]),
        lengths=np.array([len(row.prompt.text) for row in rows], dtype=np.float64),
        sources=[row.source for row in rows],
        tags=[row.prompt.tag for row in rows],
        linear=None if linear is None else raw_scores(linear, [row.prompt for row in rows])[:, 3],
    )


def calibration_of(rows: Sequence[Row], artifact: Artifact) -> Calibration:
    """Calibrates the artifact on rows it did not learn from; raises ValueError when their labels do not suffice."""
    return fit_calibration(
        raw_scores(artifact, [row.prompt for row in rows]),
        outcomes_of(rows),
        tags=[row.prompt.tag for row in rows],
        known_tags=frozenset(artifact.card.tags),
    )


def outcomes_of(rows: Sequence[Row]) -> Floats:
    """How the tiers did (N, 3), NaN where not known: the ladder of a row where it has one, else its pair."""
    return table_of([row.ladder or row.pair for row in rows])
