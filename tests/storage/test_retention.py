"""What is too old goes, a few rows at a time, and nothing else does."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from octoroute_py.admission.budget import LOOK_BACK_DAYS
from octoroute_py.storage.analytics import Scope, cells, latencies, requests_by_hour, spend_by_day
from octoroute_py.storage.db import Database
from octoroute_py.storage.retention import delete_journal, delete_sums, expiries
from octoroute_py.storage.schema import feedback, journal, latency_rollups, rollups, spend_rollups
from tests.fakes.journal_rows import DAY_S, NOW_S, entry, keep, roll_all, varied


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = Database.open("sqlite:///octoroute.db", base_dir=tmp_path)
    yield one
    one.close()


def clear_journal(database: Database, *, days: int, rows: int = 500) -> list[int]:
    """Delete rows older than so many days; how many each step deleted."""
    before_ms = (NOW_S - days * DAY_S) * 1000
    steps: list[int] = []
    while not steps or steps[-1]:
        steps.append(database.write(lambda connection: delete_journal(connection, before_ms=before_ms, rows=rows)))
    return steps


def clear_sums(database: Database, *, rollup_days: int = 400, now_s: float = NOW_S, rows: int = 500) -> list[int]:
    """Delete the sums whose time is over; how many each step deleted."""
    steps = []
    for expiry in expiries(rollup_days=rollup_days):
        deleted = None
        while deleted != 0:
            deleted = database.write(lambda c, e=expiry: delete_sums(c, e, now_s=now_s, rows=rows))  # type: ignore[misc]
            steps.append(deleted)
    return steps


def starts(database: Database, grain_s: int) -> list[int]:
    with database.read() as connection:
        query = select(rollups.c.start_s).where(rollups.c.grain_s == grain_s).order_by(rollups.c.start_s)
        return list(connection.execute(query).scalars())


def test_old_rows_go_in_bounded_steps_and_young_ones_stay(database: Database) -> None:
    keep(database, [entry(number, ago_s=number * DAY_S) for number in range(20)])
    keep(database, [entry(99)])
    roll_all(database)
    assert clear_journal(database, days=10, rows=4) == [4, 4, 1, 0]
    with database.read() as connection:
        oldest = connection.execute(select(func.min(journal.c.started_ms))).scalar_one()
        assert connection.execute(select(func.count()).select_from(journal)).scalar_one() == 12
    assert oldest == (NOW_S - 10 * DAY_S) * 1000


def test_a_row_that_is_in_no_sum_stays_however_old_it_is(database: Database) -> None:
    keep(database, [entry(number, ago_s=100 * DAY_S) for number in range(5)])
    assert clear_journal(database, days=10) == [0]
    roll_all(database)
    assert clear_journal(database, days=10) == [4, 0]  # the newest of them stays, so that its number is not given again


def test_rows_that_come_after_everything_was_deleted_are_added_up(database: Database) -> None:
    keep(database, [entry(number, ago_s=100 * DAY_S) for number in range(5)])
    roll_all(database)
    clear_journal(database, days=10)
    keep(database, [entry(10)])
    assert roll_all(database) == 1


def test_feedback_goes_with_its_row(database: Database) -> None:
    keep(database, [entry(1, ago_s=100 * DAY_S), entry(2), entry(3)])
    values = [{"journal_id": number, "at_ms": 0, "by": "k", "rating": 1} for number in (1, 2)]
    database.write(lambda connection: connection.execute(insert(feedback), values) and None)
    roll_all(database)
    clear_journal(database, days=10)
    with database.read() as connection:
        assert connection.execute(select(feedback.c.journal_id)).scalars().all() == [2]


def test_minutes_hours_and_days_have_their_own_age(database: Database) -> None:
    keep(database, [entry(days, ago_s=days * DAY_S) for days in (0, 1, 3, 39, 42, 399, 402)])
    roll_all(database)
    clear_sums(database)
    assert [len(starts(database, grain_s)) for grain_s in (60, 3600, DAY_S)] == [2, 4, 6]
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(spend_rollups)).scalar_one() == 6


def test_what_was_spent_stays_for_as_long_as_a_start_asks_for_it(database: Database) -> None:
    keep(database, [entry(days, ago_s=days * DAY_S) for days in (0, 5, LOOK_BACK_DAYS, 90)])
    roll_all(database)
    clear_journal(database, days=1)
    clear_sums(database, rollup_days=1)
    with database.read() as connection:
        spent = spend_by_day(connection, since_day=NOW_S // DAY_S - LOOK_BACK_DAYS)
        assert connection.execute(select(func.count()).select_from(spend_rollups)).scalar_one() == 3
    assert sorted(NOW_S // DAY_S - each.day for each in spent) == [0, 5, LOOK_BACK_DAYS]


def test_sums_go_in_bounded_steps(database: Database) -> None:
    keep(database, [entry(number, ago_s=50 * DAY_S, duration_us=1000 + number * 100) for number in range(30)])
    roll_all(database)
    steps = clear_sums(database, rows=7)
    assert max(steps) == 7
    with database.read() as connection:
        grains = select(latency_rollups.c.grain_s).distinct()
        assert connection.execute(grains).scalars().all() == [DAY_S]


def test_what_a_range_shows_does_not_change_when_old_rows_and_sums_are_deleted(database: Database) -> None:
    keep(database, varied(random.Random(3), 800, over_s=60 * DAY_S))
    roll_all(database)
    scopes = [
        Scope(NOW_S // 60 * 60 - DAY_S),
        Scope(NOW_S // 3600 * 3600 - 30 * DAY_S),
        Scope(NOW_S // 3600 * 3600 - 30 * DAY_S, ("red",)),
    ]
    month = NOW_S // DAY_S - 30

    def everything() -> list[object]:
        with database.read() as connection:
            told: list[object] = [sorted(spend_by_day(connection, since_day=month))]
            for scope in scopes:
                told += [sorted(cells(connection, scope)), requests_by_hour(connection, scope)]
                told.append(latencies(connection, scope))
            return told

    before = everything()
    assert sum(clear_journal(database, days=10)) > 500
    assert sum(clear_sums(database)) > 500
    assert everything() == before
