"""Sums hold every journal row exactly once, whatever happens while they are made."""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql

from octoroute_py.storage.db import Database
from octoroute_py.storage.rollups import GRAINS, RollUp, _statements, rolled_to
from octoroute_py.storage.schema import journal, latency_rollups, latency_totals, rollup_totals, rollups, spend_rollups
from tests.fakes.journal_rows import calls, entry, keep, latencies_of, roll_all, varied
from tests.fakes.repository import ROOT

URL = "sqlite:///octoroute.db"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = Database.open(URL, base_dir=tmp_path)
    yield one
    one.close()


def requests_in(connection: Connection, table: object) -> list[int]:
    """How many requests each grain of a table holds."""
    sums = rollups if table is None else table
    query = select(func.sum(sums.c.requests)).group_by(sums.c.grain_s)  # type: ignore[attr-defined]
    return sorted(connection.execute(query).scalars())


def test_every_row_is_in_the_sums_of_every_grain_once(database: Database) -> None:
    rows = varied(random.Random(1), 1_203, over_s=40 * 86_400)
    keep(database, rows)
    assert roll_all(database, rows=100) == 1_203
    timed = sum(sum(buckets.values()) for buckets in latencies_of(rows).values())
    with database.read() as connection:
        for table in (rollups, rollup_totals):
            assert requests_in(connection, table) == [1_203] * len(GRAINS)
        for table in (latency_rollups, latency_totals):
            assert requests_in(connection, table) == [timed] * len(GRAINS)
        assert connection.execute(select(func.sum(spend_rollups.c.requests))).scalar_one() == 1_203
        for column in ("cost_uusd", "baseline_uusd", "duration_us", "prompt_tokens"):
            by_grain = select(func.sum(rollups.c[column])).group_by(rollups.c.grain_s)
            assert set(connection.execute(by_grain).scalars()) == {sum(getattr(row, column) for row in rows)}


def test_a_row_is_added_to_the_minute_hour_and_day_of_its_start(database: Database) -> None:
    keep(database, [entry(1)])  # 14:13:20
    roll_all(database)
    with database.read() as connection:
        starts = {row.grain_s: row.start_s for row in connection.execute(select(rollups.c.grain_s, rollups.c.start_s))}
    midnight = 1_789_948_800
    assert starts == {60: midnight + 14 * 3600 + 13 * 60, 3600: midnight + 14 * 3600, 86_400: midnight}


def test_a_chunk_is_bounded_and_nothing_is_left_at_the_end(database: Database) -> None:
    keep(database, varied(random.Random(2), 25, over_s=100))
    job = RollUp(rows=10)
    assert [database.write(job) for _ in range(4)] == [10, 10, 5, 0]


def test_rows_that_end_late_are_added_to_the_minute_they_began_in(database: Database) -> None:
    keep(database, [entry(1, ago_s=600)])
    roll_all(database)
    keep(database, [entry(2, ago_s=600)])
    roll_all(database)
    with database.read() as connection:
        rows = connection.execute(select(rollups.c.requests).where(rollups.c.grain_s == 60)).scalars().all()
    assert rows == [2]


def test_a_job_that_fails_half_way_changes_nothing(database: Database) -> None:
    keep(database, varied(random.Random(3), 50, over_s=86_400))
    job = RollUp(rows=30)

    def broken(connection: Connection) -> None:
        assert job(connection) == 30
        raise RuntimeError("the process is told to stop here")

    with pytest.raises(RuntimeError):
        database.write(broken)
    with database.read() as connection:
        assert rolled_to(connection) == 0
        assert connection.execute(select(func.count()).select_from(rollups)).scalar_one() == 0
    assert roll_all(database) == 50


def test_a_restart_between_chunks_loses_and_doubles_nothing(tmp_path: Path) -> None:
    rows = varied(random.Random(4), 300, over_s=3 * 86_400)
    for at in range(0, 300, 50):
        database = Database.open(URL, base_dir=tmp_path)
        keep(database, rows[at : at + 50])
        database.write(RollUp(rows=20))
        database.close()
    database = Database.open(URL, base_dir=tmp_path)
    roll_all(database)
    with database.read() as connection:
        assert requests_in(connection, rollups) == [300] * 3
        cost = select(func.sum(rollups.c.cost_uusd)).where(rollups.c.grain_s == 86_400)
        assert connection.execute(cost).scalar_one() == sum(row.cost_uusd for row in rows)
    database.close()


def test_a_client_that_left_is_no_failure_and_has_no_latency(database: Database) -> None:
    keep(database, [entry(1, status=499, error_code="upstream_timeout"), entry(2, status=502, error_code="x")])
    roll_all(database)
    with database.read() as connection:
        query = select(rollups.c.status, rollups.c.failures).where(rollups.c.grain_s == 60).order_by(rollups.c.status)
        assert [tuple(row) for row in connection.execute(query)] == [(499, 0), (502, 1)]
        assert requests_in(connection, latency_totals) == [1, 1, 1]


def test_judge_calls_are_summed_but_have_no_latency(database: Database) -> None:
    rows = varied(random.Random(5), 200, over_s=3600)
    assert 0 < len(calls(rows)) < 200
    keep(database, rows)
    roll_all(database)
    with database.read() as connection:
        judged = select(func.sum(rollups.c.requests)).where(rollups.c.grain_s == 60, rollups.c.surface == "judge")
        assert connection.execute(judged).scalar_one() == 200 - len(calls(rows))
        known = connection.execute(select(latency_rollups.c.workspace).distinct()).scalars()
        assert "" not in set(known)


def test_no_row_is_passed_over_when_the_newest_journal_rows_were_deleted(database: Database) -> None:
    keep(database, [entry(number) for number in range(3)])
    roll_all(database)
    database.write(lambda connection: connection.execute(journal.delete().where(journal.c.id < 3)) and None)
    keep(database, [entry(10)])
    assert roll_all(database) == 1


def test_the_statements_can_be_said_to_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    texts = [str(statement.compile(dialect=dialect)) for statement in _statements("postgresql")]
    assert sum("ON CONFLICT (grain_s, start_s, workspace," in text for text in texts) == 6
    assert not any("GROUP BY %" in text for text in texts)


ROLLS_AND_TELLS = """
import sys
from pathlib import Path
from octoroute_py.storage.db import Database
from octoroute_py.storage.rollups import RollUp

database = Database.open("sqlite:///octoroute.db", base_dir=Path(sys.argv[1]))
job = RollUp(rows=7)
while count := database.write(job):
    print(count, flush=True)
"""


def test_processes_that_are_killed_while_they_add_up_leave_every_row_in_the_sums_once(tmp_path: Path) -> None:
    rows = varied(random.Random(6), 2_000, over_s=3 * 86_400)
    database = Database.open(URL, base_dir=tmp_path)
    keep(database, rows)
    database.close()
    for after in (1, 5, 11, 23):
        argv = [sys.executable, "-c", ROLLS_AND_TELLS, str(tmp_path)]
        with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(after)] == ["7\n"] * after
            process.send_signal(signal.SIGKILL)
    database = Database.open(URL, base_dir=tmp_path)
    with database.read() as connection:
        assert 7 * 40 <= rolled_to(connection) < 2_000
    roll_all(database)
    with database.read() as connection:
        for column, whole in {"requests": 2_000, "cost_uusd": sum(row.cost_uusd for row in rows)}.items():
            by_grain = select(func.sum(rollups.c[column])).group_by(rollups.c.grain_s)
            assert connection.execute(by_grain).scalars().all() == [whole] * len(GRAINS)
    database.close()
