"""The management API as it describes itself: schemathesis tries every operation, and the document is OpenAPI 3.1.

Few examples of each, the same every time; scripts/registry/exam fuzz asks a gateway process hundreds.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis

from octoroute_py.core.words import Role
from tests.edge.test_routes import ALL_KEYS, KEYS
from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.fuzzing import Asked, endless, fuzz

EXAMPLES = 6
MORE = f"""
[registry]
allow_networks = ["127.0.0.0/8"]
allow_ports = [9]
{ALL_KEYS}
"""


class Described:
    """An application in a loop of its own, which only turns while somebody asks."""

    def __init__(self, runner: asyncio.Runner, one: Running) -> None:
        self._runner = runner
        self._one = one

    def ask(self, asked: Asked) -> httpx.Response:
        headers = {**asked.headers, "x-api-key": KEYS[Role.ADMIN]}
        return self._runner.run(self._one.client.request(asked.method, asked.url, headers=headers, content=asked.body))

    def document(self) -> dict[str, Any]:
        answer = self.ask(Asked("GET", "http://gateway/openapi.json", {}, b""))
        assert answer.status_code == 200
        document: dict[str, Any] = answer.json()
        return document


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Running]:
    config = httpx_config(f'[storage]\nurl = "sqlite:///{folder / "fuzz.db"}"\n{MORE}')
    with upstreams() as others:
        others.route(host__regex=r"\.test$").respond(200, content=bodies.chat_body("Hello"))
        async with running(config) as one:
            yield one


@pytest.fixture
def described(tmp_path: Path) -> Iterator[Described]:
    with asyncio.Runner() as runner:
        one = served(tmp_path)
        yield Described(runner, runner.run(one.__aenter__()))
        runner.run(one.__aexit__(None, None, None))


def test_the_description_is_openapi(described: Described) -> None:
    schemathesis.openapi.from_dict(described.document()).validate()


def test_every_operation_answers_as_it_is_described(described: Described) -> None:
    document = described.document()
    found = list(fuzz(document, described.ask, examples=EXAMPLES))
    assert [failure for one in found for failure in one.failures] == []
    assert len(found) == sum(map(len, document["paths"].values())) - len(endless(document))
    well = [one.operation for one in found if any(status < 300 for status in one.statuses)]
    assert len(well) > len(found) * 3 // 4, sorted({one.operation for one in found} - set(well))
