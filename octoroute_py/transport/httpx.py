"""The library path to an upstream: httpx for proxies, HTTP/2, own CAs, and wherever a mock has to stand in.

httpx's pool loses connections when a request is cancelled, and a gateway cancels all day. So every connection is a
client of its own, kept last in, first out, and thrown away after any cancel or error.
"""

import asyncio
import operator
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from typing import Protocol, runtime_checkable

import httpx

from octoroute_py.transport.base import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    OUT_OF_SOCKETS,
    BadFraming,
    ConnectFailed,
    Disconnected,
    Headers,
    NoSocket,
    TimedOut,
    TooLarge,
    TransportError,
    UpstreamRequest,
)
from octoroute_py.transport.framing import runs_until_eof
from octoroute_py.transport.headers import Origin, field_lines

_FINISH_S = 1.0
_FINISH_BYTES = 256 * 1024
_CLOSE_S = 2.0


class _Slot:
    """One client with at most one connection."""

    __slots__ = ("client", "idle_since", "made_at")

    def __init__(self, client: httpx.AsyncClient, now: float) -> None:
        self.client = client
        self.made_at = now
        self.idle_since = now


@runtime_checkable
class _Socket(Protocol):
    async def aclose(self) -> None: ...


class _Watch:
    """Learns from httpcore how far a call has come: connecting falls under another limit than answering.

    `socket` is the one being connected: httpcore forgets it when a TLS handshake is cancelled, so it is closed here.
    """

    __slots__ = ("connected", "deadline", "fresh", "limit", "socket")

    def __init__(self, deadline: float, *, connected: bool) -> None:
        self.deadline = deadline
        self.limit: asyncio.Timeout | None = None
        self.connected = connected
        self.fresh = False
        self.socket: _Socket | None = None

    async def __call__(self, event: str, info: Mapping[str, object]) -> None:
        if event == "connection.connect_tcp.started":
            self.fresh = True
        elif event == "connection.connect_tcp.complete":
            socket = info.get("return_value")
            self.socket = socket if isinstance(socket, _Socket) else None
        elif event.endswith(".send_request_headers.started") and not self.connected:
            self.connected = True
            if self.limit is not None:
                self.limit.reschedule(self.deadline)


class HttpxAnswer:
    """An answer of `HttpxTransport`; see `UpstreamAnswer`."""

    def __init__(self, response: httpx.Response, slot: _Slot, owner: "HttpxTransport", headers: Headers) -> None:
        self._response = response
        self._body: AsyncIterator[bytes] = response.aiter_raw()
        self._slot: _Slot | None = slot
        self._owner = owner
        self._pending: asyncio.Task[bytes] | None = None
        self._ended = False
        self.status = response.status_code
        self.headers = headers

    async def read(self, *, deadline: float, max_bytes: int = MAX_BODY_BYTES) -> bytes:
        """The whole body; the connection goes back to the pool."""
        if self._slot is None:
            raise Disconnected("the answer was closed")
        for name, value in self.headers:
            if name == b"content-length" and int(value) > max_bytes:
                self.close()
                raise TooLarge("response body above its cap")
        try:
            async with asyncio.timeout_at(deadline):
                body = await self._drain(max_bytes)
        except TimeoutError as exc:
            self.close()
            raise TimedOut("the upstream did not deliver in time") from exc
        except BaseException:
            self.close()
            raise
        self.close()
        return body

    async def chunk(self, *, deadline: float) -> bytes:
        """The next bytes of the body, b"" after the last."""
        if self._ended:
            return b""
        if self._slot is None:
            raise Disconnected("the answer was closed")
        if self._pending is None:
            self._pending = asyncio.create_task(self._pull())
        wait_s = max(0.0, deadline - asyncio.get_running_loop().time())
        try:
            # The task outlives a deadline: breaking off httpcore in mid-read would break the connection.
            done, _ = await asyncio.wait((self._pending,), timeout=wait_s)
            if not done:
                raise TimedOut("the upstream did not deliver in time")
            data = self._pending.result()
        except TimedOut:
            raise
        except BaseException:
            self.close()
            raise
        self._pending = None
        if not data:
            self.close()
        return data

    def close(self) -> None:
        """Give the connection back if the body was read to its end, close it otherwise."""
        slot, self._slot = self._slot, None
        if slot is None:
            return
        if self._ended:
            self._owner.release(slot)
        else:
            self._owner.drop(slot, pending=self._pending)

    def finish(self) -> None:
        """Let the end of the body arrive in the background."""
        slot = self._slot
        if self._ended or slot is None:
            self.close()
        else:
            self._slot = None
            self._owner.in_background(self._finish(slot))

    async def _finish(self, slot: _Slot) -> None:
        try:
            async with asyncio.timeout(_FINISH_S):
                await self._drain(_FINISH_BYTES)
        except (TimeoutError, TransportError):
            self._owner.drop(slot, pending=self._pending)
        except BaseException:
            self._owner.drop(slot, pending=self._pending)
            raise
        else:
            self._owner.release(slot)

    async def _drain(self, max_bytes: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            if self._pending is not None:
                data = await self._pending
                self._pending = None
            else:
                data = await self._pull()
            if not data:
                return b"".join(parts)
            size += len(data)
            if size > max_bytes:
                raise TooLarge("response body above its cap")
            parts.append(data)

    async def _pull(self) -> bytes:
        """The next piece of the body; sets `_ended` after the last."""
        try:
            async for data in self._body:
                return data
        except (httpx.HTTPError, OSError) as exc:
            raise _translated(exc) from exc
        self._ended = True
        return b""


class HttpxTransport:
    """One endpoint through httpx; see `Transport`.

    `fields` are the header fields of every request. `ssl_context` (asked once, for the first client) decides whom to
    trust. `proxy` is a proxy URL. `transport` replaces the network, for mocks; it is never closed from here.
    """

    def __init__(
        self,
        origin: Origin,
        fields: Iterable[tuple[bytes, bytes]],
        *,
        ssl_context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        proxy: str | None = None,
        http2: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
        idle_s: float = 30.0,
        max_age_s: float = 300.0,
        max_idle: int = 64,
    ) -> None:
        self._origin = origin
        self._fields = [(b"host", origin.authority), *fields]
        field_lines(self._fields)
        self._make_context = ssl_context
        self._context: ssl.SSLContext | None = None
        self._proxy = proxy
        self._http2 = http2
        self._transport = transport
        self._idle_s = idle_s
        self._max_age_s = max_age_s
        self._max_idle = max_idle
        self._idle: list[_Slot] = []
        self._background: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, request: UpstreamRequest, *, deadline: float, connect_s: float) -> HttpxAnswer:
        """Send it and wait for the response head."""
        if self._closed:
            raise ConnectFailed("the endpoint was removed")
        field_lines(request.headers)
        slot = self._idle.pop() if self._idle else None
        may_repeat = slot is not None
        while True:
            watch = _Watch(deadline, connected=self._transport is not None)
            try:
                return await self._exchange(slot or self._new_slot(), request, watch, connect_s)
            except Disconnected:
                if not may_repeat or watch.fresh:
                    raise
            slot, may_repeat = None, False

    async def aclose(self) -> None:
        """Close idle connections now and busy ones as they end."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while self._idle:
            self.drop(self._idle.pop())
        if self._background:
            await asyncio.wait(self._background, timeout=_CLOSE_S)

    def release(self, slot: _Slot) -> None:
        """Keep a connection whose exchange ended cleanly."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if (
            self._closed
            or len(self._idle) >= self._max_idle
            or now - slot.made_at >= self._max_age_s
            or (self._transport is None and not _nothing_left_over(slot.client))
        ):
            self.drop(slot)
            return
        slot.idle_since = now
        self._idle.append(slot)
        if self._sweeper is None:
            self._sweeper = loop.call_at(now + self._idle_s, self._sweep, loop)

    def drop(self, slot: _Slot, *, pending: asyncio.Task[bytes] | None = None, socket: _Socket | None = None) -> None:
        """Close a connection in the background, where no cancellation of a request reaches it."""
        self.in_background(self._close(slot, pending, socket))

    def in_background(self, work: Coroutine[object, object, None]) -> None:
        """Run the end of an exchange on; `aclose` waits for it."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _exchange(self, slot: _Slot, request: UpstreamRequest, watch: _Watch, connect_s: float) -> HttpxAnswer:
        limit = asyncio.get_running_loop().time() + connect_s
        if watch.connected:
            limit = watch.deadline
        try:
            async with asyncio.timeout_at(min(watch.deadline, limit)) as watch.limit:
                response = await slot.client.send(self._request(request, watch, connect_s), stream=True)
            headers = _judged_head(response)
        except TimeoutError as exc:
            self.drop(slot, socket=watch.socket)
            if not watch.connected and limit < watch.deadline:
                raise ConnectFailed("no connection within the connect limit") from exc
            raise TimedOut("the deadline passed before the upstream answered") from exc
        except (httpx.HTTPError, OSError) as exc:
            self.drop(slot, socket=watch.socket)
            raise _translated(exc) from exc
        except BaseException:
            self.drop(slot, socket=watch.socket)
            raise
        return HttpxAnswer(response, slot, self, headers)

    def _request(self, request: UpstreamRequest, watch: _Watch, connect_s: float) -> httpx.Request:
        # Not client.build_request: that would add httpx's own headers and cookies.
        timeouts = httpx.Timeout(None, connect=connect_s)
        return httpx.Request(
            request.method,
            f"{'https' if self._origin.tls else 'http'}://{self._origin.authority.decode('ascii')}"
            f"{self._origin.path}{request.path}",
            headers=[*self._fields, *request.headers],
            content=request.body,
            extensions={"timeout": timeouts.as_dict(), "trace": watch},
        )

    def _new_slot(self) -> _Slot:
        if self._context is None and self._transport is None:
            try:
                self._context = self._make_context()
            except OSError as exc:
                raise ConnectFailed(f"no TLS context: {type(exc).__name__}: {exc}") from exc
        client = httpx.AsyncClient(
            verify=self._context or True,
            http2=self._http2,
            proxy=self._proxy,
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=self._idle_s),
            transport=_Borrowed(self._transport) if self._transport is not None else None,
        )
        return _Slot(client, asyncio.get_running_loop().time())

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeper = None
        since = loop.time() - self._idle_s + 0.001
        while self._idle and self._idle[0].idle_since <= since:
            self.drop(self._idle.pop(0))
        if self._idle:
            self._sweeper = loop.call_at(self._idle[0].idle_since + self._idle_s, self._sweep, loop)

    async def _close(self, slot: _Slot, pending: asyncio.Task[bytes] | None, socket: _Socket | None) -> None:
        if pending is not None:
            pending.cancel()
            await asyncio.wait((pending,), timeout=_CLOSE_S)
            if pending.done() and not pending.cancelled():
                pending.exception()  # nobody else will ask for it
        try:
            async with asyncio.timeout(_CLOSE_S):
                await slot.client.aclose()
                if socket is not None:
                    await socket.aclose()
        except (httpx.HTTPError, OSError, RuntimeError):
            pass  # it was broken already; TimeoutError is an OSError


class _Borrowed(httpx.AsyncBaseTransport):
    """A transport given from outside: closing a client does not close it."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        made = await self._inner.handle_async_request(request)
        # A response made with its content counts as read already; its stream can still be read once more.
        return httpx.Response(made.status_code, headers=made.headers, stream=made.stream, extensions=made.extensions)


def _judged_head(response: httpx.Response) -> Headers:
    headers = [(name.lower(), value) for name, value in response.headers.raw]
    if sum(len(name) + len(value) + 4 for name, value in headers) > MAX_HEAD_BYTES:
        raise TooLarge("response head above its cap")
    if not 200 <= response.status_code <= 599:
        raise BadFraming("status nobody asked for")
    runs_until_eof(response.status_code, "1.0" if response.http_version == "HTTP/1.0" else "1.1", headers)
    return headers


def _translated(exc: Exception) -> TransportError:
    text = f"{type(exc).__name__}: {exc}"
    if _is_out_of_sockets(exc):
        return NoSocket(text)
    if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError | httpx.UnsupportedProtocol):
        return ConnectFailed(text)
    if isinstance(exc, httpx.TimeoutException):
        return TimedOut(text)
    # httpx has one class for bad bytes and for an early end; only the wording tells them apart.
    if isinstance(exc, httpx.RemoteProtocolError) and "disconnected" not in text and "closed" not in text:
        return BadFraming(text)
    return Disconnected(text)


def _is_out_of_sockets(error: BaseException | None) -> bool:
    """Whether the operating system's own error, somewhere below the library's, says so."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in OUT_OF_SOCKETS:
            return True
        error = error.__cause__ or error.__context__
    return False


_connections = operator.attrgetter("_transport._pool.connections")


def _nothing_left_over(client: httpx.AsyncClient) -> bool:
    """True when no bytes beyond the answer are buffered: httpcore would take them for the next answer.

    httpx shows this nowhere, so it is looked up inside; when the inside looks different, the answer is no and the
    connection is not used again, which is safe.
    """
    try:
        for connection in _connections(client):
            inner = connection
            while hasattr(inner, "_connection"):
                inner = inner._connection
            if hasattr(inner, "_h11_state") and inner._h11_state.trailing_data[0]:
                return False
    except AttributeError:
        return False
    return True
