"""The one thread that writes: jobs come in from anywhere, go to disk in groups, and tell their callers when they are.

A job is a function of a connection. When the writer is idle it commits a job at once; jobs that come in while it is
busy share the next commit, up to 256 rows or 20 ms. Each job has a savepoint of its own: one that fails takes nobody
else's rows with it. A result or an error reaches the caller only after the commit.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection
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


class _Ticket(Generic[T]):
    __slots__ = ("future", "job", "rows")

    def __init__(self, job: Job[T], rows: int) -> None:
        self.job = job
        self.rows = rows
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
        ticket = _Ticket(job, rows)
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
        outcomes: list[tuple[_Ticket[Any], Any, Exception | None]] = []
        with self._source.write() as connection:
            until = self._monotonic() + GROUP_S
            for ticket in group:
                outcomes.append((ticket, *_attempt(ticket.job, connection, self._source.location)))
                if self._monotonic() >= until:
                    break
        for ticket, result, error in outcomes:
            if error is None:
                ticket.future.set_result(result)
            else:
                ticket.future.set_exception(error)
        return group[len(outcomes) :]


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
