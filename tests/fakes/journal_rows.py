"""Journal rows to put into a database, and plain Python that counts them again."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import insert

from octoroute_py.storage.db import Database
from octoroute_py.storage.entries import JournalEntry, latency_bucket
from octoroute_py.storage.rollups import RollUp
from octoroute_py.storage.schema import journal
from tests.fakes.rows import an_entry

NOW_S = 1_790_000_000
"""Monday 2026-09-21 14:13:20 UTC."""
DAY_S = 86_400

PLAIN = an_entry(
    "r",
    started_ms=NOW_S * 1000,
    duration_us=1_000_000,
    routing_us=None,
    latency_bucket=latency_bucket(1_000_000),
    reason="default_tier",
    rule=None,
    prompt_tokens=10,
    cost_uusd=100,
    baseline_uusd=400,
)

ENDPOINTS = (
    ("fast", "fast/small#1"),
    ("fast", "fast/small#2"),
    ("balanced", "balanced/middle#1"),
    ("deep", "deep/large#1"),
    ("fast", ""),
)
ENDINGS: tuple[tuple[int, str | None], ...] = (
    (200, None),
    (200, None),
    (200, None),
    (200, "upstream_stalled"),
    (499, None),
    (499, "upstream_timeout"),
    (429, "rate_limit_exceeded"),
    (504, "upstream_timeout"),
    (502, "upstream_error"),
)


def entry(number: int = 0, *, ago_s: float = 0.0, duration_us: int = 1_000_000, **changes: object) -> JournalEntry:
    """A plain row with these changes; `ago_s` is how long before NOW_S it began."""
    return msgspec.structs.replace(
        PLAIN,
        request_id=f"r{number}",
        started_ms=int((NOW_S - ago_s) * 1000),
        duration_us=duration_us,
        latency_bucket=latency_bucket(duration_us),
        **changes,
    )


def varied(rng: random.Random, count: int, *, over_s: float, first: int = 0) -> list[JournalEntry]:
    """Rows of every kind that began in the last `over_s`; their order is that of their ends, not of their starts."""
    return [_any(rng, number, over_s=over_s) for number in range(first, first + count)]


def _any(rng: random.Random, number: int, *, over_s: float) -> JournalEntry:
    tier, endpoint = rng.choice(ENDPOINTS)
    status, error_code = rng.choice(ENDINGS)
    judge = rng.random() < 0.1
    return entry(
        number,
        ago_s=rng.uniform(0, over_s),
        duration_us=int(rng.lognormvariate(13, 2)),
        surface="judge" if judge else rng.choice(("chat", "embeddings")),
        status=status,
        error_code=error_code,
        workspace="" if judge else rng.choice(("default", "red", "blue")),
        key_id="" if judge else rng.choice(("anonymous", "k1", "k2")),
        agent_type=rng.choice(("", "coder", "writer")),
        tier=tier,
        endpoint=endpoint,
        prompt_tokens=rng.randrange(1000),
        completion_tokens=rng.randrange(1000),
        cached_tokens=rng.randrange(10),
        cost_uusd=rng.randrange(10_000),
        baseline_uusd=rng.randrange(20_000),
    )


def keep(database: Database, entries: Iterable[JournalEntry]) -> None:
    """Put rows into the journal."""
    rows = [msgspec.structs.asdict(one) for one in entries]
    statement = insert(journal)
    if rows:
        database.write(lambda connection: connection.execute(statement, rows) and None)


def roll_all(database: Database, *, rows: int = 500) -> int:
    """Roll up whatever is left; how many rows that were."""
    job, total = RollUp(rows=rows), 0
    while count := database.write(job):
        total += count
    return total


def calls(entries: Sequence[JournalEntry]) -> list[JournalEntry]:
    """The requests among them, without the judge's calls."""
    return [one for one in entries if one.surface != "judge"]


def cells_of(entries: Iterable[JournalEntry]) -> dict[tuple[str, str, str, str, int], list[int]]:
    """What `storage.analytics.cells` must find, counted one by one."""
    found: dict[tuple[str, str, str, str, int], list[int]] = {}
    for one in entries:
        sums = found.setdefault((one.surface, one.agent_type, one.tier, one.endpoint, one.status), [0] * 8)
        failed = one.error_code is not None and one.status != 499
        numbers = (
            1,
            int(failed),
            one.duration_us,
            one.prompt_tokens,
            one.completion_tokens,
            one.cached_tokens,
            one.cost_uusd,
            one.baseline_uusd,
        )
        for at, number in enumerate(numbers):
            sums[at] += number
    return found


def latencies_of(entries: Iterable[JournalEntry]) -> dict[str, dict[int, int]]:
    """What `storage.analytics.latencies` must find, counted one by one."""
    found: dict[str, Counter[int]] = {}
    for one in entries:
        if one.surface != "judge" and one.endpoint and one.status != 499:
            found.setdefault(one.endpoint, Counter())[one.latency_bucket] += 1
    return {endpoint: dict(buckets) for endpoint, buckets in found.items()}
