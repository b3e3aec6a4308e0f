"""One request and its answer on a client connection: the ASGI side, with one write an answer.

The response head is held until the first bytes of the body, so that a small answer is one system call; a body that is
not there yet lets the head go by itself. Header fields are checked in one piece for line breaks instead of one regular
expression each.
"""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import structlog
from starlette.types import ASGIApp, Message
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

if TYPE_CHECKING:
    from octoroute_py.edge.protocol import GatewayProtocol

_log = structlog.stdlib.get_logger("octoroute.edge")

_FAILED = b'{"error":{"message":"The gateway failed.","type":"server_error","param":null,"code":"internal_error"}}'
BODY_FOLLOWS = "octoroute.body_follows"
"""Key of a `http.response.start` whose first body message is sent at once: the head need not go by itself."""
_NO_BODY = frozenset({204, 304})


class Cycle:
    """One request and its answer; the protocol calls `take` and `wake` and says when `more_body` ends."""

    __slots__ = (
        "_chunked",
        "_continued",
        "_delivered",
        "_head",
        "_left",
        "_mute",
        "_parts",
        "_pending_bytes",
        "_protocol",
        "_waiter",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
        "task",
    )

    def __init__(self, protocol: "GatewayProtocol", scope: dict[str, object], *, keep_alive: bool) -> None:
        self._protocol = protocol
        self.scope = scope
        self.keep_alive = keep_alive
        self._continued = False
        self.disconnected = False
        self._parts: list[bytes] = []
        self._pending_bytes = 0
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self._waiter: asyncio.Future[None] | None = None
        self._head: bytes | None = None
        self._chunked = False
        self._delivered = False
        self._mute = scope["method"] == "HEAD"
        self._left = 0
        self.task: asyncio.Task[None] | None = None
        """Whoever serves the request; kept here because the event loop itself holds tasks weakly."""

    def take(self, body: bytes) -> int:
        """Take a piece of the request's body; how many bytes wait to be received now."""
        self._pending_bytes += len(body)
        if not self.response_complete:
            self._parts.append(body)
            self.wake()
        return self._pending_bytes

    def wake(self) -> None:
        """More of the request is there, or the client is gone."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def run_asgi(self, app: ASGIApp) -> None:
        """Serve the request; an application that fails or stops early must not leave the client waiting."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception as error:  # noqa: BLE001 - the edge answers for every bug behind it
            _log.error("request failed", exc_info=error)
        finally:
            self._settle()
            self.task = None

    def _settle(self) -> None:
        if self.disconnected or self.response_complete:
            return
        if not self.response_started and not self._protocol.transport.is_closing():
            self.keep_alive = False
            self._start(500, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_FAILED))])
            self._write(_FAILED, more=False)
        else:
            self._protocol.transport.close()

    async def receive(self) -> Message:
        """The next part of the request body, or the news that the client left."""
        protocol = self._protocol
        while not (self.disconnected or self.response_complete):
            if not self._delivered and (self._parts or not self.more_body):
                self._delivered = not self.more_body
                parts, self._parts = self._parts, []
                self._pending_bytes = 0
                body = parts[0] if len(parts) == 1 else b"".join(parts)
                return {"type": "http.request", "body": body, "more_body": self.more_body}
            self._invite()
            protocol.resume_reading()
            self._waiter = protocol.loop.create_future()
            await self._waiter
            self._waiter = None
        return {"type": "http.disconnect"}

    def _invite(self) -> None:
        """Tell a client that asked first (`Expect: 100-continue`) to send its body, once."""
        if not self._continued:
            self._continued = True
            headers = cast("list[tuple[bytes, bytes]]", self.scope["headers"])
            asked = any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)
            if asked and not self.response_started and not self._protocol.transport.is_closing():
                self._protocol.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def send(self, message: Message) -> None:
        """Put out a part of the answer; waits while the client takes nothing. A client that left is ignored."""
        protocol = self._protocol
        if protocol.write_paused and not self.disconnected:
            await protocol.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if not self.response_started and kind == "http.response.start":
            self._start(message["status"], message.get("headers", ()))
            if BODY_FOLLOWS not in message:
                protocol.loop.call_soon(self._flush)
        elif self.response_started and not self.response_complete and kind == "http.response.body":
            self._write(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"{kind} is out of turn")

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Make the response head and hold it."""
        self.response_started = True
        length: bytes | None = None
        closing_told = False
        parts = [STATUS_LINE[status]]
        for name, value in (*self._protocol.server_state.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
            if name == b"content-length":
                length = value
            elif name == b"connection" and value.lower() == b"close":
                self.keep_alive = False
                closing_told = True
        if not self.keep_alive and not closing_told:
            parts += (b"connection", b": ", b"close", b"\r\n")
        if length is not None:
            self._left = int(length)
        elif status not in _NO_BODY and self.scope["http_version"] != "1.0":
            self._chunked = True
            parts += (b"transfer-encoding", b": ", b"chunked", b"\r\n")
        head = b"".join(parts)
        lines = (len(parts) + 3) // 4
        if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
            raise RuntimeError("a response header would break its line")
        self._head = head + b"\r\n"

    def _flush(self) -> None:
        head, self._head = self._head, None
        if head is not None and not self._protocol.transport.is_closing():
            self._protocol.transport.write(head)

    def _write(self, body: bytes, *, more: bool) -> None:
        head, self._head = self._head or b"", None
        if self._mute:
            body = b""
            self._left = 0
        elif self._chunked:
            body = b"%b%b" % (b"%x\r\n%b\r\n" % (len(body), body) if body else b"", b"" if more else b"0\r\n\r\n")
        else:
            self._left -= len(body)
        if head or body:
            self._protocol.transport.write(head + body if head else body)
        if more:
            return
        if self._left and not self._chunked and self.scope["http_version"] != "1.0":
            self.keep_alive = False
        self.response_complete = True
        self.wake()
        self._protocol.answered(self)
