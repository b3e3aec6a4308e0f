"""A running simulator that takes no time, and clients for it."""

from collections.abc import AsyncIterator

import httpx
import pytest

from octoroute_py.simulator.model import Personality, SimulatedModel
from octoroute_py.simulator.server import Simulator, serve

MODEL = SimulatedModel(name="sim-test", personality=Personality.PLAIN)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with await serve(MODEL, control=True) as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{simulator.port}", trust_env=False) as made:
        yield made
