"""Cuts a byte stream into server-sent events without touching a byte of it.

Lines end at CR, LF or CRLF and nowhere else: a raw U+2028 or U+0085 inside JSON is data. Several reads may hold one
event and one read may hold several; what is not yet a whole event stays in `held`.
"""

import re
from typing import NamedTuple

MAX_EVENT_BYTES = 1024 * 1024
"""Largest single event, and so the longest line."""

_BOM = b"\xef\xbb\xbf"
# Atomic groups: CRLF is one line end, it must never be tried again as a CR followed by an empty line.
_BLANK_LINE = re.compile(rb"(?>\r\n?|\n)(?>\r\n?|\n)")
_LINE_END = re.compile(rb"\r\n?|\n")
# Blank lines and events without a data field, as many as stand in a row. Possessive, so that nothing is tried twice.
_IDLE = re.compile(rb"(?:(?:(?!data[:\r\n])[^\r\n]++(?>\r\n?|\n))*+[\r\n]++)++")


class Block(NamedTuple):
    """One event as it came: `raw` includes its blank line.

    `data` is the payload, its lines joined by LF; None when the block has no data field: then it may be several
    comments and blank lines in a row. `event` is the name of an event that has data, if it has one.
    """

    raw: bytes
    data: bytes | None
    event: bytes | None


class SseSplitter:
    """State of one stream. The raws of all blocks plus `held` are the input, byte for byte, however it was cut.

    When an event grows above `max_event_bytes`, `too_large` becomes true, the blocks before it are still delivered,
    and every later `feed` gives nothing.
    """

    __slots__ = ("_bom_possible", "_max", "_saw_cr", "_scanned", "held", "too_large")

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.held = bytearray()
        self.too_large = False
        self._max = max_event_bytes
        self._scanned = 0
        self._saw_cr = False
        self._bom_possible = True

    def feed(self, data: bytes) -> list[Block]:
        """The events that `data` completes, in order."""
        return self._cut(data, ended=False)

    def end(self) -> list[Block]:
        """The event that only the end of the stream completes: its blank line is a lone CR after a line that has LF."""
        return self._cut(b"", ended=True)

    def _cut(self, data: bytes, *, ended: bool) -> list[Block]:
        if self.too_large:
            return []
        held = self.held
        held += data
        if not self._saw_cr and b"\r" in data:
            self._saw_cr = True
        blocks: list[Block] = []
        start = 0
        scan = self._scanned
        while (end := self._end_of_event(start, scan, ended=ended)) > 0:
            if end - start > self._max:
                self.too_large = True
                break
            idle_end = self._end_of_idle(start)
            if idle_end >= end:
                blocks.append(Block(bytes(held[start:idle_end]), None, None))
                end = idle_end
            else:
                blocks.append(self._block(bytes(held[start:end])))
            start = scan = end
        if self.too_large or len(held) - start > self._max:
            self.too_large = True
            held.clear()
            return blocks
        if start:
            del held[:start]
        # A line end may be cut anywhere, so the next search looks at the last three bytes again.
        self._scanned = max(0, len(held) - 3)
        return blocks

    def _end_of_event(self, start: int, scan: int, *, ended: bool) -> int:
        """Where the event that begins at `start` ends, 0 while it is not whole; bytes before `scan` hold no end."""
        held = self.held
        if start >= len(held):
            return 0
        first = held[start]
        if first == 10:
            return start + 1
        if not self._saw_cr:
            found_at = held.find(b"\n\n", scan)
            return found_at + 2 if found_at >= 0 else 0
        if first == 13:
            return start + 2 if held[start + 1 : start + 2] == b"\n" else start + 1
        found = _BLANK_LINE.search(held, scan)
        if found is None:
            return 0
        end = found.end()
        # Where lines end with LF or CRLF, a CR as the last byte so far is half of a line end: its LF belongs to it.
        is_half = not ended and end == len(held) and held[end - 1] == 13 and held[end - 2] != 13
        return 0 if is_half else end

    def _end_of_idle(self, start: int) -> int:
        """Where the blank lines and events without data that begin at `start` end, 0 when there are none.

        Only asked where an event is whole, so that a line that drips in is not read again with every read. What it
        finds may end with half a CRLF: the other half is a blank line more, and neither is ever withheld.
        """
        if self._bom_possible or self.held.startswith((b"data:", b"data\n", b"data\r"), start):
            return 0
        found = _IDLE.match(self.held, start, start + self._max)
        return found.end() if found is not None else 0

    def _block(self, raw: bytes) -> Block:
        body = raw
        if self._bom_possible:
            self._bom_possible = False
            body = raw.removeprefix(_BOM)
        is_one_line = body.endswith(b"\n\n") and body.find(b"\n") == len(body) - 2 and b"\r" not in body
        if is_one_line and body.startswith(b"data:"):
            return Block(raw, body[6:-2] if body.startswith(b"data: ") else body[5:-2], None)
        return _parse(raw, body)


def _parse(raw: bytes, body: bytes) -> Block:
    """The general case: any line ends, any fields."""
    payload: list[bytes] = []
    event: bytes | None = None
    lines = _LINE_END.split(body) if b"\r" in body else body.split(b"\n")
    for line in lines:
        name, _, value = line.partition(b":")
        if name == b"data":
            payload.append(value.removeprefix(b" "))
        elif name == b"event":
            event = value.removeprefix(b" ")
    return Block(raw, b"\n".join(payload) if payload else None, event)
