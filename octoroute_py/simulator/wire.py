"""A small HTTP/1.1 server connection that can also break HTTP on demand.

It parses with httptools, answers requests in order, bounds what a client may send, and notices when the client leaves
because a handler that is still busy is then cancelled.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeAlias, cast

import httptools
import msgspec

from octoroute_py.core.errors import BadRequest, GatewayError

MAX_HEAD_BYTES = 32 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
_MAX_WAITING = 16
_IDLE_S = 75.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Headers: TypeAlias = tuple[tuple[str, str], ...]


class Request(msgspec.Struct, frozen=True):
    """One request; header names are lower-case, the path is without its query."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool
    refusal: GatewayError | None = None


Handler: TypeAlias = Callable[[Request, "Connection"], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One client connection. A handler answers with `send`, or with `begin`, `push` and `finish`."""

    def __init__(self, handler: Handler, live: "set[Connection]") -> None:
        self._handler = handler
        self._live = live
        self._parser = httptools.HttpRequestParser(self)
        self._queue: asyncio.Queue[Request] = asyncio.Queue(_MAX_WAITING)
        self._writable = asyncio.Event()
        self._closed = asyncio.Event()
        self._refused = False
        self._chunked = True
        self._busy = False
        self._retired = False
        self._start_message()

    def _start_message(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._head_bytes = 0
        self._in_head = True

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._writable.set()
        self._live.add(self)
        self._worker = asyncio.get_running_loop().create_task(self._work())

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(BadRequest("This is no valid HTTP request."))
            return
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(BadRequest("The request head is too large.", code="headers_too_large", status=431))
        elif len(self._body) > MAX_BODY_BYTES:
            self._refuse(BadRequest("The request body is too large.", code="request_too_large", status=413))

    def connection_lost(self, error: Exception | None) -> None:
        self._closed.set()
        self._live.discard(self)
        self._worker.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # what httptools calls

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        if len(self._body) <= MAX_BODY_BYTES:
            self._body += body

    def on_message_complete(self) -> None:
        self._chunked = self._parser.get_http_version() != "1.0"
        request = Request(
            method=self._parser.get_method().decode("latin-1"),
            path=self._url.partition(b"?")[0].decode("latin-1"),
            headers=self._headers,
            body=bytes(self._body),
            keep_alive=self._parser.should_keep_alive() and self._chunked,
        )
        self._start_message()
        self._put(request)

    def _refuse(self, refusal: GatewayError) -> None:
        self._refused = True
        self._put(Request("", "", {}, b"", False, refusal))

    def _put(self, request: Request) -> None:
        try:
            self._queue.put_nowait(request)
        except asyncio.QueueFull:
            self.abort()

    # what a handler calls

    async def send(self, status: int, body: bytes, *, headers: Headers = (), claimed_bytes: int | None = None) -> None:
        """A whole JSON answer; `claimed_bytes` states another length than the true one."""
        length = ("content-length", str(len(body) if claimed_bytes is None else claimed_bytes))
        await self._write(_head(status, (("content-type", "application/json"), length, *headers)) + body)

    async def begin(self) -> None:
        """The head of an event stream."""
        framing = ("transfer-encoding", "chunked") if self._chunked else ("connection", "close")
        fields = (("content-type", "text/event-stream"), ("cache-control", "no-cache"), framing)
        await self._write(_head(200, fields))

    async def push(self, data: bytes) -> None:
        """The next bytes of a stream; waits while the client does not read."""
        await self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    async def finish(self) -> None:
        """The proper end of a stream."""
        if self._chunked:
            await self._write(b"0\r\n\r\n")

    async def cut(self) -> None:
        """End the connection here, however much of the answer is missing."""
        self._transport.close()
        await self._closed.wait()

    async def reset(self) -> None:
        """Reset the connection."""
        found = self._transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.abort()
        await self._closed.wait()

    async def until_closed(self) -> None:
        """Say nothing until the client leaves."""
        await self._closed.wait()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def retire(self) -> "asyncio.Task[None]":
        """Take no more requests: close now if idle, else after the answer in hand. Returns the task to wait for."""
        self._retired = True
        if not self._busy:
            self._transport.close()
        return self._worker

    async def _write(self, data: bytes) -> None:
        self._transport.write(data)
        await self._writable.wait()

    async def _work(self) -> None:
        try:
            while True:
                async with asyncio.timeout(_IDLE_S):
                    request = await self._queue.get()
                self._busy = True
                await self._handler(request, self)
                self._busy = False
                if self._retired or not request.keep_alive:
                    break
        except TimeoutError:
            pass
        except Exception:
            logging.getLogger(__name__).exception("the simulator could not answer a request")
        self._transport.close()


def _head(status: int, headers: Headers) -> bytes:
    phrase = HTTPStatus(status).phrase
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode("latin-1")
