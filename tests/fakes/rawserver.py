"""A server that may break HTTP: it plays scripted bytes, pauses and resets, and remembers what it saw.

    async with RawServer() as server:
        server.enqueue(ok(b"hi"))              # the next request gets this
        server.enqueue(b"HTTP/1.1 2", RESET)   # the one after it gets half a head and a reset

Each request takes the oldest script, whatever connection it came on; without one it gets `default`.
"""

import asyncio
import socket
import ssl
import struct
from collections import deque
from types import TracebackType
from typing import Self, cast

CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Pause:
    """Wait so many seconds before the next step."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Until:
    """Wait for an event before the next step."""

    def __init__(self, event: asyncio.Event) -> None:
        self.event = event


class _End:
    """Close the connection: politely, or with a reset."""


CLOSE = _End()
RESET = _End()
Step = bytes | Pause | Until | _End


def ok(body: bytes = b"{}", extra: bytes = b"") -> bytes:
    """A plain 200 with a length."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b" % (
        extra,
        len(body),
        body,
    )


def chunked(*pieces: bytes) -> bytes:
    """A 200 in chunks, complete."""
    return CHUNKED_HEAD + b"".join(chunk(piece) for piece in pieces) + b"0\r\n\r\n"


def chunk(piece: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class Peer(asyncio.Protocol):
    """One accepted connection: every byte that came in, and `closed`, set once the other side is gone."""

    def __init__(self, server: "RawServer") -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._playing: asyncio.Task[None] | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.received = bytearray()
        self.requests = 0
        self.sent_bytes = 0
        self.closed = asyncio.Event()

    def say(self, data: bytes) -> None:
        """Send bytes, asked for or not."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
            self.sent_bytes += len(data)

    def hang_up(self) -> None:
        """Close from this side."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Close with a reset."""
        if self._transport is not None:
            sock: socket.socket | None = self._transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    @property
    def idle(self) -> bool:
        """True when every request that came has had its whole answer."""
        return not self._buffer and (self._playing is None or self._playing.done())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.peers.append(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._buffer += data
        self._next()

    def pause_writing(self) -> None:
        self._flowing.clear()

    def resume_writing(self) -> None:
        self._flowing.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        if self._playing is not None:
            self._playing.cancel()

    def _next(self) -> None:
        """Start on the next request when it is whole and the last answer is out."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or (self._playing is not None and not self._playing.done()):
            return
        request = Received(self, bytes(self._buffer[:end]))
        size = end + 4 + int(request.header(b"content-length") or 0)
        if not self._server.reads_bodies:
            size = len(self._buffer)
            if self._transport is not None:
                self._transport.pause_reading()
        if len(self._buffer) >= size:
            request.body = bytes(self._buffer[end + 4 : size])
            del self._buffer[:size]
            self.requests += 1
            self._playing = asyncio.ensure_future(self._play(self._server.take_script(request)))
            self._playing.add_done_callback(self._played)

    def _played(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._next()

    async def _play(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            if isinstance(step, bytes):
                self.say(step)
                await self._flowing.wait()
            elif isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Until):
                await step.event.wait()
            elif step is RESET:
                self.reset()
            else:
                self.hang_up()


class Received:
    """One request as it came."""

    def __init__(self, peer: Peer, head: bytes) -> None:
        self.peer = peer
        self.head = head
        self.body = b""
        self.line, *fields = head.split(b"\r\n")
        self.headers = [(name.lower(), value.strip()) for name, _, value in (field.partition(b":") for field in fields)]

    def header(self, name: bytes) -> bytes | None:
        """The value of a header field."""
        return dict(self.headers).get(name)


class RawServer:
    """Listens on a loopback port of `host`; `default` answers requests without a script, after `delay_s`.

    With `reads_bodies` off a request is answered at its head and nothing more is read from that connection.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        default: bytes | None = None,
        delay_s: float = 0.0,
        reads_bodies: bool = True,
        host: str = "127.0.0.1",
    ) -> None:
        self._host = host
        self.reads_bodies = reads_bodies
        self._tls = tls
        answer = default if default is not None else ok()
        self._default: tuple[Step, ...] = (Pause(delay_s), answer) if delay_s else (answer,)
        self._scripts: deque[tuple[Step, ...]] = deque()
        self._server: asyncio.Server | None = None
        self.peers: list[Peer] = []
        self.requests: list[Received] = []
        self.port = 0

    def enqueue(self, *steps: Step) -> None:
        """Play these steps to the next request that has no script yet."""
        self._scripts.append(steps)

    def take_script(self, request: Received) -> tuple[Step, ...]:
        """What a request gets."""
        self.requests.append(request)
        return self._scripts.popleft() if self._scripts else self._default

    @property
    def url(self) -> str:
        """Base URL of an endpoint here."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    @property
    def open_peers(self) -> list[Peer]:
        """Connections the client has not closed."""
        return [peer for peer in self.peers if not peer.closed.is_set()]

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Peer(self), self._host, 0, ssl=self._tls, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for peer in self.open_peers:
            peer.reset()
            await peer.closed.wait()


async def gone(server: RawServer, count: int) -> None:
    """Wait until the client has closed the first `count` connections."""
    async with asyncio.timeout(3):
        for peer in server.peers[:count]:
            await peer.closed.wait()
