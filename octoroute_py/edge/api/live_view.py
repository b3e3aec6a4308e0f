"""What `GET /api/live` tells: the gateway at one moment, and how it came there. Looking changes nothing."""

from collections.abc import Callable, Sequence
from typing import Final

from octoroute_py import __version__
from octoroute_py.core.clock import iso
from octoroute_py.core.money import usd
from octoroute_py.core.words import TIERS, Tier
from octoroute_py.edge.api.live_events import (
    LiveDecision,
    LiveEndpoint,
    LiveHistory,
    LiveJudge,
    LiveLatency,
    LiveSecond,
    LiveSeries,
    LiveStorage,
    LiveTick,
    LiveTier,
    LiveTotals,
)
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.gateway.pulse import WINDOW_S, Pulse, Second
from octoroute_py.ledger.outcome import Outcome
from octoroute_py.manage.today import Money
from octoroute_py.routing.llm import JudgeRouter
from octoroute_py.telemetry.ledger_counts import KeepingRow
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.recent import milliseconds

MOST_NEW: Final = 20
"""Requests that one tick tells of; the others are only counted."""

Readiness = Callable[[], dict[str, object]]
"""What /health/ready says: `ready` and `reasons`."""


class LiveView:
    """Makes the events. `tick` tells each request once, so there is one reader of a view."""

    def __init__(
        self,
        gateway: Gateway,
        pulse: Pulse,
        *,
        money: Callable[[], Money | None],
        keeping: Callable[[], KeepingRow],
        readiness: Readiness,
    ) -> None:
        self._gateway = gateway
        self._pulse = pulse
        self._money = money
        self._keeping = keeping
        self._readiness = readiness
        self._started_s = gateway.monotonic()
        self._told = 0

    def history(self) -> LiveHistory:
        """The window up to the last full second."""
        self._gateway.settle()
        seconds = self._pulse.window()
        return LiveHistory(window_seconds=WINDOW_S, series=_series(seconds), recent=_decisions(self._pulse.newest()))

    def begin(self) -> None:
        """Somebody looks who has read the history: what ended before is not told again."""
        self._gateway.settle()
        self._told = self._pulse.requests

    def tick(self) -> LiveTick:
        """Now, with what has ended since the last tick."""
        gateway, pulse = self._gateway, self._pulse
        gateway.settle()
        since, self._told = self._told, pulse.requests
        new = pulse.newest(since)[-MOST_NEW:]
        readiness = self._readiness()
        keeping = self._keeping()
        return LiveTick(
            at=iso(int(pulse.now_s * 1000.0)),
            version=__version__,
            generation=gateway.snapshot.generation,
            uptime_seconds=round(gateway.monotonic() - self._started_s, 3),
            draining=gateway.draining,
            ready=readiness["ready"] is True,
            reasons=[str(reason) for reason in _listed(readiness["reasons"])],
            in_flight=gateway.in_flight,
            totals=LiveTotals(pulse.requests, pulse.failed),
            per_second=pulse.per_second(),
            latency=_latency(gateway),
            second=_second(pulse.last()),
            money=self._money(),
            tiers=_tiers(gateway, pulse),
            storage=LiveStorage(
                state=keeping.state,
                waiting=keeping.waiting,
                spooled=keeping.spooled,
                unkept=keeping.unkept,
                lost=keeping.lost,
            ),
            judge=_judge(gateway.snapshot.router.judge, gateway.monotonic()),
            decisions=_decisions(new),
            decisions_missed=self._told - since - len(new),
        )


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000.0, 3)


def _second(second: Second) -> LiveSecond:
    fast, balanced, deep = second.tiers
    return LiveSecond(
        t=second.at,
        requests=second.requests,
        errors=second.failed,
        fast=fast,
        balanced=balanced,
        deep=deep,
        p50_ms=_ms(second.p50_s),
        p95_ms=_ms(second.p95_s),
        cost_usd=usd(second.cost_uusd),
        saved_usd=usd(second.saved_uusd),
    )


def _series(seconds: list[Second]) -> LiveSeries:
    rows = [_second(second) for second in seconds]
    return LiveSeries(
        t=[row.t for row in rows],
        requests=[row.requests for row in rows],
        errors=[row.errors for row in rows],
        fast=[row.fast for row in rows],
        balanced=[row.balanced for row in rows],
        deep=[row.deep for row in rows],
        p50_ms=[row.p50_ms for row in rows],
        p95_ms=[row.p95_ms for row in rows],
        cost_usd=[row.cost_usd for row in rows],
        saved_usd=[row.saved_usd for row in rows],
    )


def _decisions(outcomes: list[Outcome]) -> list[LiveDecision]:
    return [_decision(outcome) for outcome in reversed(outcomes)]


def _decision(outcome: Outcome) -> LiveDecision:
    usage = outcome.usage
    return LiveDecision(
        request_id=outcome.request_id,
        at=iso(outcome.started_ms or int(outcome.started_wall_s * 1000.0)),
        tier=outcome.tier,
        decided_tier=outcome.decided_tier,
        strategy=outcome.strategy,
        reason=outcome.reason,
        rule=outcome.rule,
        endpoint=outcome.endpoint_id,
        status=outcome.status,
        error_code=outcome.error_code,
        stream=outcome.stream,
        duration_ms=_ms(outcome.duration_s),
        first_event_ms=_ms(outcome.first_event_s),
        routing_ms=_ms(outcome.routing_s),
        prompt_tokens=None if usage is None else usage.prompt,
        completion_tokens=None if usage is None else usage.completion,
        cost_usd=usd(outcome.cost_uusd),
        saved_usd=usd(outcome.baseline_uusd - outcome.cost_uusd) if outcome.baseline_uusd else None,
        attempts=len(outcome.attempts),
        agent_type=outcome.agent_type or None,
        workspace=outcome.workspace,
    )


def _latency(gateway: Gateway) -> LiveLatency:
    found = gateway.metrics.percentiles()
    if found is None:
        return LiveLatency(count=0, p50_ms=None, p95_ms=None, p99_ms=None)
    return LiveLatency(count=found.count, p50_ms=_ms(found.p50_s), p95_ms=_ms(found.p95_s), p99_ms=_ms(found.p99_s))


def _tiers(gateway: Gateway, pulse: Pulse) -> list[LiveTier]:
    now, table = gateway.monotonic(), gateway.snapshot.table
    by_tier, by_endpoint = pulse.tiers_per_second(), pulse.endpoints_per_second()
    endpoints: dict[Tier, list[LiveEndpoint]] = {tier: [] for tier in TIERS}
    for each in table.endpoints:
        endpoints[each.tier].append(_endpoint(each, now, per_second=by_endpoint.get(each.id, 0.0)))
    return [
        LiveTier(
            tier=tier,
            state=table.tier_state(tier, now),
            available=table.available_count(tier, now),
            total=len(table.of(tier)),
            trips=table.tier_trips(tier),
            requests_per_second=by_tier[tier],
            endpoints=endpoints[tier],
        )
        for tier in TIERS
    ]


def _endpoint(endpoint: Endpoint, now: float, *, per_second: float) -> LiveEndpoint:
    config, live, why = endpoint.config, endpoint.live, endpoint.unavailable(now)
    lately = live.recent.totals(now)
    latency_s = live.latency.read(now)
    if latency_s is None and lately.answers:
        latency_s = lately.answers_s / lately.answers
    return LiveEndpoint(
        id=endpoint.id,
        name=endpoint.name,
        model=config.model,
        location=config.location,
        state=endpoint.breaker.state(now),
        available=why is None,
        why=why,
        in_flight=endpoint.in_flight,
        max_in_flight=config.max_in_flight,
        weight=endpoint.weight,
        priority=endpoint.priority,
        requests_5m=lately.good + lately.bad,
        failed_5m=lately.bad,
        latency_ms=milliseconds(latency_s),
        requests_per_second=per_second,
        registered=config.registered is not None,
        drained=live.drained,
        in_tier=config.in_tier,
    )


def _judge(judge: JudgeRouter | None, now: float) -> LiveJudge | None:
    if judge is None:
        return None
    breaker = judge.breaker
    return LiveJudge(
        strategy=judge.strategy,
        state=breaker.state(now),
        trips=breaker.trips,
        consecutive_failures=breaker.consecutive_failures,
    )
