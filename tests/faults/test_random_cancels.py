"""A gateway cancels all day: however many calls were cut off wherever, the next ones work and nothing is left open."""

import asyncio
import random
from collections.abc import Callable

import pytest
import uvloop

from tests.fakes.rawserver import RawServer
from tests.fakes.transports import TransportKind, fetch

CALLS = 2400
AT_ONCE = 40


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("name", ["wire", "httpx"])
def test_after_thousands_of_random_cancels_the_next_calls_work_and_no_socket_is_left(
    name: str, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_cancel_and_look(TransportKind(name)))


async def _cancel_and_look(kind: TransportKind) -> None:
    chance = random.Random(15)
    left = CALLS
    async with RawServer(delay_s=0.015) as server:
        transport = kind.make(server.url, max_idle=AT_ONCE)

        async def cut_off() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                call = asyncio.create_task(fetch(transport))
                await asyncio.sleep(chance.uniform(0, 0.03))
                call.cancel()
                await asyncio.wait((call,))

        await asyncio.gather(*[cut_off() for _ in range(AT_ONCE)])
        assert [await fetch(transport) for _ in range(20)] == [b"{}"] * 20
        await asyncio.sleep(0.5)
        assert len(server.open_peers) <= AT_ONCE  # the idle ones
        assert all(peer.idle for peer in server.open_peers)
        await transport.aclose()
        async with asyncio.timeout(5):
            for peer in server.peers:
                await peer.closed.wait()
