"""One gateway a module; its upstreams forget between tests."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.fakes.house import House
from tests.fakes.house import house as build


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with build(tmp_path_factory.mktemp("house")) as made:
        yield made


@pytest.fixture
def house(running: House) -> Iterator[House]:
    running.forget()
    yield running
    assert [upstream.pending_turns for upstream in running.upstreams] == [0, 0, 0]
