"""Drawn outcomes as the evaluation takes them."""

import numpy as np

from octoroute_py.neural.calibrate import fit_calibration
from octoroute_py.neural.calibration import Calibration
from octoroute_py.training.evaluate import Evidence
from tests.fakes.outcomes import Floats, drawn


def calibrated(*, rows: int = 3_000, seed: int = 4) -> Calibration:
    """A calibration of the scorer that knows something."""
    return fit_calibration(*drawn(np.random.default_rng(seed), rows=rows))


def evidence_of(raw: Floats, outcomes: Floats) -> Evidence:
    """Rows of two sources, the first third from one; the linear baseline knows half of what the scorer does."""
    rows = len(raw)
    noise = np.random.default_rng(rows).normal(size=rows)
    return Evidence(
        raw=raw,
        outcomes=outcomes,
        pair=np.full((rows, 3), np.nan),
        lengths=np.arange(rows, dtype=np.float64),
        sources=["maths" if n < rows // 3 else "chat" for n in range(rows)],
        tags=[None] * rows,
        linear=raw[:, 3] + 0.15 * noise,
    )


def knowing_nothing(rng: np.random.Generator, *, rows: int) -> tuple[Floats, Floats]:
    """Outcomes as usual, and a scorer whose numbers have nothing to do with them."""
    raw, outcomes = drawn(rng, rows=rows)
    return raw[rng.permutation(rows)], outcomes
