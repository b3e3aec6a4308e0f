"""Disks that can be filled under a running gateway, and emptied again.

A small file system of its own, where this process may mount one; and, everywhere, a limit on the size of the files
that the gateway's process may write, under which every write fails, those of its log too.
"""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Protocol

import psutil

from tests.fakes.ledger import DATABASE, Journal

SIZE = "16m"
_MOUNT = f'mount -t tmpfs -o size={SIZE} none "$0" && exec "$@"'
_IN_A_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _MOUNT)


class Disk(Protocol):
    """Where a gateway keeps its database."""

    @property
    def program(self) -> tuple[str, ...]:
        """What runs a gateway there."""
        ...

    def database(self, pid: int) -> Path:
        """The database of the gateway with this process id, as this process reaches it."""
        ...

    def journal(self, pid: int) -> Journal:
        """What that holds, at a moment when nothing is written."""
        ...

    def fill(self, pid: int) -> None:
        """From now on nothing more fits."""
        ...

    def free(self, pid: int) -> None:
        """There is room again."""
        ...


class SmallDisk:
    """A tmpfs that only the gateway sees, at `folder`/state."""

    def __init__(self, folder: Path) -> None:
        self._state = folder / "state"
        self._state.mkdir()
        self.program = (*_IN_A_NAMESPACE, str(self._state), sys.executable, "-m", "octoroute_py")

    def database(self, pid: int) -> Path:
        """Through the process's own view of the file system."""
        return self._inside(pid) / DATABASE

    def journal(self, pid: int) -> Journal:
        """A copy: SQLite follows the way to the process's files back to this one's."""
        folder = Path(tempfile.mkdtemp(dir=self._state.parent))
        for path in self._inside(pid).glob(f"{DATABASE}*"):
            if not path.name.endswith("-shm"):
                shutil.copyfile(path, folder / path.name)
        return Journal(folder / DATABASE, copied=True)

    def fill(self, pid: int) -> None:
        """Write ballast to the last byte."""
        with (self._inside(pid) / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            for size in (1024 * 1024, 4096, 1):
                with contextlib.suppress(OSError):
                    while ballast.write(bytes(size)) == size:
                        pass

    def free(self, pid: int) -> None:
        """Throw the ballast away."""
        (self._inside(pid) / "ballast").unlink()

    def _inside(self, pid: int) -> Path:
        return Path(f"/proc/{pid}/root{self._state}")


class CappedFiles:
    """A limit on file sizes, set on the running process from outside."""

    program: tuple[str, ...] = (sys.executable, "-m", "octoroute_py")

    def __init__(self, folder: Path) -> None:
        self._state = folder / "state"
        self._state.mkdir()

    def database(self, pid: int) -> Path:
        """Where anybody sees it."""
        return self._state / DATABASE

    def journal(self, pid: int) -> Journal:
        """The file itself."""
        return Journal(self._state / DATABASE)

    def fill(self, pid: int) -> None:
        """No byte may be written to any file."""
        _, hard = psutil.Process(pid).rlimit(resource.RLIMIT_FSIZE)
        psutil.Process(pid).rlimit(resource.RLIMIT_FSIZE, (0, hard))

    def free(self, pid: int) -> None:
        """Files may grow again."""
        _, hard = psutil.Process(pid).rlimit(resource.RLIMIT_FSIZE)
        psutil.Process(pid).rlimit(resource.RLIMIT_FSIZE, (hard, hard))


def may_mount(folder: Path) -> bool:
    """Whether a file system can be mounted here without anybody else seeing it."""
    probe = subprocess.run((*_IN_A_NAMESPACE, str(folder), "true"), capture_output=True, env={**os.environ})
    return probe.returncode == 0
