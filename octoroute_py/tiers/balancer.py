"""How one endpoint is picked among equals: tiny objects with `pick` (contract §5).

With hundreds of endpoints it would cost more to look at each of them than to answer. So endpoints are drawn from all of
a rank, and one that may not take the attempt is drawn again: what is left follows the very same distribution as a draw
among those that may. Only after many draws in vain is everybody looked at.
"""

import random
from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Sequence
from itertools import accumulate
from typing import Final, Protocol

from octoroute_py.config.schema import BalancerName
from octoroute_py.tiers.endpoint import Endpoint

UNMEASURED_S = 1e6
"""Delay assumed of an endpoint that has calls under way but has never been measured (Finagle's penalty)."""
MOST_DRAWS: Final = 32
"""So many draws in vain cost a third of a look at 300 endpoints; with nine of ten out, 3 % of picks need that look."""


class Rank:
    """The endpoints of one priority, of which there is at least one, with what drawing among them needs."""

    __slots__ = ("draws", "endpoints", "heaviest", "last", "up_to")

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints = tuple(endpoints)
        self.up_to = tuple(accumulate(endpoint.weight for endpoint in endpoints))
        """The sum of the weights up to each endpoint, its own included."""
        self.last = len(self.endpoints) - 1
        self.draws = min(len(self.endpoints), MOST_DRAWS)
        most = max(endpoint.weight for endpoint in endpoints)
        self.heaviest = tuple(endpoint for endpoint in endpoints if endpoint.weight == most)


class Search:
    """What one attempt asks of an endpoint: not in `excluded` (ids), available at `now`, and able by `fits`."""

    __slots__ = ("excluded", "fits", "now")

    def __init__(
        self, now: float, excluded: Container[str] = (), fits: Callable[[Endpoint], bool] | None = None
    ) -> None:
        self.now = now
        self.excluded = excluded
        self.fits = fits

    def admits(self, endpoint: Endpoint) -> bool:
        """Whether this endpoint may take the attempt."""
        return (
            endpoint.id not in self.excluded
            and endpoint.unavailable(self.now) is None
            and (self.fits is None or self.fits(endpoint))
        )

    def among(self, endpoints: Iterable[Endpoint]) -> list[Endpoint]:
        """All that may; written out, for it may be asked of hundreds."""
        now, excluded, fits = self.now, self.excluded, self.fits
        left = [each for each in endpoints if each.unavailable(now) is None and each.id not in excluded]
        return left if fits is None else [each for each in left if fits(each)]


class Balancer(Protocol):
    """Picks one endpoint of a rank."""

    def pick(self, rank: Rank, search: Search) -> Endpoint | None:
        """One of those that `search` admits; None when there is none."""
        ...


class Weighted:
    """Random, each in proportion to its weight."""

    __slots__ = ("_rng",)

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def pick(self, rank: Rank, search: Search) -> Endpoint | None:
        """One drawn by effective weight: by full weight, and taken as often as is left of it in a slow start."""
        draw, now = self._rng.random, search.now
        endpoints, up_to, last = rank.endpoints, rank.up_to, rank.last
        for _ in range(rank.draws):
            endpoint = endpoints[bisect_right(up_to, draw() * up_to[last], 0, last)]
            if search.admits(endpoint):
                weight = endpoint.effective_weight(now)
                if weight == endpoint.weight or draw() * endpoint.weight < weight:
                    return endpoint
        return self._among(search.among(endpoints), now)

    def _among(self, able: Sequence[Endpoint], now: float) -> Endpoint | None:
        if len(able) < 2:
            return able[0] if able else None
        up_to = list(accumulate(endpoint.effective_weight(now) for endpoint in able))
        return able[bisect_right(up_to, self._rng.random() * up_to[-1], 0, len(able) - 1)]


class LeastLoaded:
    """The one with the fewest attempts under way for its weight; ties at random."""

    __slots__ = ("_rng",)

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def pick(self, rank: Rank, search: Search) -> Endpoint | None:
        """The least (in_flight + 1) / effective weight.

        An idle endpoint of the largest weight has the least load there is: while such are easily found, one is drawn
        among them. Once nearly all are busy everybody has to be looked at, which takes time by their number: with 300
        endpoints about 50 µs.
        """
        draw, now, heaviest = self._rng.random, search.now, rank.heaviest
        for _ in range(rank.draws):
            endpoint = heaviest[int(draw() * len(heaviest))]
            if not endpoint.live.in_flight and search.admits(endpoint):
                weight = endpoint.effective_weight(now)
                if weight == endpoint.weight:
                    return endpoint
        able = search.among(rank.endpoints)
        if len(able) < 2:
            return able[0] if able else None
        loads = [(endpoint.live.in_flight + 1) / endpoint.effective_weight(now) for endpoint in able]
        least = min(loads)
        ties = [endpoint for endpoint, load in zip(able, loads, strict=True) if load == least]
        return ties[0] if len(ties) == 1 else ties[int(draw() * len(ties))]


class Latency:
    """Of two drawn at random the one that should give its first event sooner."""

    __slots__ = ("_rng",)

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def pick(self, rank: Rank, search: Search) -> Endpoint | None:
        """The power of two choices over peak EWMA × (in_flight + 1) / effective weight."""
        one = self._draw(rank, search, None)
        other = None if one is None else self._draw(rank, search, one)
        if one is None or other is None:
            return one
        return one if _cost(one, search.now) <= _cost(other, search.now) else other

    def _draw(self, rank: Rank, search: Search, but: Endpoint | None) -> Endpoint | None:
        draw, endpoints = self._rng.random, rank.endpoints
        for _ in range(rank.draws):
            endpoint = endpoints[int(draw() * len(endpoints))]
            if endpoint is not but and search.admits(endpoint):
                return endpoint
        able = [endpoint for endpoint in search.among(endpoints) if endpoint is not but]
        return able[int(draw() * len(able))] if able else None


def _cost(endpoint: Endpoint, now: float) -> float:
    pending = endpoint.live.in_flight
    delay_s = endpoint.live.latency.read(now)
    if delay_s is None:
        # Idle and unknown is worth a try; busy and unknown may be a black hole.
        delay_s = UNMEASURED_S if pending else 0.0
    return delay_s * (pending + 1) / endpoint.effective_weight(now)


def make_balancer(name: BalancerName, rng: random.Random) -> Balancer:
    """The balancer of that name."""
    match name:
        case BalancerName.WEIGHTED:
            return Weighted(rng)
        case BalancerName.LEAST_LOADED:
            return LeastLoaded(rng)
        case BalancerName.LATENCY:
            return Latency(rng)
