"""`GET /api/resilience/status`: breakers, health, slots in use, retries left. Reading changes nothing."""

import math
from typing import Literal

import msgspec
from starlette.types import Receive, Scope

from octoroute_py.core.words import TIERS, BreakerState, Role, Tier
from octoroute_py.edge.api.answer import Answer
from octoroute_py.edge.api.wire import query
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.operation import Operation
from octoroute_py.gateway.idempotency import Idempotency
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.live import Unavailability
from octoroute_py.tiers.recent import milliseconds
from octoroute_py.tiers.table import TierTable


class BreakerStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A breaker; `retry_after_seconds` is there while it is open for a time that is known.

    A tier's opens when all its endpoints are out, for whatever cause, and counts no failures of its own.
    """

    id: str
    scope: Literal["endpoint", "tier"]
    state: BreakerState
    consecutive_failures: int | None
    trips: int
    retry_after_seconds: float | msgspec.UnsetType = msgspec.UNSET


class EndpointHealth(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An endpoint; `success_rate` (0 to 1) and `latency_ms`, the mean to a whole answer, are of five minutes."""

    id: str
    model_id: str
    tier: Tier
    healthy: bool
    out_because: Unavailability | None
    last_check_seconds_ago: float | None
    success_rate: float | None
    latency_ms: float | None


class Bulkhead(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Attempts under way at an endpoint, of how many at most; `usage` is their share, null without a limit."""

    in_flight: int
    limit: int | None
    usage: float | None


class RetryBudgetStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Extra tries that a tier may still make, and the requests and extra tries that are under way in it."""

    tries_left: float
    ratio: float
    in_flight: int
    extra_in_flight: int


class Resilience(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All of it at one moment; pools are by endpoint id, budgets by tier."""

    circuit_breakers: list[BreakerStatus]
    endpoint_health: list[EndpointHealth]
    bulkhead_pools: dict[str, Bulkhead]
    idempotency_keys_count: int
    retry_budgets: dict[Tier, RetryBudgetStatus]


STATUS = Operation(summary="Breakers, health of endpoints, slots in use", answer=Resilience)


class ResilienceRoutes:
    """The route."""

    def __init__(self, gateway: Gateway, memory: Idempotency) -> None:
        self._gateway = gateway
        self._memory = memory

    def add_to(self, table: Table) -> None:
        """Add it."""
        table.add("GET", "/api/resilience/status", Answer(self._status), role=Role.VIEWER, operation=STATUS)

    async def _status(self, scope: Scope, receive: Receive) -> Resilience:
        query(scope)
        now, table = self._gateway.monotonic(), self._gateway.snapshot.table
        return Resilience(
            circuit_breakers=[
                *(_breaker(each, now) for each in table.endpoints),
                *(_tier_breaker(table, tier, now) for tier in TIERS),
            ],
            endpoint_health=[_health(each, now) for each in table.endpoints],
            bulkhead_pools={each.id: _pool(each) for each in table.endpoints},
            idempotency_keys_count=self._memory.keys,
            retry_budgets={tier: _budget(table, tier) for tier in TIERS},
        )


def _breaker(endpoint: Endpoint, now: float) -> BreakerStatus:
    breaker = endpoint.breaker
    state = breaker.state(now)
    return BreakerStatus(
        id=endpoint.id,
        scope="endpoint",
        state=state,
        consecutive_failures=breaker.consecutive_failures,
        trips=breaker.trips,
        retry_after_seconds=round(breaker.retry_at(now) - now, 3) if state is BreakerState.OPEN else msgspec.UNSET,
    )


def _tier_breaker(table: TierTable, tier: Tier, now: float) -> BreakerStatus:
    state = table.tier_state(tier, now)
    after_s: float | msgspec.UnsetType = msgspec.UNSET
    if state is BreakerState.OPEN:
        back_at = min((each.back_at(now) for each in table.of(tier)), default=math.inf)
        after_s = msgspec.UNSET if back_at == math.inf else round(back_at - now, 3)
    return BreakerStatus(
        id=tier.value,
        scope="tier",
        state=state,
        consecutive_failures=None,
        trips=table.tier_trips(tier),
        retry_after_seconds=after_s,
    )


def _health(endpoint: Endpoint, now: float) -> EndpointHealth:
    live, out, registered = endpoint.live, endpoint.out(now), endpoint.config.registered
    return EndpointHealth(
        id=endpoint.id,
        model_id=endpoint.name if registered is None else registered.model_id,
        tier=endpoint.tier,
        healthy=out is None,
        out_because=out,
        last_check_seconds_ago=None if live.last_check is None else round(now - live.last_check, 3),
        success_rate=live.recent.success_rate(now),
        latency_ms=milliseconds(live.recent.answer_s(now)),
    )


def _pool(endpoint: Endpoint) -> Bulkhead:
    limit, in_flight = endpoint.config.max_in_flight, endpoint.in_flight
    return Bulkhead(in_flight=in_flight, limit=limit, usage=None if limit is None else round(in_flight / limit, 4))


def _budget(table: TierTable, tier: Tier) -> RetryBudgetStatus:
    budget = table.budget(tier)
    return RetryBudgetStatus(
        tries_left=budget.tries_left,
        ratio=budget.ratio,
        in_flight=budget.in_flight,
        extra_in_flight=budget.extra_in_flight,
    )
