"""What would have flipped a decision: the smallest single change, of the dial first, that leads to another tier.

Every flip that is stated was tried: the same policy was asked again with the change applied.
"""

import enum
import math
from collections.abc import Iterator
from typing import Final, Protocol

import msgspec

from octoroute_py.core.score import Score
from octoroute_py.core.words import TIERS, Tier
from octoroute_py.neural.decide import DEFAULT_PRICES, Basis, Choice, Dial, Doubt, Limits, Prices, choose

_GRAIN: Final = 1e-6
"""Changes are stated in whole millionths, so that a printed one can be applied as it stands."""


class Change(enum.StrEnum):
    """What is changed: the dial, a limit of the operator, or a number of the score."""

    MAX_QUALITY_LOSS = "max_quality_loss"
    CONFIDENCE_THRESHOLD = "confidence_threshold"
    MAX_UNCERTAINTY = "max_uncertainty"
    GAIN_FAST = "gain_fast"
    GAIN_BALANCED = "gain_balanced"
    P_FAST = "p_fast"
    P_BALANCED = "p_balanced"
    LABELS = "labels"
    IN_DISTRIBUTION = "in_distribution"


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """With `change` at `value` and all else as it was, the tier would have been `tier`."""

    change: Change
    value: float | bool | tuple[Tier, ...]
    tier: Tier


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a decision by the scorer depends on, beside the calibration."""

    score: Score
    alpha: float
    tag: str | None = None
    prices: Prices = DEFAULT_PRICES
    limits: Limits = Limits()


class Thresholds(Protocol):
    """The dials of a calibration."""

    def dial(self, alpha: float, tag: str | None = None) -> Dial:
        """The dial for a tolerated loss."""

    def alpha_for(self, risk: float, tag: str | None = None) -> float | None:
        """The smallest tolerated loss at which a tier of this risk is taken."""


def decide(asked: Asked, thresholds: Thresholds) -> Choice:
    """The choice of the policy with the dial that the tolerated loss asks for."""
    dial = thresholds.dial(asked.alpha, asked.tag)
    return choose(asked.score, dial=dial, prices=asked.prices, limits=asked.limits)


def flips(asked: Asked, thresholds: Thresholds) -> tuple[Flip, ...]:
    """Single changes that lead to another tier; the first is the smallest change of the dial where there is one."""
    now = decide(asked, thresholds)
    tried = _against_doubt(asked, now) if now.doubt else _against_tier(asked, now, thresholds)
    found: list[Flip] = []
    for change, value in tried:
        tier = decide(_with(asked, change, value), thresholds).tier
        if tier is not None and tier is not now.tier:
            found.append(Flip(change=change, value=value, tier=tier))
    return tuple(found)


def applied(flip: Flip, asked: Asked) -> Asked:
    """The question as it stands after the change."""
    return _with(asked, flip.change, flip.value)


def _with(asked: Asked, change: Change, value: float | bool | tuple[Tier, ...]) -> Asked:
    replace = msgspec.structs.replace
    if change is Change.MAX_QUALITY_LOSS:
        return replace(asked, alpha=value)
    if change in (Change.CONFIDENCE_THRESHOLD, Change.MAX_UNCERTAINTY):
        return replace(asked, limits=replace(asked.limits, **{change.value: value}))
    return replace(asked, score=replace(asked.score, **{change.value: value}))


def _against_doubt(asked: Asked, now: Choice) -> Iterator[tuple[Change, float | bool | tuple[Tier, ...]]]:
    """The change that takes away the cause of an abstention."""
    if now.doubt is Doubt.OUT_OF_DISTRIBUTION:
        yield Change.IN_DISTRIBUTION, True
    elif now.doubt is Doubt.EMPTY_SET:
        yield Change.LABELS, (now.leaning,)
    elif now.doubt is Doubt.LOW_CONFIDENCE:
        yield Change.CONFIDENCE_THRESHOLD, now.confidence
    else:
        yield Change.MAX_UNCERTAINTY, asked.score.uncertainty


def _against_tier(
    asked: Asked, now: Choice, thresholds: Thresholds
) -> Iterator[tuple[Change, float | bool | tuple[Tier, ...]]]:
    """Changes of the dial, nearest first; then of the score; then of the set."""
    alphas = [
        _edge(needed, taken=risk <= now.dial.threshold)
        for risk in now.risks[:2]
        if (needed := thresholds.alpha_for(risk, asked.tag)) is not None
    ]
    for alpha in sorted(alphas, key=lambda alpha: abs(alpha - asked.alpha)):
        if 0.0 <= alpha <= 1.0:
            yield Change.MAX_QUALITY_LOSS, alpha
    fields = {
        Basis.GAIN: (Change.GAIN_FAST, Change.GAIN_BALANCED),
        Basis.FAILURE: (Change.P_FAST, Change.P_BALANCED),
    }[now.dial.basis]
    for rank in sorted((0, 1), key=lambda rank: abs(now.risks[rank] - now.dial.threshold)):
        risk = _edge(now.dial.threshold, taken=now.risks[rank] > now.dial.threshold, down=True)
        yield fields[rank], risk if now.dial.basis is Basis.GAIN else 1.0 - risk
    yield from ((Change.LABELS, (tier,)) for tier in TIERS)


def _edge(bound: float, *, taken: bool, down: bool = False) -> float:
    """The nearest whole millionth on the other side of a bound.

    A tolerated loss must reach what is needed: above it when the tier is not taken yet, below when it is. A risk
    (`down`) must stay within: at most the threshold to be taken, above it not to be.
    """
    steps = bound / _GRAIN
    if down:
        return math.floor(steps) * _GRAIN if taken else (math.floor(steps) + 1) * _GRAIN
    return (math.ceil(steps) - 1) * _GRAIN if taken else math.ceil(steps) * _GRAIN
