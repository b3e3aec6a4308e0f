"""Every endpoint of a snapshot, by tier, name and id, and the question all requests ask: who takes this one?"""

import math
import random
from collections.abc import Callable, Container, Hashable, Iterable, Sequence
from functools import cache

import msgspec

from octoroute_py.config.schema import Config, EndpointConfig, TierFallback
from octoroute_py.core.words import TIERS, BreakerState, Tier
from octoroute_py.ledger.pricing import cheapest
from octoroute_py.tiers.balancer import Balancer, make_balancer
from octoroute_py.tiers.endpoint import Endpoint, identity
from octoroute_py.tiers.live import Live
from octoroute_py.tiers.pool import MOST_PARTS, Pool
from octoroute_py.tiers.retry_budget import RetryBudget
from octoroute_py.transport.base import Transport

MakeTransport = Callable[[EndpointConfig], Transport]
_NOTHING: frozenset[str] = frozenset()


class TierWatch:
    """What outlasts reloads of one tier: its retry budget and the count of its breaker's trips."""

    __slots__ = ("_back_at", "_was_open", "budget", "trips")

    def __init__(self, *, ratio: float, now: float) -> None:
        self.budget = RetryBudget(ratio=ratio, now=now)
        self.trips = 0
        self._was_open = False
        self._back_at = now

    def saw(self, state: BreakerState, *, now: float, back_at: float) -> None:
        """Count a trip when the tier opened since the last look, also when it had come back in between by time."""
        is_open = state is BreakerState.OPEN
        if is_open and not (self._was_open and now < self._back_at):
            self.trips += 1
        self._was_open = is_open
        self._back_at = back_at


class TierTable:
    """The endpoints of one snapshot. Make the first with `build`, the next of a reload with `rebuild`.

    `endpoints` are in the order of the configuration; `by_name` holds the replicas of a name, of whatever tier.
    """

    __slots__ = (
        "_balancer",
        "_by_tier",
        "_cheapest",
        "_exact",
        "_plans",
        "_pools",
        "_rng",
        "_watches",
        "by_id",
        "by_name",
        "endpoints",
    )

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        balancer: Balancer,
        watches: dict[Tier, TierWatch],
        rng: random.Random,
    ) -> None:
        self.endpoints = tuple(endpoints)
        self.by_id = {endpoint.id: endpoint for endpoint in endpoints}
        by_name: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints:
            by_name.setdefault(endpoint.name, []).append(endpoint)
        self.by_name = {name: tuple(replicas) for name, replicas in by_name.items()}
        self._by_tier = {
            tier: tuple(each for each in endpoints if each.tier is tier and each.config.in_tier) for tier in TIERS
        }
        self._pools = {tier: Pool(tier, self._by_tier[tier], balancer=balancer) for tier in TIERS}
        self._plans = {
            (tier, fallback): tuple(self._pools[each] for each in plan(tier, fallback))
            for tier in TIERS
            for fallback in TierFallback
        }
        self._exact: dict[tuple[str, ...], Pool] = {}
        self._cheapest: dict[frozenset[str] | None, tuple[EndpointConfig, ...]] = {}
        self._balancer = balancer
        self._watches = watches
        self._rng = rng

    @classmethod
    def build(cls, config: Config, make_transport: MakeTransport, *, rng: random.Random, now: float) -> "TierTable":
        """The table of a gateway that starts; every endpoint starts available."""
        endpoints = [
            Endpoint(each, transport=make_transport(each), live=Live(config.breaker, rng=rng))
            for each in config.endpoints
        ]
        watches = {tier: TierWatch(ratio=config.retry.budget_ratio, now=now) for tier in TIERS}
        return cls(endpoints, balancer=make_balancer(config.routing.balancer, rng), watches=watches, rng=rng)

    def rebuild(self, config: Config, make_transport: MakeTransport) -> tuple["TierTable", tuple[Endpoint, ...]]:
        """The table of a new config, and the endpoints it no longer has, whose transports the caller closes.

        Endpoints of unchanged identity keep live state and transport; requests of the old snapshot see the same state.
        Call it last in a reload: if `make_transport` raises, nothing has changed; once it returns, kept breakers and
        budgets follow the new policy.
        """
        known: dict[Hashable, Endpoint] = {identity(each.config): each for each in self.endpoints}
        endpoints: list[Endpoint] = []
        kept: list[Endpoint] = []
        for each in config.endpoints:
            old = known.pop(identity(each), None)
            if old is None:
                live = Live(config.breaker, rng=self._rng)
                endpoints.append(Endpoint(each, transport=make_transport(each), live=live))
            else:
                kept.append(Endpoint(each, transport=old.transport, live=old.live))
                endpoints.append(kept[-1])
        for endpoint in kept:
            endpoint.breaker.follow(config.breaker)
            if not config.health.enabled:
                endpoint.forget_probes()
        for watch in self._watches.values():
            watch.budget.ratio = config.retry.budget_ratio
        balancer = make_balancer(config.routing.balancer, self._rng)
        table = TierTable(endpoints, balancer=balancer, watches=self._watches, rng=self._rng)
        return table, tuple(known.values())

    def of(self, tier: Tier) -> tuple[Endpoint, ...]:
        """The endpoints that take part in a tier, in the order of the configuration."""
        return self._by_tier[tier]

    def named(self, model: str) -> tuple[Endpoint, ...]:
        """The endpoints a client may mean by that exact name (all replicas) or id (that one); empty if none."""
        replicas = self.by_name.get(model)
        if replicas is not None:
            return replicas
        endpoint = self.by_id.get(model)
        return () if endpoint is None else (endpoint,)

    def budget(self, tier: Tier) -> RetryBudget:
        """The tier's retry budget."""
        return self._watches[tier].budget

    def pool(self, tier: Tier) -> Pool:
        """The endpoints that take part in the tier."""
        return self._pools[tier]

    def pools(self, tier: Tier, fallback: TierFallback) -> tuple[Pool, ...]:
        """The tier's pool and those to fall back to, in order."""
        return self._plans[tier, fallback]

    def pool_of(self, ids: tuple[str, ...]) -> Pool:
        """The pool of certain endpoints, all of one tier."""
        pool = self._exact.get(ids)
        if pool is None:
            endpoints = [self.by_id[each] for each in ids]
            pool = self._exact[ids] = Pool(endpoints[0].tier, endpoints, balancer=self._balancer)
        return pool

    def substituted(self, pool: Pool, replaced: Sequence[Endpoint], by: Sequence[Endpoint]) -> Pool:
        """The pool with other endpoints in the place of some, which get their priority and their weight together."""
        gone = {endpoint.id for endpoint in (*replaced, *by)}
        scale = sum(each.weight for each in replaced) / sum(each.weight for each in by)
        priority = max(each.priority for each in replaced)
        in_their_place = [_as(each, weight=each.weight * scale, priority=priority) for each in by]
        others = [each for each in pool.endpoints if each.id not in gone]
        return Pool(pool.tier, (*others, *in_their_place), balancer=self._balancer)

    def cheapest(self, allowed: frozenset[str] | None) -> tuple[EndpointConfig, ...]:
        """Few endpoints, of which one may cost least of all, or of those of these ids, whatever is asked."""
        found = self._cheapest.get(allowed)
        if found is None:
            if len(self._cheapest) >= MOST_PARTS:
                self._cheapest.clear()
            may = (each.config for each in self.endpoints if allowed is None or each.id in allowed)
            found = self._cheapest[allowed] = cheapest(may)
        return found

    def pick(
        self,
        tier: Tier,
        *,
        now: float,
        excluded: Container[str] = _NOTHING,
        fits: Callable[[Endpoint], bool] | None = None,
    ) -> Endpoint | None:
        """Who of the tier takes this attempt; None when nobody available is left. As `Pool.pick`."""
        return self._pools[tier].pick(now=now, excluded=excluded, fits=fits)

    def tier_state(self, tier: Tier, now: float) -> BreakerState:
        """The tier's breaker: open when all its endpoints are out, half open when the best of the others is.

        An endpoint is out by breaker, cooldown, quota, auth or probes, not by being full. Drained ones are no failure
        and do not count; where no other is left, the breaker is closed. Asking changes nothing.
        """
        state, endpoints = BreakerState.OPEN, self._by_tier[tier]
        drained = 0
        for endpoint in endpoints:
            if endpoint.live.drained:
                drained += 1
            elif endpoint.out(now) is None:
                if endpoint.breaker.state(now) is BreakerState.CLOSED:
                    return BreakerState.CLOSED
                state = BreakerState.HALF_OPEN
        return BreakerState.CLOSED if drained and drained == len(endpoints) else state

    def best_state(self, now: float) -> BreakerState:
        """The best state of any tier's breaker: open when all of them are. Asking changes nothing."""
        return BreakerState.best(self.tier_state(tier, now) for tier in TIERS)

    def tier_trips(self, tier: Tier) -> int:
        """How often the tier's breaker opened, as far as `observe` was called."""
        return self._watches[tier].trips

    def observe(self, now: float) -> None:
        """Look at all tiers and count those that opened; call it after whatever may have taken an endpoint out."""
        for tier, endpoints in self._by_tier.items():
            state, back_at = self.tier_state(tier, now), now
            if state is BreakerState.OPEN:  # only then does anybody ask, and it takes a look at everyone
                back_at = min((each.back_at(now) for each in endpoints if not each.live.drained), default=now)
            self._watches[tier].saw(state, now=now, back_at=back_at)

    def available_count(self, tier: Tier, now: float) -> int:
        """How many endpoints of the tier are neither out nor drained."""
        return sum(endpoint.out(now) is None for endpoint in self._by_tier[tier])

    def next_eligible_at(self, where: Tier | Iterable[Endpoint], now: float) -> float:
        """The first time one of a tier, or of those given, may be tried; `now` if one may already, or none exists."""
        endpoints = self._by_tier[where] if isinstance(where, Tier) else where
        first = math.inf
        for endpoint in endpoints:
            first = min(first, endpoint.eligible_at(now))
            if first <= now:
                break
        return now if first == math.inf else first


def _as(endpoint: Endpoint, *, weight: float, priority: int) -> Endpoint:
    """The same endpoint, with the same live state, in another standing."""
    config = msgspec.structs.replace(endpoint.config, weight=weight, priority=priority)
    return Endpoint(config, transport=endpoint.transport, live=endpoint.live)


@cache
def plan(tier: Tier, fallback: TierFallback) -> tuple[Tier, ...]:
    """The tiers to try in order: the chosen one, then dearer ones upward, cheaper ones downward, or up before down."""
    at = TIERS.index(tier)
    up, down = TIERS[at + 1 :], TIERS[:at][::-1]
    match fallback:
        case TierFallback.NONE:
            return (tier,)
        case TierFallback.UP:
            return (tier, *up)
        case TierFallback.DOWN:
            return (tier, *down)
        case TierFallback.BOTH:
            return (tier, *up, *down)
