"""The one thread that writes: jobs and rows come in from anywhere, go to disk in groups, and whoever gave them is told.

A job is a function of a connection. When the writer is idle it commits a job at once; jobs that come in while it is
busy share the next commit, up to 256 rows or 20 ms. Each job has a savepoint of its own: one that fails takes nobody
else's rows with it. A result or an error reaches the caller only after the commit.

Rows of a line are only added, thousands a second: they have neither futures nor savepoints, and one call tells their
line what became of all of a group.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from octoroute_py.core.clock import Monotonic
from octoroute_py.storage.engine import Direct, Source
from octoroute_py.storage.errors import Closed, Overflow, StorageFailed, StorageRefused, storage_error

T = TypeVar("T")
R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)

Job = Callable[[Connection], T]
"""Writes its rows and returns what the caller wants to know; it may run statements, but not commit."""

GROUP_S = 0.020
GROUP_ROWS = 256
GATHER_S = 0.0005
"""While rows come in crowds, the writer lets a crowd gather for so long: a commit costs as much as several rows."""
QUEUE_JOBS = 16_384
_PAGES = 5
_ROWS_A_PAGE = 4
"""About what a commit writes: the ends of a table and its indices, and the rows themselves."""


class Line(Protocol[R_contra]):
    """Rows of one kind; both methods are called in the writer's thread."""

    def write(self, connection: Direct, rows: Sequence[R_contra], /) -> None:
        """Add the rows in one `Direct.run`. Raises StorageError, or what is wrong with the rows themselves."""
        ...

    def told(self, rows: Sequence[R_contra], error: Exception | None, /) -> None:
        """The rows are on disk, or are not, and why; must not raise."""
        ...


class _Ticket(Generic[T]):
    """A job with its future."""

    __slots__ = ("future", "job", "rows")

    def __init__(self, job: Job[T], *, rows: int) -> None:
        self.job = job
        self.rows = rows
        self.future: Future[T] = Future()


class _Rows(NamedTuple):
    """A row of a line."""

    line: Line[Any]
    row: Any


_Queued = _Ticket[Any] | _Rows | None
"""None is the last: the writer is to end."""


class Writer:
    """Takes jobs and rows from any thread; `close` once, when nobody gives it any more."""

    def __init__(
        self,
        source: Source,
        *,
        monotonic: Monotonic,
        max_jobs: int = QUEUE_JOBS,
        written: Callable[[int], None] = lambda pages: None,
    ) -> None:
        """`written` is told in the writer's thread about how many pages each commit wrote."""
        self._written = written
        self._source = source
        self._monotonic = monotonic
        self._max_jobs = max_jobs
        self._queue: queue.SimpleQueue[_Queued] = queue.SimpleQueue()
        self._state = threading.Lock()
        self._closed = False
        self._direct: Direct | None = None
        self._crowded = False
        self._thread = threading.Thread(target=self._run, name="storage-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs and rows that are not being written yet."""
        return self._queue.qsize()

    def submit(self, job: Job[T], *, rows: int = 1) -> Future[T]:
        """Have a job written; never waits. `rows` is about how many rows it writes.

        The future ends once the job is committed, or raises what went wrong: a StorageError, or the job's own error.
        Raises Overflow when too many jobs wait, Closed after `close`.
        """
        ticket = _Ticket(job, rows=rows)
        self._take(ticket)
        return ticket.future

    def append(self, line: Line[R], row: R) -> None:
        """Have a row added to a line; never waits. The line is told; raises as `submit` does."""
        self._take(_Rows(line, row))

    def _take(self, queued: _Queued) -> None:
        with self._state:
            if self._closed:
                raise Closed(f"{self._source.location} was closed", location=self._source.location)
            if self._queue.qsize() >= self._max_jobs:
                raise Overflow(f"{self._source.location}: too many writes are waiting", location=self._source.location)
            self._queue.put(queued)

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
        queued = self._queue.get()
        while queued is not None:
            queued = self._add_rows(queued) if isinstance(queued, _Rows) else self._do_jobs(queued)
        if self._direct is not None:
            self._direct.close()

    # rows

    def _add_rows(self, first: _Rows) -> _Queued:
        """Write the rows of one line that wait; what came after them."""
        line, rows = first.line, [first.row]
        if self._crowded:
            time.sleep(GATHER_S)
        following: _Queued = None
        take, size = self._queue.get, self._queue.qsize
        while True:
            if len(rows) >= GROUP_ROWS or not size():
                self._crowded = len(rows) > 1
                self._add(line, rows)
                return self._queue.get()
            following = take()
            if not isinstance(following, _Rows) or following.line is not line:
                self._add(line, rows)
                return following
            rows.append(following.row)

    def _add(self, line: Line[Any], rows: list[Any]) -> None:
        error = self._attempt_rows(line, rows)
        if error is None or len(rows) == 1 or isinstance(error, StorageFailed | StorageRefused):
            line.told(rows, error)
            self._written(_PAGES + len(rows) // _ROWS_A_PAGE)
            return
        for row in rows:  # something is wrong with one of them
            line.told([row], self._attempt_rows(line, [row]))

    def _attempt_rows(self, line: Line[Any], rows: Sequence[Any]) -> Exception | None:
        try:
            if self._direct is None:
                self._direct = self._source.direct()
            line.write(self._direct, rows)
        except Exception as error:  # noqa: BLE001 - the writer outlives every failure and tells those who wait
            return error
        return None

    # jobs

    def _do_jobs(self, first: _Ticket[Any]) -> _Queued:
        """Write the jobs that wait, as one group; what came after them."""
        group: list[_Ticket[Any]] = []
        rows = 0
        queued: _Queued = first
        while isinstance(queued, _Ticket):
            if queued.future.set_running_or_notify_cancel():
                group.append(queued)
                rows += queued.rows
            if rows >= GROUP_ROWS or not self._queue.qsize():
                self._write(group)
                return self._queue.get()
            queued = self._queue.get()
        self._write(group)
        return queued

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
            for ticket in group:
                outcomes.append(_Outcome(ticket, *_attempt(ticket.job, connection, self._source.location)))
                if self._monotonic() >= until:
                    break
        for ticket, result, error in outcomes:
            if error is None:
                ticket.future.set_result(result)
            else:
                ticket.future.set_exception(error)
        self._written(_PAGES + sum(outcome.ticket.rows for outcome in outcomes) // _ROWS_A_PAGE)
        return group[len(outcomes) :]


class _Outcome(NamedTuple):
    ticket: _Ticket[Any]
    result: Any
    error: Exception | None


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
