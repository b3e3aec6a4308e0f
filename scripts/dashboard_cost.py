"""What it costs a gateway that somebody looks at its page.

usage: scripts/dashboard-cost [--seconds S] [--rounds N] [--rate R] [--watchers N]

A gateway process with a journal answers clients at a steady rate, or nobody; its CPU time (user and system, as the
kernel counts it) is taken over so many seconds without and with watchers of /api/live, in turn, so that a machine that
is busy otherwise disturbs both alike; the difference is told with its standard error. Then the two things that the feed
does are measured by themselves: what it costs a request to be counted, and how large an event is.
"""

import argparse
import asyncio
import contextlib
import itertools
import math
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil

from octoroute_py.core.words import Tier
from octoroute_py.gateway.pulse import Pulse
from octoroute_py.ledger.outcome import Attempt, Outcome
from tests.fakes.client import Client, chat, get, post
from tests.fakes.town import Town, town

CONNECTIONS = 16
COUNTED = 200_000


class Asked(NamedTuple):
    """What is to be measured."""

    seconds: float
    rounds: int
    rate: float
    watchers: int


@contextlib.asynccontextmanager
async def watching(one: Town, count: int) -> AsyncIterator[None]:
    """So many watchers, each of which takes all that it is told."""
    port = one.gateway.port

    async def watch(client: Client) -> None:
        while await client.piece():
            pass

    async with contextlib.AsyncExitStack() as stack:
        readers = []
        for _ in range(count):
            client = await stack.enter_async_context(await Client.connect(port))
            client.write(get("/api/live", headers=one.headers("viewer")))
            assert (await client.head()).status == 200
            readers.append(asyncio.create_task(watch(client)))
        yield
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


@contextlib.asynccontextmanager
async def load(one: Town, rate: float) -> AsyncIterator[list[int]]:
    """So many requests a second on a few connections; the list counts the answers."""
    request = post(chat("hello", max_tokens=8), headers=one.headers("inference"))
    answered = [0]

    async def send(number: int) -> None:
        async with await Client.connect(one.gateway.port) as client:
            began = time.monotonic()
            for turn in itertools.count():
                await asyncio.sleep(began + (turn * CONNECTIONS + number) / rate - time.monotonic())
                assert (await client.ask(request)).status == 200
                answered[0] += 1

    senders = [asyncio.create_task(send(number)) for number in range(CONNECTIONS)] if rate else []
    try:
        yield answered
    finally:
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)


async def cpu_of(one: Town, seconds: float) -> float:
    """The gateway's share of a core, in percent, over the next seconds."""
    process = psutil.Process(one.gateway.process.pid)
    before, began = process.cpu_times(), time.monotonic()
    await asyncio.sleep(seconds)
    after = process.cpu_times()
    return 100.0 * (after.user + after.system - before.user - before.system) / (time.monotonic() - began)


async def compare(one: Town, asked: Asked, *, rate: float) -> None:
    """Without watchers, with them, and again."""
    shares: dict[int, list[float]] = {0: [], asked.watchers: []}
    async with load(one, rate) as answered:
        await asyncio.sleep(2.0)
        counted, began = answered[0], time.monotonic()
        for _ in range(asked.rounds):
            for watchers in shares:
                async with watching(one, watchers):
                    await asyncio.sleep(1.0)
                    shares[watchers].append(await cpu_of(one, asked.seconds))
        reached = (answered[0] - counted) / (time.monotonic() - began)
    without, with_ = shares[0], shares[asked.watchers]
    more = [high - low for low, high in zip(without, with_, strict=True)]
    give = statistics.stdev(more) / math.sqrt(len(more)) if len(more) > 1 else math.nan
    print(
        f"{f'{reached:.0f} requests/s' if rate else 'idle':>14}: {statistics.fmean(without):.2f} % of a core, "
        f"with {asked.watchers} watching {statistics.fmean(with_):.2f} %: {statistics.fmean(more):+.2f} ± {give:.2f}"
    )


def cost_of_counting() -> float:
    """Microseconds for one request to be counted."""
    attempt = Attempt(endpoint_id="fast-0", tier=Tier.FAST, status=200, started_s=0.0, ended_s=0.1)
    outcome = Outcome(
        request_id="r",
        surface=None,
        status=200,
        tier=Tier.FAST,
        endpoint_id="fast-0",
        attempts=(attempt,),
        started_wall_s=0.0,
        duration_s=random.random(),
    )
    pulse = Pulse(time.time)
    began = time.thread_time()
    for _ in range(COUNTED):
        pulse.saw(outcome)
    return (time.thread_time() - began) / COUNTED * 1e6


async def size_of_events(one: Town) -> tuple[int, int]:
    """Bytes of the first event and of one that follows, with the town's few endpoints."""
    async with (
        httpx.AsyncClient(base_url=one.url, trust_env=False) as client,
        client.stream("GET", "/api/live", headers=one.headers("viewer")) as answer,
    ):
        lines = answer.aiter_lines()
        sizes = [len(line) async for line in _first(lines, 5) if line.startswith("data: ")]
    return sizes[0], sizes[1]


async def _first(lines: AsyncIterator[str], count: int) -> AsyncIterator[str]:
    for _ in range(count):
        yield await anext(lines)


async def main(asked: Asked) -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as folder:
        async with town(Path(folder)) as one:
            await one.traffic(40)
            history, tick = await size_of_events(one)
            await compare(one, asked, rate=0.0)
            await compare(one, asked, rate=asked.rate)
    print(f"an event: {history} bytes the first, {tick} bytes the others")
    print(f"counting a request: {cost_of_counting():.2f} µs")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What it costs a gateway that somebody looks at its page.")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--watchers", type=int, default=3)
    asyncio.run(main(Asked(**vars(parser.parse_args()))))
