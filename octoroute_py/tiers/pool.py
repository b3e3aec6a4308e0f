"""Endpoints that may stand in for each other, and who of them takes the next attempt."""

from collections.abc import Callable, Container, Sequence
from typing import Final

from octoroute_py.core.words import Tier
from octoroute_py.tiers.balancer import Balancer
from octoroute_py.tiers.endpoint import Endpoint

_NOTHING: Final[frozenset[str]] = frozenset()


class Pool:
    """The endpoints of a tier, a model or a name; `tier` is that of all of them."""

    __slots__ = ("_balancer", "endpoints", "tier")

    def __init__(self, tier: Tier, endpoints: Sequence[Endpoint], *, balancer: Balancer) -> None:
        self.tier = tier
        self.endpoints = tuple(endpoints)
        self._balancer = balancer

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
        best: list[Endpoint] = []
        highest = -1
        for endpoint in self.endpoints:
            if endpoint.priority < highest or endpoint.id in excluded or endpoint.unavailable(now) is not None:
                continue
            if fits is not None and not fits(endpoint):
                continue
            if endpoint.priority > highest:
                highest = endpoint.priority
                best = [endpoint]
            else:
                best.append(endpoint)
        if len(best) > 1:
            return self._balancer.pick(best, now)
        return best[0] if best else None
