"""A whole application inside the test's event loop, without sockets: what a server would serve, asked through ASGI.

Good for buffered answers only: the client sees an answer when it is complete.
"""

import asyncio
import contextlib
import io
import random
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import httpx
import respx

from octoroute_py.app import Application
from octoroute_py.config.load import parse_config
from octoroute_py.config.schema import Config, KeyConfig
from octoroute_py.routing.artifact import load_neural
from octoroute_py.telemetry.scrub import Scrubber
from octoroute_py.telemetry.sink import Sink

if TYPE_CHECKING:
    from octoroute_py.routing.neural import NeuralRouter


class Running:
    """An application between its start and its end.

    `config` is what the next reload reads; an exception there is raised by it. `log` holds what was logged once the
    application has ended.
    """

    def __init__(self, config: Config, *, generated: KeyConfig | None, neural: "NeuralRouter | None") -> None:
        self.config: Config | Exception = config
        self.stderr = io.BytesIO()
        self.sink = Sink(self.stderr)
        self.application = Application(
            config,
            load=self._load,
            sink=self.sink,
            scrubber=Scrubber(),
            neural=neural or load_neural(config),
            generated=generated,
            rng=random.Random(5),
        )
        self.client = self.client_at("http://gateway")

    def client_at(self, url: str, *, source: str = "127.0.0.1") -> httpx.AsyncClient:
        """A client that asks the listener at this address."""
        transport = httpx.ASGITransport(self.application.app, raise_app_exceptions=False, client=(source, 4711))
        return httpx.AsyncClient(transport=transport, base_url=url)

    async def chat(
        self, model: str = "auto", *, headers: Mapping[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        """A chat completion."""
        sent = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **body}
        return await self.client.post("/v1/chat/completions", json=sent, headers=headers)

    def _load(self) -> Config:
        if isinstance(self.config, Exception):
            raise self.config
        return self.config


@contextlib.asynccontextmanager
async def running(
    toml: str | Config,
    *,
    generated: KeyConfig | None = None,
    neural: "NeuralRouter | None" = None,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Running]:
    """Start an application, and end it as a server would; `neural` stands in for the artifact's scorer."""
    config = parse_config(toml, env=env) if isinstance(toml, str) else toml
    one = Running(config, generated=generated, neural=neural)
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[Any] = asyncio.Queue()

    async def live() -> None:
        await one.application.app({"type": "lifespan", "state": {}}, inbox.get, outbox.put)

    life = asyncio.create_task(live())
    inbox.put_nowait({"type": "lifespan.startup"})
    assert (await outbox.get())["type"] == "lifespan.startup.complete"
    try:
        yield one
    finally:
        await one.client.aclose()
        inbox.put_nowait({"type": "lifespan.shutdown"})
        await life
        one.sink.close()


def upstreams() -> respx.MockRouter:
    """Stands in for every upstream that is reached through httpx; use it in a `with`."""
    return respx.mock(assert_all_called=False)


def httpx_config(more: str = "", **each: str) -> str:
    """One endpoint a tier through httpx, at `http://<tier>.test/v1`, with no probes; `each` adds lines by tier.

    `more` starts inside `[routing]`.
    """
    tiers = "".join(
        f'[[models.{tier}]]\nname = "{tier}-model"\nbase_url = "http://{tier}.test/v1"\ntransport = "httpx"\n'
        f"{each.get(tier, '')}\n"
        for tier in ("fast", "balanced", "deep")
    )
    return f'{tiers}[routing]\nstrategy = "rule"\n{more}\n[health]\nenabled = false\n[retry]\nbackoff_seconds = 0.01\n'
