"""A town to look at: a gateway with its keys and a journal, simulated model servers, and real mixed traffic.

    async with town(tmp_path) as one:
        await one.traffic(30)              # chats of all tiers, streams, refusals, an upstream that fails
        one.keys["viewer"]                 # for whoever wants to look

The model servers run in a thread of their own: they answer also while the test's loop waits for nothing of theirs.
"""

import asyncio
import contextlib
import itertools
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx

from octoroute_py.core.words import TIERS, Tier
from octoroute_py.simulator.fleet import FLEET, serve_fleet
from tests.fakes.gateway import RunningGateway, gateway
from tests.fakes.ledger import DATABASE

KEYS: Mapping[str, str] = MappingProxyType(
    {role: f"okr-town-{role}-0123456789abcdef" for role in ("admin", "operator", "viewer", "inference")}
)
"""One key a role."""
PAYLOADS = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(2)</script>',
    "<svg/onload=alert(3)>",
    "javascript:alert(4)//${alert(5)}{{constructor.constructor('alert(6)')()}}",
)
"""What a name or a text may hold that wants to be run."""
SPEED = 20.0
"""How many times as fast as the demo's models those of the town answer."""
READY_S = 60.0
GONE, FAILING = "the-one-that-is-gone", "the-one-that-fails"

Json = dict[str, Any]


class Ask(NamedTuple):
    """One request of the traffic: its body, its headers, and whether it counts as good."""

    body: Json
    headers: Mapping[str, str] = MappingProxyType({})
    good: bool = True


def _chat(text: str, *, model: str = "auto", headers: Mapping[str, str] | None = None, **more: Any) -> Ask:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 24, **more}
    return Ask(body, headers or {})


TRAFFIC: Sequence[Ask] = (
    _chat("hello there"),
    _chat("Translate 'good morning' into French.", headers={"x-octoroute-agent-type": "translator"}),
    _chat("Prove step by step that the square root of two is irrational.", stream=True),
    _chat("Write a Python function that merges two sorted lists, with tests.", headers={"x-octoroute-tag": "code"}),
    _chat("What is the capital of Peru?", model="fast", stream=True),
    _chat("Compare event sourcing with plain tables for a bank, at length.", model="deep"),
    _chat("Sum up this sentence in three words.", model="balanced"),
    _chat("hello again", headers={"x-octoroute-importance": "high"}),
    _chat("nobody knows this model", model="no-such-model")._replace(good=False),
    _chat("What time is it?", model=FAILING)._replace(good=False),
)
"""In turn, again and again."""


class Town:
    """A running town; `url` is where its page and its API are, `folder` where its journal lies."""

    def __init__(self, running: RunningGateway, keys: Mapping[str, str]) -> None:
        self.gateway = running
        self.url = running.url
        self.keys = keys
        self.folder = running.folder
        self._next = itertools.cycle(TRAFFIC)
        self._client = httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=30.0)

    @property
    def journal(self) -> Path:
        """The database's file."""
        return self.folder / DATABASE

    def headers(self, role: str) -> dict[str, str]:
        """What shows the key of a role; nothing where there are no keys."""
        return {"authorization": f"Bearer {self.keys[role]}"} if self.keys else {}

    async def look(self, path: str, *, role: str = "viewer") -> Any:
        """The JSON of a GET that must go well."""
        answer = await self._client.get(path, headers=self.headers(role))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: object, *, role: str = "admin", **headers: str) -> httpx.Response:
        """A POST of JSON."""
        return await self._client.post(path, json=body, headers={**headers, **self.headers(role)})

    async def put(self, path: str, body: object, *, role: str = "admin") -> httpx.Response:
        """A PUT of JSON."""
        return await self._client.put(path, json=body, headers=self.headers(role))

    async def send(self, ask: Ask) -> httpx.Response:
        """One request of a client, answered to its end."""
        headers = {**self.headers("inference"), **ask.headers}
        return await self._client.post("/v1/chat/completions", json=ask.body, headers=headers)

    async def traffic(self, count: int, *, at_once: int = 8) -> list[httpx.Response]:
        """That many requests; all that should go well do."""
        turns = asyncio.Semaphore(at_once)

        async def one(ask: Ask) -> httpx.Response:
            async with turns:
                answer = await self.send(ask)
            assert (answer.status_code == 200) == ask.good, answer.text
            return answer

        return await asyncio.gather(*(one(ask) for ask in itertools.islice(self._next, count)))

    @contextlib.asynccontextmanager
    async def busy(self, *, per_s: float = 10.0) -> AsyncIterator[None]:
        """Traffic at a steady rate while this is open."""
        sending: set[asyncio.Task[object]] = set()

        async def run() -> None:
            for ask in self._next:
                sending.add(asyncio.create_task(self.send(ask)))
                await asyncio.sleep(1.0 / per_s)

        running = asyncio.create_task(run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, *sending, return_exceptions=True)

    async def ready(self) -> None:
        """Wait until it may take requests, its scorer included."""
        async with asyncio.timeout(READY_S):
            while (await self._client.get("/health/ready")).status_code != 200:  # noqa: ASYNC110 - no event comes from another process
                await asyncio.sleep(0.05)

    async def aclose(self) -> None:
        """Let go of the client."""
        await self._client.aclose()


@contextlib.asynccontextmanager
async def town(
    folder: Path, *, keys: Mapping[str, str] = KEYS, more: str = "", strategy: str = "hybrid"
) -> AsyncIterator[Town]:
    """A gateway over the demo's three models, with a second fast endpoint, one that fails, and one that is gone.

    `keys` without any leaves it open, as on a machine of one's own. `more` is added to its configuration.
    """
    with _fleet() as urls:
        config = town_config(urls, keys=keys, strategy=strategy, more=more)
        env = {f"TOWN_{role.upper()}_KEY": key for role, key in keys.items()}
        async with gateway(config, folder, env=env) as running:
            one = Town(running, keys)
            try:
                await one.ready()
                yield one
            finally:
                await one.aclose()


def town_config(urls: Mapping[Tier, str], *, keys: Mapping[str, str], strategy: str, more: str) -> str:
    """The gateway's configuration."""
    parts = []
    for tier in TIERS:
        model = FLEET[tier]
        prices = (
            f"input_cost_per_mtok = {model.input_cost_per_mtok}\noutput_cost_per_mtok = {model.output_cost_per_mtok}\n"
        )
        names = [model.name] if tier is not Tier.FAST else [model.name, "sim-fast"]
        parts += [
            f'[[models.{tier}]]\nname = "{name}"\nbase_url = "{urls[tier]}"\nmax_tokens = 4096\n{prices}'
            for name in names
        ]
        if tier is Tier.DEEP:  # two that a tier takes last, and a client that names them gets at once
            failing = f"http://127.0.0.1:{_closed_port()}/v1"
            parts += [
                f'[[models.deep]]\nname = "{name}"\nbase_url = "{url}"\nmodel = "{upstream}"\npriority = 9\n{prices}'
                for name, url, upstream in (
                    (FAILING, urls[tier], f"{model.name}:status_500"),
                    (GONE, failing, model.name),
                )
            ]
    parts.append(f'[routing]\nstrategy = "{strategy}"\ndefault_tier = "balanced"\n')
    parts.append(f'[storage]\nurl = "sqlite:///{DATABASE}"\n[retry]\nbackoff_seconds = 0.01\n')
    parts += [f'[[auth.keys]]\nname = "{role}"\nrole = "{role}"\nenv = "TOWN_{role.upper()}_KEY"\n' for role in keys]
    return "".join(parts) + more


@contextlib.contextmanager
def _fleet() -> Iterator[Mapping[Tier, str]]:
    """The model servers' base URLs by tier, while they run."""
    urls: dict[Tier, str] = {}
    up, over = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def live() -> None:
        async with await serve_fleet(speed=SPEED, control=True) as fleet:
            urls.update({tier: each.base_url for tier, each in fleet.simulators.items()})
            loops.append(asyncio.get_running_loop())
            up.set()
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(live(),), name="model-servers")
    thread.start()
    try:
        assert up.wait(10.0), "the model servers do not start"
        yield urls
    finally:
        for loop in loops:
            loop.call_soon_threadsafe(over.set)
        thread.join(10.0)


def _closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
