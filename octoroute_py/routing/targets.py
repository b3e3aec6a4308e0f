"""In which order a rule's targets are tried: pure, so that a dry run and a live request come to the same."""

import math
from collections.abc import Callable, Sequence

from octoroute_py.core.rules import RuleTarget, TrafficSplit

Eligible = Callable[[RuleTarget, bool], bool]
"""Whether a target could answer now; True for the one that a split sends its canary share to."""


def ordered(
    targets: Sequence[RuleTarget], split: TrafficSplit | None, *, eligible: Eligible, draw: float, share: float
) -> tuple[RuleTarget, ...]:
    """The eligible targets, the one to try first in front; none when there is none.

    With a `split` the caller's `share`, in [0, 100), tells first and second target apart. Else `draw`, in [0, 1), picks
    by weight among those that have one. The others follow by fallback order.
    """
    standing = by_fallback(targets)
    canary = standing[1] if split is not None and len(standing) > 1 else None
    able = [each for each in standing if eligible(each, each is canary)]
    first: RuleTarget | None = None
    if canary is not None and split is not None:
        first = canary if share < split.canary else standing[0]
    elif any(each.weight for each in able):
        first = _drawn(able, draw)
    if first is None or not any(each is first for each in able):
        return tuple(able)
    return (first, *(each for each in able if each is not first))


def by_fallback(targets: Sequence[RuleTarget]) -> list[RuleTarget]:
    """The targets by fallback order, those without one behind the others as they stand."""
    return sorted(targets, key=lambda each: math.inf if each.fallback_order is None else each.fallback_order)


def _drawn(targets: Sequence[RuleTarget], draw: float) -> RuleTarget:
    weighted = [each for each in targets if each.weight]
    left = draw * sum(each.weight or 0.0 for each in weighted)
    for each in weighted:
        left -= each.weight or 0.0
        if left < 0:
            return each
    return weighted[-1]  # rounding only
