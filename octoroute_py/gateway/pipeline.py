"""The gateway itself: one request from its body to a committed answer, in the order of docs/architecture.md.

The snapshot in force is read once when a request is opened and used to its end; a reload swaps the pointer for new
requests only. The edge calls `open`, `handle` and, whatever happens, `close`.
"""

import asyncio
import random
from collections.abc import Mapping
from functools import partial

from octoroute_py.admission.auth import Access
from octoroute_py.admission.principal import Principal
from octoroute_py.config.schema import Config
from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.clock import Monotonic, Wall
from octoroute_py.core.errors import Refused
from octoroute_py.core.trace import Trail
from octoroute_py.core.words import Surface
from octoroute_py.gateway.accounts import Accounts
from octoroute_py.gateway.asked import asked
from octoroute_py.gateway.attempt import Sent
from octoroute_py.gateway.choosing import choose
from octoroute_py.gateway.context import RawHeaders, RequestContext, Snapshot
from octoroute_py.gateway.dispatch import Dispatcher
from octoroute_py.gateway.known import known_in
from octoroute_py.gateway.plan import Plan
from octoroute_py.gateway.receipts import Receipts
from octoroute_py.ledger.outcome import Outcome
from octoroute_py.ledger.recorder import Recorder
from octoroute_py.routing.sticky import digest
from octoroute_py.telemetry.content import Content, ContentLog
from octoroute_py.telemetry.metrics import Metrics
from octoroute_py.telemetry.trace_context import Sampler
from octoroute_py.transport.heard import Heard
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
        accounts: Accounts,
        sampler: Sampler | None = None,
        content: ContentLog | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.access = access
        self.metrics = metrics
        self._policies: Mapping[str, WorkspacePolicy] = {}
        metrics.know(known_in(snapshot, self._policies))
        self.draining = False
        self._ending = False
        self.monotonic = monotonic
        self.wall = wall
        self.receipts = Receipts()
        """Why the last requests went where they went."""
        self._accounts = accounts
        self._recorder = recorder
        self._sampler = sampler
        self._content = content
        self._ended: list[Outcome] = []
        self._dispatcher = Dispatcher(rng)
        self._live: set[RequestContext] = set()

    @property
    def config(self) -> Config:
        """The configuration in force for new requests."""
        return self.snapshot.config

    @property
    def policies(self) -> Mapping[str, WorkspacePolicy]:
        """What holds in each workspace that has a configuration; replaced whole when one of them changes."""
        return self._policies

    @policies.setter
    def policies(self, policies: Mapping[str, WorkspacePolicy]) -> None:
        if policies.keys() != self._policies.keys():
            self.metrics.know(known_in(self.snapshot, policies))
        self._policies = policies

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return len(self._live)

    def swap(self, snapshot: Snapshot, access: Access) -> None:
        """Put a new snapshot in force, whole, for requests from now on."""
        self.snapshot, self.access = snapshot, access
        self.metrics.know(known_in(snapshot, self._policies))

    # a request's life

    def open(
        self,
        *,
        request_id: str,
        surface: Surface,
        principal: Principal,
        raw_headers: RawHeaders,
        source: str,
        entry: int,
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
            source=source,
            entry=entry,
        )
        if self._sampler is not None:
            ctx.trail = Trail(self._sampler.open(raw_headers))
        if self._content is not None:
            ctx.heard = Heard()
        self._accounts.open(ctx)
        full = limit is not None and len(self._live) >= limit
        self._live.add(ctx)
        self.metrics.in_flight_inc()
        if self.draining:
            ctx.refusal = Refused("The gateway takes no new requests.", code="overloaded", retry_after_s=DRAIN_RETRY_S)
        elif full:
            ctx.refusal = Refused("The gateway is busy.", code="overloaded", retry_after_s=RETRY_SOON_S)
        return ctx

    async def handle(self, ctx: RequestContext, body: bytes) -> Sent:
        """The committed answer to a request. Raises the GatewayError that the client is to get."""
        if ctx.refusal is not None:
            raise ctx.refusal
        ctx.read(parse_body(body, ctx.surface))
        ctx.enter(self._policies)
        self._accounts.admit(ctx)
        self._accounts.foresee(ctx)
        plan = await self._plan(ctx)
        ctx.decision = plan.decision
        ctx.decided_tier = plan.decision.tier
        ctx.exposures = plan.exposures
        ctx.deadline_s = ctx.started_s + ctx.snapshot.timers.deadline(
            plan.decision.tier, stream=ctx.stream, asked_s=ctx.hints.timeout_s
        )
        await self._accounts.reserve(ctx, plan)
        return await self._dispatcher.run(ctx, plan)

    def admit(self, ctx: RequestContext) -> None:
        """Let somebody in who only wants a judge's word, which costs as much as for a request; `leave` it afterwards.

        Raises Limited and OverBudget (429). It counts as a request, which it is to the judge.
        """
        self._accounts.open(ctx)
        self._accounts.admit(ctx)
        self._accounts.foresee(ctx)

    def leave(self, ctx: RequestContext) -> None:
        """Whoever was admitted is done."""
        self._accounts.close(ctx)

    async def keep(self, ctx: RequestContext) -> None:
        """The answer is whole but for its last byte: return when the journal has its row."""
        if not ctx.kept:
            ctx.kept = True
            await self._accounts.keep(self._end(ctx))

    def close(self, ctx: RequestContext) -> None:
        """A request is over: record how it ended."""
        self._live.discard(ctx)
        self.metrics.in_flight_dec()
        outcome = self._end(ctx)
        self._accounts.close(ctx)
        if not ctx.kept:
            ctx.kept = True
            self._accounts.keep_later(outcome)
        if self._content is not None and ctx.attempts and ctx.heard is not None:
            fields = ctx.envelope.fields
            size = len(ctx.envelope.body) + (0 if ctx.heard.whole is None else len(ctx.heard.whole.body))
            self._content.take(Content(ctx.request_id, partial(asked, fields), ctx.heard.text, size))
        if not self._ended:
            asyncio.get_running_loop().call_later(RECORD_WITHIN_S, self.settle)
        self._ended.append(outcome)

    def _end(self, ctx: RequestContext) -> Outcome:
        """What the request came to, worked out once."""
        if ctx.outcome is None:
            ctx.outcome = _outcome(ctx, self.monotonic())
            self._accounts.end(ctx, ctx.outcome)
            if ctx.grounds is not None:
                self.receipts.keep(ctx.outcome, ctx.grounds)
        return ctx.outcome

    def settle(self) -> None:
        """Record what has ended so far: done soon after by itself, and before anybody looks at the figures."""
        ended, self._ended = self._ended, []
        for outcome in ended:
            self._recorder.record(outcome)

    # choosing

    async def _plan(self, ctx: RequestContext) -> Plan:
        started_s = self.monotonic()
        if ctx.trail is not None:
            ctx.trail.routing_begins(started_s, model=ctx.envelope.model)
        plan = await choose(ctx)
        ctx.routing_s = self.monotonic() - started_s
        return plan

    # the end

    def begin_drain(self) -> None:
        """No new work from now on, for the process ends."""
        self.draining = self._ending = True

    def pause(self) -> None:
        """No new work until `resume`; requests under way go on."""
        self.draining = True

    def resume(self) -> bool:
        """Take new work again; False, and nothing changes, once the process is ending."""
        self.draining = self._ending
        return not self._ending

    def cut(self) -> None:
        """End every request still under way with an error."""
        for ctx in list(self._live):
            ctx.cut_off()


def _outcome(ctx: RequestContext, now: float) -> Outcome:
    decision, hints, duration_s = ctx.decision, ctx.hints, now - ctx.started_s
    return Outcome(
        request_id=ctx.request_id,
        entry=ctx.entry,
        surface=ctx.surface,
        principal=ctx.principal.name,
        workspace=ctx.workspace,
        key_id=ctx.principal.key_id,
        agent_type=hints.agent_type or "",
        user_id=ctx.user_id,
        request_type=ctx.request_type,
        tag=hints.tag,
        status=ctx.status,
        tier=None if decision is None else decision.tier,
        decided_tier=ctx.decided_tier,
        strategy=None if decision is None else decision.strategy,
        reason=None if decision is None else decision.reason,
        rule=None if decision is None else decision.rule,
        rule_id=None if decision is None else decision.rule_id,
        confidence=None if decision is None else decision.confidence,
        endpoint_id=ctx.endpoint_id,
        sends=ctx.sends,
        attempts=tuple(ctx.attempts),
        stream=ctx.stream,
        broken_stream=ctx.broken_stream,
        usage=ctx.usage,
        estimated=ctx.estimated,
        cost_uusd=ctx.cost_uusd,
        baseline_uusd=ctx.baseline_uusd,
        arms=_arms(ctx),
        caller=_caller(ctx),
        started_wall_s=ctx.wall() - duration_s,
        started_ms=ctx.started_ms,
        started_s=ctx.started_s,
        duration_s=duration_s,
        routing_s=ctx.routing_s,
        first_event_s=ctx.first_event_s,
        error_code=ctx.error_code,
        trail=ctx.trail,
    )


def _arms(ctx: RequestContext) -> str | None:
    """The arms that had an effect, as the journal keeps them."""
    if not ctx.exposures:
        return None
    tried = {attempt.endpoint_id for attempt in ctx.attempts}
    met = [each.label for each in ctx.exposures if each.endpoints is None or not tried.isdisjoint(each.endpoints)]
    return ",".join(met) or None


def _caller(ctx: RequestContext) -> str | None:
    """Whom arms were drawn for, not to be read as the words they came with."""
    caller = None if _arms(ctx) is None else ctx.stable_id()
    return None if caller is None else digest(caller)
