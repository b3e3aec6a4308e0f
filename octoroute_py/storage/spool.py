"""The spool: a bounded file beside the database that takes rows while the database does not.

A line a row: its kind, a checksum, and the row as JSON. Written at once and read back in order, so a row that was
appended outlives the process. Space is set aside ahead of time, as zeros behind the last line, so that a disk that
fills up later still has room for the rows of that hour.

Whoever has the spool open owns the database: the file is locked, and a second gateway is refused.
"""

import errno
import fcntl
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from octoroute_py.storage.entries import Intent, JournalEntry
from octoroute_py.storage.errors import CannotOpen, Full, InUse, StorageFailed, Unreadable

MAX_BYTES = 64 * 1024 * 1024
AHEAD_BYTES = 1024 * 1024
"""So much space is set aside beyond the last line."""
READ_BYTES = 1024 * 1024
READ_ROWS = 256

_INTENT, _ENTRY = b"i", b"e"
_CHECKSUM_AT = 1
_ROW_AT = 10

_encode = msgspec.json.Encoder().encode
_decode_intent = msgspec.json.Decoder(Intent).decode
_decode_entry = msgspec.json.Decoder(JournalEntry).decode


def spool_path(database: str) -> Path:
    """Where the spool of a SQLite file lies."""
    return Path(f"{database}.spool")


class Batch(NamedTuple):
    """Rows as they were appended; `next` is where the following batch begins, `damaged` how many lines were skipped."""

    rows: list[Intent | JournalEntry]
    next: int
    damaged: int


class Spool:
    """The file at `path`, locked until `close`; for one thread at a time. Errors are StorageErrors.

    `durable` makes an append wait for the disk, so that it outlives a loss of power too.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, durable: bool = False) -> None:
        """Raises InUse when a process has it open, CannotOpen when it cannot be opened."""
        self._location = str(path)
        self._max_bytes = max_bytes
        self._durable = durable
        self._file = self._open(path)
        self.rows = 0
        """How many lines there are."""
        self.end = 0
        """Where the next line will begin; below it all is read by `read`."""
        try:
            self._find_end()
        except OSError as error:
            self.close()
            raise CannotOpen(f"{path} cannot be read: {error.strerror}", location=str(path)) from None
        self._set_aside()

    def _open(self, path: Path) -> int:
        try:
            file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise CannotOpen(f"{path} cannot be opened: {error.strerror}", location=str(path)) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise CannotOpen(f"{path} cannot be locked: {error.strerror}", location=str(path)) from None
            raise InUse(
                f"{path} is held by another gateway; each gateway needs a database of its own: end that one, or name "
                "another file in storage.url",
                location=str(path),
            ) from None
        return file

    def _find_end(self) -> None:
        """Behind the last whole line there may be a torn one, of a process that was killed, and the space set aside."""
        at = 0
        while chunk := os.pread(self._file, READ_BYTES, at):
            self.rows += chunk.count(b"\n")
            newline = chunk.rfind(b"\n")
            if newline >= 0:
                self.end = at + newline + 1
            at += len(chunk)
        os.ftruncate(self._file, self.end)

    def append(self, rows: Sequence[Intent | JournalEntry]) -> None:
        """Write rows behind those that are there, all or none.

        Raises Full when they do not fit the spool or the disk, Unreadable when the disk fails.
        """
        data = b"".join([_line(row) for row in rows])
        if self.end + len(data) > self._max_bytes:
            raise Full(f"{self._location}: the spool is full", location=self._location)
        try:
            _write_all(self._file, data, self.end)
            if self._durable:
                os.fdatasync(self._file)
        except OSError as error:
            self._take_back(len(data))
            raise self._failed(error) from None
        self.end += len(data)
        self.rows += len(rows)
        self._set_aside()

    def read(self, start: int = 0) -> Batch:
        """The next rows from `start` on, at most 256; none when there are no more. Raises Unreadable."""
        try:
            data = os.pread(self._file, min(READ_BYTES, self.end - start), start)
        except OSError as error:
            raise self._failed(error) from None
        rows: list[Intent | JournalEntry] = []
        damaged = at = 0
        while len(rows) < READ_ROWS and (newline := data.find(b"\n", at)) >= 0:
            row = _row(data[at:newline])
            if row is None:
                damaged += 1
            else:
                rows.append(row)
            at = newline + 1
        if data and not at:  # no line of ours is so long
            return Batch([], start + len(data), 1)
        return Batch(rows, start + at, damaged)

    def clear(self) -> None:
        """Forget all rows: they are in the database. Raises Unreadable."""
        try:
            os.ftruncate(self._file, 0)
        except OSError as error:
            raise self._failed(error) from None
        self.rows = self.end = 0
        self._set_aside()

    def close(self) -> None:
        """Let go of the file; what is in it stays."""
        os.close(self._file)

    def _set_aside(self) -> None:
        size = os.fstat(self._file).st_size
        wanted = min(self._max_bytes, self.end + AHEAD_BYTES)
        if size - self.end >= AHEAD_BYTES // 2 or size >= wanted:
            return
        try:
            os.posix_fallocate(self._file, size, wanted - size)
        except OSError:  # no room, or a file system that cannot: the next lines may still fit
            return

    def _take_back(self, length: int) -> None:
        """Make what was written of rows that did not fit free again; the space stays ours."""
        try:
            left = os.fstat(self._file).st_size - self.end
            _write_all(self._file, bytes(min(length, left)), self.end)
        except OSError:  # then what is left of them is found damaged, or a second time, when it is read
            return

    def _failed(self, error: OSError) -> StorageFailed:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            return Full(f"{self._location}: no space is left for it", location=self._location)
        return Unreadable(f"{self._location} failed: {error.strerror}", location=self._location)


def count_rows(path: Path) -> int:
    """How many rows a spool holds, whoever owns it; 0 when there is none. Raises Unreadable."""
    try:
        with path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(READ_BYTES), b""))
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}", location=str(path)) from None


def _line(row: Intent | JournalEntry) -> bytes:
    kind = _INTENT if isinstance(row, Intent) else _ENTRY
    encoded = _encode(row)
    return b"%b%08x %b\n" % (kind, zlib.crc32(kind + encoded), encoded)


def _row(line: bytes) -> Intent | JournalEntry | None:
    """The row of a line, None for one that is damaged."""
    kind, checksum, encoded = line[:_CHECKSUM_AT], line[_CHECKSUM_AT:_ROW_AT], line[_ROW_AT:]
    if checksum != b"%08x " % zlib.crc32(kind + encoded):
        return None
    try:
        return _decode_intent(encoded) if kind == _INTENT else _decode_entry(encoded)
    except msgspec.DecodeError:  # whole, but of a version that kept other columns
        return None


def _write_all(file: int, data: bytes, at: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest, at)
        at += written
        rest = rest[written:]
