"""A database that another process holds, while streams run and requests come: what clients and operators see of it."""

import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from tests.fakes.client import ask, get
from tests.fakes.gateway import gateway
from tests.fakes.ledger import DATABASE, PRICES, Journal, ledger_config
from tests.fakes.office import ENV, Office
from tests.fakes.orders import Kitchen
from tests.fakes.streams import Audience
from tests.fakes.traffic import Traffic, broken
from tests.fakes.upstream import FakeUpstream
from tests.fakes.waiting import until

PAUSE_S = 0.05
AROUND_S = 1.0
RECOVERY_S = 10.0
_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


class Lockdown(NamedTuple):
    """What came of it; `states` is what operators were told while it was held, `ready` the statuses of readiness."""

    statuses: Counter[int]
    broke: list[str]
    slowest_s: float
    streams: int
    unsound: int
    gap_before_s: float
    gap_held_s: float
    states: Counter[str]
    ready: Counter[int]
    caught_up_s: float
    kept: int
    problems: list[str]


@contextlib.asynccontextmanager
async def held(database: Path) -> AsyncIterator[None]:
    """Another process has the database to itself, as far as SQLite gives it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _HOLD, str(database)), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        await process.communicate(b"\n")


async def lockdown(folder: Path, *, hold_s: float, streams: int = 20, rate: float = 40.0) -> Lockdown:
    """Run a gateway, hold its database for so long, and look."""
    kitchen = Kitchen()
    async with FakeUpstream() as upstream:
        upstream.always(kitchen.serve)
        config = ledger_config({tier: [upstream.base_url, upstream.base_url] for tier in PRICES})
        async with gateway(config, folder, env=ENV) as running:
            office = Office(running.port)
            keys = [await office.issue("plain"), await office.issue("budgeted", budgets={"monthly": 1.0})]
            events = round((hold_s + 3 * AROUND_S) / PAUSE_S)
            audience = Audience(running.port, keys, count=streams, events=events, pause_s=PAUSE_S)
            traffic = Traffic(running.port, keys, chance=random.Random(5))
            states: Counter[str] = Counter()
            ready: Counter[int] = Counter()
            async with traffic.running(rate):
                await asyncio.sleep(AROUND_S)
                async with held(folder / DATABASE):
                    began = time.monotonic()
                    while time.monotonic() - began < hold_s:
                        states[await office.storage()] += 1
                        ready[(await ask(running.port, get("/health/ready"))).status] += 1
                        await asyncio.sleep(0.1)
                ended = time.monotonic()
                await until(lambda: _well(office), RECOVERY_S)
                caught_up_s = time.monotonic() - ended
            seen = await audience.ended()
            journal = Journal(folder / DATABASE)
            rows = journal.by_id()
            problems = broken(traffic.kept, journal)
            problems += [f"{order.id} is not there" for order in audience.orders if len(rows.get(order.id, ())) != 1]
            return Lockdown(
                statuses=traffic.statuses,
                broke=traffic.broke,
                slowest_s=max(promise.took_s for promise in traffic.kept if not promise.order.stream),
                streams=len(seen),
                unsound=sum(not stream.sound for stream in seen),
                gap_before_s=max(stream.longest_gap_s(until=began) for stream in seen),
                gap_held_s=max(stream.longest_gap_s(began, ended) for stream in seen),
                states=states,
                ready=ready,
                caught_up_s=caught_up_s,
                kept=sum(promise.whole for promise in traffic.kept),
                problems=[*problems, *([] if journal.integrity() == "ok" else ["the database is damaged"])],
            )


async def _well(office: Office) -> bool:
    return await office.storage() == "ok"
