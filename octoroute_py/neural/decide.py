"""From a score to a tier: the cheapest one whose calibrated risk stays within the dial.

    risk of a tier   how much deep is expected to do better: the gain score where the artifact learned from requests of
                     this kind (Basis.GAIN), else the probability that the tier fails (Basis.FAILURE)
    dial             the largest risk that may be taken, calibrated so that the average loss stays below `alpha`

A tier below every tier of the conformal set is never taken. A choice is made for every prompt of a known kind; the
policy abstains when the set is empty or the prompt is unlike what was learned, and, only where the operator set them,
when confidence or uncertainty miss their limits. Ties go up. Pure: numbers in, a value out, no numpy.
"""

import enum
from typing import Final

import msgspec

from octoroute_py.core.score import Score
from octoroute_py.core.words import TIERS, Tier

Prices = tuple[float, float, float]
"""What a request costs on fast, balanced and deep, in any one unit."""

DEFAULT_PRICES: Final[Prices] = (1.0, 4.0, 20.0)
"""Taken where the configuration names no prices."""

_RANK: Final = {tier: rank for rank, tier in enumerate(TIERS)}


class Basis(enum.StrEnum):
    """Which number of the score is held against the dial."""

    GAIN = "gain"
    FAILURE = "failure"


class Doubt(enum.StrEnum):
    """Why no tier was chosen."""

    EMPTY_SET = "empty_set"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    LOW_CONFIDENCE = "low_confidence"
    HIGH_UNCERTAINTY = "high_uncertainty"


class Dial(msgspec.Struct, frozen=True, kw_only=True):
    """How much risk may be taken: `threshold` keeps the average loss of quality within `alpha`.

    It was calibrated on `rows` labelled outcomes, those of `tag` alone when it is set.
    """

    alpha: float
    threshold: float
    basis: Basis = Basis.GAIN
    rows: int = 0
    tag: str | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator asks of a choice beside the dial; None asks nothing. Both are in [0, 1]."""

    confidence_threshold: float | None = None
    max_uncertainty: float | None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy made of one score, with everything it rests on.

    `tier` is None when it abstains, and `doubt` then says why; `leaning` is the tier the dial points to in any case.
    `confidence` in [0, 1] is that of the leaning: how sure it is that no larger tier would have done better.
    `risks` are those of fast, balanced and deep in the unit of the dial. `margin` is how far the nearest risk lies
    from the threshold, on the side it is on: small means that little would have changed the tier.
    """

    tier: Tier | None
    leaning: Tier
    doubt: Doubt | None
    confidence: float
    risks: tuple[float, float, float]
    margin: float
    dial: Dial


_NO_LIMITS: Final = Limits()


def choose(score: Score, *, dial: Dial, prices: Prices = DEFAULT_PRICES, limits: Limits = _NO_LIMITS) -> Choice:
    """The cheapest tier whose risk stays within the dial, or an abstention with its cause."""
    risks = risks_of(score, dial.basis)
    leaning = _cheapest(risks, score.labels, threshold=dial.threshold, prices=prices)
    confidence = 1.0 - min(1.0, max(0.0, risks[_RANK[leaning]]))
    doubt = _doubt(score, confidence, limits)
    return Choice(
        tier=leaning if doubt is None else None,
        leaning=leaning,
        doubt=doubt,
        confidence=confidence,
        risks=risks,
        margin=min(abs(dial.threshold - risks[0]), abs(dial.threshold - risks[1])),
        dial=dial,
    )


def risks_of(score: Score, basis: Basis) -> tuple[float, float, float]:
    """The risk of each tier, cheapest first; deep, which nothing can beat, has none."""
    if basis is Basis.GAIN:
        return score.gain_fast, score.gain_balanced, 0.0
    return 1.0 - score.p_fast, 1.0 - score.p_balanced, 0.0


def _cheapest(risks: tuple[float, float, float], labels: tuple[Tier, ...], *, threshold: float, prices: Prices) -> Tier:
    lowest = _RANK[labels[0]] if labels else 0
    best = 2  # deep is always allowed; the others are compared with it from the top, so that equal prices stay up
    for rank in (1, 0):
        if rank >= lowest and risks[rank] <= threshold and prices[rank] < prices[best]:
            best = rank
    return TIERS[best]


def _doubt(score: Score, confidence: float, limits: Limits) -> Doubt | None:
    if not score.in_distribution:
        return Doubt.OUT_OF_DISTRIBUTION
    if not score.labels:
        return Doubt.EMPTY_SET
    if limits.confidence_threshold is not None and confidence < limits.confidence_threshold:
        return Doubt.LOW_CONFIDENCE
    if limits.max_uncertainty is not None and score.uncertainty > limits.max_uncertainty:
        return Doubt.HIGH_UNCERTAINTY
    return None
