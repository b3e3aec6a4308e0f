"""A database in use: opened and brought up to date once, read from any thread, written by one.

database = Database.open("sqlite:///octoroute.db", base_dir=folder)
future = database.submit(lambda connection: candidates.put(connection, row))     # never waits
with database.read() as connection: ...
database.close()                                                                  # writes what was submitted
"""

from concurrent.futures import Future
from contextlib import AbstractContextManager
from pathlib import Path

from sqlalchemy import Connection

from octoroute_py.config.schema import Synchronous
from octoroute_py.core import clock
from octoroute_py.core.clock import Monotonic
from octoroute_py.storage.checkpoint import Checkpoints
from octoroute_py.storage.engine import BUSY_WAIT_S, Source, connect, connect_file
from octoroute_py.storage.migrate import upgrade
from octoroute_py.storage.writer import QUEUE_JOBS, Job, Line, R, T, Writer


class Database:
    """One database with its one writer; safe to use from any thread."""

    def __init__(self, source: Source, *, monotonic: Monotonic, max_jobs: int) -> None:
        self._source = source
        self._checkpoints = Checkpoints(source)
        self._writer = Writer(source, monotonic=monotonic, max_jobs=max_jobs, written=self._checkpoints.written)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        base_dir: Path,
        monotonic: Monotonic = clock.monotonic,
        max_jobs: int = QUEUE_JOBS,
        busy_wait_s: float = BUSY_WAIT_S,
        synchronous: Synchronous = Synchronous.NORMAL,
    ) -> "Database":
        """Open the database of a URL with the tables of this version; a missing SQLite file is made.

        `synchronous` says when a commit waits for the disk.

        Raises StorageRefused (Corrupt, NewerSchema, Foreign, CannotOpen) for a database that must not be used, Locked
        when another process does not let go of it within `busy_wait_s`.
        """
        source = connect(url, base_dir=base_dir, busy_wait_s=busy_wait_s, synchronous=synchronous)
        return cls._up_to_date(source, monotonic=monotonic, max_jobs=max_jobs)

    @classmethod
    def open_file(
        cls, path: Path, *, monotonic: Monotonic = clock.monotonic, busy_wait_s: float = BUSY_WAIT_S
    ) -> "Database":
        """The same for a SQLite file by its path, whatever characters that has."""
        source = connect_file(path, busy_wait_s=busy_wait_s)
        return cls._up_to_date(source, monotonic=monotonic, max_jobs=QUEUE_JOBS)

    @classmethod
    def _up_to_date(cls, source: Source, *, monotonic: Monotonic, max_jobs: int) -> "Database":
        try:
            upgrade(source)
        except BaseException:
            source.engine.dispose()
            raise
        return cls(source, monotonic=monotonic, max_jobs=max_jobs)

    @property
    def location(self) -> str:
        """The file or the server, without credentials."""
        return self._source.location

    @property
    def waiting(self) -> int:
        """Writes that are queued."""
        return self._writer.waiting

    def read(self) -> AbstractContextManager[Connection]:
        """A connection that sees one state of the database; it must not write. Raises StorageError."""
        return self._source.read()

    def submit(self, job: Job[T], *, rows: int = 1) -> Future[T]:
        """Queue a write; the future ends when it is on disk. See `Writer.submit`."""
        return self._writer.submit(job, rows=rows)

    def append(self, line: Line[R], row: R) -> None:
        """Queue a row that is only added, the cheapest way to write many. See `Writer.append`."""
        self._writer.append(line, row)

    def write(self, job: Job[T], *, rows: int = 1) -> T:
        """Write and wait until it is on disk; for threads that may wait. Raises what the job or the commit raised."""
        return self.submit(job, rows=rows).result()

    def close(self, *, within_s: float | None = None) -> bool:
        """Write what was submitted and let go of the database; whether all of it was written in time."""
        done = self._writer.close(within_s=within_s)
        self._checkpoints.close()
        self._source.engine.dispose()
        return done
