"""The ledger looks after itself: rows are added up, old ones go, trouble is told once and survived."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs

from octoroute_py.config.schema import StorageConfig
from octoroute_py.manage.upkeep import CLEAR_EVERY_S, ROLL_EVERY_S, Upkeep
from octoroute_py.storage.db import Database
from octoroute_py.storage.errors import Locked
from octoroute_py.storage.rollups import rolled_to
from octoroute_py.storage.schema import journal, rollups
from tests.fakes.journal_rows import DAY_S, NOW_S, entry, keep


class Clock:
    """Time that passes only in `sleep`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class Stubborn:
    """A database whose writes fail as long as it is told to."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.error: Exception | None = None

    def submit(self, job: Any, *, rows: int = 1) -> "Future[Any]":
        if self.error is None:
            return self._database.submit(job, rows=rows)
        failed: Future[Any] = Future()
        failed.set_exception(self.error)
        return failed


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = Database.open("sqlite:///octoroute.db", base_dir=tmp_path)
    yield one
    one.close()


def upkeep_of(database: Any, clock: Clock, *, journal_days: int = 90, rollup_days: int = 400) -> Upkeep:
    storage = StorageConfig(journal_days=journal_days, rollup_days=rollup_days)
    return Upkeep(database, storage=lambda: storage, wall=lambda: NOW_S, monotonic=clock, sleep=clock.sleep)


def count(database: Database, table: Any) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


async def test_all_rows_are_added_up_in_as_many_jobs_as_it_takes(database: Database) -> None:
    keep(database, [entry(number) for number in range(1201)])
    assert await upkeep_of(database, Clock()).roll_up() == 1201
    with database.read() as connection:
        assert rolled_to(connection) == 1201


async def test_it_goes_on_by_itself_and_ends_when_cancelled(database: Database) -> None:
    clock = Clock()
    task = asyncio.create_task(upkeep_of(database, clock).run())
    keep(database, [entry(1)])
    while count(database, rollups) == 0:  # noqa: ASYNC110 - the writing thread tells nobody
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    keep(database, [entry(2)])
    assert database.close()


async def test_what_is_too_old_goes_soon_after_the_start_and_then_every_ten_minutes(database: Database) -> None:
    clock = Clock()
    upkeep = upkeep_of(database, clock, journal_days=10)
    keep(database, [entry(number, ago_s=20 * DAY_S) for number in range(5)] + [entry(9)])
    await upkeep.work()
    assert count(database, journal) == 6
    clock.now += ROLL_EVERY_S
    await upkeep.work()
    assert count(database, journal) == 1
    keep(database, [entry(number, ago_s=20 * DAY_S) for number in range(10, 15)] + [entry(19)])
    clock.now += CLEAR_EVERY_S - 1
    await upkeep.work()
    assert count(database, journal) == 7
    clock.now += 1
    await upkeep.work()
    assert count(database, journal) == 2


async def test_sums_are_kept_longer_than_the_rows_they_are_made_of(database: Database) -> None:
    clock = Clock()
    upkeep = upkeep_of(database, clock, journal_days=1, rollup_days=30)
    keep(database, [entry(1, ago_s=31.5 * DAY_S), entry(2, ago_s=29 * DAY_S), entry(3)])
    await upkeep.roll_up()
    await upkeep.clear()
    assert count(database, journal) == 1
    with database.read() as connection:
        query = select(rollups.c.grain_s, func.sum(rollups.c.requests)).group_by(rollups.c.grain_s)
        assert [tuple(row) for row in connection.execute(query)] == [(60, 1), (3600, 2), (DAY_S, 2)]


async def test_trouble_is_told_once_survived_and_told_to_be_over(database: Database) -> None:
    stubborn, clock = Stubborn(database), Clock()
    upkeep = upkeep_of(stubborn, clock)
    keep(database, [entry(1)])
    with capture_logs() as lines:
        for error in (Locked("locked", location="x"), Locked("locked", location="x"), RuntimeError("a bug")):
            stubborn.error = error
            await upkeep.work()
            assert upkeep.failing
        stubborn.error = None
        await upkeep.work()
    assert [line["log_level"] for line in lines] == ["error", "info"]
    assert not upkeep.failing
    assert count(database, rollups) > 0


async def test_a_cut_between_two_jobs_is_made_good_by_the_next_process(tmp_path: Path) -> None:
    database = Database.open("sqlite:///octoroute.db", base_dir=tmp_path)
    keep(database, [entry(number) for number in range(1200)])
    task = asyncio.create_task(upkeep_of(database, Clock()).run())
    while count(database, rollups) == 0:  # noqa: ASYNC110 - the writing thread tells nobody
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    database.close()
    database = Database.open("sqlite:///octoroute.db", base_dir=tmp_path)
    await upkeep_of(database, Clock()).roll_up()
    with database.read() as connection:
        query = select(func.sum(rollups.c.requests)).group_by(rollups.c.grain_s)
        assert connection.execute(query).scalars().all() == [1200, 1200, 1200]
    database.close()
