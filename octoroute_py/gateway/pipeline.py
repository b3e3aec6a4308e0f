"""The gateway itself: one request from its body to a committed answer, in the order of docs/architecture.md.

The snapshot in force is read once when a request is opened and used to its end; a reload swaps the pointer for new
requests only. The edge calls `open`, `handle` and, whatever happens, `close`.
"""

import asyncio
import random
from collections.abc import Mapping

from octoroute_py.admission.auth import Access, Principal
from octoroute_py.config.schema import Config
from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.clock import Monotonic, Wall
from octoroute_py.core.errors import Refused
from octoroute_py.core.words import Surface
from octoroute_py.gateway.attempt import Sent
from octoroute_py.gateway.choosing import choose
from octoroute_py.gateway.context import RawHeaders, RequestContext, Snapshot
from octoroute_py.gateway.dispatch import Dispatcher
from octoroute_py.gateway.plan import Plan
from octoroute_py.ledger.outcome import Outcome
from octoroute_py.ledger.recorder import Recorder
from octoroute_py.telemetry.metrics import Metrics
from octoroute_py.transport.openai import parse_body

RETRY_SOON_S = 1.0
DRAIN_RETRY_S = 5.0
RECORD_WITHIN_S = 0.005
"""Outcomes wait this long for company: counting and writing many in a row costs half of doing it one by one."""


class Gateway:
    """Everything that lives as long as the process and is not an endpoint."""

    def __init__(
        self,
        snapshot: Snapshot,
        access: Access,
        *,
        metrics: Metrics,
        recorder: Recorder,
        monotonic: Monotonic,
        wall: Wall,
        rng: random.Random,
    ) -> None:
        self.snapshot = snapshot
        self.access = access
        self.metrics = metrics
        self.policies: Mapping[str, WorkspacePolicy] = {}
        """What holds in each workspace that has a configuration; replaced whole when one of them changes."""
        self.draining = False
        self.monotonic = monotonic
        self.wall = wall
        self._recorder = recorder
        self._ended: list[Outcome] = []
        self._dispatcher = Dispatcher(rng)
        self._live: set[RequestContext] = set()

    @property
    def config(self) -> Config:
        """The configuration in force for new requests."""
        return self.snapshot.config

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return len(self._live)

    def swap(self, snapshot: Snapshot, access: Access) -> None:
        """Put a new snapshot in force, whole, for requests from now on."""
        self.snapshot, self.access = snapshot, access
        self.metrics.bind(endpoint.id for endpoint in snapshot.config.endpoints)

    # a request's life

    def open(
        self, *, request_id: str, surface: Surface, principal: Principal, raw_headers: RawHeaders
    ) -> RequestContext:
        """A request has come in; `close` it whatever happens. `refusal` is set while draining or full."""
        limit = self.snapshot.config.limits.max_in_flight
        ctx = RequestContext(
            request_id=request_id,
            surface=surface,
            snapshot=self.snapshot,
            principal=principal,
            raw_headers=raw_headers,
            monotonic=self.monotonic,
            wall=self.wall,
        )
        full = limit is not None and len(self._live) >= limit
        self._live.add(ctx)
        self.metrics.in_flight_inc()
        if self.draining:
            ctx.refusal = Refused("The gateway is shutting down.", code="overloaded", retry_after_s=DRAIN_RETRY_S)
        elif full:
            ctx.refusal = Refused("The gateway is busy.", code="overloaded", retry_after_s=RETRY_SOON_S)
        return ctx

    async def handle(self, ctx: RequestContext, body: bytes) -> Sent:
        """The committed answer to a request. Raises the GatewayError that the client is to get."""
        if ctx.refusal is not None:
            raise ctx.refusal
        ctx.read(parse_body(body, ctx.surface))
        ctx.enter(self.policies)
        plan = await self._plan(ctx)
        ctx.decision = plan.decision
        ctx.decided_tier = plan.decision.tier
        ctx.deadline_s = ctx.started_s + ctx.snapshot.timers.deadline(
            plan.decision.tier, stream=ctx.stream, asked_s=ctx.hints.timeout_s
        )
        return await self._dispatcher.run(ctx, plan)

    def close(self, ctx: RequestContext) -> None:
        """A request has ended: record how."""
        self._live.discard(ctx)
        self.metrics.in_flight_dec()
        if not self._ended:
            asyncio.get_running_loop().call_later(RECORD_WITHIN_S, self.settle)
        self._ended.append(_outcome(ctx, self.monotonic()))

    def settle(self) -> None:
        """Record what has ended so far: done soon after by itself, and before anybody looks at the figures."""
        ended, self._ended = self._ended, []
        for outcome in ended:
            self._recorder.record(outcome)

    # choosing

    async def _plan(self, ctx: RequestContext) -> Plan:
        started_s = self.monotonic()
        plan = await choose(ctx)
        ctx.routing_s = self.monotonic() - started_s
        return plan

    # the end

    def begin_drain(self) -> None:
        """No new work from now on."""
        self.draining = True

    def cut(self) -> None:
        """End every request still under way with an error."""
        for ctx in list(self._live):
            ctx.cut_off()


def _outcome(ctx: RequestContext, now: float) -> Outcome:
    decision = ctx.decision
    duration_s = now - ctx.started_s
    return Outcome(
        request_id=ctx.request_id,
        surface=ctx.surface,
        principal=ctx.principal.name,
        status=ctx.status,
        tier=None if decision is None else decision.tier,
        decided_tier=ctx.decided_tier,
        strategy=None if decision is None else decision.strategy,
        reason=None if decision is None else decision.reason,
        endpoint_id=ctx.endpoint_id,
        attempts=tuple(ctx.attempts),
        stream=ctx.stream,
        broken_stream=ctx.broken_stream,
        usage=ctx.usage,
        started_wall_s=ctx.wall() - duration_s,
        duration_s=duration_s,
        routing_s=ctx.routing_s,
        first_event_s=ctx.first_event_s,
        error_code=ctx.error_code,
    )
