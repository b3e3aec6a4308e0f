"""How good a router is, in numbers others use too.

    recovered   the share of the quality gap between the small and the large model that a router wins back when a given
                share of the calls goes to the large one (PGR); a router that knows nothing wins back that very share
    APGR        its mean over all shares of calls: 0.5 is random, 1 is not reachable
    CPT50/80    the share of calls, in percent, needed to win back 50 and 80 % of the gap
    AUC         the chance that a right answer was scored above a wrong one

Sources: RouteLLM (arXiv 2406.18665) for APGR and CPT. Rows of equal score are taken in random order, in expectation:
the curve is straight across them. All functions are pure and take arrays of one length N.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

INTERVAL: Final = 0.98
"""How often the intervals hold the true value; a claim of being better rests on their lower end (99 in 100)."""
DRAWS: Final = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value with its bootstrap interval over rows."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """Share of the quality gap won back (K,) by the share of calls to the large model (K,), both from 0 to 1."""

    calls: Floats
    recovered: Floats

    def apgr(self) -> float:
        """The mean share won back; not a number where there is no gap."""
        return float(np.trapezoid(self.recovered, self.calls))

    def cpt(self, share: float) -> float:
        """The smallest share of calls, in percent, that wins back `share` of the gap."""
        reached = np.flatnonzero(self.recovered >= share - 1e-12)
        if not len(reached):
            return float("nan")
        after = int(reached[0])
        if not after:
            return 0.0
        low, high = self.recovered[after - 1], self.recovered[after]
        part = min(1.0, (share - low) / (high - low))
        return float(100 * (self.calls[after - 1] + part * (self.calls[after] - self.calls[after - 1])))


def recovery(need: Floats, small: Floats, large: Floats) -> Recovery:
    """The curve of sending rows to the large model in falling order of `need`.

    `small` and `large` are the qualities of both models on each row.
    """
    order = np.argsort(-need, kind="stable")
    need, gain = need[order], (large - small)[order]
    ends = np.append(need[1:] != need[:-1], True)
    calls = np.flatnonzero(ends) + 1.0
    won = np.cumsum(gain)[ends]
    if not won[-1] > 0:
        return Recovery(np.array([0.0, 1.0]), np.full(2, np.nan))
    return Recovery(np.append(0.0, calls / calls[-1]), np.append(0.0, won / won[-1]))


def apgr_interval(need: Floats, small: Floats, large: Floats, *, seed: int = 0, draws: int = DRAWS) -> Interval:
    """APGR with its interval; draws in which there is no gap to win back are left out."""
    order = np.argsort(-need, kind="stable")
    need, gain = need[order], (large - small)[order]
    ends = np.append(need[1:] != need[:-1], True)
    drawn = [np.zeros(0)]
    for weights in _blocks(np.random.default_rng(seed), len(need), draws):
        calls = np.cumsum(weights, axis=1)[:, ends]  # (D, K)
        won = np.cumsum(weights * gain, axis=1)[:, ends]
        width = np.diff(calls, axis=1, prepend=0.0) / calls[:, -1:]
        height = (won + np.concatenate([np.zeros((len(won), 1)), won[:, :-1]], axis=1)) / 2
        there = won[:, -1] > 0
        drawn.append((width * height).sum(axis=1)[there] / won[there, -1])
    return _interval(recovery(need, small[order], large[order]).apgr(), np.concatenate(drawn))


def auc(score: Floats, positive: NDArray[np.bool_]) -> float:
    """The area under the ROC curve; equal scores count half; not a number when a class is missing."""
    good = int(positive.sum())
    bad = len(positive) - good
    if not good or not bad:
        return float("nan")
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2
    return float((rank[place][positive].sum() - good * (good + 1) / 2) / (good * bad))


def against_random_mix(tiers: NDArray[np.intp], quality: Floats, *, seed: int = 0, draws: int = DRAWS) -> Interval:
    """How much better the chosen tiers (N,) answer than the same tiers dealt out at random, at the same cost.

    `quality` (N, 3) is what each tier achieves on each row. The random mix is not drawn but exact: its mean over all
    deals. In every bootstrap draw the shares of the tiers are those of the drawn rows, so the cost matches there too.
    """
    taken = quality[np.arange(len(tiers)), tiers]
    picked = np.eye(3)[tiers]  # (N, 3)
    rng = np.random.default_rng(seed)

    def ahead(weights: Floats) -> Floats:
        """The lead (D,) in each draw of row weights (D, N)."""
        total = weights.sum(axis=1, keepdims=True)
        shares, means = weights @ picked / total, weights @ quality / total
        return np.asarray((weights @ taken) / total[:, 0] - (shares * means).sum(axis=1))

    drawn = np.concatenate([ahead(block) for block in _blocks(rng, len(tiers), draws)])
    return _interval(float(ahead(np.ones((1, len(tiers))))[0]), drawn)


def best_mix(quality: Floats, prices: Floats, cost: Floats) -> Floats:
    """The best mean quality that a random mix reaches at each mean `cost` (K,), given the tiers' mean quality (3,).

    The upper hull of the tiers over their prices: what a router has to beat to be worth its trouble at any cost.
    """
    best = np.full(len(cost), -np.inf)
    for low in range(3):
        for high in range(3):
            width = prices[high] - prices[low]
            part = (cost - prices[low]) / width if width else np.zeros(len(cost))
            value = quality[low] + part * (quality[high] - quality[low])
            inside = (cost >= prices[low] - 1e-12) & (part <= 1 + 1e-12) & (part >= 0)
            best = np.where(inside, np.maximum(best, value), best)
    return best


def _blocks(rng: np.random.Generator, rows: int, draws: int) -> Iterator[Floats]:
    """Row weights (D, N) of as many bootstrap draws, in parts small enough for memory.

    The Bayesian bootstrap (Rubin 1981): weights from the exponential distribution stand for drawing with replacement.
    """
    size = max(1, 2_000_000 // max(1, rows))
    for start in range(0, draws, size):
        yield rng.standard_exponential((min(size, draws - start), rows))


def _interval(value: float, drawn: Floats) -> Interval:
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(drawn, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return Interval(value, float(low), float(high))
