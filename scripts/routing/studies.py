"""What training again and again tells (folds, subjects held out, fewer rows), and splitting again and again."""

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from octoroute_py.neural.artifact import Artifact, Kind
from octoroute_py.neural.calibrate import fit_calibration, floored, losses_of
from octoroute_py.neural.calibration import Calibration
from octoroute_py.neural.conformal import fit_curve, lost
from octoroute_py.training.dataset import Row
from octoroute_py.training.evaluate import Evidence, evaluate
from octoroute_py.training.evidence import calibration_of, evidence_of
from octoroute_py.training.metrics import recovery
from octoroute_py.training.plots import Learned
from octoroute_py.training.report import NO_BETTER, Group, Report
from octoroute_py.training.trainer import Options, train

FOLDS = 5
RESPLITS = 300
RANDOM_RUNS = 100
Floats = NDArray[np.float64]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Sets:
    """The three parts of the labelled data."""

    train: list[Row]
    calibration: list[Row]
    test: list[Row]


def learn(rows: Sequence[Row], calibration: Sequence[Row], *, kind: Kind = Kind.FASTGRNN) -> Artifact:
    """A calibrated artifact, as `octoroute train` makes it."""
    artifact = train(rows, calibration, options=Options(kind=kind)).artifact
    return replace(artifact, calibration=calibration_of(calibration, artifact))


def calibrated(artifact: Artifact) -> Calibration:
    """Its calibration, which every artifact here has."""
    if artifact.calibration is None:
        raise ValueError("the artifact is not calibrated")
    return artifact.calibration


def measured(rows: Sequence[Row], artifact: Artifact, *, linear: Artifact | None = None, name: str = "") -> Report:
    """The report of an artifact on some rows."""
    return evaluate(evidence_of(rows, artifact, linear=linear), calibrated(artifact), artifact=name, data=name)


def folds(sets: Sets, *, say: Say) -> list[Report]:
    """Of every fold of the training rows, the report of an artifact that learned from the others."""
    reports = []
    for fold in range(FOLDS):
        say(f"fold {fold + 1} of {FOLDS}")
        held = [row for row in sets.train if _fold(row.group) == fold]
        rest = [row for row in sets.train if _fold(row.group) != fold]
        linear = learn(rest, sets.calibration, kind=Kind.LINEAR)
        reports.append(measured(held, learn(rest, sets.calibration), linear=linear, name=f"fold {fold + 1}"))
    return reports


def subjects(sets: Sets, *, sources: Sequence[str], say: Say) -> dict[str, list[Group]]:
    """Of every fifth of a source's subjects, its figures by an artifact that saw none of their rows."""
    known = {source: sorted({row.subject for row in sets.train if row.source == source}) for source in sources}
    for names in known.values():
        random.Random(1).shuffle(names)
    found: dict[str, list[Group]] = {source: [] for source in sources}
    for fold in range(FOLDS):
        say(f"subjects {fold + 1} of {FOLDS}")
        away = {(source, name) for source, names in known.items() for name in names[fold::FOLDS]}
        artifact = learn(
            [row for row in sets.train if (row.source, row.subject) not in away],
            [row for row in sets.calibration if (row.source, row.subject) not in away],
        )
        held = [row for row in sets.train if (row.source, row.subject) in away]
        for group in measured(held, artifact).sources:
            found[group.name].append(group)
    return found


def learning_curve(sets: Sets, *, sizes: Sequence[int], say: Say) -> dict[str, list[Learned]]:
    """APGR on the test rows after learning from so many of the training rows, by kind of labels."""
    rows = sorted(sets.train, key=lambda row: zlib.crc32(row.group.encode()))
    found: dict[str, list[Learned]] = {}
    for size in sizes:
        say(f"learning from {size:,} rows")
        for group in measured(sets.test, learn(rows[:size], sets.calibration)).groups:
            found.setdefault(group.name, []).append(Learned(rows=min(size, len(rows)), apgr=group.apgr))
    return found


def resplits(sets: Sets, artifact: Artifact, *, alphas: Sequence[float]) -> dict[float, Floats]:
    """The realised loss on one half of the rows of a dial fitted on the other, over many splits."""
    rows = [*sets.calibration, *sets.test]
    evidence, calibration = evidence_of(rows, artifact), calibrated(artifact)
    risks = floored(evidence.raw[:, 3:5], calibration.probabilities(evidence.raw), calibration.sets)
    losses = losses_of(evidence.outcomes)
    rng = np.random.default_rng(0)
    found: dict[float, list[float]] = {alpha: [] for alpha in alphas}
    for _ in range(RESPLITS):
        order = rng.permutation(len(rows))
        fitted, new = order[: len(rows) // 2], order[len(rows) // 2 :]
        curve = fit_curve(risks[fitted], losses[fitted])
        for alpha in alphas:
            found[alpha].append(float(lost(risks[new], losses[new], curve.threshold(alpha)).mean()))
    return {alpha: np.array(values) for alpha, values in found.items()}


def random_scorers(sets: Sets, artifact: Artifact) -> int:
    """In how many of RANDOM_RUNS runs a scorer whose numbers are shuffled among the rows is called no better."""
    fitted, tested = evidence_of(sets.calibration, artifact), evidence_of(sets.test, artifact)
    said = 0
    for run in range(RANDOM_RUNS):
        rng = np.random.default_rng(run)
        calibration = fit_calibration(_shuffled(fitted, rng).raw, fitted.outcomes)
        report = evaluate(_shuffled(tested, rng), calibration, artifact="random", data="shuffled", seed=run, draws=400)
        said += report.verdict == NO_BETTER
    return said


def apgr_of(groups: Sequence[Group]) -> tuple[list[float], list[float]]:
    """APGR by the gain score and by 1 - p of some groups."""
    return [group.apgr.value for group in groups], [group.apgr_failure for group in groups]


def subject_name_alone(sets: Sets) -> dict[str, float]:
    """APGR on the test rows of ranking by the mean gap of the row's subject in training: what its name alone tells."""
    gaps: dict[tuple[str, str], list[float]] = {}
    for row in sets.train:
        if row.labels.fast is not None and row.labels.deep is not None:
            gaps.setdefault((row.source, row.subject), []).append(row.labels.deep - row.labels.fast)
    found = {}
    for name, kind in (("3 tiers labelled", "ladder"), ("2 tiers labelled", "pair")):
        rows = [(row, getattr(row, kind)) for row in sets.test if getattr(row, kind) is not None]
        need = np.array([float(np.mean(gaps.get((row.source, row.subject), [0.0]))) for row, _ in rows])
        small, large = (np.array([getattr(labels, tier) for _, labels in rows]) for tier in ("fast", "deep"))
        found[name] = recovery(need, small, large).apgr()
    return found


def _fold(group: str) -> int:
    return zlib.crc32(f"fold {group}".encode()) % FOLDS


def _shuffled(evidence: Evidence, rng: np.random.Generator) -> Evidence:
    return replace(evidence, raw=evidence.raw[rng.permutation(len(evidence))])
