"""How one endpoint is picked among equals: tiny objects with `pick` (contract §5)."""

import random
from collections.abc import Sequence
from typing import Protocol

from octoroute_py.config.schema import BalancerName
from octoroute_py.tiers.endpoint import Endpoint

UNMEASURED_S = 1e6
"""Delay assumed of an endpoint that has calls under way but has never been measured (Finagle's penalty)."""


class Balancer(Protocol):
    """Picks one of several available endpoints of one priority class."""

    def pick(self, candidates: Sequence[Endpoint], now: float) -> Endpoint:
        """One of `candidates`, of which there is at least one."""
        ...


class Weighted:
    """Random, each in proportion to its weight."""

    __slots__ = ("_rng",)

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def pick(self, candidates: Sequence[Endpoint], now: float) -> Endpoint:
        """One of `candidates`, drawn by effective weight."""
        weights = [endpoint.effective_weight(now) for endpoint in candidates]
        left = self._rng.random() * sum(weights)
        for endpoint, weight in zip(candidates, weights, strict=True):
            left -= weight
            if left < 0:
                return endpoint
        return candidates[-1]  # rounding only


class LeastLoaded:
    """The one with the fewest attempts under way for its weight; ties at random."""

    __slots__ = ("_rng",)

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def pick(self, candidates: Sequence[Endpoint], now: float) -> Endpoint:
        """The least (in_flight + 1) / effective weight."""
        loads = [(endpoint.live.in_flight + 1) / endpoint.effective_weight(now) for endpoint in candidates]
        least = min(loads)
        ties = [endpoint for endpoint, load in zip(candidates, loads, strict=True) if load == least]
        return ties[0] if len(ties) == 1 else ties[int(self._rng.random() * len(ties))]


class Latency:
    """Of two drawn at random the one that should give its first event sooner."""

    __slots__ = ("_rng",)

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def pick(self, candidates: Sequence[Endpoint], now: float) -> Endpoint:
        """The power of two choices over peak EWMA × (in_flight + 1) / effective weight."""
        count = len(candidates)
        if count == 1:
            return candidates[0]
        first = int(self._rng.random() * count)
        second = int(self._rng.random() * (count - 1))
        if second >= first:
            second += 1
        one, other = candidates[first], candidates[second]
        return one if _cost(one, now) <= _cost(other, now) else other


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
