"""A copy of what the database says, read at the start and again whenever somebody has changed it, in any process."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import structlog

from octoroute_py.storage.db import Database
from octoroute_py.storage.errors import StorageError
from octoroute_py.storage.transaction import Transaction

T = TypeVar("T")

EVERY_S = 0.5
"""A change by another process is in force this much later, and the time it takes to read it."""

_log = structlog.stdlib.get_logger("octoroute.manage")


class Following(Generic[T]):
    """Holds a copy and follows its changes; without a database it stays what it was first.

    `read` gives a newer copy than the one it is handed, or None if there is none; it runs in a thread of its own, so
    that a change does not queue behind slow reports. `take_over` is called in the event loop with every new copy; what
    it raises leaves the old one in force. `what` names it in the log. Reads at once: raises StorageError.
    """

    def __init__(
        self,
        database: Database | None,
        first: T,
        *,
        read: Callable[[Transaction, T], T | None],
        take_over: Callable[[T], None],
        what: str,
    ) -> None:
        self._database = database
        self._read = read
        self._take_over = take_over
        self._what = what
        self._reading = asyncio.Lock()
        self._lost = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=what.partition(" ")[0])
        found = None if database is None else self._newer(database, first)
        self.current: T = first if found is None else found
        """What is in force."""

    async def refresh(self) -> None:
        """Take over what has changed since; a database that cannot be read leaves everything as it is."""
        database = self._database
        if database is None:
            return
        async with self._reading:
            loop = asyncio.get_running_loop()
            try:
                found = await loop.run_in_executor(self._thread, self._newer, database, self.current)
            except StorageError as error:
                self._say_lost(str(error))
                return
            if self._lost:
                self._lost = False
                _log.info(f"{self._what} can be read again")
            if found is not None:
                self._change(found)

    async def run(self, *, every_s: float = EVERY_S) -> None:
        """Look for changes until cancelled."""
        broken = False
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.refresh()
                broken = False
            except Exception:  # noqa: BLE001 - a worker loop outlives its bugs and reports them
                if not broken:
                    _log.error(f"following changes of {self._what} broke and goes on", exc_info=True)
                broken = True

    def close(self) -> None:
        """Let the thread end; nothing is followed any more."""
        self._thread.shutdown()

    def _newer(self, database: Database, known: T) -> T | None:
        with database.read() as connection:
            return self._read(connection, known)

    def _change(self, found: T) -> None:
        before, self.current = self.current, found
        try:
            self._take_over(found)
        except BaseException:
            self.current = before  # so that the next look tries again
            raise

    def _say_lost(self, problem: str) -> None:
        if not self._lost:
            self._lost = True
            _log.error(f"{self._what} cannot be read, those known last stay in force", problem=problem)
