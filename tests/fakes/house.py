"""A gateway process with one scripted upstream a tier, as the contract tests and the SDK see it."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import openai

from tests.fakes import client
from tests.fakes.client import Answer
from tests.fakes.gateway import RunningGateway, gateway
from tests.fakes.upstream import FakeUpstream

KEY_OF_SMALL = "sk-small-key-0123456789"
KEY_OF_DEEP = "sk-deep-key-0123456789"

CONFIG = """
[[models.fast]]
name = "small"
base_url = "{fast}"
api_key_env = "SMALL_KEY"

[[models.fast]]
name = "org/small"
id = "fast/org#1"
model = "vendor/small-v2"
base_url = "{fast}"
priority = 0

[[models.balanced]]
name = "middle"
base_url = "{balanced}"

[[models.balanced]]
name = "middle"
base_url = "{balanced}"

[[models.deep]]
name = "large"
base_url = "{deep}"
api_key_env = "DEEP_KEY"
headers = {{ "x-team" = "search" }}
max_tokens = 100
temperature = 0.25

[routing]
strategy = "rule"
default_tier = "balanced"
"""


class House:
    """The parts: `fast`, `balanced` and `deep` are the upstreams of the tiers."""

    def __init__(self, process: RunningGateway, fast: FakeUpstream, balanced: FakeUpstream, deep: FakeUpstream) -> None:
        self.gateway = process
        self.fast = fast
        self.balanced = balanced
        self.deep = deep
        self.sdk = openai.AsyncOpenAI(base_url=self.base_url, api_key="sk-of-the-client", max_retries=0, timeout=20.0)

    @property
    def base_url(self) -> str:
        """What an OpenAI client is pointed at."""
        return f"{self.gateway.url}/v1"

    async def ask(self, request: bytes) -> Answer:
        """The answer to a request that is sent as these very bytes."""
        return await client.ask(self.gateway.port, request)

    @property
    def upstreams(self) -> tuple[FakeUpstream, FakeUpstream, FakeUpstream]:
        """All three, fast first."""
        return self.fast, self.balanced, self.deep

    def forget(self) -> None:
        """Begin a new test: no request was seen yet, and no turn is left from the one before."""
        for upstream in self.upstreams:
            upstream.forget()


@contextlib.asynccontextmanager
async def house(folder: Path, config: str = CONFIG, *, more: str = "") -> AsyncIterator[House]:
    """Build it; `config` may name {fast}, {balanced} and {deep}, `more` is added to its end as it is."""
    async with FakeUpstream() as fast, FakeUpstream() as balanced, FakeUpstream() as deep:
        text = config.format(fast=fast.base_url, balanced=balanced.base_url, deep=deep.base_url) + more
        async with gateway(text, folder, env={"SMALL_KEY": KEY_OF_SMALL, "DEEP_KEY": KEY_OF_DEEP}) as process:
            made = House(process, fast, balanced, deep)
            async with made.sdk:
                yield made
