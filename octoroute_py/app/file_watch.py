"""Sees when the files of the configuration have changed, and waits until whoever writes them has finished."""

import asyncio
import hashlib
import os
import stat
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

_log = structlog.stdlib.get_logger("octoroute.app")

LOOK_S = 1.0
"""How often the files are looked at: a change is in force one or two looks later."""
_MOST_BYTES = 2 * 1024 * 1024

Stamp = tuple[tuple[int, int, int] | None, ...]
"""Of each file the time of its last change (ns), its size and its inode; None for one that is not there."""


class FileWatch:
    """Says of a few files when what is in them is new and has been the same for one look.

    `paths` are asked for at every look. What stands in them at first is not new, nor is what was `read` since.
    """

    def __init__(self, paths: Callable[[], Sequence[Path]]) -> None:
        self._paths = paths
        self._stamp: Stamp | None = None
        self._read = self._digest()
        self._looked_into = self._stamps()

    def read(self) -> None:
        """Somebody reads the files now, so that what is in them is not new any more."""
        self._read = self._digest()

    def look(self) -> bool:
        """Whether there is something new, and nobody has written to it since the last look."""
        before, self._stamp = self._stamp, self._stamps()
        if self._stamp != before or self._stamp == self._looked_into:
            return False
        digest = self._digest()
        if self._stamps() != self._stamp:  # somebody wrote while it was read
            return False
        self._looked_into = self._stamp
        return digest != self._read

    def _stamps(self) -> Stamp:
        # A link is followed: one that is swapped for another leads to another inode.
        found: list[tuple[int, int, int] | None] = []
        for path in self._paths():
            try:
                status = os.stat(path)
            except OSError:
                found.append(None)
            else:
                found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(found)

    def _digest(self) -> bytes:
        """What is in the files; a touch changes nothing of it."""
        digest = hashlib.sha256()
        for path in self._paths():
            content = _content(path)
            digest.update(b"%d:" % len(content) + content)
        return digest.digest()


def _content(path: Path) -> bytes:
    """What is in a file; nothing for what cannot be read, and for a pipe, where opening alone would wait for ever."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return file.read(_MOST_BYTES) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except OSError:  # a directory too
        return b""


async def watch_files(watch: FileWatch, reload: Callable[[], Awaitable[None]], *, every_s: float = LOOK_S) -> None:
    """Reload whenever there is something new, until cancelled. What cannot be used is tried once."""
    broken = False
    while True:
        await asyncio.sleep(every_s)
        try:
            if await asyncio.to_thread(watch.look):
                await reload()
            broken = False
        except Exception:  # noqa: BLE001 - a worker loop outlives its bugs and reports them
            if not broken:
                _log.error("watching the configuration file broke and goes on", exc_info=True)
            broken = True
