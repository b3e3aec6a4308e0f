"""The floor: a bare Python pass-through (plain ASGI, hand-made upstream connections, one write per answer).

It does nothing else: no auth, rules, limits, faults, metrics or logs. It shows what forwarding alone costs, so that a
gateway's own work can be told apart as a ratio in the same run. It is no design to copy: it survives nothing.

usage: floor.py PORT UPSTREAM_PORT      (needs uvicorn, uvloop, httptools and orjson: the environment `setup` makes)
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from floor_client import Pool

PATH = "/v1/chat/completions"
NOT_FORWARDED = {b"transfer-encoding", b"connection", b"keep-alive", b"content-length", b"date", b"server"}

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Floor:
    """The pass-through as an ASGI application."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["path"] == PATH:
            await self._forward(receive, send)
        else:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self.pool = Pool("127.0.0.1", self.upstream_port, PATH)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _forward(self, receive: Receive, send: Send) -> None:
        message = await receive()
        body = message["body"]
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        request = orjson.loads(body)
        request["model"] = "fake-model"
        if request.get("stream") is True:
            status, headers, chunks = await self.pool.stream(orjson.dumps(request))
            kept = [(name, value) for name, value in headers if name not in NOT_FORWARDED]
            await send({"type": "http.response.start", "status": status, "headers": kept})
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        status, headers, content = await self.pool.post(orjson.dumps(request))
        kept = [(name, value) for name, value in headers if name not in NOT_FORWARDED]
        kept.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": status, "headers": kept})
        await send({"type": "http.response.body", "body": content})


class Cork:
    """A transport that holds the response head until the first body write: one send() instead of two."""

    __slots__ = ("__dict__", "call_soon", "held", "transport", "write_now")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self.held: bytes | None = None
        self.call_soon = loop.call_soon
        self.write_now = transport.write
        for name in ("is_closing", "pause_reading", "resume_reading", "get_extra_info", "abort", "set_protocol",
                     "set_write_buffer_limits", "get_write_buffer_size"):  # fmt: skip
            setattr(self, name, getattr(transport, name))

    def close(self) -> None:
        self.flush()
        self.transport.close()

    def write(self, data: bytes) -> None:
        held = self.held
        if held is not None:
            self.held = None
            self.write_now(held + data)
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100"):
            self.held = data
            self.call_soon(self.flush)
        else:
            self.write_now(data)

    def flush(self) -> None:
        held = self.held
        if held is not None:
            self.held = None
            self.write_now(held)


class CorkProtocol(HttpToolsProtocol):
    """uvicorn's protocol over a corked transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(Cork(transport, self.loop))  # type: ignore[arg-type]  # it quacks as a transport


if __name__ == "__main__":
    uvicorn.run(
        Floor(int(sys.argv[2])),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http=CorkProtocol,
        access_log=False,
        log_level="warning",
        backlog=4096,
        proxy_headers=False,
        server_header=False,
        date_header=False,
    )
