"""What can go wrong with the database, as one tree.

StorageError                 the message is written for the operator; `location` is the file or the server
├── StorageRefused           the database cannot be used as it is: say so and stop, never make a new one
│   ├── Corrupt              damaged, or no database at all
│   ├── NewerSchema          written by a newer version
│   ├── Foreign              a database, but of another program
│   ├── InUse                another gateway keeps its rows there
│   └── CannotOpen           no such folder, no permission, no driver
├── StorageFailed            it may work again without a change: keep the rows elsewhere or try later
│   ├── Locked               another process held the lock for longer than the wait
│   ├── Full                 no space left
│   └── Unreadable           the disk or the connection failed
├── Conflict                 the row breaks a rule of the tables: unique, foreign key, not null
├── TooLong                  a look at the database was given up after its time
├── Overflow                 the writer's queue is full
└── Closed                   the database was closed
"""

import sqlite3

from sqlalchemy.exc import DBAPIError, IntegrityError


class StorageError(Exception):
    """Something about the database; `location` names it without credentials."""

    def __init__(self, message: str, *, location: str) -> None:
        super().__init__(message)
        self.location = location


class StorageRefused(StorageError):
    """The database cannot be used as it is, and waiting does not mend it."""


class Corrupt(StorageRefused):
    """The file is damaged, or is no database."""


class NewerSchema(StorageRefused):
    """A newer version of the program has changed the tables."""


class Foreign(StorageRefused):
    """The database belongs to another program."""


class InUse(StorageRefused):
    """Another gateway owns the database: two would settle each other's requests and overspend each budget twice."""


class CannotOpen(StorageRefused):
    """The database cannot be reached at all."""


class StorageFailed(StorageError):
    """A write or a read failed for a reason that may pass."""


class Locked(StorageFailed):
    """Another process held the lock for longer than the wait."""


class Full(StorageFailed):
    """There is no space left for the write."""


class Unreadable(StorageFailed):
    """The disk or the connection failed."""


class Conflict(StorageError):
    """A row breaks a rule of the tables."""


class TooLong(StorageError):
    """A look at the database took longer than it may."""


class Overflow(StorageError):
    """The writer has as many jobs waiting as it takes."""


class Closed(StorageError):
    """The database was closed before the job was taken."""


_CORRUPT_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_LOCKED_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_CANNOT_OPEN_CODES = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})


def storage_error(error: Exception, location: str) -> StorageError:
    """What an error of SQLAlchemy or of a driver means, in words for the operator."""
    if isinstance(error, IntegrityError | sqlite3.IntegrityError):
        return Conflict(f"{location}: a row breaks a rule of its table", location=location)
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in _CORRUPT_CODES:
        return corrupt(location, str(cause))
    if primary in _LOCKED_CODES:
        return Locked(f"{location} is locked by another process", location=location)
    if primary == sqlite3.SQLITE_FULL:
        return Full(f"{location}: no space is left for it", location=location)
    if primary in _CANNOT_OPEN_CODES:
        return CannotOpen(f"{location} cannot be opened: {cause}", location=location)
    return Unreadable(f"{location} failed: {cause}", location=location)


def corrupt(location: str, finding: str) -> Corrupt:
    """The refusal of a damaged file, with what to do about it."""
    return Corrupt(
        f"{location} is damaged ({finding}); nothing was changed. Restore a backup, or save what can be read with: "
        f'sqlite3 "{location}" .recover | sqlite3 recovered.db',
        location=location,
    )
