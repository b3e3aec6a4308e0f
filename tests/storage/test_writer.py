"""One thread writes for all: in groups when there is a crowd, and each caller gets its own answer."""

import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from octoroute_py.core import clock
from octoroute_py.storage.engine import Direct, Source, connect
from octoroute_py.storage.errors import Closed, Conflict, Overflow
from octoroute_py.storage.writer import GATHER_S, GROUP_ROWS, Writer


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


class Numbers:
    """A line of numbers for the table; remembers the groups that were sent and what it was told."""

    def __init__(self) -> None:
        self.sent: list[list[int]] = []
        self.outcomes: dict[int, Exception | None] = {}
        self.all_told = threading.Event()
        self.wanted = 0

    def write(self, connection: Direct, rows: Sequence[int]) -> None:
        self.sent.append(list(rows))
        marks = ", ".join(["(?)"] * len(rows))
        connection.run([(f"INSERT INTO numbers VALUES {marks}", list(rows))])  # noqa: S608

    def told(self, rows: Sequence[int], error: Exception | None) -> None:
        self.outcomes.update(dict.fromkeys(rows, error))
        self.wanted -= len(rows)
        if self.wanted <= 0:
            self.all_told.set()

    def append(self, writer: Writer, *numbers: int) -> None:
        self.wanted += len(numbers)
        for number in numbers:
            writer.append(self, number)

    def wait(self) -> None:
        assert self.all_told.wait(10)


def test_rows_that_wait_are_sent_together_in_their_order_among_the_jobs(table: Table) -> None:
    line = Numbers()
    go_on = table.busy()
    line.append(table.writer, *range(100))
    job = table.writer.submit(partial(insert, number=100))
    line.append(table.writer, *range(101, 150))
    go_on.set()
    line.wait()
    assert job.result(10) == 100
    assert line.sent == [list(range(100)), list(range(101, 150))]
    assert set(line.outcomes.values()) == {None}
    assert table.numbers() == list(range(150))


def test_at_most_256_rows_are_sent_together(table: Table) -> None:
    line = Numbers()
    go_on = table.busy()
    line.append(table.writer, *range(600))
    go_on.set()
    line.wait()
    assert [len(rows) for rows in line.sent] == [256, 256, 88]


def test_rows_of_two_lines_are_sent_apart(table: Table) -> None:
    first, second = Numbers(), Numbers()
    go_on = table.busy()
    first.append(table.writer, 1, 2)
    second.append(table.writer, 3)
    first.append(table.writer, 4)
    go_on.set()
    first.wait()
    second.wait()
    assert (first.sent, second.sent) == ([[1, 2], [4]], [[3]])


def test_a_row_that_breaks_a_rule_takes_none_of_its_neighbours(table: Table) -> None:
    table.add(7)
    line = Numbers()
    go_on = table.busy()
    line.append(table.writer, 5, 6, 7, 8)
    go_on.set()
    line.wait()
    assert isinstance(line.outcomes.pop(7), Conflict)
    assert set(line.outcomes.values()) == {None}
    assert table.numbers() == [5, 6, 7, 8]


def test_a_row_that_no_database_takes_is_told_and_takes_no_neighbour(table: Table) -> None:
    line = Numbers()
    go_on = table.busy()
    line.append(table.writer, 1, 2**70, 3)
    go_on.set()
    line.wait()
    assert isinstance(line.outcomes[2**70], OverflowError)
    assert table.numbers() == [1, 3]


def test_rows_after_a_row_alone_are_not_waited_for(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lone row is written at once; only after a crowd does the writer let the next one gather."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    line = Numbers()
    for number in range(3):
        line.all_told.clear()
        line.append(table.writer, number)
        line.wait()
    assert waits == []
    go_on = table.busy()
    line.all_told.clear()
    line.append(table.writer, 3, 4)
    go_on.set()
    line.wait()
    line.all_told.clear()
    line.append(table.writer, 5)
    line.wait()
    assert waits == [GATHER_S]


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
