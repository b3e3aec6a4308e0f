"""One gateway a module; its upstreams forget between tests."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fakes.house import House
from tests.fakes.house import house as build


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with build(tmp_path_factory.mktemp("house")) as made:
        yield made


@pytest.fixture
def house(running: House) -> House:
    running.forget()
    return running
