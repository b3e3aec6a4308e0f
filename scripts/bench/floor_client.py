"""The floor's upstream connections: keep-alive HTTP/1.1 on asyncio.Protocol and httptools, with no care for faults."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import httptools

Headers = list[tuple[bytes, bytes]]


class Connection(asyncio.Protocol):
    """One upstream connection; it carries one exchange at a time, buffered or streamed."""

    __slots__ = (
        "answered", "chunks", "closed", "ended", "headers", "keep_alive",
        "loop", "parser", "status", "streaming", "transport", "waiter",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.answered: asyncio.Future[None] | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.closed = False
        self.streaming = False
        self.ended = False
        self.keep_alive = False
        self.status = 0
        self.headers: Headers = []
        self.chunks: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        answered = self.answered
        if answered is not None and not answered.done():
            answered.set_exception(ConnectionError("upstream closed"))
        if self.streaming:
            self.ended = True
            self._wake()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        if self.streaming and (self.chunks or self.ended):
            self._wake()

    def _wake(self) -> None:
        waiter = self.waiter
        self.waiter = None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _answer(self) -> None:
        answered = self.answered
        self.answered = None
        if answered is not None and not answered.done():
            answered.set_result(None)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self.streaming:
            self._answer()

    def on_body(self, body: bytes) -> None:
        self.chunks.append(body)

    def on_message_complete(self) -> None:
        self.keep_alive = self.parser.should_keep_alive()
        self.status = self.parser.get_status_code()
        if self.streaming:
            self.ended = True
        else:
            self._answer()

    def start(self, data: bytes, *, streaming: bool) -> asyncio.Future[None]:
        """Sends a request; the future is done at the answer's head (streaming) or its end."""
        self.headers = []
        self.chunks = []
        self.parser = httptools.HttpResponseParser(self)
        self.streaming = streaming
        self.waiter = None
        self.ended = False
        self.answered = answered = self.loop.create_future()
        self.transport.write(data)
        return answered

    def take(self) -> bytes:
        """The body bytes that have come since the last call."""
        chunks = self.chunks
        self.chunks = []
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class Pool:
    """The idle connections to one upstream, last used first."""

    def __init__(self, host: str, port: int, path: str) -> None:
        self.host = host
        self.port = port
        self.idle: list[Connection] = []
        self.loop = asyncio.get_running_loop()
        self.head = (
            f"POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\naccept: */*\r\n"
            "authorization: Bearer sk-fake\r\ncontent-length: "
        ).encode()

    async def _acquire(self) -> Connection:
        idle = self.idle
        while idle:
            connection = idle.pop()
            if not connection.closed:
                return connection
        _, fresh = await self.loop.create_connection(lambda: Connection(self.loop), self.host, self.port)
        return fresh

    async def post(self, body: bytes) -> tuple[int, Headers, bytes]:
        """Status, headers and whole body of the answer."""
        connection = await self._acquire()
        await connection.start(b"%b%d\r\n\r\n%b" % (self.head, len(body), body), streaming=False)
        if connection.keep_alive:
            self.idle.append(connection)
        else:
            connection.transport.close()
        return connection.status, connection.headers, connection.take()

    async def stream(self, body: bytes) -> tuple[int, Headers, AsyncIterator[bytes]]:
        """Status, headers and the body as it comes."""
        connection = await self._acquire()
        await connection.start(b"%b%d\r\n\r\n%b" % (self.head, len(body), body), streaming=True)
        return connection.parser.get_status_code(), connection.headers, self._chunks(connection)

    async def _chunks(self, connection: Connection) -> AsyncIterator[bytes]:
        while True:
            if connection.chunks:
                yield connection.take()
                continue
            if connection.ended:
                break
            connection.waiter = waiter = self.loop.create_future()
            await waiter
        if not connection.closed and connection.keep_alive:
            connection.streaming = False
            self.idle.append(connection)
