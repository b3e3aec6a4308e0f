"""A look at the database that is given up when it takes too long: somebody waits, and others want to look too."""

import contextlib
import sqlite3
from collections.abc import Iterator

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from octoroute_py.core import clock
from octoroute_py.core.clock import Monotonic
from octoroute_py.storage.errors import TooLong

_STEPS = 100_000
"""Of SQLite's own machine, about a millisecond, between two looks at the clock."""
_CANCELLED = "57014"
"""PostgreSQL's code for a statement that its timeout ended."""


@contextlib.contextmanager
def within(connection: Connection, seconds: float, *, monotonic: Monotonic = clock.monotonic) -> Iterator[None]:
    """End the statements of the block that are not done in time. Raises TooLong then."""
    try:
        if connection.dialect.name == "sqlite":
            with _interrupted(connection, monotonic() + seconds, monotonic):
                yield
        else:
            connection.execute(text(f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}"))
            yield
            connection.execute(text("SET LOCAL statement_timeout = DEFAULT"))
    except OperationalError as error:
        cause = error.orig
        code = getattr(cause, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_INTERRUPT or getattr(cause, "sqlstate", None) == _CANCELLED:
            raise TooLong(f"a look at the database took more than {seconds:g} s", location="storage.url") from None
        raise


@contextlib.contextmanager
def _interrupted(connection: Connection, until: float, monotonic: Monotonic) -> Iterator[None]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - the dialect says so
    driver.set_progress_handler(lambda: int(monotonic() >= until), _STEPS)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)
