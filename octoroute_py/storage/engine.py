"""A database URL to an engine whose connections are set up alike: SQLite in WAL mode, or PostgreSQL.

SQLite is told to begin transactions itself, when we say so: a writer takes the lock at its BEGIN, so that nothing it
has read can change before it writes; a reader sees one unchanging state from its first statement on.
"""

import contextlib
import functools
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from octoroute_py.config.schema import Synchronous
from octoroute_py.core import clock
from octoroute_py.storage.errors import CannotOpen, storage_error

BUSY_WAIT_S = 5.0
_RETRY_S = 0.01
CACHE_BYTES = 16 * 1024 * 1024
CHECKPOINT_PAGES = 1000
"""After about so many pages the log is moved into the database, by a thread of `checkpoint`."""
WRITES = "octoroute_writes"
"""Execution option of a connection that is going to write."""


class Source:
    """An engine and the name that messages call it by, which never holds a password."""

    __slots__ = ("engine", "location")

    def __init__(self, engine: Engine, location: str) -> None:
        self.engine = engine
        self.location = location

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a file of our own rather than a server's database."""
        return self.engine.dialect.name == "sqlite"

    def direct(self) -> "Direct":
        """A connection for what is written thousands of times a second; its owner closes it. Raises StorageError."""
        with self.told():
            return Direct(self)

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Turn a driver's errors into ours, which say what to do."""
        try:
            yield
        except (DBAPIError, self.engine.dialect.loaded_dbapi.Error) as error:
            raise storage_error(error, self.location) from error

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one state of the database."""
        with self.told(), self.engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in one transaction, which is committed unless the block raises."""
        with self.told(), self.engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
            yield connection


Statement = tuple[str, Sequence[object]]
"""SQL with `Direct.mark` for each of the values that follow it."""


class Direct:
    """A connection of the driver itself, for one thread.

    SQLAlchemy's way to a statement costs more than the statement; and in Python's driver every statement lets go of the
    interpreter three times, each of which may cost a thread milliseconds while the event loop is busy. So a single
    statement is a transaction of its own here, without a BEGIN and a COMMIT around it.
    """

    __slots__ = ("_connection", "_cursor", "_source", "mark")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._connection = source.engine.raw_connection()
        self._cursor = self._connection.cursor()
        self.mark = "?" if source.is_sqlite else "%s"

    def run(self, statements: Sequence[Statement]) -> None:
        """Run them in one transaction, in order; all or none. Raises StorageError."""
        execute = self._cursor.execute
        with self._source.told():
            try:
                if len(statements) > 1 and self._source.is_sqlite:
                    execute("BEGIN IMMEDIATE")
                for sql, values in statements:
                    execute(sql, values)
                self._connection.commit()
            except BaseException:
                self._connection.rollback()
                raise

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()


def connect(
    url: str,
    *,
    base_dir: Path,
    busy_wait_s: float = BUSY_WAIT_S,
    synchronous: Synchronous = Synchronous.NORMAL,
    make: bool = True,
) -> Source:
    """The engine of a database URL; a relative SQLite path starts at `base_dir`.

    A SQLite file that is missing is made, empty, unless `make` is False; then that is CannotOpen too. `busy_wait_s` is
    how long a statement waits for another process's lock on a SQLite file, `synchronous` when a commit waits for the
    disk.

    Raises CannotOpen when the URL cannot be used, its folder is missing or its driver is not installed.
    """
    path = file_of(url, base_dir=base_dir)
    if path is not None:
        return connect_file(path, busy_wait_s=busy_wait_s, synchronous=synchronous, make=make)
    parsed = make_url(url)
    location = parsed.render_as_string(hide_password=True)
    if parsed.get_driver_name() not in {"psycopg", "psycopg2"}:
        raise CannotOpen(f"{location}: this kind of database is not supported", location=location)
    try:
        engine = create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except (ModuleNotFoundError, NoSuchModuleError):
        raise CannotOpen(f"{location} needs the driver psycopg, which is not installed", location=location) from None
    return Source(engine, location)


def file_of(url: str, *, base_dir: Path) -> Path | None:
    """The SQLite file that a database URL names, there or not; None for a server. Raises CannotOpen."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise CannotOpen("the database URL cannot be read", location="storage.url") from None
    if parsed.get_backend_name() != "sqlite":
        return None
    name = parsed.database
    if not name or name == ":memory:" or name.startswith("file:"):
        raise CannotOpen("a SQLite database must be a file, as in sqlite:///octoroute.db", location="storage.url")
    if parsed.query:
        raise CannotOpen("a sqlite:/// URL takes no options after a '?'", location="storage.url")
    return base_dir / name


def connect_file(
    path: Path,
    *,
    busy_wait_s: float = BUSY_WAIT_S,
    synchronous: Synchronous = Synchronous.NORMAL,
    make: bool = True,
) -> Source:
    """The engine of a SQLite file, as `connect` gives it. Raises CannotOpen."""
    location = str(path)
    _open_once(path, location, make=make)
    # SQLAlchemy keeps a pool of connections a thread may take from any other; SQLite itself serialises them.
    engine = create_engine(
        URL.create("sqlite", database=location), connect_args={"check_same_thread": False, "timeout": busy_wait_s}
    )
    event.listen(engine, "connect", functools.partial(_set_up, busy_wait_s=busy_wait_s, synchronous=synchronous))
    event.listen(engine, "begin", _begin)
    return Source(engine, location)


def _open_once(path: Path, location: str, *, make: bool) -> None:
    """A new file is its owner's alone; an existing one is left as it is."""
    try:
        os.close(os.open(path, os.O_RDWR | (os.O_CREAT if make else 0), 0o600))
    except OSError as error:
        raise CannotOpen(f"{location} cannot be opened: {error.strerror}", location=location) from None


def _set_up(connection: Any, _record: object, *, busy_wait_s: float, synchronous: Synchronous) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    _use_wal(cursor, busy_wait_s)
    cursor.execute(f"PRAGMA synchronous = {synchronous.value}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA cache_size = {-CACHE_BYTES // 1024}")
    cursor.execute("PRAGMA temp_store = MEMORY")
    cursor.execute(f"PRAGMA wal_autocheckpoint = {8 * CHECKPOINT_PAGES}")
    cursor.close()


def _use_wal(cursor: sqlite3.Cursor, busy_wait_s: float) -> None:
    """Several processes may set a new file's mode at once; SQLite itself does not wait for the lock this takes."""
    until = clock.monotonic() + busy_wait_s
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or clock.monotonic() >= until:
                raise
            time.sleep(_RETRY_S)


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
