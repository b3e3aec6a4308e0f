"""The steps a scripted upstream can take, and answers put together from them byte by byte."""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import msgspec


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request as it arrived: header names spelled as sent, `at` in the server's clock."""

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    at: float
    connection: int

    @property
    def json(self) -> Any:
        """The decoded body."""
        return msgspec.json.decode(self.body)

    def header(self, name: str) -> bytes | None:
        """The first value of a header, whatever its case, or None."""
        wanted = name.lower().encode()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    def headers_named(self, name: str) -> list[bytes]:
        """All values of a header, in order."""
        wanted = name.lower().encode()
        return [value for key, value in self.headers if key.lower() == wanted]


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes and wait until the kernel has taken them all."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for some seconds; 0 lets the other side read what was sent so far."""

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Gate:
    """Wait until the test sets the event."""

    event: asyncio.Event = field(compare=False)


@dataclass(frozen=True, slots=True)
class Flood:
    """Write `piece` again and again until `total_bytes` are sent, as fast as the reader allows."""

    piece: bytes
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Fin:
    """Close the connection in the ordinary way."""


@dataclass(frozen=True, slots=True)
class Rst:
    """Reset the connection (SO_LINGER 0)."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Say nothing more until the other side closes."""


Step: TypeAlias = Send | Pause | Gate | Flood | Fin | Rst | Hang
Turn: TypeAlias = Callable[[Recorded], Iterable[Step]]
End: TypeAlias = Fin | Rst | Hang
Headers: TypeAlias = Sequence[tuple[str, str]]
Chunking: TypeAlias = Callable[[bytes], Iterable[bytes]] | Sequence[int]
"""How a body is cut into writes: a function, or the offsets where the cuts are."""
Framing: TypeAlias = Literal["chunked", "length", "close"]
"""How the body's end is told: transfer-encoding, content-length, or the end of the connection."""


@dataclass(frozen=True, slots=True)
class Script:
    """Fixed steps, whatever the request."""

    steps: tuple[Step, ...]

    def __call__(self, request: Recorded) -> tuple[Step, ...]:
        return self.steps


def head(status: int, headers: Headers) -> bytes:
    """A response head, nothing checked or added: broken fields can be written on purpose."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} Fake\r\n{lines}\r\n".encode("latin-1")


def every(size: int) -> Callable[[bytes], Iterator[bytes]]:
    """A chunking that cuts after each `size` bytes."""
    return lambda data: (data[start : start + size] for start in range(0, len(data), size))


def cut_up(data: bytes, chunking: Chunking | None) -> list[bytes]:
    """The pieces of `data`; None leaves it whole."""
    if chunking is None:
        return [data]
    if callable(chunking):
        return [piece for piece in chunking(data) if piece]
    marks = [0, *sorted(mark for mark in chunking if 0 < mark < len(data)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(marks) if start < end]


def event_stream(
    *parts: bytes | Step,
    framing: Framing = "chunked",
    chunking: Chunking | None = None,
    delay_s: float = 0.0,
    headers: Headers = (),
    then: End | None = None,
) -> Script:
    """A 200 `text/event-stream` made of raw bytes and steps.

    Each part is written on its own, `delay_s` after the one before. With `chunking`, neighbouring bytes are joined
    first and cut anew; offsets count from the start of each such run. With `then`, the body is left without its
    proper end and the connection ends that way.
    """
    runs = _join(parts) if chunking is not None else list(parts)
    steps: list[Step] = []
    total = sum(len(part) for part in parts if isinstance(part, bytes))
    steps.append(Send(head(200, [("content-type", "text/event-stream"), *framing_fields(framing, total), *headers])))
    for run in runs:
        if isinstance(run, bytes):
            for piece in cut_up(run, chunking):
                steps += [Pause(delay_s), Send(http_chunk(piece) if framing == "chunked" else piece)]
        else:
            steps.append(run)
    if then is not None:
        steps += [Pause(), then]
    elif framing == "chunked":
        steps.append(Send(b"0\r\n\r\n"))
    elif framing == "close":
        steps.append(Fin())
    return Script(tuple(steps))


def _join(parts: Iterable[bytes | Step]) -> list[bytes | Step]:
    joined: list[bytes | Step] = []
    for part in parts:
        if isinstance(part, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def framing_fields(framing: Framing, total: int) -> Headers:
    return {
        "chunked": [("transfer-encoding", "chunked")],
        "length": [("content-length", str(total))],
        "close": [("connection", "close")],
    }[framing]


def http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
