"""A scripted OpenAI-compatible server on raw sockets, so that it can break HTTP in every way an upstream can.

    async with FakeUpstream() as up:
        up.enqueue(turns.status(503), turns.json_answer("hello"))
        ...                                   # point the gateway at up.base_url
        assert len(up.requests) == 2

Each request takes the next turn; once the queue is empty, the default turn answers (a sound answer, unless `always`
set another). `GET …/models` and other health probes are answered apart and take no turns.
"""

import asyncio
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import cast

import httptools

from tests.fakes import bodies
from tests.fakes.script import Fin, Flood, Gate, Hang, Pause, Recorded, Rst, Send, Step, Turn
from tests.fakes.turns import good_answer, status

_KEPT_BYTES = 64 * 1024
_PROBE_PATHS = ("/models", "/health", "/props", "/slots")
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection:
    """What happened on one accepted connection; times are in the server's clock.

    `received` keeps the first 64 KiB as they came (under TLS: decrypted). `sent_bytes` counts what the kernel took, so
    that it stands still while the other side does not read. `spoke_http` turns False at bytes that are no HTTP
    request; such a connection is left open and gets no answer.
    """

    def __init__(self, number: int, opened_at: float) -> None:
        self.number = number
        self.opened_at = opened_at
        self.closed_at: float | None = None
        self.closed_by_peer = False
        self.requests = 0
        self.received = bytearray()
        self.received_bytes = 0
        self.sent_bytes = 0
        self.spoke_http = True
        self.closed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether it is still open as far as this side knows."""
        return self.closed_at is None


class FakeUpstream:
    """The server; see the module's first lines. `host` may be any loopback address, `tls` makes it speak https.

    `errors` holds exceptions of turns; leaving the context raises the first of them.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        models: Sequence[str] = (bodies.MODEL,),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host = host
        self.port = port
        self.clock = clock
        self.models_turn: Turn = status(200, bodies.models_body(models))
        self.requests: list[Recorded] = []
        self.probes: list[Recorded] = []
        self.connections: list[Connection] = []
        self.errors: list[Exception] = []
        self._tls = tls
        self._turns: deque[Turn] = deque()
        self._default: Turn = good_answer
        self._server: asyncio.Server | None = None
        self._live: set[_Wire] = set()
        self._waiters: set[asyncio.Event] = set()

    @property
    def base_url(self) -> str:
        """The URL to configure as an endpoint's `base_url`."""
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}/v1"

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return sum(connection.is_open for connection in self.connections)

    @property
    def pending_turns(self) -> int:
        """How many queued turns no request has taken yet."""
        return len(self._turns)

    def enqueue(self, *turns: Turn) -> None:
        """Add turns for the next requests, one each."""
        self._turns.extend(turns)

    def always(self, turn: Turn) -> None:
        """Answer with this turn whenever the queue is empty."""
        self._default = turn

    def forget(self) -> None:
        """Drop what was recorded and the turns that are left, so that another test can begin."""
        self._turns.clear()
        self.requests.clear()

    async def start_listening(self) -> None:
        """Accept connections, on the same port as before if it had one."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Wire(self), self.host, self.port, ssl=self._tls)
            self.port = self._server.sockets[0].getsockname()[1]

    async def stop_listening(self) -> None:
        """Refuse new connections; open ones live on."""
        if self._server is not None:
            self._server.close()
            self._server = None
            await asyncio.sleep(0)

    def drop_connections(self) -> None:
        """Reset every open connection, as a crash would."""
        for wire in list(self._live):
            wire.reset()

    async def wait_requests(self, count: int, timeout: float = 5.0) -> list[Recorded]:
        """All requests, once at least `count` arrived; TimeoutError if they do not."""
        await self._wait(lambda: len(self.requests) >= count, timeout)
        return self.requests

    async def wait_connections(self, count: int, timeout: float = 5.0) -> list[Connection]:
        """All connections, once at least `count` were accepted; TimeoutError if they are not."""
        await self._wait(lambda: len(self.connections) >= count, timeout)
        return self.connections

    async def wait_closed(self, connection: Connection | int, timeout: float = 5.0) -> Connection:
        """The connection (or the one of that number, from 0), once closed; TimeoutError if it stays open."""
        found = self.connections[connection] if isinstance(connection, int) else connection
        async with asyncio.timeout(timeout):
            await found.closed.wait()
        return found

    async def wait_idle(self, timeout: float = 5.0) -> None:
        """Return when no connection is open; TimeoutError if one stays."""
        await self._wait(lambda: self.open_connections == 0, timeout)

    async def __aenter__(self) -> "FakeUpstream":
        await self.start_listening()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop_listening()
        tasks = [wire.worker for wire in self._live]
        for wire in list(self._live):
            wire.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
        if self.errors and error is None:
            raise self.errors[0]

    def opened(self, wire: "_Wire") -> Connection:
        """A connection was accepted."""
        connection = Connection(len(self.connections), self.clock())
        self.connections.append(connection)
        self._live.add(wire)
        self._notify()
        return connection

    def ended(self, wire: "_Wire") -> None:
        """A connection is gone."""
        self._live.discard(wire)
        self._notify()

    def turn_for(self, request: Recorded) -> Iterable[Step]:
        """Record the request and choose what to do with it."""
        path = request.path.partition("?")[0]
        if request.method == "GET" and path.endswith(_PROBE_PATHS):
            self.probes.append(request)
            return self.models_turn(request)
        self.requests.append(request)
        self._notify()
        turn = self._turns.popleft() if self._turns else self._default
        return turn(request)

    def _notify(self) -> None:
        for waiter in list(self._waiters):
            waiter.set()

    async def _wait(self, done: Callable[[], bool], timeout: float) -> None:
        waiter = asyncio.Event()
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout):
                while not done():
                    waiter.clear()
                    await waiter.wait()
        finally:
            self._waiters.discard(waiter)


class _Wire(asyncio.Protocol):
    """One connection: requests are parsed as they come and answered in order by one task."""

    transport: asyncio.Transport
    connection: Connection
    worker: asyncio.Task[None]

    def __init__(self, upstream: FakeUpstream) -> None:
        self._upstream = upstream
        self._parser = httptools.HttpRequestParser(self)
        self._queue: asyncio.Queue[tuple[Recorded, bool]] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()
        self._begin()

    def _begin(self) -> None:
        self._path = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is no subclass of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        # With the mark at 0, a write counts as done only when the kernel has taken all of it.
        self.transport.set_write_buffer_limits(high=0)
        self.connection = self._upstream.opened(self)
        self.worker = asyncio.get_running_loop().create_task(self._work())

    def data_received(self, data: bytes) -> None:
        connection = self.connection
        connection.received_bytes += len(data)
        connection.received += data[: _KEPT_BYTES - len(connection.received)]
        if connection.spoke_http:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserError:
                connection.spoke_http = False

    def eof_received(self) -> bool:
        self.connection.closed_by_peer = True
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.connection.closed_by_peer |= error is not None
        self.connection.closed_at = self._upstream.clock()
        self.connection.closed.set()
        self.worker.cancel()
        self._upstream.ended(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # httptools' side

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        connection = self.connection
        connection.requests += 1
        request = Recorded(
            method=self._parser.get_method().decode(),
            path=self._path.decode("latin-1"),
            headers=self._headers,
            body=bytes(self._body),
            at=self._upstream.clock(),
            connection=connection.number,
        )
        self._queue.put_nowait((request, self._parser.should_keep_alive()))
        self._begin()

    # the answers

    def reset(self) -> None:
        """Close with RST."""
        found = self.transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def abort(self) -> None:
        """Close without waiting for anything."""
        self.worker.cancel()
        self.transport.abort()

    async def _work(self) -> None:
        while True:
            request, keep_alive = await self._queue.get()
            try:
                for step in self._upstream.turn_for(request):
                    await self._play(step)
            except Exception as error:  # noqa: BLE001 - a broken script must fail the test that wrote it, not the server
                self._upstream.errors.append(error)
                self.transport.abort()
            if not keep_alive:
                self.transport.close()

    async def _play(self, step: Step) -> None:
        match step:
            case Send(data):
                await self._send(data)
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Gate(event):
                await event.wait()
            case Flood(piece, total_bytes):
                for _ in range(0, total_bytes, len(piece)):
                    await self._send(piece)
            case Fin():
                self.transport.close()
                await self.connection.closed.wait()
            case Rst():
                self.reset()
                await self.connection.closed.wait()
            case Hang():
                await self.connection.closed.wait()

    async def _send(self, data: bytes) -> None:
        if self.transport.is_closing():
            await self.connection.closed.wait()  # writing on would only count bytes that nobody takes
            return
        self.transport.write(data)
        await self._writable.wait()
        self.connection.sent_bytes += len(data)
