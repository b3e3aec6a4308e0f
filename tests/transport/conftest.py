"""Every test of this room runs on the stock loop and on uvloop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from tests.fakes.rawserver import RawServer
from tests.fakes.transports import TransportKind


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=["wire", "httpx"])
def kind(request: pytest.FixtureRequest) -> TransportKind:
    """Either transport."""
    return TransportKind(request.param)


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    """A server that plays what the test scripts."""
    async with RawServer() as running:
        yield running
