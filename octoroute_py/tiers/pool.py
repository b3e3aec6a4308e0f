"""Endpoints that may stand in for each other, and who of them takes the next attempt."""

import math
from collections.abc import Callable, Container, Hashable, Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.words import Capability, Tier
from octoroute_py.ledger.pricing import dearest
from octoroute_py.tiers.balancer import Balancer, Rank, Search
from octoroute_py.tiers.demands import Demand
from octoroute_py.tiers.eligibility import BASIC, able, room_of
from octoroute_py.tiers.endpoint import Endpoint

MOST_PARTS: Final = 1024
"""Parts kept ready of one pool, those of its parts included; more different ones than this are worked out again."""
_NOTHING: Final[frozenset[str]] = frozenset()
_ALL: Final = frozenset(Capability)


class Pool:
    """The endpoints of a tier, a model or a name; `tier` is that of all of them.

    What a request may use of them is a pool of its own (`within`, `meeting`, `able`, `with_room`), worked out once and
    kept for the next that asks the same.
    """

    __slots__ = (
        "_balancer",
        "_common",
        "_dearest",
        "_looked_at",
        "_parts",
        "_ranks",
        "_smallest",
        "_windows",
        "endpoints",
        "tier",
    )

    def __init__(
        self,
        tier: Tier,
        endpoints: Sequence[Endpoint],
        *,
        balancer: Balancer,
        parts: "dict[tuple[Pool, Hashable], Pool] | None" = None,
    ) -> None:
        self.tier = tier
        self.endpoints = tuple(endpoints)
        self._balancer = balancer
        ranks = groupby(sorted(self.endpoints, key=attrgetter("priority"), reverse=True), key=attrgetter("priority"))
        self._ranks = tuple(Rank(tuple(rank)) for _, rank in ranks)
        configs = [endpoint.config for endpoint in self.endpoints]
        self._common = _ALL.intersection(
            *(each.capabilities | BASIC for each in configs if each.capabilities is not None)
        )
        windows = {(each.context_window, each.max_tokens): each for each in configs if each.context_window is not None}
        self._windows = tuple(windows.values())
        self._smallest = min((window for window, _ in windows), default=math.inf)
        # One memory for a pool and all that is made of it: a part of a part of a part counts as one.
        self._parts = {} if parts is None else parts
        self._dearest: tuple[EndpointConfig, ...] | None = None
        self._looked_at = 0

    def pick(
        self,
        *,
        now: float,
        excluded: Container[str] = _NOTHING,
        fits: Callable[[Endpoint], bool] | None = None,
    ) -> Endpoint | None:
        """Who takes this attempt, of the highest priority with somebody available; None when nobody is left.

        `excluded` holds the ids this request has tried, `fits` tells who could serve it at all.
        """
        search = Search(now, excluded, fits)
        for rank in self._ranks:
            if rank.last:
                found = self._balancer.pick(rank, search)
                if found is not None:
                    return found
            elif search.admits(rank.endpoints[0]):
                return rank.endpoints[0]
        return None

    def has_any(
        self,
        *,
        now: float,
        besides: Endpoint | None = None,
        excluded: Container[str] = _NOTHING,
        fits: Callable[[Endpoint], bool] | None = None,
    ) -> bool:
        """Whether somebody, `besides` this one, could take an attempt, as `pick` sees it.

        The search begins where the last one ended, so that a hundred endpoints that are out are not passed each time.
        """
        endpoints, search = self.endpoints, Search(now, excluded, fits)
        count = len(endpoints)
        for at in range(self._looked_at, self._looked_at + count):
            other = endpoints[at % count]
            if other is not besides and search.admits(other):
                self._looked_at = at % count
                return True
        return False

    # parts

    def within(self, allowed: frozenset[str]) -> "Pool":
        """Those of these ids."""
        part = self._parts.get((self, allowed))
        if part is None:
            part = self._keep(allowed, (each for each in self.endpoints if each.id in allowed))
        return part

    def meeting(self, demand: Demand) -> "Pool":
        """Those that are what an agent type asks for, but for what is measured."""
        part = self._parts.get((self, demand))
        if part is None:
            part = self._keep(demand, (each for each in self.endpoints if demand.met_by(each.config)))
        return part

    def able(self, needs: frozenset[Capability], *, local_only: bool) -> "Pool":
        """Those that have what a request needs, and are where it may go."""
        if not local_only and needs <= self._common:
            return self
        key = (needs, local_only)
        part = self._parts.get((self, key))
        if part is None:
            found = (each for each in self.endpoints if able(each.config, needs=needs, local_only=local_only))
            part = self._keep(key, found)
        return part

    def with_room(self, tokens: int, output_tokens: int | None) -> "Pool":
        """Those whose context window holds a prompt of so many tokens and the output that the client asked for."""
        if tokens + (output_tokens or 0) <= self._smallest:
            return self
        # Windows are few, whatever the number of endpoints: which of them will do says which endpoints will.
        key = tuple([tokens <= room_of(each, output_tokens) for each in self._windows])
        part = self._parts.get((self, key))
        if part is None:
            found = (each for each in self.endpoints if tokens <= room_of(each.config, output_tokens))
            part = self._keep(key, found)
        return part

    def _keep(self, key: Hashable, endpoints: Iterable[Endpoint]) -> "Pool":
        found = tuple(endpoints)
        part = (
            self
            if len(found) == len(self.endpoints)
            else Pool(self.tier, found, balancer=self._balancer, parts=self._parts)
        )
        if len(self._parts) >= MOST_PARTS:
            self._parts.clear()
        self._parts[self, key] = part
        return part

    @property
    def dearest(self) -> tuple[EndpointConfig, ...]:
        """A few of them, of which one is as dear as any of all, whatever is asked."""
        if self._dearest is None:
            self._dearest = dearest(endpoint.config for endpoint in self.endpoints)
        return self._dearest
