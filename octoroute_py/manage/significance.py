"""How an arm compares with the control when one looks once: effects, intervals and p-values. Pure arithmetic.

Shares are compared by the two-proportion z test (pooled) with Newcombe's interval, which is made of the two Wilson
intervals (Newcombe 1998, method 10); means by Welch's t test. Student's distribution is scipy's: without it (extra
`stats`) means have no p-value and no interval. All of it holds for one look that was settled beforehand; for looking
at any time see `anytime`.

An arm is given to a caller for good, so it is callers that are drawn, not requests: a mean's error is worked out from
how much the callers' sums differ from what the mean foretells (linearised, as of a ratio), and a share counts for as
many requests as would tell as much from as many callers (Rao and Scott 1992). Where every caller sent one request
these are the plain tests.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Final, NamedTuple

import msgspec

_NORMAL: Final = NormalDist()
_SQRT_2: Final = math.sqrt(2)
_NOISE: Final = 1e-12
"""What is left of equal numbers after rounding is no spread."""


class Interval(NamedTuple):
    """Two bounds, both included."""

    low: float
    high: float


class Share(msgspec.Struct, frozen=True):
    """How many of how many; parts of one where they are worth less than they are."""

    hits: float
    of: float

    @property
    def rate(self) -> float:
        """Between 0 and 1; `of` is above 0."""
        return self.hits / self.of

    def worth(self, part: float) -> "Share":
        """The same rate of fewer."""
        return Share(self.hits * part, self.of * part)


class Moments(msgspec.Struct, frozen=True):
    """What is kept of numbers, of which a caller may have given several, to compare their means.

    `total` and `squares` are sums over the numbers, `count_squares`, `products` (count by total) and `total_squares`
    sums over the callers.
    """

    count: float
    total: float
    squares: float
    callers: int
    count_squares: float
    products: float
    total_squares: float

    def smoothed(self) -> "Moments":
        """These, of 0 and 1, and those of two more callers: one all of whose requests did well, and one none of whose.

        So that what never failed yet is not taken for what cannot fail (Agresti and Caffo 2000).
        """
        each = self.count / self.callers if self.callers else 1.0
        return Moments(
            count=self.count + 2 * each,
            total=self.total + each,
            squares=self.squares + each,
            callers=self.callers + 2,
            count_squares=self.count_squares + 2 * each**2,
            products=self.products + each**2,
            total_squares=self.total_squares + each**2,
        )

    @property
    def mean(self) -> float:
        """Their mean; `count` is above 0."""
        return self.total / self.count

    @property
    def variance(self) -> float:
        """Their variance, unbiased; 0 for fewer than two."""
        if self.count < 2:
            return 0.0
        spread = (self.squares - self.total * self.mean) / (self.count - 1)
        return spread if spread > _NOISE * self.squares / self.count else 0.0

    @property
    def error(self) -> float:
        """The standard error of the mean, by how much callers differ from it; 0 for fewer than two callers."""
        if self.callers < 2:
            return 0.0
        mean = self.mean
        spread = self.total_squares - 2 * mean * self.products + mean * mean * self.count_squares
        if spread <= _NOISE * self.total_squares:
            return 0.0
        return math.sqrt(spread * self.callers / (self.callers - 1)) / self.count

    @property
    def effective(self) -> float:
        """How many numbers of as many callers would tell as much: fewer than `count` where callers are unlike."""
        if not self.error or not self.variance:
            return float(self.count)
        return min(float(self.count), self.variance / self.error**2)


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Arm minus control; `relative_effect` is that by the control's. None where it cannot be told."""

    name: str
    effect: float
    relative_effect: float | None
    interval: Interval | None
    p_value: float | None


def wilson(share: Share, *, alpha: float) -> Interval:
    """Wilson's score interval of a share, which holds it in 1 - `alpha` of all cases."""
    z = _NORMAL.inv_cdf(1 - alpha / 2)
    n, rate = share.of, share.rate
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # Rounding may leave the ends a little inside or outside of what they are.
    low = 0.0 if share.hits == 0 else max(0.0, middle - half)
    return Interval(low, 1.0 if share.hits == n else min(1.0, middle + half))


def newcombe(arm: Share, control: Share, *, alpha: float) -> Interval:
    """The interval of the difference of two shares, arm minus control."""
    a, c = wilson(arm, alpha=alpha), wilson(control, alpha=alpha)
    effect = arm.rate - control.rate
    below = math.hypot(arm.rate - a.low, c.high - control.rate)
    above = math.hypot(a.high - arm.rate, control.rate - c.low)
    return Interval(effect - below, effect + above)


def two_proportions(arm: Share, control: Share, *, alpha: float) -> Comparison:
    """Two shares by the pooled z test, two-sided; both are of at least one."""
    effect = arm.rate - control.rate
    pooled = (arm.hits + control.hits) / (arm.of + control.of)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / arm.of + 1 / control.of))
    return Comparison(
        name="two_proportion_z",
        effect=effect,
        relative_effect=relative(effect, control.rate),
        interval=newcombe(arm, control, alpha=alpha),
        p_value=math.erfc(abs(effect) / spread / _SQRT_2) if spread else 1.0,
    )


def welch(arm: Moments, control: Moments, *, alpha: float) -> Comparison:
    """Two means by Welch's t test, two-sided; both are of at least one number.

    p-value and interval are None without scipy, for fewer than two callers, and where nothing varies.
    """
    effect = arm.mean - control.mean
    interval: Interval | None = None
    p_value: float | None = None
    spread, freedom = _welch(arm, control)
    student = student_t() if spread and min(arm.callers, control.callers) > 1 else None
    if student is not None:
        half = student.point(freedom, 1 - alpha / 2) * spread
        interval = Interval(effect - half, effect + half)
        p_value = min(1.0, 2 * student.below(freedom, -abs(effect) / spread))
    return Comparison(
        name="welch_t",
        effect=effect,
        relative_effect=relative(effect, control.mean),
        interval=interval,
        p_value=p_value,
    )


def mean_interval(of: Moments, *, alpha: float) -> Interval | None:
    """Student's interval of a mean; None without scipy and for fewer than two callers."""
    student = student_t() if of.callers > 1 else None
    if student is None:
        return None
    half = student.point(of.callers - 1, 1 - alpha / 2) * of.error
    return Interval(of.mean - half, of.mean + half)


def relative(effect: float, control: float) -> float | None:
    """An effect by what the control has, None when that is nothing."""
    return effect / control if control else None


class Student(NamedTuple):
    """Student's distribution: `below(freedom, t)` is the probability of less, `point(freedom, p)` its reverse."""

    below: Callable[[float, float], float]
    point: Callable[[float, float], float]


def student_t() -> Student | None:
    """Student's distribution, None where scipy is not installed. Loads scipy when it is first asked for."""
    try:
        from scipy.special import stdtr, stdtrit
    except ImportError:
        return None
    return Student(
        lambda freedom, t: float(stdtr(freedom, t)),
        lambda freedom, p: float(stdtrit(freedom, p)),
    )


def _welch(arm: Moments, control: Moments) -> tuple[float, float]:
    """The standard error of the difference and Welch's degrees of freedom."""
    a, c = arm.error**2, control.error**2
    both = a + c
    if not both:
        return 0.0, 0.0
    shares = [(part / both) ** 2 / (n - 1) for part, n in ((a, arm.callers), (c, control.callers)) if part]
    return math.sqrt(both), 1 / sum(shares)
