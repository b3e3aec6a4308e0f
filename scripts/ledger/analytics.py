"""How long analytics takes over a million journal rows: python scripts/ledger/analytics.py [--rows N] [--json]

Two databases are made in a temporary folder: rows spread over 30 days, and the worst case, all of them in the last
hour. Each is added up by the job that the gateway runs; then every call is made ten times, first on a database just
opened, with the file dropped from the system's cache as far as that can be asked for. Prints milliseconds.
"""

import argparse
import asyncio
import json
import math
import os
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from sqlalchemy import insert

from octoroute_py.admission.budget import LOOK_BACK_DAYS
from octoroute_py.core import clock
from octoroute_py.core.ending import Ended
from octoroute_py.manage.analytics import Analytics, Model
from octoroute_py.manage.records import as_csv, as_json
from octoroute_py.manage.reports import TimeRange
from octoroute_py.manage.store import Store
from octoroute_py.storage.analytics import spend_by_day
from octoroute_py.storage.db import Database
from octoroute_py.storage.engine import connect_file
from octoroute_py.storage.entries import JournalEntry, latency_bucket
from octoroute_py.storage.history import Filter
from octoroute_py.storage.rollups import RollUp
from octoroute_py.storage.schema import journal
from octoroute_py.storage.writer import QUEUE_JOBS

NOW_S = 1_790_000_000  # 14:13 UTC: the last hour is 47 minutes of one hour and 13 of the next
TIMES = 10
AT_ONCE = 10_000
BIG_JOB = 20_000
MEASURED_JOBS = 50

ENDPOINTS = (
    ("fast", "fast/a#1", 0.3),
    ("fast", "fast/b#1", 0.4),
    ("balanced", "balanced/c#1", 1.0),
    ("balanced", "balanced/d#1", 1.2),
    ("deep", "deep/e#1", 4.0),
    ("deep", "deep/f#1", 5.0),
)
MODELS = [Model(endpoint, endpoint, tier) for tier, endpoint, _ in ENDPOINTS]
FAILURES = ((429, "rate_limit_exceeded"), (502, "upstream_error"), (503, "overloaded"), (504, "upstream_timeout"))
WORKSPACES, KEYS, AGENTS = 20, 60, 8

Call = Callable[[], Awaitable[object]]


class Case(NamedTuple):
    """Rows that are spread evenly over so many seconds."""

    name: str
    over_s: float


CASES = (Case("30 days", 30 * 86_400), Case("last hour", 3590))


def entry(rng: random.Random, number: int, *, started_s: float) -> JournalEntry:
    """A row as real ones are: most are good, some fail, durations are lognormal around their endpoint's own."""
    tier, endpoint, typical_s = rng.choice(ENDPOINTS)
    key = rng.randrange(KEYS)
    duration_us = int(1e6 * typical_s * rng.lognormvariate(0, 0.7))
    status, error_code = rng.choice(FAILURES) if rng.random() < 0.06 else (499 if rng.random() < 0.02 else 200, None)
    judge = rng.random() < 0.05
    return JournalEntry(
        request_id=f"{number:032x}",
        entry=0,
        started_ms=int(started_s * 1000),
        duration_us=duration_us,
        first_event_us=duration_us // 3,
        routing_us=200,
        latency_bucket=latency_bucket(duration_us),
        surface="judge" if judge else "chat",
        status=status,
        error_code=error_code,
        stream=rng.random() < 0.5,
        workspace="" if judge else f"workspace-{key % WORKSPACES}",
        key_id="" if judge else f"key-{key}",
        agent_type=f"agent-{rng.randrange(AGENTS)}",
        user_id=None,
        request_type=None,
        tag=None,
        strategy="rule",
        reason="rule_matched",
        rule="code",
        confidence=None,
        decided_tier=tier,
        tier=tier,
        endpoint="" if status == 429 else endpoint,
        sends=1,
        attempts=None,
        prompt_tokens=rng.randrange(2000),
        completion_tokens=rng.randrange(800),
        cached_tokens=0,
        estimated=False,
        cost_uusd=rng.randrange(5000),
        baseline_uusd=rng.randrange(9000),
    )


def fill(database: Database, case: Case, rows: int) -> None:
    """Put the rows into the journal, many in a commit."""
    rng = random.Random(1)
    statement = insert(journal)
    for first in range(0, rows, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, rows))
        values = [
            msgspec.structs.asdict(entry(rng, number, started_s=NOW_S - case.over_s * (1 - number / rows)))
            for number in numbers
        ]
        database.write(lambda connection, values=values: connection.execute(statement, values) and None)  # type: ignore[misc]


def add_up(database: Database) -> dict[str, float]:
    """Roll up everything: some of it in jobs of the gateway's own size, which are measured, the rest in big ones."""
    job, taken = RollUp(), []
    for _ in range(MEASURED_JOBS):
        started_s = time.perf_counter()
        database.write(job)
        taken.append(1000 * (time.perf_counter() - started_s))
    started_s = time.perf_counter()
    big = RollUp(rows=BIG_JOB)
    while database.write(big) == BIG_JOB:
        pass
    rest_s = time.perf_counter() - started_s
    return {"job_ms_median": statistics.median(taken), "job_ms_worst": max(taken), "rest_s": rest_s}


def calls(database: Database, case: Case) -> Iterator[tuple[str, Call]]:
    """Everything that can be asked, with a name."""
    analytics = Analytics(Store(database), wall=lambda: NOW_S, models=lambda: MODELS, baseline=lambda: "deep/e#1")
    for time_range in TimeRange:
        yield f"models {time_range}", lambda r=time_range: analytics.models(r)  # type: ignore[misc]
        yield f"savings {time_range}", lambda r=time_range: analytics.savings(r)  # type: ignore[misc]
        yield f"workspace {time_range}", lambda r=time_range: analytics.workspace(r, "workspace-3")  # type: ignore[misc]
        yield (
            f"models of one endpoint {time_range}",
            lambda r=time_range: analytics.models(r, model="deep/e#1"),  # type: ignore[misc]
        )
        yield (
            f"models of a bound key {time_range}",
            lambda r=time_range: analytics.models(r, workspaces=["workspace-3"]),  # type: ignore[misc]
        )
        yield (
            f"models of a key with five workspaces {time_range}",
            lambda r=time_range: analytics.models(r, workspaces=[f"workspace-{n}" for n in range(5)]),  # type: ignore[misc]
        )
    yield "overview", analytics.last_hour
    for how in (None, *Ended):
        yield f"requests {how or 'any'}", lambda h=how: analytics.requests(limit=100, only=Filter(how=h))  # type: ignore[misc]
        yield (
            f"requests of one workspace {how or 'any'}",
            lambda h=how: analytics.requests(limit=100, only=Filter(how=h), workspaces=["workspace-3"]),  # type: ignore[misc]
        )
        yield (
            f"requests of nobody {how or 'any'}",
            lambda h=how: analytics.requests(limit=100, only=Filter(how=h), workspaces=["nobody"]),  # type: ignore[misc]
        )
    middle = (int((NOW_S - case.over_s / 2) * 1000), 1)
    yield "requests, a page in the middle", lambda: analytics.requests(limit=100, before=middle)
    yield "1,000 requests as JSON", lambda: rendered(analytics, csv=False)
    yield "1,000 requests as CSV", lambda: rendered(analytics, csv=True)
    yield "spend by day, as a start reads it", lambda: spent(database)


async def rendered(analytics: Analytics, *, csv: bool) -> bytes:
    records = (await analytics.requests(limit=1000)).records
    return as_csv(records) if csv else as_json(records, next_=None)


async def spent(database: Database) -> object:
    with database.read() as connection:
        return spend_by_day(connection, since_day=NOW_S // 86_400 - LOOK_BACK_DAYS)


def forget(path: Path) -> None:
    """Ask the system to drop the file from its cache."""
    for file in (path, path.with_name(path.name + "-wal")):
        if file.exists():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def opened(path: Path) -> Database:
    """The database without the checks of a start, which would read all of it."""
    return Database(connect_file(path), monotonic=clock.monotonic, max_jobs=QUEUE_JOBS)


async def measure(path: Path, case: Case) -> dict[str, dict[str, float]]:
    """Milliseconds of every call: the first on a cold database, then the median and the worst of ten."""
    figures: dict[str, dict[str, float]] = {}
    database = opened(path)
    names = [name for name, _ in calls(database, case)]
    database.close()
    for wanted in names:
        database = opened(path)
        call = dict(calls(database, case))[wanted]
        forget(path)
        taken = [await timed(call) for _ in range(TIMES + 1)]
        figures[wanted] = {"cold": taken[0], "median": statistics.median(taken[1:]), "worst": max(taken[1:])}
        database.close()
    return figures


async def timed(call: Call) -> float:
    started_s = time.perf_counter()
    await call()
    return 1000 * (time.perf_counter() - started_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    told: dict[str, object] = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ledger.db"
            database = Database.open_file(path)
            fill(database, case, asked.rows)
            rolling = add_up(database)
            database.close()
            figures = asyncio.run(measure(path, case))
            told[case.name] = {"size_mb": path.stat().st_size / 1e6, "rolling": rolling, "calls": figures}
            if not asked.json:
                show(case, path.stat().st_size, rolling, figures)
    if asked.json:
        print(json.dumps(told, indent=1))


def show(case: Case, size: int, rolling: dict[str, float], figures: dict[str, dict[str, float]]) -> None:
    """A case as Markdown."""
    print(f"\n## {case.name}: {size / 1e6:.0f} MB")
    print(", ".join(f"{name} {value:.1f}" for name, value in rolling.items()))
    print("\n| call | cold | median | worst |\n|---|---|---|---|")
    for name, each in figures.items():
        print(f"| {name} | {each['cold']:.0f} | {each['median']:.1f} | {each['worst']:.1f} |")
    print(f"\nslowest: {math.ceil(max(value for each in figures.values() for value in each.values()))} ms")


if __name__ == "__main__":
    main()
