"""The database as management uses it: asked off the event loop, its failures as answers a client can act on."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog

from octoroute_py.core.errors import Refused
from octoroute_py.storage.db import Database
from octoroute_py.storage.errors import StorageError
from octoroute_py.storage.writer import Job

T = TypeVar("T")

TRY_AGAIN_S = 1.0

_log = structlog.stdlib.get_logger("octoroute.manage")


def log_problem(error: StorageError) -> None:
    """Let the operator read what is wrong."""
    _log.warning("the database could not be used", problem=str(error))


class Store:
    """A database, or none: then every use is refused with what to configure.

    A client learns only that the database cannot be used; what is wrong goes to `report`, and is the refusal's cause.
    """

    __slots__ = ("_database", "_report")

    def __init__(self, database: Database | None, *, report: Callable[[StorageError], None] = log_problem) -> None:
        self._database = database
        self._report = report

    @property
    def keeps(self) -> bool:
        """Whether there is a database at all."""
        return self._database is not None

    async def write(self, job: Job[T]) -> T:
        """Have a job written; what it returns, once it is on disk. Raises Refused 503, or what the job raises."""
        database = self._opened()
        with self._told():
            return await asyncio.wrap_future(database.submit(job))

    async def read(self, look: Job[T]) -> T:
        """What a look at the database finds, all of one moment. Raises Refused 503, or what `look` raises."""
        database = self._opened()

        def run() -> T:
            with database.read() as connection:
                return look(connection)

        with self._told():
            return await asyncio.to_thread(run)

    def _opened(self) -> Database:
        if self._database is None:
            raise Refused(
                'Nothing is kept here: set url in [storage], for example "sqlite:///octoroute.db".',
                code="storage_off",
                final=True,
            )
        return self._database

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except StorageError as error:
            self._report(error)
            raise Refused(
                "The database cannot be used now; nothing was changed.",
                code="storage_unavailable",
                retry_after_s=TRY_AGAIN_S,
            ) from error
