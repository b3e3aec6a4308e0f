"""A client that leaves, at whatever moment and however, frees its upstream call within a second."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.fakes import turns
from tests.fakes.client import Client, ask, chat, get, post
from tests.fakes.gateway import RunningGateway, gateway, rule_config
from tests.fakes.script import Pause, Turn
from tests.fakes.upstream import FakeUpstream

WITHIN_S = 1.0
MORE = '[health]\nenabled = false\n[observability]\nlog_format = "json"\n'
SLOW_STREAM = turns.stream_answer(*[step for n in range(400) for step in (f"{n} ", Pause(0.05))])

PHASES: dict[str, tuple[Turn, bool, int]] = {
    "buffered_waiting": (turns.hang(), False, 0),
    "stream_before_first_event": (turns.hang(), True, 0),
    "stream_after_head": (turns.stream_answer(Pause(60), "x"), True, 0),
    "mid_stream": (SLOW_STREAM, True, 3),
    "stall": (turns.stall_after(3), True, 3),
}
"""What the upstream does, whether the client streams, and the events it takes before it leaves."""


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as up:
        yield up


@pytest.fixture
async def running(upstream: FakeUpstream, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    urls = [upstream.base_url]
    async with gateway(rule_config(urls, urls, urls, more=MORE), tmp_path) as started:
        yield started


async def access_lines(running: RunningGateway, count: int) -> list[dict[str, object]]:
    """The first so many lines of the access log, once they are there."""
    async with asyncio.timeout(5):
        while True:
            lines = [msgspec.json.decode(line) for line in running.log.splitlines()]
            found = [line for line in lines if "status" in line and "duration_ms" in line]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)


async def leave(running: RunningGateway, request: bytes, *, upstream: FakeUpstream, events: int, reset: bool) -> None:
    """Send the request, leave once the upstream has it and so many events came; the upstream call must end then."""
    seen = len(upstream.requests)
    async with await Client.connect(running.port) as client:
        client.write(request)
        await upstream.wait_requests(seen + 1)
        if events:
            await client.head()
            taken = b""
            while taken.count(b"\n\n") < events:
                taken += await client.piece()
        else:
            await asyncio.sleep(0.1)
        connection = upstream.connections[upstream.requests[seen].connection]
        assert connection.is_open
        left_at = time.monotonic()
        if reset:
            client.reset()
        else:
            client.close()
        await upstream.wait_closed(connection, 2 * WITHIN_S)
        assert time.monotonic() - left_at < 2 * WITHIN_S


@pytest.mark.parametrize("size", [0, 300_000, 3_000_000], ids=["small", "300kB", "3MB"])
async def test_a_client_that_leaves_ends_its_upstream_call(
    size: int, running: RunningGateway, upstream: FakeUpstream
) -> None:
    left = 0
    for turn, stream, events in PHASES.values():
        for reset in (False, True):
            upstream.enqueue(turn)
            request = post(chat("x" * size, stream=stream))
            await leave(running, request, upstream=upstream, events=events, reset=reset)
            left += 1
    lines = await access_lines(running, left)
    assert [line["status"] for line in lines] == [499] * left
    detailed = (await ask(running.port, get("/health/detailed"))).json
    assert detailed["in_flight"] == 0
    assert {row["in_flight"] for row in detailed["endpoints"]} == {0}
    assert {row["breaker"] for row in detailed["endpoints"]} == {"closed"}
    assert {row["consecutive_failures"] for row in detailed["endpoints"]} == {0}


async def test_a_client_that_leaves_a_stream_is_charged_for_its_prompt_and_what_came(
    running: RunningGateway, upstream: FakeUpstream
) -> None:
    for turn, stream, events in (PHASES["stall"], PHASES["buffered_waiting"]):
        upstream.enqueue(turn)
        request = post(chat("x" * 400, stream=stream))
        await leave(running, request, upstream=upstream, events=events and events + 1, reset=False)
    stalled, waiting = await access_lines(running, 2)
    assert (stalled["prompt_tokens"], stalled["completion_tokens"]) == (100, 5)  # "part 0 part 1 part 2 "
    assert "prompt_tokens" not in waiting


async def test_a_client_that_leaves_while_it_does_not_read_ends_its_upstream_call(
    running: RunningGateway, upstream: FakeUpstream
) -> None:
    for reset in (False, True):
        upstream.enqueue(turns.flood(400_000_000))
        seen = len(upstream.requests)
        async with await Client.connect(running.port, receive_buffer=4096) as client:
            client.write(post(chat(stream=True)))
            await upstream.wait_requests(seen + 1)
            await asyncio.sleep(0.5)
            connection = upstream.connections[upstream.requests[seen].connection]
            if reset:
                client.reset()
            else:
                client.abort()
            await upstream.wait_closed(connection, 2 * WITHIN_S)
    assert [line["status"] for line in await access_lines(running, 2)] == [499, 499]


async def test_a_client_that_leaves_in_the_middle_of_its_request_is_no_error(
    running: RunningGateway, upstream: FakeUpstream
) -> None:
    request = post(chat("x" * 500_000))
    for cut in (20, 200, 100_000):
        async with await Client.connect(running.port) as client:
            client.write(request[:cut])
            await asyncio.sleep(0.05)
            client.reset()
    await asyncio.sleep(0.1)
    assert upstream.requests == []
    assert [line["status"] for line in await access_lines(running, 2)] == [499, 499]
    assert (await ask(running.port, post(chat()))).status == 200


async def test_a_hundred_clients_that_leave_at_random_do_not_open_a_breaker(
    running: RunningGateway, upstream: FakeUpstream
) -> None:
    chance = random.Random(19)
    upstream.always(turns.stream_answer(*[step for n in range(10) for step in (f"{n} ", Pause(0.01))]))

    async def one() -> None:
        async with await Client.connect(running.port) as client:
            client.write(post(chat(stream=True)))
            await asyncio.sleep(chance.uniform(0, 0.08))
            if chance.random() < 0.5:
                client.reset()
            else:
                client.abort()

    await asyncio.gather(*[one() for _ in range(100)])
    await asyncio.sleep(0.5)
    upstream.always(turns.good_answer)
    rows = (await ask(running.port, get("/models"))).json["models"]
    assert {(row["breaker"], row["consecutive_failures"], row["in_flight"]) for row in rows} == {("closed", 0, 0)}
    metrics = (await ask(running.port, get("/metrics"))).body.decode()
    calls = [line.rpartition(" ") for line in metrics.splitlines() if line.startswith("octoroute_upstream_requests")]
    failed = [name for name, _, count in calls if float(count) and not name.endswith('"2xx"}')]
    assert failed == []
