"""One thread writes for all: in groups when there is a crowd, and each caller gets its own answer."""

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from octoroute_py.core import clock
from octoroute_py.storage.engine import Source, connect
from octoroute_py.storage.errors import Closed, Conflict, Overflow, StorageError
from octoroute_py.storage.writer import GROUP_ROWS, Writer


class Table:
    """A table of numbers, its writer, and the commits that were made."""

    def __init__(self, folder: Path, *, max_jobs: int = 10_000) -> None:
        self.source: Source = connect("sqlite:///x.db", base_dir=folder)
        with self.source.write() as connection:
            connection.exec_driver_sql("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
        self.commits = 0
        event.listen(self.source.engine, "commit", self._count)
        self.now = 0.0
        self.writer = Writer(self.source, monotonic=lambda: self.now, max_jobs=max_jobs)

    def _count(self, connection: Connection) -> None:
        self.commits += 1

    def add(self, number: int) -> None:
        self.writer.submit(lambda connection: insert(connection, number)).result(10)

    def numbers(self) -> list[int]:
        with self.source.read() as connection:
            return list(connection.exec_driver_sql("SELECT n FROM numbers ORDER BY n").scalars())

    def busy(self) -> threading.Event:
        """Keep the writer at one job until the event is set."""
        started, go_on = threading.Event(), threading.Event()

        def job(connection: Connection) -> None:
            started.set()
            assert go_on.wait(10)

        self.writer.submit(job)
        assert started.wait(10)
        return go_on


APPEND = text("INSERT INTO numbers VALUES (:n)")


def insert(connection: Connection, number: int) -> int:
    connection.exec_driver_sql("INSERT INTO numbers VALUES (?)", (number,))
    return number


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    made = Table(tmp_path)
    yield made
    made.writer.close()
    made.source.engine.dispose()


def test_jobs_of_an_idle_writer_are_committed_one_by_one(table: Table) -> None:
    for number in range(5):
        table.add(number)
    assert table.commits == 5
    assert table.numbers() == [0, 1, 2, 3, 4]


def test_jobs_that_wait_share_a_commit_of_at_most_256_rows(table: Table) -> None:
    go_on = table.busy()
    futures = [table.writer.submit(partial(insert, number=number)) for number in range(600)]
    go_on.set()
    assert [future.result(10) for future in futures] == list(range(600))
    assert table.commits == 1 + -(-600 // GROUP_ROWS)


def test_a_group_ends_after_20_ms(table: Table) -> None:
    go_on = table.busy()

    def slow(connection: Connection, number: int) -> int:
        table.now += 0.011
        return insert(connection, number)

    futures = [table.writer.submit(partial(slow, number=number)) for number in range(6)]
    go_on.set()
    assert [future.result(10) for future in futures] == list(range(6))
    assert table.commits == 1 + 3


def test_a_job_of_many_rows_fills_a_group(table: Table) -> None:
    go_on = table.busy()
    futures = [table.writer.submit(partial(insert, number=n), rows=200) for n in range(4)]
    go_on.set()
    for future in futures:
        future.result(10)
    assert table.commits == 1 + 2


def test_a_job_that_fails_takes_nobody_elses_rows_and_leaves_none_of_its_own(table: Table) -> None:
    go_on = table.busy()

    def broken(connection: Connection) -> None:
        insert(connection, 50)
        raise LookupError("my own")

    first = table.writer.submit(lambda connection: insert(connection, 1))
    failing = table.writer.submit(broken)
    last = table.writer.submit(lambda connection: insert(connection, 2))
    go_on.set()
    assert (first.result(10), last.result(10)) == (1, 2)
    with pytest.raises(LookupError, match="my own"):
        failing.result(10)
    assert table.numbers() == [1, 2]


def test_rows_that_are_appended_together_are_sent_together_in_order(table: Table) -> None:
    sent: list[int] = []
    event.listen(table.source.engine, "before_cursor_execute", partial(note_rows, sent))
    go_on = table.busy()
    futures = [table.writer.append(APPEND, {"n": number}) for number in range(100)]
    job = table.writer.submit(partial(insert, number=100))
    futures += [table.writer.append(APPEND, {"n": number}) for number in range(101, 150)]
    go_on.set()
    for future in futures:
        future.result(10)
    assert job.result(10) == 100
    assert sent == [100, 1, 49]
    assert table.commits == 2
    assert table.numbers() == list(range(150))


def test_a_row_that_breaks_a_rule_takes_none_of_its_neighbours(table: Table) -> None:
    table.add(7)
    go_on = table.busy()
    futures = [table.writer.append(APPEND, {"n": number}) for number in (5, 6, 7, 8, 5)]
    go_on.set()
    for at in (2, 4):
        with pytest.raises(Conflict):
            futures[at].result(10)
    for at in (0, 1, 3):
        futures[at].result(10)
    assert table.numbers() == [5, 6, 7, 8]


def test_a_row_that_no_database_takes_is_its_senders_error(table: Table) -> None:
    good, bad = table.writer.append(APPEND, {"n": 1}), table.writer.append(APPEND, {"n": object()})
    with pytest.raises(StorageError):
        bad.result(10)
    good.result(10)
    assert table.numbers() == [1]


def note_rows(sent: list[int], *args: Any) -> None:
    """How many rows a statement of the table carries."""
    _, _, statement, parameters, _, many = args
    if "INTO numbers" in statement:
        sent.append(len(parameters) if many else 1)


def test_a_cancelled_job_is_not_written(table: Table) -> None:
    go_on = table.busy()
    future = table.writer.submit(lambda connection: insert(connection, 1))
    assert future.cancel()
    go_on.set()
    table.add(2)
    assert table.numbers() == [2]


def test_a_full_queue_refuses_at_once_and_takes_jobs_again_later(tmp_path: Path) -> None:
    table = Table(tmp_path, max_jobs=3)
    go_on = table.busy()
    waiting = [table.writer.submit(partial(insert, number=number)) for number in range(3)]
    with pytest.raises(Overflow):
        table.writer.submit(lambda connection: insert(connection, 99))
    go_on.set()
    assert [future.result(10) for future in waiting] == [0, 1, 2]
    table.add(3)
    assert table.writer.close(within_s=10)
    assert table.numbers() == [0, 1, 2, 3]
    with pytest.raises(Closed):
        table.writer.submit(lambda connection: insert(connection, 100))
    table.source.engine.dispose()


def test_closing_says_when_it_did_not_finish_in_time(table: Table) -> None:
    go_on = table.busy()
    assert not table.writer.close(within_s=0.01)
    go_on.set()
    assert table.writer.close(within_s=10)


def test_the_real_clock_is_what_the_product_uses(tmp_path: Path) -> None:
    source = connect("sqlite:///y.db", base_dir=tmp_path)
    writer = Writer(source, monotonic=clock.monotonic)
    assert writer.submit(lambda connection: connection.exec_driver_sql("SELECT 7").scalar_one()).result(10) == 7
    writer.close()
    source.engine.dispose()
