"""Requests that are decided about twice, dry and for real, in one process: both have to come to the same."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from octoroute_py.admission.principal import ANONYMOUS, Principal
from octoroute_py.config.load import parse_config
from octoroute_py.core.registry import Kind
from octoroute_py.core.words import Reason, Role, Tier
from octoroute_py.edge.model_call import CONTEXT
from octoroute_py.gateway.context import RequestContext
from octoroute_py.manage.documents import Desk, Documents
from octoroute_py.manage.store import Store
from octoroute_py.storage import workspaces
from octoroute_py.storage.db import Database
from tests.fakes.application import Running, running
from tests.fakes.keyed import Keyed, holder, shown
from tests.fakes.upstream import FakeUpstream
from tests.fakes.worlds import World, file_config

A_WORLD = 200
"""Requests that one world gets before there is another."""
FROM_S, TO_S = 1_700_000_000, 1_770_000_000
OUT_S = 10_000_000.0
KEYS = {
    "stranger": Principal(ANONYMOUS, Role.OPERATOR, ANONYMOUS),
    "all": holder(Role.OPERATOR, key_id="k-all"),
    "cheap": holder(Role.OPERATOR, key_id="k-cheap", tiers=(Tier.FAST, Tier.BALANCED)),
    "named": holder(Role.OPERATOR, key_id="k-named", endpoints=("small", "middle", "huge", "m-1", "m-2")),
}
PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
}


class Answer(NamedTuple):
    """What came back, and the request as the gateway knew it; None where it did not come so far."""

    status: int
    body: Any
    ctx: RequestContext | None


class Asked(NamedTuple):
    """One request, for real and dry."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    tried: dict[str, Any]


class Figures:
    """What came of all pairs; `wrong` tells those that differ.

    `by` counts who decided, `refused` the errors by code, `rules` are those that decided, `arms` counts requests with a
    part in an experiment or a canary deployment, `one` those with a single model to be tried first.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.by: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.rules: set[str] = set()
        self.arms = 0
        self.one = 0
        self.wrong: list[str] = []


async def compare(*, requests: int, seed: int, folder: Path, strategy: str = "rule") -> Figures:
    """Decide about so many random requests twice, in worlds that follow from the seed."""
    figures = Figures()
    async with FakeUpstream() as upstream:
        for number in range(0, requests, A_WORLD):
            rng = random.Random(f"{seed}:{number}")
            place = folder / f"world-{number}"
            place.mkdir()
            async with _gateway(upstream.base_url, place, strategy=strategy, rng=rng) as (one, world):
                for each in range(number, min(number + A_WORLD, requests)):
                    await _one(one, world, rng, each, figures)
                    upstream.forget()
    return figures


@contextlib.asynccontextmanager
async def _gateway(
    url: str, folder: Path, *, strategy: str, rng: random.Random
) -> AsyncIterator[tuple[Running, World]]:
    """A gateway that starts over a database with a world in it, some of its endpoints out."""
    world = World(url, rng=rng)
    toml = file_config(url, strategy=strategy, rng=rng) + f'[storage]\nurl = "sqlite:///{folder}/world.db"\n'
    database = Database.open(f"sqlite:///{folder}/world.db", base_dir=folder)
    try:
        await _keep(database, world)
    finally:
        database.close()
    async with running(parse_config(toml)) as one:
        gateway = one.application.gateway
        gateway.access = Keyed(KEYS)  # type: ignore[assignment]
        for endpoint in gateway.snapshot.table.endpoints:
            if rng.random() < 0.15:
                endpoint.cool_down(gateway.monotonic(), OUT_S)
        yield one, world


async def _keep(database: Database, world: World) -> None:
    async def nobody() -> None:
        return

    def work(desk: Desk) -> None:
        for kind, values in (
            (Kind.MODEL, world.models),
            (Kind.ENDPOINT, world.endpoints),
            (Kind.RULE, world.rules),
            (Kind.CANARY, world.canaries),
            (Kind.EXPERIMENT, world.experiments),
        ):
            for value in values:
                desk.put(kind, value.id, value, action="x")
        for preferences in world.preferences:
            desk.put(Kind.PREFERENCES, preferences.agent_type, preferences, action="x")

    store = Store(database)
    await Documents(store, wall=lambda: 1.0, changed=nobody).change(work, by="test")
    for id_, policy in world.policies.items():
        await store.write(lambda connection, i=id_, p=policy: workspaces.put(connection, i, p, at_ms=1, actor="test"))  # type: ignore[misc]


async def _one(one: Running, world: World, rng: random.Random, number: int, figures: Figures) -> None:
    gateway = one.application.gateway
    now = rng.uniform(FROM_S, TO_S)
    gateway.wall = lambda: now
    key = rng.choice(("stranger", "stranger", "all", "cheap", "named"))
    asked = _asked(world, rng, f"request-{number}")
    dry = await call(one, "/api/routing/test", asked.tried, shown(key))
    live = await call(one, asked.path, asked.body, asked.headers | shown(key))
    problem = _difference(dry, live, one)
    figures.requests += 1
    if dry.status != 200:
        figures.refused[_code(dry.body)] += 1
    else:
        figures.by[dry.body["decidedBy"]] += 1
        figures.rules.add(f"{number // A_WORLD}:{dry.body['ruleId']}")
        figures.arms += bool(dry.body.get("arms"))
        figures.one += dry.body["selectedModel"] is not None
    if problem is not None:
        figures.wrong.append(f"{number}: {problem}; {msgspec.json.encode(asked.tried).decode()[:400]}")


def _asked(world: World, rng: random.Random, id_: str) -> Asked:
    surface = rng.choice(("route", "route", "chat", "chat", "chat", "completions", "responses", "embeddings"))
    headers = world.headers()
    if surface == "route":
        words = world.words(id_)
        return Asked("/api/route", words, headers, words | {"headers": headers})
    body = world.chat() if surface == "chat" else world.other(surface)
    tried = {"request": body, "headers": headers, "id": id_, "surface": surface}
    return Asked(PATHS[surface], body, headers | {"X-Request-Id": id_}, tried)


def _difference(dry: Answer, live: Answer, one: Running) -> str | None:
    """What the two do not agree about."""
    ctx = live.ctx
    if ctx is None:
        return f"nothing is known of the request: {live.status} {live.body}"
    if dry.status != 200 or ctx.decision is None:
        pairs = [(dry.status, live.status), (_code(dry.body), _code(live.body))]
    else:
        told = dry.body
        pairs = [
            (told["selectedTier"], ctx.decided_tier),
            (told["rule"], ctx.decision.rule),
            (told["ruleId"], ctx.decision.rule_id),
            (told.get("arms", []), [each.label for each in ctx.exposures]),
            (_first(told, ctx, one), True),
        ]
        if ctx.decision.reason is not Reason.TIER_FALLBACK:
            pairs.append((told["reason"], ctx.decision.reason))
    found = [f"{mine!r} is not {theirs!r}" for mine, theirs in pairs if mine != theirs]
    return ", ".join(found) or None


def _first(told: Mapping[str, Any], ctx: RequestContext, one: Running) -> object:
    """Whether the model that was tried first is the one that was told, or one of those it was to be drawn from."""
    if not ctx.attempts:
        return told["selectedFrom"] == [] or f"nobody was tried, and {told['selectedFrom']} was told"
    name = one.application.gateway.snapshot.table.by_id[ctx.attempts[0].endpoint_id].name
    right = told["selectedModel"] in (None, name) and name in told["selectedFrom"]
    return right or f"{name} was tried, and {told['selectedFrom']} was told"


def _code(body: Any) -> str:
    """An error's code, in any of the gateway's shapes."""
    error = body.get("error") if isinstance(body, dict) else None
    return str(error["code"] if isinstance(error, dict) else body.get("code")) if isinstance(body, dict) else ""


async def call(one: Running, path: str, body: object, headers: Mapping[str, str]) -> Answer:
    """A POST to the application, of which the request's context is kept."""
    content = msgspec.json.encode(body)
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": raw,
        "client": ("127.0.0.1", 4711),
        "server": ("gateway", 80),
    }
    messages: list[Any] = [{"type": "http.request", "body": content, "more_body": False}]
    status, parts = 0, []

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()  # the client stays
        return None

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    await one.application.app(scope, receive, send)
    whole = b"".join(parts)
    try:
        decoded = msgspec.json.decode(whole)
    except msgspec.DecodeError:
        decoded = None  # a stream
    return Answer(status, decoded, scope.get(CONTEXT))
