"""What models are asked and what they answer, in the log: only where an operator has asked for it, and masked.

A line a side: `event` (always `content`), `request_id`, `side` (`prompt` or `answer`), `text`, `masked` (how many of
each kind), `cut` where the text was longer. Of a prompt the end is kept, which is the newest; of an answer the start.
Reading, masking and writing happen in a thread of their own; texts that find it too far behind are left out, counted.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from octoroute_py.config.schema import LogFormat
from octoroute_py.core.clock import Wall
from octoroute_py.telemetry.lines import Stamp, escaped
from octoroute_py.telemetry.logs import Plain, as_text
from octoroute_py.telemetry.pii import mask
from octoroute_py.telemetry.scrub import Scrubber
from octoroute_py.telemetry.sink import Sink

MOST_BYTES: Final = 8 * 1024
"""Longest text of one line, in UTF-8."""
WAITING: Final = 256
"""So many requests may wait for the thread, with no more than WAITING_BYTES in all unless it is one alone."""
WAITING_BYTES: Final = 32 * 1024 * 1024
CLOSE_S: Final = 2.0

_WINDOW_CHARS: Final = 2 * MOST_BYTES
_LEAST_EDGE_CHARS: Final = 64
_EDGE_CHARS: Final = 2 * 1024
"""At a cut, where half a key could hide, so much goes at least and at most, up to a space."""


class Content(msgspec.Struct, frozen=True):
    """One request's text; `prompt` and `answer` are called later, `size` is about the bytes they hold on to."""

    request_id: str
    prompt: Callable[[], str]
    answer: Callable[[], str]
    size: int


class ContentLog:
    """Takes texts from the event loop, and writes them from a thread that ends with `close`."""

    def __init__(self, sink: Sink, *, fmt: LogFormat, scrubber: Scrubber, now: Wall) -> None:
        self._sink = sink
        self._text = fmt is LogFormat.TEXT
        self._scrubber = scrubber
        self._now = now
        self._stamp = Stamp()
        self._waiting: deque[Content] = deque()
        self._bytes = 0
        self._left_out = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="content-log", daemon=True)
        self._thread.start()

    def take(self, content: Content) -> None:
        """Write it soon; never blocks for long."""
        with self._changed:
            full = len(self._waiting) >= WAITING or self._bytes + content.size > WAITING_BYTES
            if self._closed or (full and self._waiting):
                self._left_out += 1
                return
            self._waiting.append(content)
            self._bytes += content.size
            self._changed.notify()

    def close(self) -> None:
        """Write what waits, for at most 2 seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                content = self._waiting.popleft()
                self._bytes -= content.size
                left_out, self._left_out = self._left_out, 0
            if left_out:
                self._write({"level": "warning", "event": "content left out", "requests": left_out})
            self._write_sides(content)

    def _write_sides(self, content: Content) -> None:
        for side, read in (("prompt", content.prompt), ("answer", content.answer)):
            text = ""
            with contextlib.suppress(ValueError, RecursionError, MemoryError):  # what cannot be read is no text
                text = read()
            if text:
                self._write(self._line(content.request_id, side, text))

    def _line(self, request_id: str, side: str, text: str) -> dict[str, Plain]:
        newest = side == "prompt"
        kept = window(text, newest=newest)
        masked, counts = mask(self._scrubber.clean(kept))
        if len(kept) < len(text):
            masked = without_edge(masked, newest=newest)
        shown = at_most(masked, newest=newest)
        line: dict[str, Plain] = {"level": "info", "event": "content", "request_id": request_id, "side": side}
        line |= {"text": shown, "masked": dict(counts)}
        if len(kept) < len(text) or len(shown) < len(masked):
            line["cut"] = True
        return line

    def _write(self, fields: dict[str, Plain]) -> None:
        fields = {"time": self._stamp.at(self._now()), **fields}
        line = as_text(fields) if self._text else msgspec.json.encode(fields).decode("utf-8")
        self._sink.write(escaped(line).encode("utf-8") + b"\n")


def window(text: str, *, newest: bool) -> str:
    """The end of a longer text, or its start: what is looked at."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text[-_WINDOW_CHARS:] if newest else text[:_WINDOW_CHARS]


def without_edge(masked: str, *, newest: bool) -> str:
    """Masked text, without what a cut before may have split: half a card's number is not known as one."""
    most = min(_EDGE_CHARS, len(masked))
    least = min(_LEAST_EDGE_CHARS, most)
    if newest:
        spaces = [at for char in (" ", "\n") if (at := masked.find(char, least, most)) >= 0]
        return masked[min(spaces, default=most) :]
    last = max(masked.rfind(char, len(masked) - most, len(masked) - least) for char in (" ", "\n"))
    return masked[: last if last >= 0 else len(masked) - most]


def at_most(text: str, *, newest: bool) -> str:
    """No more than MOST_BYTES of it, in whole characters."""
    data = text.encode("utf-8")
    if len(data) <= MOST_BYTES:
        return text
    return (data[-MOST_BYTES:] if newest else data[:MOST_BYTES]).decode("utf-8", "ignore")
