"""The HTTP/1.1 front: one client connection on httptools, with the gate that httptools lacks.

uvicorn's own protocol takes headers of any size and number, a missing or second Host, absolute-form targets and
Transfer-Encoding in HTTP/1.0, and has no limit on a slow header or body (reliability F7, F8). Here a request passes
only with one valid Host, an origin-form target without tricks, unambiguous framing and bounded headers; anything else
is answered with 400, 414 or 431 in OpenAI's envelope and the connection is closed.

The protocol is also how a handler learns at once that its client is gone, buffered or streaming (F6): it does not
depend on anybody awaiting `receive`. uvicorn's server drives it: `connections`, `shutdown` and the constructor are its.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, cast
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from octoroute_py.core.errors import BadRequest, GatewayError
from octoroute_py.core.ids import new_request_id
from octoroute_py.edge.cycle import Cycle
from octoroute_py.edge.gate import MAX_TARGET_BYTES, refusal_of, too_large_head
from octoroute_py.edge.guard import CERTIFICATE
from octoroute_py.edge.tls import client_certificate
from octoroute_py.edge.wire_io import error_body

HEAD_DEADLINE_S = 10.0
"""From a request's first byte to the end of its head."""
BODY_PROGRESS_S = 30.0
"""Longest pause in a request's body."""
IDLE_S = 75.0
"""An idle kept-alive connection is closed after this; also one that never sends anything."""
WRITE_STALL_S = 60.0
"""A client that takes no byte for this long is cut off, and its upstream call with it."""
PAUSE_ABOVE_BYTES = 64 * 1024
"""Unread bytes of a request body at which reading waits for the handler."""
MAX_IGNORED_BYTES = 1024 * 1024
"""How much of a body is read that came after its answer, so that the connection can be used again."""
MAX_PIPELINED = 16
LINGER_S = 2.0
"""What a client that is refused before it has sent its whole request gets to read the answer."""
MAX_UNHEARD_BYTES = 64 * 1024 * 1024
"""How much is thrown away of what a refused client goes on sending."""

_PHRASES = {414: b"URI Too Long", 431: b"Request Header Fields Too Large"}


class GatewayProtocol(asyncio.Protocol):
    """One client connection. `protocol_for` makes the class with its header cap.

    One timer watches the connection: it is never moved while requests come and go, but looks when it fires at what is
    being waited for since when.
    """

    max_header_bytes: ClassVar[int] = 32 * 1024
    max_connections: ClassVar[int] = 100_000

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.loop = _loop or asyncio.get_event_loop()
        self.server_state = server_state
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.cycle: Cycle | None = None
        self.write_paused = False
        self._app = config.loaded_app
        self._app_state = app_state
        self._parser = self._new_parser()
        self._pipeline: deque[Cycle] = deque()
        self._writable: asyncio.Future[None] | None = None
        self._read_paused = False
        self._on_gone: Callable[[], None] | None = None
        self._on_end: Callable[[], None] | None = None
        self._refusal: GatewayError | None = None
        self._last_answer = False
        self._unheard: int | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_open = False
        self._body_open = False
        self._resuming = False
        self._head_seen = 0
        self._quiet = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._since = 0.0
        self._stall: asyncio.TimerHandle | None = None
        self._stall_left = 0
        self._fixed_scope: dict[str, object] = {}

    # what handlers use (found in scope["extensions"]["octoroute.connection"])

    def watch(self, on_gone: Callable[[], None] | None, on_end: Callable[[], None] | None = None) -> None:
        """Call `on_gone` once when the client leaves before its answer is complete; None stops watching.

        `on_end` is called when the gateway drains, for an answer that would never end by itself. Reading is resumed
        first: a large body leaves it paused, and a paused socket does not tell that its peer left.
        """
        self._on_gone, self._on_end = on_gone, on_end
        if self._last_answer and on_end is not None:
            self.loop.call_soon(on_end)
        if on_gone is not None:
            self.resume_reading()
            if self.transport.is_closing():
                self.loop.call_soon(on_gone)

    def close_after_response(self) -> None:
        """Do not keep this connection alive after the current answer."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    # what the server's drain uses

    @property
    def idle(self) -> bool:
        """Whether it only waits for a next request."""
        return (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing()

    def shutdown(self) -> None:
        """The gateway drains: the answer under way, or the next one, is the last on this connection."""
        self._last_answer = True
        if self.cycle is not None:
            self.cycle.keep_alive = False
        if self._on_end is not None:
            self._on_end()

    # connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self.transport = cast(asyncio.Transport, transport)
        self.server_state.connections.add(self)  # type: ignore[arg-type]  # it has what the server asks of one
        if len(self.server_state.connections) > self.max_connections:
            self.transport.abort()
            return
        self._fixed_scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "server": get_local_addr(self.transport),
            "client": get_remote_addr(self.transport),
            "scheme": "https" if is_ssl(self.transport) else "http",
            "root_path": "",
            "extensions": {"octoroute.connection": self},
        }
        certificate = client_certificate(self.transport)
        if certificate is not None:
            self._fixed_scope[CERTIFICATE] = certificate
        self._since = self.loop.time()
        self._arm(IDLE_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, or we closed."""
        self.server_state.connections.discard(self)
        on_gone, self._on_gone = self._on_gone, None
        for timer in (self._timer, self._stall):
            if timer is not None:
                timer.cancel()
        self._timer = self._stall = None
        self._pipeline.clear()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.wake()
            if on_gone is not None:
                on_gone()
        self.resume_writing()

    def eof_received(self) -> None:
        """A client that has stopped sending is taken to be gone: the transport closes."""

    # reading

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        if self._unheard is not None:
            self._unheard += len(data)
            if self._unheard > MAX_UNHEARD_BYTES:
                self.transport.abort()
            return
        if self._head_open:
            self._head_seen += len(data)
        self._quiet += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_on(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse()
            return
        if self._head_open:
            if self._head_seen > self.max_header_bytes + MAX_TARGET_BYTES:
                self._refusal = too_large_head()
                self._refuse()
            elif self._head_seen == 0:
                self._since = self.loop.time()
                self._arm(HEAD_DEADLINE_S)
        elif self._body_open:
            if self._quiet > self.max_header_bytes:
                self._refuse()  # trailers or chunk extensions without end
                return
            self._since = self.loop.time()
            self._arm(BODY_PROGRESS_S)

    def _read_on(self, rest: bytes) -> None:
        """Go on with the body of a request that offered an upgrade nobody takes (Java's client offers h2c).

        The parser has stopped there, so another one is told the framing and gets the rest.
        """
        framing = [
            b"%b: %b\r\n" % field for field in self._headers if field[0] in (b"content-length", b"transfer-encoding")
        ]
        self._parser = self._new_parser()
        self._resuming = True
        try:
            self._parser.feed_data(b"POST / HTTP/1.1\r\nhost: h\r\n%b\r\n" % b"".join(framing))
        finally:
            self._resuming = False
        if rest:
            self.data_received(rest)

    def _new_parser(self) -> httptools.HttpRequestParser:
        """A strict parser; but what follows a request that closes is left unread, and its answer still goes out."""
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def pause_reading(self) -> None:
        """Take no more from the client for now."""
        if not self._read_paused:
            self._read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on taking what the client sends."""
        if self._read_paused and not self._pipeline:
            self._read_paused = False
            self.transport.resume_reading()

    # parser callbacks

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self._resuming:
            self._url = b""
            self._headers = []
            self._head_open = True
            self._head_seen = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        if not self._resuming:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or a trailer, which nobody needs."""
        if self._head_open:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is in: refuse it, or start serving the request."""
        if self._resuming:
            return
        self._head_open = False
        parser = self._parser
        version = parser.get_http_version()
        self._refusal = refusal_of(self._headers, self._url, version=version, max_header_bytes=self.max_header_bytes)
        if self._refusal is not None:
            raise self._refusal
        raw_path, _, query = self._url.partition(b"?")
        path = raw_path.decode("ascii")
        scope = {
            **self._fixed_scope,
            "state": self._app_state.copy(),
            "headers": self._headers,
            "method": parser.get_method().decode("ascii"),
            "http_version": version,
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
        }
        self._body_open = True
        keep_alive = not self._last_answer and version != "1.0" and parser.should_keep_alive()
        cycle = Cycle(self, scope, keep_alive=keep_alive)
        if self.cycle is not None and not self.cycle.response_complete:
            self._queue(cycle)
        else:
            self._start(cycle)

    def on_body(self, body: bytes) -> None:
        """A piece of a request's body."""
        self._quiet = 0
        cycle = self._newest()
        if cycle is None:
            return
        if not cycle.response_complete:
            if cycle.take(body) > PAUSE_ABOVE_BYTES:
                self.pause_reading()
        elif cycle.take(body) > MAX_IGNORED_BYTES:
            self.transport.close()

    def on_message_complete(self) -> None:
        """The request is whole, unless it offered an upgrade: then its body is still to come."""
        if self._parser.should_upgrade() and not self._resuming and self._has_body():
            return
        cycle = self._newest()
        self._body_open = False
        if cycle is not None:
            cycle.more_body = False
            cycle.wake()
            if cycle.response_complete and not cycle.keep_alive:
                self.transport.close()

    def _has_body(self) -> bool:
        return any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in self._headers
        )

    def _newest(self) -> Cycle | None:
        return self._pipeline[-1] if self._pipeline else self.cycle

    def _queue(self, cycle: Cycle) -> None:
        """Another request before the answer to the last one: it waits its turn, and reading with it."""
        self._pipeline.append(cycle)
        if len(self._pipeline) > MAX_PIPELINED:
            self._refusal = BadRequest("Too many requests at once on one connection.")
            raise self._refusal
        self.pause_reading()

    def _start(self, cycle: Cycle) -> None:
        self.cycle = cycle
        cycle.task = self.loop.create_task(cycle.run_asgi(self._app))

    def answered(self, cycle: Cycle) -> None:
        """An answer is complete: serve the next request, wait for one, or close.

        A client that is still sending gets a moment to read its answer: closing on unread bytes would reset it away.
        """
        self._since = self.loop.time()
        if self.transport.is_closing():
            return
        if not cycle.keep_alive:
            if cycle.more_body:
                self.resume_reading()
                self.loop.call_later(LINGER_S, self.transport.close)
            else:
                self.transport.close()
            return
        if self._pipeline:
            self._start(self._pipeline.popleft())
        self.resume_reading()

    def _refuse(self) -> None:
        """Answer what never became a whole request, and close; under an answer there is only the closing."""
        refusal, self._refusal = self._refusal, None
        cycle = self.cycle
        if cycle is None or not self._body_open:
            unanswered = cycle is None or cycle.response_complete
        else:
            unanswered = not cycle.response_started and not self._pipeline
            cycle.disconnected = True  # whoever serves it is told that no more will come, and has no more say
            cycle.wake()
        if unanswered:
            error = refusal or BadRequest("This is not a valid HTTP/1.1 request.")
            body = error_body(self._url.decode("latin-1"), error)
            self.transport.write(
                b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\nx-request-id: %b\r\n"
                b"content-length: %d\r\nconnection: close\r\n\r\n%b"
                % (
                    error.status,
                    _PHRASES.get(error.status, b"Bad Request"),
                    new_request_id().encode(),
                    len(body),
                    body,
                )
            )
        self._head_open = self._body_open = False
        if unanswered and refusal is not None and refusal.status in _PHRASES:
            self._stop_hearing()
        else:
            self.transport.close()

    def _stop_hearing(self) -> None:
        """Throw away what else comes, for a moment: closing on unread bytes would reset the answer away."""
        self._unheard = 0
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)

    # time

    def _arm(self, within_s: float) -> None:
        """Have the timer look no later than `within_s` from now; an earlier look it has planned will do."""
        at = self.loop.time() + within_s
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.loop.call_later(within_s, self._look)

    def _look(self) -> None:
        """Close the connection if what it waits for is overdue; else look again when it would be."""
        self._timer = None
        if self.transport.is_closing():
            return
        limit_s = IDLE_S
        if self._head_open:
            limit_s = HEAD_DEADLINE_S
        elif self._body_open:
            limit_s = BODY_PROGRESS_S
        elif self.cycle is not None and not self.cycle.response_complete:
            self._arm(IDLE_S)
            return
        if self._body_open and self._read_paused:
            self._since = self.loop.time()
        left_s = self._since + limit_s - self.loop.time()
        if left_s <= 0.001:
            self.transport.close()
        else:
            self._arm(left_s)

    # writing

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        self.write_paused = True
        self._stall_left = self.transport.get_write_buffer_size()
        if self._stall is None:
            self._stall = self.loop.call_later(WRITE_STALL_S, self._check_stall)

    def resume_writing(self) -> None:
        """The client has caught up, or is gone."""
        self.write_paused = False
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    async def drain(self) -> None:
        """Wait until the client has caught up, or is gone."""
        while self.write_paused:
            if self._writable is None or self._writable.done():
                self._writable = self.loop.create_future()
            await self._writable

    def _check_stall(self) -> None:
        """Cut off a client that took nothing since the last look; one that reads slowly goes on being waited for."""
        self._stall = None
        left = self.transport.get_write_buffer_size()
        if left >= self._stall_left:
            self.transport.abort()
            return
        self._stall_left = left
        self._stall = self.loop.call_later(WRITE_STALL_S, self._check_stall)


def protocol_for(max_header_bytes: int, *, max_connections: int = 100_000) -> type[GatewayProtocol]:
    """The protocol class for a header cap and a number of connections; the server wants a class, so they are its
    attributes. A connection above the number is cut off at once: every request may need a descriptor upstream too."""
    limits = {"max_header_bytes": max_header_bytes, "max_connections": max_connections}
    return type("BoundGatewayProtocol", (GatewayProtocol,), limits)
