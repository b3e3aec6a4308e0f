"""A gateway whose wall clock can be set while it runs: `python -m tests.fakes.shifted FILE serve ...`.

FILE holds how many seconds the clock is ahead of the real one; it is read at each look at the clock. Monotonic time
goes on as ever, as it does on a machine whose clock is set. `Clock` writes the file; where libfaketime is installed,
`Faketime` does the same to every program and every library of the process.
"""

import datetime
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_NOTHING: Mapping[str, str] = MappingProxyType({})
_LIBRARIES = ("/usr/lib", "/usr/local/lib")


class Clock:
    """A clock in a file; `program` and `env` run a gateway by it."""

    def __init__(self, folder: Path, *, start: datetime.datetime) -> None:
        self._file = folder / "clock"
        self._ahead_s = 0.0
        self.set(start)
        self.program: tuple[str, ...] = (sys.executable, "-m", "tests.fakes.shifted", str(self._file))
        self.env = _NOTHING

    def set(self, to: datetime.datetime) -> None:
        """It is this moment now."""
        self._put(to.timestamp() - time.time())

    def jump(self, seconds: float) -> None:
        """Set it so far ahead, or back."""
        self._put(self._ahead_s + seconds)

    def now(self) -> datetime.datetime:
        """What it shows."""
        return datetime.datetime.fromtimestamp(time.time() + self._ahead_s, datetime.UTC)

    def _put(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead_s:+.3f}\n", encoding="ascii")
        new.replace(self._file)


class Faketime(Clock):
    """The same by libfaketime."""

    def __init__(self, folder: Path, *, start: datetime.datetime) -> None:
        super().__init__(folder, start=start)
        library = faketime_library()
        assert library is not None
        self.program = (sys.executable, "-m", "octoroute_py")
        self.env = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def faketime_library() -> Path | None:
    """Where libfaketime is, if it is installed."""
    found = (path for folder in _LIBRARIES for path in Path(folder).glob("**/faketime/libfaketime.so.1"))
    return next(found, None)


def clocks() -> list[type[Clock]]:
    """The kinds of clock that can be set here."""
    return [Clock] if faketime_library() is None else [Clock, Faketime]


def _main() -> None:
    path = sys.argv.pop(1)
    real = time.time

    def shifted() -> float:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return real() + float(os.read(descriptor, 64))
        finally:
            os.close(descriptor)

    time.time = shifted
    from octoroute_py.cli.main import main  # after the clock is in its place

    main()


if __name__ == "__main__":
    _main()
