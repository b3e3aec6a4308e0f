"""The one thread that writes: jobs come in from anywhere, go to disk in groups, and tell their callers when they are.

A job is a function of a connection. When the writer is idle it commits a job at once; jobs that come in while it is
busy share the next commit, up to 256 rows or 20 ms. Each job has a savepoint of its own: one that fails takes nobody
else's rows with it. A result or an error reaches the caller only after the commit.

Rows that are only appended cost a tenth of a job: neighbours with the same statement go to the database together.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import Connection, Executable
from sqlalchemy.exc import DBAPIError

from octoroute_py.core.clock import Monotonic
from octoroute_py.storage.engine import Source
from octoroute_py.storage.errors import Closed, Overflow, storage_error

T = TypeVar("T")

Job = Callable[[Connection], T]
"""Writes its rows and returns what the caller wants to know; it may run statements, but not commit."""

GROUP_S = 0.020
GROUP_ROWS = 256
QUEUE_JOBS = 16_384


Values = Mapping[str, object]
"""A row by the names of its columns; it must not change any more."""


class _Ticket(Generic[T]):
    """A job, or the row `values` for `statement`."""

    __slots__ = ("future", "job", "rows", "statement", "values")

    def __init__(
        self, job: Job[T], *, rows: int, statement: Executable | None = None, values: Values | None = None
    ) -> None:
        self.job = job
        self.rows = rows
        self.statement = statement
        self.values = values
        self.future: Future[T] = Future()


class Writer:
    """Takes jobs from any thread; `close` once, when nobody submits any more."""

    def __init__(self, source: Source, *, monotonic: Monotonic, max_jobs: int = QUEUE_JOBS) -> None:
        self._source = source
        self._monotonic = monotonic
        self._queue: queue.Queue[_Ticket[Any] | None] = queue.Queue()
        self._slots = threading.BoundedSemaphore(max_jobs)
        self._state = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="storage-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that are not being written yet, roughly."""
        return self._queue.qsize()

    def submit(self, job: Job[T], *, rows: int = 1) -> Future[T]:
        """Have a job written; never waits. `rows` is about how many rows it writes.

        The future ends once the job is committed, or raises what went wrong: a StorageError, or the job's own error.
        Raises Overflow when too many jobs wait, Closed after `close`.
        """
        return self._take(_Ticket(job, rows=rows))

    def append(self, statement: Executable, values: Values) -> Future[None]:
        """Have one row written by an INSERT; never waits. Ends and raises as `submit` does.

        Give the very same statement object each time: rows of one statement that wait together are sent together.
        """

        def alone(connection: Connection) -> None:
            connection.execute(statement, values)

        return self._take(_Ticket(alone, rows=1, statement=statement, values=values))

    def _take(self, ticket: _Ticket[T]) -> Future[T]:
        with self._state:
            if self._closed:
                raise Closed(f"{self._source.location} was closed", location=self._source.location)
            if not self._slots.acquire(blocking=False):
                raise Overflow(f"{self._source.location}: too many writes are waiting", location=self._source.location)
            self._queue.put(ticket)
        return ticket.future

    def close(self, *, within_s: float | None = None) -> bool:
        """Write what was submitted, then stop; whether all of it was written in time."""
        with self._state:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join(within_s)
        return not self._thread.is_alive()

    # the thread

    def _run(self) -> None:
        last = False
        while not last:
            group, last = self._next_group()
            if group:
                self._write(group)

    def _next_group(self) -> tuple[list[_Ticket[Any]], bool]:
        """The jobs of the next commit, and whether they are the last ones."""
        group: list[_Ticket[Any]] = []
        rows = 0
        ticket = self._queue.get()
        while ticket is not None:
            self._slots.release()
            if ticket.future.set_running_or_notify_cancel():
                group.append(ticket)
                rows += ticket.rows
            if rows >= GROUP_ROWS:
                return group, False
            try:
                ticket = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _write(self, group: list[_Ticket[Any]]) -> None:
        try:
            while group:
                group = self._commit(group)
        except Exception as error:  # noqa: BLE001 - the writer outlives every failure and tells those who wait
            for ticket in group:
                if not ticket.future.done():
                    ticket.future.set_exception(error)

    def _commit(self, group: list[_Ticket[Any]]) -> list[_Ticket[Any]]:
        """Commit the jobs from the front of the group that fit the time; those that are left."""
        outcomes: list[_Outcome] = []
        with self._source.write() as connection:
            until = self._monotonic() + GROUP_S
            for run in _runs(group):
                outcomes += _attempt_run(run, connection, self._source.location)
                if self._monotonic() >= until:
                    break
        for ticket, result, error in outcomes:
            if error is None:
                ticket.future.set_result(result)
            else:
                ticket.future.set_exception(error)
        return group[len(outcomes) :]


class _Outcome(NamedTuple):
    ticket: _Ticket[Any]
    result: Any
    error: Exception | None


def _runs(group: list[_Ticket[Any]]) -> Iterator[list[_Ticket[Any]]]:
    """The group in pieces: rows of one statement that stand together, and jobs one by one."""
    run: list[_Ticket[Any]] = []
    for ticket in group:
        if run and (ticket.statement is None or ticket.statement is not run[0].statement):
            yield run
            run = []
        run.append(ticket)
    if run:
        yield run


def _attempt_run(run: list[_Ticket[Any]], connection: Connection, location: str) -> list[_Outcome]:
    """What became of each ticket; rows that cannot be written together are tried one by one."""
    statement = run[0].statement
    if statement is not None and len(run) > 1:
        values = [ticket.values for ticket in run if ticket.values is not None]
        _, error = _attempt(lambda same: same.execute(statement, values), connection, location)
        if error is None:
            return [_Outcome(ticket, None, None) for ticket in run]
    return [_Outcome(ticket, *_attempt(ticket.job, connection, location)) for ticket in run]


def _attempt(job: Job[Any], connection: Connection, location: str) -> tuple[Any, Exception | None]:
    """The job's result, or its error with everything it did undone."""
    savepoint = connection.begin_nested()
    try:
        result = job(connection)
    except DBAPIError as error:
        try:
            savepoint.rollback()
        except DBAPIError:
            raise error from None  # a full disk or the like: the database has undone the whole group by itself
        return None, storage_error(error, location)
    except Exception as error:  # noqa: BLE001 - the caller's own error goes back to the caller
        savepoint.rollback()
        return None, error
    savepoint.commit()
    return result, None
