"""A dispatcher with everything around it but sockets and time: endpoints by id, each with its script."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from octoroute_py.admission.principal import Principal
from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.decision import Decision
from octoroute_py.core.words import Reason, Role, Strategy, Surface, Tier
from octoroute_py.gateway.attempt import Sent
from octoroute_py.gateway.context import RawHeaders, RequestContext
from octoroute_py.gateway.dispatch import Dispatcher
from octoroute_py.gateway.plan import Needs, Plan, plan_exact, plan_tiers
from octoroute_py.gateway.snapshot import make_snapshot
from octoroute_py.routing.strategies import make_router
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.table import TierTable
from octoroute_py.transport.openai import parse_body
from tests.fakes import bodies
from tests.fakes.endpoints import config, endpoint_config
from tests.fakes.scripted_transport import SSE, Clock, Part, Reply, ScriptedTransport, Turn, script

ANSWER = bodies.chat_body("Hello.")
GOOD = Reply(200, ANSWER)
EVENTS = (bodies.chat_chunk(text="Hello."), bodies.chat_chunk(finish_reason="stop"), bodies.DONE)
WALL = 1_700_000_000.0

# `Any`: the keyword arguments are those of the frozen configuration values, checked when these are made.


def stream(*parts: Part) -> Reply:
    """A 200 event stream of these parts; without any, a good one."""
    return Reply(200, *(parts or EVENTS), headers=SSE)


def refusal(status: int, *, retry_after: str | None = None, **error: Any) -> Reply:
    """An error in OpenAI's envelope."""
    headers = [(b"content-type", b"application/json")]
    if retry_after is not None:
        headers.append((b"retry-after", retry_after.encode()))
    return Reply(status, bodies.error_body(**error), headers=headers)


class Stage:
    """Endpoints `{id: turns}`; `each` holds more configuration by id, `fields` that of the whole."""

    def __init__(
        self,
        scripts: Mapping[str, Sequence[Turn] | Turn],
        *,
        each: Mapping[str, Mapping[str, Any]] | None = None,
        seed: int = 7,
        **fields: Any,
    ) -> None:
        self.clock = Clock()
        self.transports: dict[str, ScriptedTransport] = {}
        rng = random.Random(seed)
        self.config = config(*(endpoint_config(id_, **(each or {}).get(id_, {})) for id_ in scripts), **fields)

        def make(endpoint: EndpointConfig) -> ScriptedTransport:
            return self.transports.setdefault(endpoint.id, script(self.clock, scripts[endpoint.id]))

        self.table = TierTable.build(self.config, make, rng=rng, now=self.clock.now)
        router = make_router(self.config, lambda: WALL)
        self.snapshot = make_snapshot(self.config, self.table, router, generation=1)
        self.dispatcher = Dispatcher(rng, sleep=self.clock.sleep)

    def __getitem__(self, endpoint_id: str) -> Endpoint:
        return self.table.by_id[endpoint_id]

    @property
    def sent_to(self) -> list[str]:
        """Who was asked, in order; requests at the same instant as the endpoints are configured."""
        order = [(at, id_) for id_, transport in self.transports.items() for at in transport.sends]
        return [id_ for _, id_ in sorted(order, key=lambda each: each[0])]

    @property
    def holds(self) -> int:
        """Attempts that still hold a place, extra tries and requests of budgets included."""
        budgets = [self.table.budget(tier) for tier in Tier]
        return sum(e.in_flight for e in self.table.endpoints) + sum(b.in_flight + b.extra_in_flight for b in budgets)

    def context(
        self, *, stream: bool = False, limit_s: float | None = None, headers: RawHeaders | None = None, **body: Any
    ) -> RequestContext:
        """A chat request that has been read; `limit_s` is its deadline, by default the tier fast's."""
        ctx = RequestContext(
            request_id="req-1",
            surface=Surface.CHAT,
            snapshot=self.snapshot,
            principal=Principal("anonymous", Role.INFERENCE),
            raw_headers=headers or [],
            monotonic=self.clock,
            wall=lambda: WALL,
        )
        sent = {"model": "fast", "messages": [{"role": "user", "content": "Hi"}], "stream": stream, **body}
        ctx.read(parse_body(msgspec.json.encode(sent), Surface.CHAT))
        ctx.deadline_s = self.clock.now + self.snapshot.timers.deadline(Tier.FAST, stream=stream, asked_s=limit_s)
        return ctx

    def plan(self, tier: Tier = Tier.FAST) -> Plan:
        """That tier, asked for by name, and its fallbacks."""
        decision = Decision(tier, Strategy.RULE, Reason.EXPLICIT_TIER)
        return plan_tiers(decision, Needs(None, None, False), self.table, self.config.routing.tier_fallback)

    def exact(self, *endpoint_ids: str) -> Plan:
        """These endpoints, asked for by name."""
        return plan_exact(self.table.pool_of(endpoint_ids), Needs(None, None, False))

    async def run(self, ctx: RequestContext | None = None, plan: Plan | None = None) -> Sent:
        """Dispatch a request to its committed answer."""
        ctx = ctx or self.context()
        plan = plan or self.plan()
        ctx.decision = plan.decision
        return await self.dispatcher.run(ctx, plan)
