"""Today's money is the sum over today's rows, read seldom, and None where it cannot be known."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from octoroute_py.manage.store import Store
from octoroute_py.manage.today import STALE_AFTER_S, Money, Today
from octoroute_py.storage.db import Database
from octoroute_py.storage.errors import StorageError
from tests.fakes.journal_rows import DAY_S, NOW_S, entry, keep, roll_all, varied

MIDNIGHT_S = NOW_S // DAY_S * DAY_S


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = Database.open("sqlite:///x.db", base_dir=tmp_path)
    yield one
    one.close()


class Clock:
    """A wall clock that is set."""

    def __init__(self) -> None:
        self.now = float(NOW_S)

    def __call__(self) -> float:
        return self.now


def known(today: Today) -> bool:
    return today.money is not None


async def money_of(database: Database) -> Money:
    today = Today(Store(database), wall=Clock())
    await today.refresh()
    assert today.money is not None
    return today.money


@pytest.mark.parametrize("rolled", [0, 150, 300])
async def test_it_is_the_sum_over_the_rows_since_midnight_rolled_up_or_not(database: Database, rolled: int) -> None:
    rows = varied(random.Random(4), 300, over_s=2 * DAY_S)
    keep(database, rows[:rolled])
    roll_all(database)
    keep(database, rows[rolled:])
    meant = [row for row in rows if row.started_ms >= MIDNIGHT_S * 1000]
    judged = [row for row in meant if row.surface == "judge"]
    cost, baseline = sum(row.cost_uusd for row in meant), sum(row.baseline_uusd for row in meant)
    told = await money_of(database)
    assert told.since == "2026-09-21T00:00:00.000Z"
    assert told.requests == len(meant) - len(judged)
    assert told.cost_usd == cost / 1e6
    assert told.judge_cost_usd == sum(row.cost_uusd for row in judged) / 1e6
    assert told.baseline_usd == baseline / 1e6
    assert told.saved_usd == (baseline - cost) / 1e6
    assert told.saved_percent == pytest.approx(100 * (baseline - cost) / baseline, abs=1e-4)


async def test_without_a_baseline_nothing_is_said_of_savings(database: Database) -> None:
    keep(database, [entry(1, baseline_uusd=0)])
    told = await money_of(database)
    assert (told.requests, told.baseline_usd, told.saved_usd, told.saved_percent) == (1, 0.0, None, None)


async def test_a_day_begins_with_nothing(database: Database) -> None:
    keep(database, [entry(1, ago_s=DAY_S)])
    told = await money_of(database)
    assert (told.requests, told.cost_usd) == (0, 0.0)


async def test_it_is_read_again_only_when_it_is_stale(database: Database) -> None:
    clock = Clock()
    today = Today(Store(database), wall=clock)
    await today.refresh()
    keep(database, [entry(1)])
    clock.now += STALE_AFTER_S - 0.1
    await today.refresh()
    assert today.money is not None
    assert today.money.requests == 0
    clock.now += 0.1
    await today.refresh()
    assert today.money.requests == 1


async def test_where_nothing_is_kept_there_is_none() -> None:
    today = Today(Store(None), wall=Clock())
    assert not today.is_stale()
    await today.refresh()
    assert today.money is None


async def test_a_database_that_cannot_be_used_leaves_none_and_is_asked_again_later(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, problems = Clock(), list[StorageError]()
    today = Today(Store(database, report=problems.append), wall=clock)
    await today.refresh()
    assert known(today)

    def broken() -> None:
        raise StorageError("it lies on a disk that is gone", location="x.db")

    monkeypatch.setattr(database, "read", broken)
    clock.now += STALE_AFTER_S
    await today.refresh()
    assert not known(today)
    assert len(problems) == 1
    assert not today.is_stale()


async def test_a_look_that_was_given_up_is_made_again_at_once(database: Database) -> None:
    today = Today(Store(database), wall=Clock())
    looking = asyncio.create_task(today.refresh())
    await asyncio.sleep(0)
    assert not today.is_stale()  # one at a time
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    assert today.is_stale()
