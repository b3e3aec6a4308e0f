#!/usr/bin/env python3
"""Sends a gateway a hundred thousand mixed requests and watches its memory, its files and its rows.

Run it as scripts/ledger/exam soak. The slope of the memory is Theil and Sen's. SQLite's page cache fills (16 MB) while
the file grows, so what counts is the second half; the first is told beside it. It exits 1 when the memory grows by more
than 1 MB in 10,000 requests there, or when rows are missing.
"""

import argparse
import asyncio
import itertools
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
import uvloop

from scripts.ledger.figures import parse, publish
from scripts.recorded import short
from tests.fakes.gateway import gateway
from tests.fakes.ledger import DATABASE, PRICES, Journal, ledger_config
from tests.fakes.office import ENV, Office
from tests.fakes.orders import Kitchen
from tests.fakes.traffic import Traffic
from tests.fakes.upstream import FakeUpstream

MB = 1024 * 1024
EVERY_S = 1.0
BOUND_MB = 1.0
"""For 10,000 requests."""
Z95 = 1.96
BUDGET_USD = 1000.0
WARM = 0.1
HALF = 0.5


class Sample(NamedTuple):
    """What the process held after so many requests."""

    requests: int
    rss_mb: float
    files: int


class Slope(NamedTuple):
    """Theil and Sen's, with the ends of its 95 % interval."""

    middle: float
    low: float
    high: float


class Soak(NamedTuple):
    """What came of it."""

    samples: list[Sample]
    seconds: float
    statuses: dict[int, int]
    left: int
    rows: int
    spent_uusd: int


def slope(points: Sequence[tuple[float, float]]) -> Slope:
    """The median of the slopes between all pairs; needs a few points that differ."""
    slopes = sorted((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in itertools.combinations(points, 2) if x1 != x2)
    count = len(points)
    wide = Z95 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low, high = max(0, round((len(slopes) - wide) / 2)), min(len(slopes) - 1, round((len(slopes) + wide) / 2))
    return Slope(statistics.median(slopes), slopes[low], slopes[high])


async def soak(count: int, *, at_once: int, seed: int) -> Soak:
    """One gateway from its start to so many requests."""
    kitchen = Kitchen()
    with tempfile.TemporaryDirectory(prefix="octoroute-soak-") as folder:
        async with FakeUpstream() as upstream:
            upstream.always(kitchen.serve)
            config = ledger_config({tier: [upstream.base_url, upstream.base_url] for tier in PRICES})
            async with gateway(config, Path(folder), env=ENV) as running:
                office = Office(running.port)
                budgeted = await office.issue("budgeted", budgets={"monthly": BUDGET_USD})
                keys = [budgeted, await office.issue("plain")]
                traffic = Traffic(running.port, keys, chance=random.Random(seed), keeps=False)
                process, samples, began = psutil.Process(running.process.pid), [], time.monotonic()
                work = asyncio.create_task(traffic.burst(count, at_once=at_once))
                while not work.done():
                    samples.append(Sample(traffic.sent, process.memory_info().rss / MB, process.num_fds()))
                    upstream.forget()
                    upstream.connections[:] = [each for each in upstream.connections if each.is_open]
                    kitchen.arrived.clear()
                    await asyncio.wait([work], timeout=EVERY_S)
                await work
                seconds = time.monotonic() - began
                await asyncio.sleep(1)
                journal = Journal(Path(folder) / DATABASE)
                rows, spent = journal.ask("SELECT count(*), sum(cost_uusd) FROM journal")[0]
                return Soak(samples, seconds, dict(traffic.statuses), traffic.left, rows, spent)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    args = parse(parser)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(soak(args.requests, at_once=args.at_once, seed=args.seed))
    warm, later = (
        [each for each in found.samples if low * args.requests <= each.requests <= high * args.requests]
        for low, high in ((WARM, HALF), (HALF, 1.0))
    )
    fills, grows = (slope([(each.requests / 10_000, each.rss_mb) for each in samples]) for samples in (warm, later))
    rows = [
        ("requests: answered, left by their clients, broken", _ended(found)),
        ("requests a second", short(args.requests / found.seconds)),
        ("rows in the journal", f"{found.rows:,}"),
        (
            "memory after a tenth, half of them, all (MB)",
            f"{warm[0].rss_mb:.1f}, {later[0].rss_mb:.1f}, {later[-1].rss_mb:.1f}",
        ),
        ("growth in 10,000 requests until the half (MB, 95 % interval)", _interval(fills)),
        ("growth in 10,000 requests after it", f"{_interval(grows)}, bound {BOUND_MB:g}"),
        ("open files after a tenth, at the end", f"{warm[0].files}, {later[-1].files}"),
    ]
    publish("soak", rows, document=args.document, note=f"{args.at_once} clients, half of the answers streamed")
    answered = sum(number for status, number in found.statuses.items() if status)
    return 1 if grows.middle > BOUND_MB or found.rows < answered else 0


def _interval(of: Slope) -> str:
    return f"{of.middle:.3f} ({of.low:.3f} to {of.high:.3f})"


def _ended(found: Soak) -> str:
    good, broken = found.statuses.get(200, 0), found.statuses.get(0, 0)
    return f"{good:,}, {found.left:,}, {broken:,}"


if __name__ == "__main__":
    sys.exit(main())
