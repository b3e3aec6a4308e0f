"""The hot path to an upstream: a lean keep-alive HTTP/1.1 pool for one endpoint.

Idle sockets are kept last in, first out. A request is one write. A socket is used again only after a clean exchange;
whatever was cancelled, cut short or odd is closed. A kept socket that turns out dead before it said a byte is replaced
by a fresh one, once.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from octoroute_py.transport.base import (
    MAX_BODY_BYTES,
    OUT_OF_SOCKETS,
    BadFraming,
    ConnectFailed,
    Disconnected,
    Headers,
    NoSocket,
    TimedOut,
    TooLarge,
    UpstreamRequest,
)
from octoroute_py.transport.connection import BODY, DONE, TIMER_SLACK_S, Connection
from octoroute_py.transport.headers import Origin, field_lines

_FINISH_S = 1.0
CLOSE_S = 1.0
"""The time a connection has to end politely."""
_MAX_HEADS = 32

Open: TypeAlias = Callable[[Connection, Origin, ssl.SSLContext | None], Awaitable[None]]
"""Connects a connection to an origin; raises OSError, UnicodeError or ConnectFailed. The caller sets the limit."""


class WireAnswer:
    """An answer of `WireTransport`; see `UpstreamAnswer`."""

    __slots__ = ("_connection", "_ended", "_release", "headers", "status")

    def __init__(self, connection: Connection, release: Callable[[Connection], None]) -> None:
        self._connection: Connection | None = connection
        self._release = release
        self._ended = False
        self.status = connection.status
        self.headers: Headers = connection.headers

    async def read(self, *, deadline: float, max_bytes: int = MAX_BODY_BYTES) -> bytes:
        """The whole body; the connection goes back to the pool."""
        connection = self._connection
        if connection is None:
            raise Disconnected("the answer was closed")
        try:
            if connection.state < DONE:
                _refuse_announced_size(self.headers, max_bytes)
                await connection.wait_for_end(deadline, max_bytes)
            if connection.state != DONE:
                raise connection.error or Disconnected("the connection was closed")
            if connection.buffered_bytes > max_bytes:
                raise TooLarge("response body above its cap")
        except BaseException:
            self.close()
            raise
        body = connection.take()
        self._connection = None
        self._ended = True
        self._release(connection)
        return body

    async def chunk(self, *, deadline: float) -> bytes:
        """The next bytes of the body, b"" after the last."""
        connection = self._connection
        if connection is None:
            if self._ended:
                return b""
            raise Disconnected("the answer was closed")
        if not connection.chunks and connection.state < DONE:
            try:
                await connection.wait_for_data(deadline)
            except TimedOut:
                raise
            except BaseException:
                self.close()
                raise
        if connection.chunks:
            return connection.take()
        self._ended = connection.state == DONE
        self.close()
        if not self._ended:
            raise connection.error or Disconnected("the connection was closed")
        return b""

    def close(self) -> None:
        """Give the connection back if the body was read to its end, close it otherwise."""
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        if connection.state == DONE and not connection.chunks:
            self._release(connection)
        else:
            connection.abort()

    def finish(self) -> None:
        """Let the end of the body arrive in the background."""
        connection = self._connection
        if connection is None:
            return
        if connection.state == BODY:
            self._connection = None
            connection.linger(_FINISH_S, self._release)
        else:
            if connection.state == DONE:
                connection.take()
            self.close()

    def __del__(self) -> None:
        # An answer nobody closed (a result lost to a cancelled wait) must not keep its socket for ever.
        connection = self._connection
        if connection is not None:
            connection.abort()


class WireTransport:
    """Keep-alive connections to one endpoint; see `Transport`.

    `fields` are the header fields of every request. `ssl_context` is asked when the first https connection is made.
    `open_connection` makes every connection: whoever gives another one decides where connections may go.
    """

    __slots__ = (
        "_closed",
        "_closing",
        "_fields",
        "_heads",
        "_idle",
        "_idle_s",
        "_live",
        "_max_age_s",
        "_max_idle",
        "_open",
        "_origin",
        "_ssl_context",
        "_sweeper",
    )

    def __init__(
        self,
        origin: Origin,
        fields: Iterable[tuple[bytes, bytes]],
        *,
        ssl_context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        open_connection: Open | None = None,
        idle_s: float = 30.0,
        max_age_s: float = 300.0,
        max_idle: int = 256,
    ) -> None:
        self._origin = origin
        self._fields = b"host: " + origin.authority + b"\r\n" + field_lines(fields)
        self._ssl_context = ssl_context
        self._open = open_by_name if open_connection is None else open_connection
        self._idle_s = idle_s
        self._max_age_s = max_age_s
        self._max_idle = max_idle
        self._heads: dict[tuple[str, str], bytes] = {}
        self._idle: list[Connection] = []
        self._live: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._closing: asyncio.Event | None = None

    async def send(self, request: UpstreamRequest, *, deadline: float, connect_s: float) -> WireAnswer:
        """Send it and wait for the response head."""
        body = request.body
        head = self._heads.get((request.method, request.path)) or self._make_head(request.method, request.path)
        head = b"%b%bcontent-length: %d\r\n\r\n" % (head, field_lines(request.headers), len(body))
        connection = self._take_idle() if self._idle else None
        may_repeat = connection is not None
        while True:
            if connection is None:
                connection = await self._connect(deadline, connect_s)
            try:
                await connection.start(head, body, deadline)
            except BaseException:
                connection.abort()
                raise
            if connection.status:
                return WireAnswer(connection, self._release)
            connection.abort()
            if not (may_repeat and connection.untouched):
                raise connection.error or BadFraming("the exchange ended without an answer")
            connection, may_repeat = None, False

    async def aclose(self) -> None:
        """Close idle connections now and busy ones as they end."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        leaving = {connection for connection in self._live if connection in self._idle or connection.lingering}
        for connection in leaving:
            connection.close()
        self._idle.clear()
        if leaving:
            self._closing = asyncio.Event()
            try:
                async with asyncio.timeout(CLOSE_S):
                    while leaving & self._live:
                        self._closing.clear()
                        await self._closing.wait()
            except TimeoutError:
                for connection in leaving:
                    connection.abort()

    async def _connect(self, deadline: float, connect_s: float) -> Connection:
        if self._closed:
            raise ConnectFailed("the endpoint was removed")
        loop = asyncio.get_running_loop()
        connection = Connection(loop, self._on_lost)
        origin = self._origin
        context = self._ssl_context() if origin.tls else None
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + connect_s)):
                await self._open(connection, origin, context)
        except TimeoutError as exc:
            connection.abort()
            if loop.time() >= deadline - TIMER_SLACK_S:
                raise TimedOut("the deadline passed while connecting") from exc
            raise ConnectFailed("no connection within the connect limit") from exc
        except (OSError, UnicodeError) as exc:
            connection.abort()
            if isinstance(exc, OSError) and exc.errno in OUT_OF_SOCKETS:
                raise NoSocket(f"no socket: {exc}") from exc
            raise ConnectFailed(f"no connection: {type(exc).__name__}: {exc}") from exc
        except BaseException:
            connection.abort()
            raise
        if not connection.usable:
            connection.abort()
            raise ConnectFailed("the upstream closed the connection at once")
        self._live.add(connection)
        return connection

    def _make_head(self, method: str, path: str) -> bytes:
        head = f"{method} {self._origin.path}{path} HTTP/1.1\r\n".encode("ascii")
        if head.count(b"\n") != 1 or head.count(b"\r") != 1 or head.count(b" ") != 2 or b"\0" in head:
            raise ValueError("method or path would break the request line")
        head += self._fields
        if len(self._heads) < _MAX_HEADS:
            self._heads[(method, path)] = head
        return head

    def _take_idle(self) -> Connection | None:
        """The youngest idle connection that is still good."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.usable:
                return connection
            connection.abort()
        return None

    def _release(self, connection: Connection) -> None:
        if connection.reusable and not self._closed and len(self._idle) < self._max_idle:
            loop = connection.loop
            now = loop.time()
            if now - connection.made_at < self._max_age_s:
                connection.rest(now)
                self._idle.append(connection)
                if self._sweeper is None:
                    self._sweeper = loop.call_at(now + self._idle_s, self._sweep, loop)
                return
        connection.abort()  # not politely: a request the upstream never reads would keep the socket open

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close what has been idle too long; the list is ordered by the time of going idle."""
        self._sweeper = None
        since = loop.time() - self._idle_s + TIMER_SLACK_S
        expired = 0
        while expired < len(self._idle) and self._idle[expired].idle_since <= since:
            self._idle[expired].close()
            expired += 1
        del self._idle[:expired]
        if self._idle:
            self._sweeper = loop.call_at(self._idle[0].idle_since + self._idle_s, self._sweep, loop)

    def _on_lost(self, connection: Connection) -> None:
        self._live.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._closing is not None:
            self._closing.set()


async def open_by_name(connection: Connection, origin: Origin, context: ssl.SSLContext | None) -> None:
    """Connect to whatever address the host has; see `Open`."""
    await connection.loop.create_connection(
        lambda: connection,
        origin.host,
        origin.port,
        ssl=context,
        server_hostname=origin.host if context is not None else None,
        ssl_shutdown_timeout=CLOSE_S if context is not None else None,
    )


def _refuse_announced_size(headers: Headers, max_bytes: int) -> None:
    for name, value in headers:
        if name == b"content-length" and int(value) > max_bytes:
            raise TooLarge("response body above its cap")
