"""A copy of a database as it is at one moment, also while it is being written."""

import contextlib
import os
import sqlite3
from pathlib import Path

from octoroute_py.storage.engine import Source
from octoroute_py.storage.errors import CannotOpen


def back_up(source: Source, path: Path) -> None:
    """Write a SQLite database whole into a new file, its owner's alone.

    Raises StorageError, CannotOpen for a file that exists or cannot be made, and then leaves nothing there.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise CannotOpen(f"{path} exists and is not overwritten", location=str(path)) from None
    except OSError as error:
        raise CannotOpen(f"{path} cannot be made: {error.strerror}", location=str(path)) from None
    try:
        with source.told():
            _copy(source, path)
    except BaseException:
        for left in (path, Path(f"{path}-journal"), Path(f"{path}-wal"), Path(f"{path}-shm")):
            with contextlib.suppress(OSError):
                left.unlink()
        raise


def _copy(source: Source, path: Path) -> None:
    origin = source.engine.raw_connection()
    try:
        with contextlib.closing(sqlite3.connect(path)) as copy:
            # All pages in one step: a copy in several would begin anew whenever somebody writes.
            origin.driver_connection.backup(copy)  # type: ignore[union-attr]
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, and nothing beside it
    finally:
        origin.close()
