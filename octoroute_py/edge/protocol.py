"""The HTTP/1.1 front: uvicorn's httptools protocol with the gate that httptools lacks.

Stock httptools takes headers of any size and number, a missing or second Host, absolute-form targets and Transfer-
Encoding in HTTP/1.0, and uvicorn has no limit on a slow header or body (reliability F7, F8). Here a request passes
only with one valid Host, an origin-form target without tricks, unambiguous framing and bounded headers; anything else
is answered with 400 or 431 in OpenAI's envelope and the connection is closed.

The protocol is also how a handler learns at once that its client is gone, buffered or streaming (F6): it does not
depend on anybody awaiting `receive`.
"""

import asyncio
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar, cast
from urllib.parse import unquote

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from octoroute_py.core.errors import BadRequest, GatewayError
from octoroute_py.core.ids import new_request_id
from octoroute_py.edge.cycle import Cycle

MAX_FIELDS = 100
HEAD_DEADLINE_S = 10.0
"""From a request's first byte to the end of its head."""
BODY_PROGRESS_S = 30.0
"""Longest pause in a request's body."""
IDLE_S = 75.0
"""An idle kept-alive connection is closed after this; also one that never sends anything."""
WRITE_STALL_S = 60.0
"""A client that takes no byte for this long is cut off, and its upstream call with it."""
MAX_TARGET_BYTES = 8 * 1024

_HOST = re.compile(rb"(?:[A-Za-z0-9_.~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_TRICKS = re.compile(rb"%2f|%5c|%00|//|[\\#]|(?:^|/)\.\.?(?:/|$)|%2e", re.IGNORECASE)
_MODELS = b"/v1/models/"


@lru_cache(maxsize=1024)
def path_is_plain(raw_path: bytes) -> bool:
    """Whether a raw path is free of encoded slashes, NUL, empty and dot segments (reliability F9).

    Below /v1/models/ an encoded slash counts as a slash: OpenAI's clients encode the ones in a model's name, and
    everything there is one route.
    """
    if raw_path.startswith(_MODELS):
        raw_path = raw_path.replace(b"%2f", b"/").replace(b"%2F", b"/")
    return raw_path.startswith(b"/") and _TRICKS.search(raw_path) is None


class GatewayProtocol(HttpToolsProtocol):
    """One client connection. `protocol_for` makes the class with its header cap."""

    max_header_bytes: ClassVar[int] = 32 * 1024

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._on_gone: Callable[[], None] | None = None
        self._refusal: GatewayError | None = None
        self._head_open = False
        self._body_open = False
        self._head_seen = 0
        self._progress: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._stall_left = 0

    # what handlers use (found in scope["extensions"]["octoroute.connection"])

    def watch(self, on_gone: Callable[[], None] | None) -> None:
        """Call `on_gone` once when the client leaves before its answer is complete; None stops watching.

        Reading is resumed first: a large body leaves it paused, and a paused socket does not tell that its peer left.
        """
        self._on_gone = on_gone
        if on_gone is not None:
            self.flow.resume_reading()
            if self.transport.is_closing():
                self.loop.call_soon(on_gone)

    def close_after_response(self) -> None:
        """Do not keep this connection alive after the current answer."""
        self.cycle.keep_alive = False

    # connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        on_gone, self._on_gone = self._on_gone, None
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._stop_progress_timer()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        if on_gone is not None and self.cycle is not None and not self.cycle.response_complete:
            on_gone()

    def data_received(self, data: bytes) -> None:
        if self._head_open:
            self._head_seen += len(data)
        super().data_received(data)
        if self.parser is None or self.transport.is_closing():
            return
        if self._head_open:
            if self._head_seen > self.max_header_bytes + MAX_TARGET_BYTES:
                self._refusal = _too_large_head()
                self.send_400_response("")
            elif self._progress is None:
                self._progress = self.loop.call_later(HEAD_DEADLINE_S, self._too_slow)
        elif self._body_open:
            self._stop_progress_timer()
            self._progress = self.loop.call_later(BODY_PROGRESS_S, self._too_slow)

    def _stop_progress_timer(self) -> None:
        if self._progress is not None:
            self._progress.cancel()
            self._progress = None

    def _too_slow(self) -> None:
        self._progress = None
        if self._body_open and self.flow.read_paused:
            self._progress = self.loop.call_later(BODY_PROGRESS_S, self._too_slow)
        elif not self.transport.is_closing():
            self.transport.close()

    # parser callbacks

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_open = True
        self._head_seen = 0
        self.scope["extensions"] = {"octoroute.connection": self}  # type: ignore[dict-item]

    def on_headers_complete(self) -> None:
        self._head_open = False
        self._stop_progress_timer()
        version = self.parser.get_http_version()
        self._refusal = self._gate(version)
        if self._refusal is not None:
            raise self._refusal
        self._body_open = True
        scope = self.scope
        raw_path, _, query = self.url.partition(b"?")
        path = raw_path.decode("ascii")
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = query
        keep_alive = version != "1.0" and self.parser.should_keep_alive()
        earlier = self.cycle
        cycle = Cycle(self, cast("dict[str, object]", scope), keep_alive=keep_alive)
        self.cycle = cycle  # type: ignore[assignment]  # it has what uvicorn's protocol asks of a cycle
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_message_complete(self) -> None:
        self._body_open = False
        self._stop_progress_timer()
        super().on_message_complete()

    def _gate(self, version: str) -> GatewayError | None:
        """Why this head is refused, or None. Checked in one pass over its fields."""
        size = hosts = lengths = 0
        chunked = False
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                hosts += 1
                if _HOST.fullmatch(value) is None:
                    return BadRequest("The Host header is not valid.")
            elif name == b"content-length":
                lengths += 1
            elif name == b"transfer-encoding":
                if chunked or value.strip().lower() != b"chunked":
                    return BadRequest("Only the transfer coding 'chunked' is understood.")
                chunked = True
        if size > self.max_header_bytes or len(self.headers) > MAX_FIELDS:
            return _too_large_head()
        if hosts != 1:
            return BadRequest("A request needs exactly one Host header.")
        if lengths > 1 or (chunked and (lengths or version == "1.0")):
            return BadRequest("The length of the body is ambiguous.")
        if len(self.url) > MAX_TARGET_BYTES:
            return BadRequest("The request target is too long.", status=414, code="uri_too_long")
        if not path_is_plain(self.url.partition(b"?")[0]):
            return BadRequest("The request path is not a plain path.")
        return None

    def send_400_response(self, msg: str) -> None:
        """Answer what never became a request, and close. While an answer is under way there is only the closing."""
        refusal, self._refusal = self._refusal, None
        if self.cycle is None or self.cycle.response_complete:
            error = refusal or BadRequest("This is not a valid HTTP/1.1 request.")
            body = error.body()
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
        self._stop_progress_timer()
        self.transport.close()

    # writing

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_left = self.transport.get_write_buffer_size()
        if self._stall is None:
            self._stall = self.loop.call_later(WRITE_STALL_S, self._check_stall)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _check_stall(self) -> None:
        """Cut off a client that took nothing since the last look; one that reads slowly goes on being waited for."""
        self._stall = None
        left = self.transport.get_write_buffer_size()
        if left >= self._stall_left:
            self.transport.abort()
            return
        self._stall_left = left
        self._stall = self.loop.call_later(WRITE_STALL_S, self._check_stall)


_PHRASES = {414: b"URI Too Long", 431: b"Request Header Fields Too Large"}


def _too_large_head() -> GatewayError:
    return BadRequest("The request's headers are too large.", status=431, code="headers_too_large")


def protocol_for(max_header_bytes: int) -> type[GatewayProtocol]:
    """The protocol class for a header cap; uvicorn wants a class, so the cap is a class attribute."""
    return type("BoundGatewayProtocol", (GatewayProtocol,), {"max_header_bytes": max_header_bytes})
