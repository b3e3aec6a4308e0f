"""What a network is asked to learn of labelled prompts, and how far its outputs are from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from octoroute_py.training.dataset import Labels, Row

F32 = NDArray[np.float32]
Floats = NDArray[np.floating]

TIERS: Final = 3
"""The first three outputs are logits; the two after them are gains."""
GAIN_WEIGHT: Final = 5.0
"""A squared error of a gain is small beside the entropy of an outcome, and would hardly be learned."""


@dataclass(frozen=True, slots=True)
class Targets:
    """`values` (N, 5): the outcome of each tier, then what deep adds to fast and to balanced; `known` (N, 5) 0 or 1.

    With a teacher, `taught` (N, 5) are its raw outputs; NaN where it says nothing.
    """

    values: F32
    known: F32
    taught: F32 | None = None


class Distillation(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the loss is agreement with a teacher, `share` in [0, 1], and at which temperature."""

    share: float = 0.5
    temperature: float = 2.0


def outcomes_of(rows: Sequence[Row]) -> NDArray[np.float64]:
    """The outcomes (N, 3) of fast, balanced and deep; NaN where not known."""
    return table_of([row.labels for row in rows])


def table_of(labels: Sequence[Labels | None]) -> NDArray[np.float64]:
    """Labels as numbers (N, 3), NaN where not known."""
    lines = [msgspec.structs.astuple(each or Labels()) for each in labels]
    return np.array(lines, dtype=np.float64).reshape(-1, TIERS)


def targets_of(rows: Sequence[Row], *, taught: F32 | None = None) -> Targets:
    """The targets of labelled rows."""
    outcomes = outcomes_of(rows)
    gains = outcomes[:, 2:] - outcomes[:, :2]
    values = np.concatenate((outcomes, gains), axis=1)
    known = ~np.isnan(values)
    return Targets(np.where(known, values, 0.0).astype(np.float32), known.astype(np.float32), taught)


def priors(targets: Targets) -> F32:
    """The outputs (5,) that fit best without looking at the prompt."""
    counts = np.maximum(targets.known.sum(axis=0), 1.0)
    means = targets.values.sum(axis=0, dtype=np.float64) / counts
    rates = np.clip(means[:TIERS], 0.01, 0.99)
    return np.concatenate((np.log(rates / (1.0 - rates)), means[TIERS:])).astype(np.float32)


def loss_and_slope(
    outputs: Floats, targets: Targets, rows: NDArray[np.int64], *, distillation: Distillation
) -> tuple[float, F32]:
    """The mean loss a row, and its derivative by the outputs (B, 5).

    Binary cross-entropy for the tiers with a known outcome, weighted squared error for the gains. With a teacher the
    share `distillation.share` of it is agreement with the teacher's logits at the temperature T, times T².
    """
    values, known = targets.values[rows], targets.known[rows]
    loss, slope = _apart(outputs, values, known, temperature=1.0)
    if targets.taught is not None:
        share, temperature = distillation.share, distillation.temperature
        said = ~np.isnan(targets.taught[rows])
        taught = np.where(said, targets.taught[rows], np.float32(0.0))
        soft = np.concatenate((_sigmoid(taught[:, :TIERS] / temperature), taught[:, TIERS:]), axis=1)
        soft_loss, soft_slope = _apart(outputs, soft, said.astype(np.float32), temperature=temperature)
        loss = (1.0 - share) * loss + share * soft_loss
        slope = (1.0 - share) * slope + share * soft_slope
    return loss, np.asarray(slope, dtype=np.float32)


def _apart(outputs: Floats, values: Floats, known: Floats, *, temperature: float) -> tuple[float, F32]:
    logits, gains = outputs[:, :TIERS] / temperature, outputs[:, TIERS:]
    wanted, told = values[:, :TIERS], known[:, :TIERS]
    entropy = (np.logaddexp(0.0, logits) - wanted * logits) * told * temperature**2
    missed = (gains - values[:, TIERS:]) * known[:, TIERS:]
    slope = np.concatenate(((_sigmoid(logits) - wanted) * told * temperature, 2.0 * GAIN_WEIGHT * missed), axis=1)
    rows = max(1, len(outputs))
    return float(entropy.sum() + GAIN_WEIGHT * (missed**2).sum()) / rows, (slope / rows).astype(np.float32)


def _sigmoid(x: Floats) -> F32:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x), dtype=np.float32)
