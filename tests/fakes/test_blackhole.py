"""A black hole neither accepts nor refuses."""

import asyncio

import pytest

from tests.fakes.blackhole import BlackHole


async def test_a_connect_hangs() -> None:
    with BlackHole() as hole:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.open_connection(hole.host, hole.port), 0.1)
