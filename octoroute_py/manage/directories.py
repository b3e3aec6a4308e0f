"""The directory in force: read at the start, then again whenever somebody has changed it, in whatever process."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from octoroute_py.admission.keyring import NONE_ISSUED, IssuedKeys
from octoroute_py.core.directory import Directory
from octoroute_py.storage import directory
from octoroute_py.storage.db import Database
from octoroute_py.storage.errors import StorageError

EVERY_S = 0.5
"""A key that another process revokes is refused this much later, and the time it takes to read the directory."""

_log = structlog.stdlib.get_logger("octoroute")


class Directories:
    """Holds the directory of a database and follows its changes; without a database it stays empty.

    `on_change` is called in the event loop with every new directory. Reads the directory at once: raises StorageError.
    """

    def __init__(self, database: Database | None, *, on_change: Callable[[IssuedKeys], None]) -> None:
        self._database = database
        self._on_change = on_change
        self._reading = asyncio.Lock()
        self._lost = False
        # a thread of its own: a revocation does not queue behind slow reports
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="directory")
        self.issued = NONE_ISSUED if database is None else _read(database)
        """The keys to look up; `issued.directory` has the workspaces too."""

    @property
    def current(self) -> Directory:
        """The directory in force."""
        return self.issued.directory

    async def refresh(self) -> None:
        """Take over what has changed since; a database that cannot be read leaves everything as it is."""
        database = self._database
        if database is None:
            return
        async with self._reading:
            loop = asyncio.get_running_loop()
            try:
                found = await loop.run_in_executor(self._thread, _read_newer, database, self.issued)
            except StorageError as error:
                self._say_lost(str(error))
                return
            if self._lost:
                self._lost = False
                _log.info("keys and workspaces can be read again")
            if found is not None:
                self._take_over(found)

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
                    _log.error("following changes of keys and workspaces broke and goes on", exc_info=True)
                broken = True

    def close(self) -> None:
        """Let the thread end; nothing is followed any more."""
        self._thread.shutdown()

    def _take_over(self, found: IssuedKeys) -> None:
        before, self.issued = self.issued, found
        try:
            self._on_change(found)
        except BaseException:
            self.issued = before  # so that the next look tries again
            raise

    def _say_lost(self, problem: str) -> None:
        if not self._lost:
            self._lost = True
            _log.error("keys and workspaces cannot be read, those known last stay in force", problem=problem)


def _read(database: Database) -> IssuedKeys:
    with database.read() as connection:
        found = directory.read(connection)
    return IssuedKeys(found)


def _read_newer(database: Database, known: IssuedKeys) -> IssuedKeys | None:
    with database.read() as connection:
        if directory.version(connection) == known.directory.version:
            return None
        found = directory.read(connection, known=known.directory)
    return IssuedKeys(found, before=known)
