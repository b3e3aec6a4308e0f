"""Where log lines go: memory first, the stream later, so that a reader who stops reading stops nobody else."""

import atexit
import contextlib
import threading
from collections import deque
from typing import Protocol

FLUSH_S = 0.05
"""Lines wait this long for company before they are written."""
CLOSE_S = 2.0
"""`close` waits this long for the stream to take the rest."""
MAX_BUFFER_BYTES = 8 * 1024 * 1024
MAX_LINE_BYTES = 64 * 1024

_BUSY_WAIT_S = 0.01
_CUT = b"...\n"


class RawStream(Protocol):
    """An unbuffered binary stream: `open(2, "wb", buffering=0, closefd=False)`, or a BytesIO in tests.

    It must not be `sys.stderr` itself: a thread that is stuck inside a buffered stream keeps Python from ending.
    """

    def write(self, data: bytes, /) -> int | None:
        """Write some of it and say how much; None if the stream cannot take any now."""
        ...


class Sink:
    """A bounded buffer of whole lines, written in order by a thread of its own.

    `write` never blocks. Lines that find the buffer full, or the stream gone, are dropped and counted.
    """

    def __init__(self, stream: RawStream, *, max_buffer_bytes: int = MAX_BUFFER_BYTES) -> None:
        self._stream = stream
        self._max_buffer_bytes = max_buffer_bytes
        self._lines: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._buffered_bytes = 0
        self._dropped = 0
        self._closed = False
        self._something = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-sink", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def dropped(self) -> int:
        """Lines lost so far."""
        return self._dropped

    def write(self, line: bytes) -> None:
        """Take a line, ended by a newline; any thread may call it. Overlong lines are cut."""
        if len(line) > MAX_LINE_BYTES:
            line = line[: MAX_LINE_BYTES - len(_CUT)] + _CUT
        with self._lock:
            if self._closed or self._buffered_bytes + len(line) > self._max_buffer_bytes:
                self._dropped += 1
                return
            self._buffered_bytes += len(line)
            self._lines.append(line)
            first = len(self._lines) == 1
        if first:
            self._something.set()

    def close(self) -> None:
        """Write what is left, for at most 2 seconds, and take no more lines. Idempotent."""
        with self._lock:
            self._closed = True
        self._closing.set()
        self._something.set()
        self._thread.join(CLOSE_S)
        atexit.unregister(self.close)

    def _run(self) -> None:
        while True:
            self._something.wait()
            self._closing.wait(FLUSH_S)
            self._something.clear()
            self._flush()
            with self._lock:
                if self._closed and not self._lines:
                    return

    def _flush(self) -> None:
        with self._lock:
            lines = list(self._lines)
            self._lines.clear()
        batch = b"".join(lines)
        # Closed by its reader or its owner: there is nobody left to tell.
        with contextlib.suppress(OSError, ValueError):
            self._write_all(batch)
            lines = []
        with self._lock:
            self._buffered_bytes -= len(batch)
            self._dropped += len(lines)

    def _write_all(self, batch: bytes) -> None:
        rest = memoryview(batch)
        while rest:
            written = self._stream.write(bytes(rest))
            if not written:
                # Somebody made the descriptor non-blocking; a close event that is set must not turn this into a spin.
                threading.Event().wait(_BUSY_WAIT_S)
                continue
            rest = rest[written:]
