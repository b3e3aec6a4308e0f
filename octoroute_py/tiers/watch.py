"""What has changed since the last look: which endpoints and tiers went out or came back.

Looking only reads. What goes out and comes back between two looks is not seen.
"""

import math

import msgspec

from octoroute_py.core.words import TIERS, BreakerState, Tier
from octoroute_py.tiers.live import Unavailability
from octoroute_py.tiers.table import TierTable


class Change(msgspec.Struct, frozen=True):
    """An endpoint went out (`after` says why), is out for another reason, or is back (`after` None).

    `back_in_s` is the time until it may be tried by time alone, None when only a probe can tell.
    """

    endpoint_id: str
    tier: Tier
    before: Unavailability | None
    after: Unavailability | None
    back_in_s: float | None


class TierChange(msgspec.Struct, frozen=True):
    """All endpoints of a tier are out, or one of them is back."""

    tier: Tier
    out: bool


class EndpointWatch:
    """Remembers who was out; before the first look everybody counts as available."""

    __slots__ = ("_out", "_tiers_out")

    def __init__(self) -> None:
        self._out: dict[str, Unavailability] = {}
        self._tiers_out: frozenset[Tier] = frozenset()

    def changes(self, table: TierTable, now: float) -> list[Change]:
        """What changed with the endpoints of the table; those it does not hold are forgotten without a word."""
        last, self._out = self._out, {}
        found: list[Change] = []
        for endpoint in table.endpoints:
            before, after = last.get(endpoint.id), endpoint.out(now)
            if after is not None:
                self._out[endpoint.id] = after
            if before is not after:
                back_at = endpoint.back_at(now)
                back_in_s = None if back_at == math.inf else back_at - now
                found.append(Change(endpoint.id, endpoint.tier, before, after, back_in_s))
        return found

    def tier_changes(self, table: TierTable, now: float) -> list[TierChange]:
        """What changed with the breakers of the tiers, cheapest first; a tier without endpoints is never told of."""
        held = [tier for tier in TIERS if table.of(tier)]
        last = self._tiers_out
        out = frozenset(tier for tier in held if table.tier_state(tier, now) is BreakerState.OPEN)
        self._tiers_out = out
        return [TierChange(tier, tier in out) for tier in held if (tier in last) != (tier in out)]
