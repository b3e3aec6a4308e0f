"""Rows on their way to the journal, between the event loop and the database's writer."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from octoroute_py.storage.engine import Direct
from octoroute_py.storage.errors import CannotOpen, StorageError, StorageFailed, StorageRefused
from octoroute_py.storage.journal import Poster, Posting, Row
from octoroute_py.storage.writer import Job, Line

T = TypeVar("T")

Told = Callable[[Sequence[Posting], Exception | None], None]


class Rows(Protocol):
    """What a keeper needs of `storage.db.Database`."""

    def append(self, line: Line[Posting], row: Posting, /) -> None:
        """Queue a row of the journal. Raises StorageError."""
        ...

    def read(self) -> AbstractContextManager[Any]:
        """One state of the database. Raises StorageError."""
        ...

    def submit(self, job: Job[T], /) -> Future[T]:
        """Queue a write. Raises StorageError."""
        ...


class Waiting(Posting):
    """A row of which it is not yet known where it is kept; `future` ends when it is, and `kept` is True then."""

    __slots__ = ("due_s", "future", "kept")

    def __init__(self, row: Row, *, settles: bool, future: asyncio.Future[None] | None) -> None:
        super().__init__(row, settles=settles)
        self.due_s = 0.0
        self.future = future
        self.kept = False

    def end(self) -> None:
        """Nobody needs to wait any more."""
        self.kept = True
        if self.future is not None and not self.future.done():
            self.future.set_result(None)


class JournalLine:
    """Rows of the journal for the writer; tells the event loop it is made in what became of them, once a group."""

    __slots__ = ("_loop", "_poster", "_told")

    def __init__(self, poster: Poster, told: Told) -> None:
        self._poster = poster
        self._told = told
        self._loop = asyncio.get_running_loop()

    def write(self, connection: Direct, rows: Sequence[Posting]) -> None:
        """See `writer.Line`."""
        self._poster.post(connection, rows)

    def told(self, rows: Sequence[Posting], error: Exception | None) -> None:
        """See `writer.Line`."""
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._told, rows, error)


async def post(database: Rows, rows: Sequence[Row], *, poster: Poster, misfit: Told) -> None:
    """Put rows into the database and wait for it; `misfit` is told of those that fit no table.

    Raises StorageError when the database takes none now.
    """
    if not rows:
        return
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left = len(rows)

    def told(postings: Sequence[Posting], error: Exception | None) -> None:
        nonlocal left
        left -= len(postings)
        if isinstance(error, StorageFailed | StorageRefused):
            if not done.done():
                done.set_exception(error)
            return
        if error is not None:
            misfit(postings, error)
        if not left and not done.done():
            done.set_result(None)

    line = JournalLine(poster, told)
    try:
        for row in rows:
            database.append(line, Posting(row, settles=True))
    except StorageError:
        done.cancel()
        raise
    await done


def is_final(error: Exception) -> bool:
    """Whether somebody has to mend the database; a file that cannot be opened now may be opened later."""
    return isinstance(error, StorageRefused) and not isinstance(error, CannotOpen)
