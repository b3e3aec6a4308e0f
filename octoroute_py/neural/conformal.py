"""Promises that hold for any model of the data: conformal risk control, prediction sets, a guard against the unknown.

All three rest on one thing only: that the rows they were fitted on are of the same kind as the requests to come. What
they promise is an average over all such requests, never a bound for a single one.
Sources: Angelopoulos et al., Conformal Risk Control (arXiv 2208.02814); Vovk et al., Algorithmic Learning in a Random
World (split-conformal sets and p-values).
"""

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from octoroute_py.core.words import TIERS, Tier

Floats = NDArray[np.float64]

NEVER: Final = -1e9
"""A threshold below every risk: only deep is allowed."""
ALWAYS: Final = 1e9
"""A threshold above every risk."""
MOST_KNOTS: Final = 512
"""How many steps a curve is kept in: enough for a thousandth of tolerated loss, and small beside the weights."""
COVERAGE: Final = 0.9
FALSE_ALARMS: Final = 0.02
"""The share of familiar prompts that the guard may turn away."""


@dataclass(frozen=True, slots=True)
class RiskCurve:
    """For any tolerated average loss, the largest threshold on the risk that keeps it.

    `levels` are the values of (losses + 1) / (rows + 1) that occur, rising; `thresholds[i]` is the largest threshold at
    which the bound is no more than `levels[i]`. `rows` is how many outcomes it was fitted on.
    """

    levels: tuple[float, ...]
    thresholds: tuple[float, ...]
    rows: int

    def threshold(self, alpha: float) -> float:
        """The largest threshold whose bound on the average loss stays within `alpha`; O(log n)."""
        place = bisect_right(self.levels, alpha)
        return self.thresholds[place - 1] if place else NEVER

    def alpha_for(self, risk: float) -> float | None:
        """The smallest tolerated loss at which a tier of this risk is taken; None when there is none."""
        place = bisect_left(self.thresholds, risk)
        return self.levels[place] if place < len(self.levels) else None


def fit_curve(risks: Floats, losses: Floats) -> RiskCurve:
    """The curve of a set of outcomes.

    `risks` (N, 2) are those of fast and balanced, inf where the tier is not allowed; `losses` (N, 2) are 1 where that
    tier failed and deep would have succeeded. A row is sent to fast where its risk is within the threshold, else to
    balanced, else to deep, which loses nothing. The loss need not grow with the threshold in every row, so the running
    maximum of the sum is what is held against the bound.
    """
    at, steps = _loss_steps(risks, losses)
    order = np.argsort(at, kind="stable")
    at, total = at[order], np.cumsum(steps[order])
    last_of_tie = np.append(at[1:] != at[:-1], True) if len(at) else np.zeros(0, bool)
    at, worst = at[last_of_tie], np.maximum.accumulate(total[last_of_tie])
    rises = np.flatnonzero(np.diff(worst, prepend=0.0) > 0)
    # Up to just below the risk at which the next loss comes, the count is what it was before.
    reached = np.concatenate([[0.0], worst[rises]])
    below = np.nextafter(at[rises].astype(np.float32), np.float32(-np.inf)).astype(np.float64)
    thresholds = np.append(below, ALWAYS)
    kept = _thinned(len(reached))
    levels = (reached[kept] + 1.0) / (len(risks) + 1.0)
    return RiskCurve(tuple(levels.tolist()), tuple(thresholds[kept].tolist()), len(risks))


def lost(risks: Floats, losses: Floats, threshold: float) -> Floats:
    """What each row (N,) loses when it is sent by this threshold; arguments as in `fit_curve`."""
    balanced = np.where(risks[:, 1] <= threshold, losses[:, 1], 0.0)
    return np.asarray(np.where(risks[:, 0] <= threshold, losses[:, 0], balanced))


def _loss_steps(risks: Floats, losses: Floats) -> tuple[Floats, Floats]:
    """At which threshold each row's loss changes, and by how much."""
    fast, balanced = risks[:, 0], risks[:, 1]
    passes_balanced = balanced < fast
    first = np.where(passes_balanced, losses[:, 0] - losses[:, 1], losses[:, 0])
    second = np.where(passes_balanced, losses[:, 1], 0.0)
    at, steps = np.concatenate([fast, balanced]), np.concatenate([first, second])
    told = np.isfinite(at) & (steps != 0)
    return at[told], steps[told]


def _thinned(count: int) -> NDArray[np.intp]:
    """Which of `count` rising knots are kept; leaving some out makes the curve stricter, never laxer."""
    if count <= MOST_KNOTS:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, MOST_KNOTS).astype(np.intp))


@dataclass(frozen=True, slots=True)
class LabelSets:
    """Sets of tiers that hold the smallest one that succeeds for at least `COVERAGE` of all requests.

    `limit` bounds how little probability a tier of the set may have; `knots` are the sorted nonconformities of the
    calibration rows (thinned), from which the uncertainty is read.
    """

    limit: float
    knots: tuple[float, ...]

    def read(self, p_fast: float, p_balanced: float) -> tuple[tuple[Tier, ...], float]:
        """The set, smallest tier first, and the uncertainty in [0, 1].

        The uncertainty is the error rate one would have to accept for the set to shrink to one tier (the second largest
        conformal p-value): at most 1 - COVERAGE for a set of one, more for a larger one, 1 for an empty one.
        """
        fast, balanced, deep = 1.0 - p_fast, 1.0 - (p_balanced - p_fast), p_balanced
        limit = self.limit
        labels = tuple(tier for tier, strange in zip(TIERS, (fast, balanced, deep), strict=True) if strange <= limit)
        if not labels:
            return labels, 1.0
        second = fast + balanced + deep - min(fast, balanced, deep) - max(fast, balanced, deep)
        knots = self.knots
        return labels, (len(knots) - bisect_left(knots, second) + 1.0) / (len(knots) + 1.0)

    def contains(self, p: Floats) -> NDArray[np.bool_]:
        """Which tiers (N, 3) the sets of a batch of probabilities (N, 3) hold."""
        return np.asarray(_strangeness(p) <= self.limit)


def fit_sets(probabilities: Floats, labels: NDArray[np.intp]) -> LabelSets:
    """Sets from calibrated probabilities (N, 3) and the index of the smallest tier that succeeded (N,)."""
    strange = np.sort(_strangeness(probabilities)[np.arange(len(labels)), labels])
    limit = _upper(strange, 1.0 - COVERAGE) if len(labels) else 1.0
    knots = strange[_thinned(len(strange))].astype(np.float32)
    return LabelSets(min(1.0, limit), tuple(knots.astype(np.float64).tolist()))


def _strangeness(p: Floats) -> Floats:
    """1 - the probability (N, 3) that a tier is the smallest that succeeds; deep also stands for none."""
    return np.stack([1.0 - p[:, 0], 1.0 - (p[:, 1] - p[:, 0]), p[:, 1]], axis=1)


@dataclass(frozen=True, slots=True)
class Guard:
    """Tells a prompt unlike those learned from: too far from their mean, or too many words never seen."""

    distance_limit: float
    unseen_limit: float

    def knows(self, distance: float, unseen: float) -> bool:
        """Whether the prompt is of a known kind; not a number is not."""
        return distance <= self.distance_limit and unseen <= self.unseen_limit


def fit_guard(distance: Floats, unseen: Floats) -> Guard:
    """Limits that at most FALSE_ALARMS of prompts of the fitted kind pass over, half of it for each measure."""
    return Guard(
        _upper(np.sort(distance), FALSE_ALARMS / 2),
        _upper(np.sort(unseen), FALSE_ALARMS / 2),
    )


def _upper(rising: Floats, error: float) -> float:
    """The value that a new one of the same kind passes over with probability `error` at most, as a float32 above it."""
    place = math.ceil((len(rising) + 1) * (1.0 - error)) - 1
    if place >= len(rising):
        return ALWAYS
    return float(np.nextafter(np.float32(rising[place]), np.float32(np.inf)))
