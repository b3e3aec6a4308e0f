"""How an arm compares with the control when one looks whenever one likes, as often as one likes. Pure arithmetic.

An e-value is what a bet against "they are equal" has made of 1. However long the bet goes on, the chance that it ever
reaches 1/alpha, if they are equal, is at most alpha (Ville 1939): stopping at the first look that says so is allowed.

Shares: requests are taken in blocks as they ended. Given how many of a block went to each arm and how many were good in
all, equal arms leave nothing open but chance: how many of the good ones are the arm's is hypergeometric, whatever the
rate is, and though it may change from block to block. The bet is on odds that differ by one of a few factors, so a
block pays Fisher's noncentral hypergeometric probability over the hypergeometric one, and the bets on all factors are
mixed. That is Wald's test of two proportions (1947, chapter 6) with blocks in the place of pairs, and exact.

Means: the normal mixture bound of Robbins, with the variance estimated, which makes it an asymptotic confidence
sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024); nothing is said before both arms have `BURN_IN`
numbers of `FEWEST_CALLERS`. The difference of two means moves like a Brownian motion in what is known of it, which
grows by n1 n2 / (n1 + n2); n is how many numbers of as many callers would tell as much (`Moments.effective`).

The first bet takes requests as independent. Requests of one caller are not, so a share is a mean too (`rates`), and
decided when both say so.
"""

import enum
import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from octoroute_py.manage.significance import Interval, Moments

BLOCK: Final = 32
"""Requests in a block."""
LOG_ODDS: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""What is bet on, upwards and downwards: each is within a factor of 1.5 of any true log odds ratio that matters."""
BURN_IN: Final = 100
FEWEST_CALLERS: Final = 20
SHARPEST_AT: Final = 500.0
"""The bound for means is as narrow as can be at about ten times as many requests."""
MOST_E: Final = 1e12
"""Larger e-values are told as this: they say no more, and their logarithm may be beyond any float."""


class Verdict(enum.StrEnum):
    """What can be said of an arm against the control."""

    UNDECIDED = "undecided"
    BETTER = "better"
    WORSE = "worse"


class Block(NamedTuple):
    """Of one block: how many requests the arm had and how many of them were good, and the same of the control."""

    arm: int
    arm_hits: int
    control: int
    control_hits: int


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a bet has made of 1: `up` on the arm having more, `down` on its having less, `e_value` on both at once.

    `interval` (means only) holds the true difference at all times at once with probability 1 - alpha.
    """

    up: float
    down: float
    interval: Interval | None = None

    @property
    def e_value(self) -> float:
        """The evidence that they differ at all."""
        return (self.up + self.down) / 2

    def verdict(self, *, alpha: float, higher_is_better: bool) -> Verdict:
        """Decided once the evidence reaches 1/`alpha`."""
        if self.e_value * alpha < 1:
            return Verdict.UNDECIDED
        return Verdict.BETTER if (self.up > self.down) is higher_is_better else Verdict.WORSE


class ShareBet:
    """The bet on shares, block by block."""

    __slots__ = ("_known", "_logs")

    def __init__(self) -> None:
        self._known: dict[Block, tuple[float, ...]] = {}
        self._logs = [0.0] * (2 * len(LOG_ODDS))

    def add(self, block: Block, *, times: int = 1) -> None:
        """What a block, or as many as are alike, has told."""
        for at, told in enumerate(self.told(block)):
            self._logs[at] += times * told

    def told(self, block: Block) -> tuple[float, ...]:
        """The logarithm of what a block pays for each of the `LOG_ODDS` upwards, then for each downwards."""
        found = self._known.get(block)
        if found is None:
            found = self._known[block] = _told(block)
        return found

    @property
    def evidence(self) -> Evidence:
        """All of it together."""
        half = len(LOG_ODDS)
        return Evidence(up=mixed(self._logs[:half]), down=mixed(self._logs[half:]))


def shares(blocks: Iterable[tuple[Block, int]]) -> Evidence:
    """The evidence of blocks, each with how many there are of it."""
    bet = ShareBet()
    for block, times in blocks:
        bet.add(block, times=times)
    return bet.evidence


def means(arm: Moments, control: Moments, *, alpha: float) -> Evidence | None:
    """The evidence of two means; None while either has too few numbers or callers, and where nothing varies."""
    return _bound(arm, control, alpha=alpha) if enough(arm) and enough(control) else None


def rates(arm: Moments, control: Moments, *, alpha: float) -> Evidence | None:
    """The evidence of two means of 0 and 1; None while either has too few."""
    return _bound(arm.smoothed(), control.smoothed(), alpha=alpha) if enough(arm) and enough(control) else None


def enough(of: Moments) -> bool:
    """Whether something can be said of a mean."""
    return of.count >= BURN_IN and of.callers >= FEWEST_CALLERS


def _bound(arm: Moments, control: Moments, *, alpha: float) -> Evidence | None:
    spread = math.hypot(arm.error, control.error)
    if not spread:
        return None
    effect = arm.mean - control.mean
    # As many requests as would tell as much if they were shared out equally.
    x = 4 / (1 / arm.effective + 1 / control.effective) / SHARPEST_AT
    half = spread * math.sqrt((1 + 1 / x) * (2 * math.log(1 / alpha) + math.log1p(x)))
    log_both = (effect / spread) ** 2 / 2 * x / (1 + x) - math.log1p(x) / 2
    both = math.exp(min(log_both, math.log(MOST_E)))
    # The bet on one side alone has the normal distribution's part of the mixture that lies there, doubled.
    upwards = math.erfc(-effect / spread * math.sqrt(x / (1 + x)) / math.sqrt(2))
    return Evidence(up=both * upwards, down=both * (2 - upwards), interval=Interval(effect - half, effect + half))


def agreed(one: Evidence, other: Evidence) -> Evidence:
    """What both bets have made at least; the interval is that of the one that has any."""
    return Evidence(up=min(one.up, other.up), down=min(one.down, other.down), interval=one.interval or other.interval)


def mixed(logs: Sequence[float]) -> float:
    """The mean of bets whose logarithms these are."""
    most = max(logs)
    log_mean = most + math.log(sum(math.exp(each - most) for each in logs) / len(logs))
    return math.exp(min(log_mean, math.log(MOST_E)))


def _told(block: Block) -> tuple[float, ...]:
    hits = block.arm_hits + block.control_hits
    low, high = max(0, hits - block.control), min(block.arm, hits)
    if low == high:
        return (0.0,) * (2 * len(LOG_ODDS))
    ways = [math.comb(block.arm, k) * math.comb(block.control, hits - k) for k in range(low, high + 1)]
    total = sum(ways)
    chances = [each / total for each in ways]
    odds = (*LOG_ODDS, *(-each for each in LOG_ODDS))
    # The probability of what was seen, by that without a difference; both have the same number of ways in it.
    return tuple(
        -math.log(sum(p * math.exp(log_odds * (low + at - block.arm_hits)) for at, p in enumerate(chances)))
        for log_odds in odds
    )
