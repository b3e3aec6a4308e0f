"""The live feed over real sockets: it holds nothing up, and whoever leaves or falls behind is let go."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes import turns
from tests.fakes.client import Client, ask, chat, get, post
from tests.fakes.gateway import gateway, rule_config
from tests.fakes.upstream import FakeUpstream
from tests.fakes.waiting import until

LIVE = get("/api/live")
MORE = "[health]\nenabled = false\n"
MANY = "".join(f'[[models.fast]]\nname = "fast-{n}"\nbase_url = "http://127.0.0.1:9/v1"\n' for n in range(1, 2500))
"""So many endpoints make large events, of which the kernel does not hold many."""
LONG_S = 25


def config(*, more: str = "") -> str:
    urls = ["http://127.0.0.1:9/v1"]
    return more + rule_config(urls, urls, urls, more=MORE)


@contextlib.asynccontextmanager
async def watching(port: int, *, count: int = 1, receive_buffer: int | None = None) -> AsyncIterator[list[Client]]:
    """So many watchers, whose answers have begun."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(await Client.connect(port, receive_buffer=receive_buffer))
            for _ in range(count)
        ]
        for client in clients:
            client.write(LIVE)
            head = await client.head()
            assert (head.status, head.headers["content-type"]) == (200, "text/event-stream")
        yield clients


async def test_it_tells_every_second_and_counts_as_no_request(tmp_path: Path) -> None:
    async with FakeUpstream() as upstream:
        upstream.always(turns.json_answer("Hello"))
        urls = [upstream.base_url]
        async with (
            gateway(rule_config(urls, urls, urls, more=MORE), tmp_path) as running,
            watching(running.port) as [client],
        ):
            pieces = [await client.piece() for _ in range(2)]
            for _ in range(3):
                assert (await ask(running.port, post(chat()))).status == 200
            began = time.monotonic()
            pieces += [await client.piece() for _ in range(3)]
            assert 1.5 < time.monotonic() - began < 4.5
            assert pieces[0].startswith(b"event: history\ndata: {")
            assert all(piece.startswith(b"event: tick\ndata: {") for piece in pieces[1:])
            assert b'"inFlight":0' in pieces[-1]
            assert b'"totals":{"requests":3,"failed":0}' in pieces[-1]
            metrics = (await ask(running.port, get("/metrics?family=octoroute"))).body.decode()
            assert "octoroute_in_flight_requests 0.0" in metrics


async def test_a_gateway_that_ends_does_not_wait_for_who_watches(tmp_path: Path) -> None:
    async with gateway(config(), tmp_path) as running, watching(running.port, count=5) as clients:
        for client in clients:
            await client.piece()
        began = time.monotonic()
        running.signal(signal.SIGTERM)
        assert await running.wait(10) == 0
        assert time.monotonic() - began < 3.0
        for client in clients:
            while await client.piece():
                pass
            assert client._answer.whole  # it ended as an answer should, not by a connection that broke


async def test_a_gateway_that_ends_does_not_wait_for_who_watches_and_takes_nothing(tmp_path: Path) -> None:
    async with gateway(config(more=MANY), tmp_path) as running, watching(running.port, receive_buffer=4096):
        await asyncio.sleep(8.0)  # until neither the kernel nor the connection takes more
        began = time.monotonic()
        running.signal(signal.SIGTERM)
        assert await running.wait(10) == 0
        assert time.monotonic() - began < 3.0


async def test_who_watches_ends_at_once_when_it_leaves(tmp_path: Path) -> None:
    async with gateway(config(), tmp_path) as running:
        for leave in (Client.close, Client.abort, Client.reset):
            async with watching(running.port, count=50) as clients:
                refused = await ask(running.port, LIVE)
                assert (refused.status, refused.json["code"]) == (503, "too_many_watchers")
                for client in clients:
                    leave(client)

            async def seat() -> bool:
                async with await Client.connect(running.port) as one:
                    one.write(LIVE)
                    return (await one.head()).status == 200

            await until(seat)


@pytest.mark.timeout(60)
async def test_who_takes_nothing_is_cut_off_and_the_others_go_on(tmp_path: Path) -> None:
    async with (
        gateway(config(more=MANY), tmp_path) as running,
        watching(running.port, receive_buffer=4096) as [slow],
        watching(running.port) as [quick],
    ):
        events = 0
        async with asyncio.timeout(50):
            while events < LONG_S:
                piece = await quick.piece()
                assert piece.startswith(b"event: ")
                events += piece.count(b"event: ")
        assert len(await slow.ended()) < LONG_S * len(piece) * 3 // 4
