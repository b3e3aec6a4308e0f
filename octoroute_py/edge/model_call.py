"""The raw ASGI endpoint behind POST /v1/chat/completions and its siblings: no Request or Response objects.

It reads the body, hands it to the gateway, writes what comes back, and sees to it that a client that leaves is noticed
at any moment in between. Whatever happens, the request is closed once and its outcome recorded.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog
from starlette.types import Message, Receive, Scope, Send

from octoroute_py.core.errors import GatewayError, Refused
from octoroute_py.core.words import Surface
from octoroute_py.edge.guard import principal_of
from octoroute_py.edge.wire_io import ClientGone, error_headers, read_body, request_id_of, send_bytes
from octoroute_py.gateway.attempt import Sent
from octoroute_py.gateway.context import RequestContext
from octoroute_py.gateway.failures import error_event
from octoroute_py.gateway.headers import answer_headers, route_headers
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.gateway.stream import Relay
from octoroute_py.ledger.outcome import CLIENT_GONE

_log = structlog.stdlib.get_logger("octoroute.edge")


class ClientConnection(Protocol):
    """What our own HTTP protocol offers to handlers; other ASGI servers offer nothing of the kind."""

    def watch(self, on_gone: Callable[[], None] | None) -> None:
        """Call back when the client leaves."""
        ...

    def close_after_response(self) -> None:
        """Do not use this connection for another request."""
        ...


class ModelCall:
    """POST of one OpenAI operation."""

    __slots__ = ("_gateway", "_surface")

    def __init__(self, gateway: Gateway, surface: Surface) -> None:
        self._gateway = gateway
        self._surface = surface

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request from its body to its last byte."""
        await serve(self._gateway, self._surface, scope, receive, send, read=_whole_body, write=_write_answer)


Read = Callable[[RequestContext, Scope, Receive], Awaitable[bytes]]
Write = Callable[[RequestContext, Scope, Send, Sent], Awaitable[None]]


async def serve(
    gateway: Gateway, surface: Surface, scope: Scope, receive: Receive, send: Send, *, read: Read, write: Write
) -> None:
    """One request through the gateway; `read` makes its OpenAI body, `write` puts the committed answer out."""
    ctx = gateway.open(
        request_id=request_id_of(scope),
        surface=surface,
        principal=principal_of(scope),
        raw_headers=scope["headers"],
    )
    exchange = Exchange(ctx, scope, receive, send)
    try:
        await exchange.run(gateway, read, write)
    finally:
        exchange.unwatch()
        gateway.close(ctx)


class Exchange:
    """One client exchange: what was sent so far, and how its end is told."""

    __slots__ = ("_connection", "_ctx", "_receive", "_relay", "_scope", "_send", "_started", "_watcher")

    def __init__(self, ctx: RequestContext, scope: Scope, receive: Receive, send: Send) -> None:
        self._ctx = ctx
        self._scope = scope
        self._receive = receive
        self._send = send
        self._started = False
        self._relay: Relay | None = None
        self._connection: ClientConnection | None = scope.get("extensions", {}).get("octoroute.connection")
        self._watcher: asyncio.Task[None] | None = None

    async def run(self, gateway: Gateway, read: Read, write: Write) -> None:
        """The request; errors before the first byte become the answer, later ones the stream's last event."""
        ctx = self._ctx
        try:
            body = await read(ctx, self._scope, self._receive)
            self._watch()
            sent = await gateway.handle(ctx, body)
            self._relay = sent.relay
            ctx.status = 200
            await write(ctx, self._scope, self._sending, sent)
        except ClientGone:
            ctx.status = CLIENT_GONE
        except GatewayError as error:
            await self._fail(error)
        except asyncio.CancelledError:
            if not await self._told_to_end():
                raise
        except Exception:  # noqa: BLE001 - the edge answers for every bug behind it
            _log.exception("request failed", request_id=ctx.request_id)
            await self._fail(GatewayError("The gateway failed.", code="internal_error"))
        finally:
            if self._relay is not None:
                self._relay.close()

    async def _sending(self, message: Message) -> None:
        self._started = True
        if self._relay is not None and self._relay.broken:
            self._hang_up()  # before its last bytes: after them the connection counts as free again
        await self._send(message)

    def _watch(self) -> None:
        """From now on a client that leaves cancels the request, whatever it is waiting for."""
        self._ctx.task = asyncio.current_task()
        if self._connection is not None:
            self._connection.watch(self._ctx.leave)
        else:
            self._watcher = asyncio.create_task(self._await_disconnect())

    async def _await_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._ctx.leave()

    def unwatch(self) -> None:
        """The exchange is over; leaving no longer matters."""
        self._ctx.task = None
        if self._connection is not None:
            self._connection.watch(None)
        if self._watcher is not None:
            self._watcher.cancel()

    async def _told_to_end(self) -> bool:
        """Whether the cancellation is ours: the client left, or the drain limit came."""
        ctx = self._ctx
        task = asyncio.current_task()
        if not (ctx.gone or ctx.cut) or task is None:
            return False
        task.uncancel()
        if ctx.gone:
            ctx.status = CLIENT_GONE
        else:
            await self._fail(Refused("The gateway is shutting down.", code="overloaded", retry_after_s=5.0))
        return True

    async def _fail(self, error: GatewayError) -> None:
        ctx = self._ctx
        ctx.error_code = error.code
        if not self._started:
            ctx.status = error.status
            await send_bytes(self._send, error.status, error.body(), self._error_headers(error))
        elif self._relay is not None:
            self._hang_up()
            await self._send({"type": "http.response.body", "body": error_event(error)})

    def _error_headers(self, error: GatewayError) -> list[tuple[bytes, bytes]]:
        return [*error_headers(error, self._ctx.request_id), *route_headers(self._ctx)]

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close_after_response()


async def _whole_body(ctx: RequestContext, scope: Scope, receive: Receive) -> bytes:
    if ctx.refusal is not None:
        raise ctx.refusal
    return await read_body(scope, receive, ctx.snapshot.config.limits.max_request_bytes)


async def _write_answer(ctx: RequestContext, scope: Scope, send: Send, sent: Sent) -> None:
    """Put the answer out as it came: the body in one piece, or the stream event by event."""
    headers = answer_headers(ctx, sent.headers)
    relay = sent.relay
    if sent.whole is not None:
        await send_bytes(send, 200, sent.whole.body, headers)
    if relay is None:
        return
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while True:
        chunk = await relay.next()
        await send({"type": "http.response.body", "body": chunk, "more_body": not relay.ended})
        if relay.ended:
            return
