"""`/admin/circuit-breaker`: every breaker as it stands, and closing them by hand. Reading changes nothing."""

import enum
from typing import Final, Literal

import msgspec
import structlog
from starlette.types import Receive, Scope

from octoroute_py.core.errors import BadRequest, NotFound
from octoroute_py.core.words import TIERS, BreakerState, Role, Tier
from octoroute_py.edge.admin.target import chosen_by
from octoroute_py.edge.api.answer import add_routes
from octoroute_py.edge.api.wire import principal_of, query
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.operation import Operation
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.tiers.breaker import Breaker
from octoroute_py.tiers.live import Unavailability
from octoroute_py.tiers.table import TierTable

JUDGE: Final = "judge"
"""The id of the judge's own breaker, and its scope."""

_log = structlog.stdlib.get_logger("octoroute.edge")


class OverallState(enum.StrEnum):
    """The best state of any tier's breaker, or that breakers are switched off."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"
    DISABLED = "disabled"


class BreakerDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One breaker; counts are verdicts of the last `breaker.window_seconds`, which it goes by.

    `open_for_seconds` is the time since it was closed last, `retry_after_seconds` the time until it lets a trial
    through. `reason` says why its endpoint may not be tried now, null if it may.
    """

    id: str
    scope: Literal["endpoint", "judge"]
    tier: Tier
    state: BreakerState
    failure_count: int
    success_count: int
    consecutive_failures: int
    trips: int
    open_for_seconds: float | None
    retry_after_seconds: float | None
    half_open_in_flight: int
    reason: Unavailability | None


class TierDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A tier's breaker is open when all its endpoints are out; `available` of `total` are not."""

    tier: Tier
    state: BreakerState
    available: int
    total: int
    trips: int


class Breakers(msgspec.Struct, frozen=True, kw_only=True):
    """All of them at one moment; the counts are those of the endpoints, taken together."""

    enabled: bool
    state: OverallState
    failure_count: int
    success_count: int
    endpoints: list[BreakerDetail]
    tiers: list[TierDetail]


class WhichBreakers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An endpoint's id (`judge` for the judge's), or a tier; neither means all."""

    endpoint: str | None = None
    tier: Tier | None = None


class BreakersReset(msgspec.Struct, frozen=True):
    """The ids of those that were closed, or stayed so."""

    success: bool
    message: str
    reset: list[str]


class BreakerRoutes:
    """The routes."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def add_to(self, table: Table) -> None:
        """Add them."""
        path = "/admin/circuit-breaker"
        add_routes(
            table,
            ("GET", path, self._show, Role.ADMIN, SHOW),
            ("POST", f"{path}/reset", self._reset, Role.ADMIN, RESET),
        )

    async def _show(self, scope: Scope, receive: Receive) -> Breakers:
        query(scope)
        return shown(self._gateway)

    async def _reset(self, scope: Scope, receive: Receive) -> BreakersReset:
        query(scope)
        wanted = await chosen_by(scope, receive, WhichBreakers)
        done = reset(self._gateway, wanted)
        _log.info("breakers reset", ids=done, by=principal_of(scope).name)
        told = "1 circuit breaker" if len(done) == 1 else f"{len(done)} circuit breakers"
        return BreakersReset(success=True, message=f"{told} reset", reset=done)


def shown(gateway: Gateway) -> Breakers:
    """The breakers of the snapshot in force."""
    now, snapshot = gateway.monotonic(), gateway.snapshot
    rows = [
        _row(each.id, "endpoint", each.tier, each.breaker, why=each.unavailable(now), now=now)
        for each in snapshot.table.endpoints
    ]
    failures, successes = sum(row.failure_count for row in rows), sum(row.success_count for row in rows)
    enabled, judge = snapshot.config.breaker.enabled, snapshot.router.judge
    if judge is not None:
        why = None if judge.breaker.admits(now) else Unavailability.BREAKER
        rows.append(_row(JUDGE, "judge", snapshot.config.routing.router_tier, judge.breaker, why=why, now=now))
    return Breakers(
        enabled=enabled,
        state=OverallState(snapshot.table.best_state(now).value) if enabled else OverallState.DISABLED,
        failure_count=failures,
        success_count=successes,
        endpoints=rows,
        tiers=[_tier(snapshot.table, tier, now) for tier in TIERS],
    )


def reset(gateway: Gateway, wanted: WhichBreakers) -> list[str]:
    """Close these breakers and forget what else keeps their endpoints out, but not that one is drained; their ids.

    Attempts under way no longer count. Raises NotFound for an endpoint, or a judge, that does not exist.
    """
    if wanted.endpoint is not None and wanted.tier is not None:
        raise BadRequest("Give an endpoint or a tier, not both.", param="tier")
    snapshot = gateway.snapshot
    judge, table = snapshot.router.judge, snapshot.table
    if wanted.endpoint is not None:
        endpoint = table.by_id.get(wanted.endpoint)
        chosen = [] if endpoint is None else [endpoint]
    else:
        chosen = [each for each in table.endpoints if wanted.tier in (None, each.tier)]
    done = [each.id for each in chosen]
    for each in chosen:
        each.reset()
    if judge is not None and wanted.tier is None and wanted.endpoint in (None, JUDGE):
        judge.breaker.reset()
        done.append(JUDGE)
    if wanted.endpoint is not None and not done:
        raise NotFound("There is no such endpoint.", code="not_found", param="endpoint")
    table.observe(gateway.monotonic())
    return done


def _row(
    id_: str,
    scope: Literal["endpoint", "judge"],
    tier: Tier,
    breaker: Breaker,
    *,
    why: Unavailability | None,
    now: float,
) -> BreakerDetail:
    state, (failures, successes) = breaker.state(now), breaker.verdicts(now)
    opened_at = breaker.opened_at
    return BreakerDetail(
        id=id_,
        scope=scope,
        tier=tier,
        state=state,
        failure_count=failures,
        success_count=successes,
        consecutive_failures=breaker.consecutive_failures,
        trips=breaker.trips,
        open_for_seconds=None if opened_at is None else round(now - opened_at, 3),
        retry_after_seconds=round(breaker.retry_at(now) - now, 3) if state is BreakerState.OPEN else None,
        half_open_in_flight=breaker.trials_under_way,
        reason=why,
    )


def _tier(table: TierTable, tier: Tier, now: float) -> TierDetail:
    return TierDetail(
        tier=tier,
        state=table.tier_state(tier, now),
        available=table.available_count(tier, now),
        total=len(table.of(tier)),
        trips=table.tier_trips(tier),
    )


SHOW: Final = Operation(summary="Every circuit breaker with its counts", answer=Breakers)
RESET: Final = Operation(
    summary="Close circuit breakers, and forget what else keeps their endpoints out",
    body=WhichBreakers | None,
    answer=BreakersReset,
    errors=(404,),
)
