"""The raw ASGI endpoint behind POST /v1/chat/completions and its siblings: no Request or Response objects.

It reads the body, hands it to the gateway, writes what comes back, and sees to it that a client that leaves is noticed
at any moment in between. Whatever happens, the request is closed once and its outcome recorded.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog
from starlette.types import Receive, Scope, Send

from octoroute_py.core.ending import CLIENT_GONE
from octoroute_py.core.errors import GatewayError, Refused
from octoroute_py.core.words import Surface
from octoroute_py.edge.guard import PRINCIPAL, source_of
from octoroute_py.edge.wire_io import (
    ClientGone,
    RawHeaders,
    entry_of,
    error_headers,
    read_body,
    request_id_of,
    send_bytes,
)
from octoroute_py.gateway.attempt import Sent
from octoroute_py.gateway.context import RequestContext
from octoroute_py.gateway.failures import error_event
from octoroute_py.gateway.headers import answer_headers, route_headers
from octoroute_py.gateway.pipeline import DRAIN_RETRY_S, Gateway
from octoroute_py.gateway.stream import Relay

_log = structlog.stdlib.get_logger("octoroute.edge")

CONTEXT = "octoroute.context"
"""Where the scope holds the request's context, for whoever stands before the call."""


class ClientConnection(Protocol):
    """What our own HTTP protocol offers to handlers; other ASGI servers offer nothing of the kind."""

    loop: asyncio.AbstractEventLoop
    """The event loop of the connection."""

    def watch(self, on_gone: Callable[[], None] | None) -> None:
        """Call back when the client leaves."""
        ...

    def close_after_response(self) -> None:
        """Do not use this connection for another request."""
        ...


class Dialect(Protocol):
    """How clients of an endpoint speak; the gateway itself speaks OpenAI."""

    def request(self, ctx: RequestContext, body: bytes) -> bytes:
        """The OpenAI body that this body stands for; what else it says goes into `ctx`. Raises BadRequest."""
        ...

    def answer(self, ctx: RequestContext, sent: Sent) -> bytes:
        """The body for the client of a buffered answer. Raises GatewayError when it cannot be told."""
        ...

    def error(self, ctx: RequestContext, error: GatewayError) -> bytes:
        """The JSON body of an answer that tells an error."""
        ...


class OpenAI:
    """What comes in goes out."""

    def request(self, ctx: RequestContext, body: bytes) -> bytes:
        """The body as it is."""
        return body

    def answer(self, ctx: RequestContext, sent: Sent) -> bytes:
        """The upstream's answer byte for byte."""
        return sent.whole.body if sent.whole is not None else b""

    def error(self, ctx: RequestContext, error: GatewayError) -> bytes:
        """OpenAI's envelope."""
        return error.body()


_OPENAI = OpenAI()


class ModelCall:
    """POST of one OpenAI operation, in OpenAI's dialect or another."""

    __slots__ = ("_dialect", "_gateway", "_surface")

    def __init__(self, gateway: Gateway, surface: Surface, dialect: Dialect = _OPENAI) -> None:
        self._gateway = gateway
        self._surface = surface
        self._dialect = dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request from its body to its last byte.

        Errors before the first byte of the answer become the answer, later ones the stream's last event.
        """
        gateway = self._gateway
        ctx = gateway.open(
            request_id=request_id_of(scope),
            surface=self._surface,
            principal=scope[PRINCIPAL],
            raw_headers=scope["headers"],
            source=source_of(scope),
            entry=entry_of(scope),
        )
        if ctx.trail is not None:
            ctx.trail.route = scope["path"]
        scope[CONTEXT] = ctx
        exchange = Exchange(gateway, ctx, scope, receive, send, dialect=self._dialect)
        try:
            if ctx.refusal is not None:
                raise ctx.refusal
            body = await read_body(scope, receive, ctx.snapshot.config.limits.max_request_bytes)
            exchange.watch()
            sent = await gateway.handle(ctx, self._dialect.request(ctx, body))
            ctx.status = 200
            if sent.relay is not None:
                await exchange.stream(sent, sent.relay)
            else:
                answer = self._dialect.answer(ctx, sent)
                await gateway.keep(ctx)
                exchange.started = True
                await send_bytes(send, 200, answer, self._headers(ctx, sent))
        except ClientGone:
            ctx.status = CLIENT_GONE
        except GatewayError as error:
            await exchange.fail(error)
        except asyncio.CancelledError:
            if not await exchange.told_to_end():
                raise
        except Exception as error:  # noqa: BLE001 - the edge answers for every bug behind it
            _log.error("request failed", request_id=ctx.request_id, exc_info=error)
            await exchange.fail(GatewayError("The gateway failed.", code="internal_error"))
        finally:
            exchange.close()
            gateway.close(ctx)

    def _headers(self, ctx: RequestContext, sent: Sent) -> RawHeaders:
        """Those of a buffered answer; one in another dialect is JSON, whatever the upstream called its own."""
        headers = answer_headers(ctx, sent.headers)
        if self._dialect is _OPENAI:
            return headers
        return [(b"content-type", b"application/json"), *(each for each in headers if each[0] != b"content-type")]


class Exchange:
    """One client exchange: how far its answer is, and how its end is told."""

    __slots__ = ("_connection", "_ctx", "_dialect", "_gateway", "_receive", "_relay", "_send", "_watcher", "started")

    def __init__(
        self,
        gateway: Gateway,
        ctx: RequestContext,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        dialect: Dialect = _OPENAI,
    ) -> None:
        self._gateway = gateway
        self._ctx = ctx
        self._dialect = dialect
        self._receive = receive
        self._send = send
        self.started = False
        self._relay: Relay | None = None
        extensions = scope.get("extensions")
        self._connection: ClientConnection | None = extensions and extensions.get("octoroute.connection")
        self._watcher: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """From now on a client that leaves cancels the request, whatever it is waiting for."""
        if self._connection is not None:
            self._ctx.task = asyncio.current_task(self._connection.loop)
            self._connection.watch(self._ctx.leave)
        else:
            self._ctx.task = asyncio.current_task()
            self._watcher = asyncio.create_task(self._await_disconnect())

    async def _await_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._ctx.leave()

    async def stream(self, sent: Sent, relay: Relay) -> None:
        """Put a stream out event by event, as fast as the client takes it."""
        send = self._send
        self._relay = relay
        self.started = True
        await send({"type": "http.response.start", "status": 200, "headers": answer_headers(self._ctx, sent.headers)})
        while True:
            chunk = await relay.next()
            if relay.broken:
                self._hang_up()
            if relay.ended:
                await self._gateway.keep(self._ctx)
            await send({"type": "http.response.body", "body": chunk, "more_body": not relay.ended})
            if relay.ended:
                return

    async def told_to_end(self) -> bool:
        """Whether a cancellation is ours: the client left, or the drain limit came."""
        ctx = self._ctx
        task = asyncio.current_task()
        if not (ctx.gone or ctx.cut) or task is None:
            return False
        task.uncancel()
        if ctx.gone:
            ctx.status = CLIENT_GONE
        else:
            refused = Refused("The gateway is shutting down.", code="overloaded", retry_after_s=DRAIN_RETRY_S)
            await self.fail(refused)
        return True

    async def fail(self, error: GatewayError) -> None:
        """Tell the client: as the answer, or as the last event of a stream."""
        ctx = self._ctx
        ctx.error_code = error.code
        if not self.started:
            self.started = True
            ctx.status = error.status
            if ctx.sends:
                await self._gateway.keep(ctx)
            headers: RawHeaders = [*error_headers(error, ctx.request_id), *route_headers(ctx)]
            await send_bytes(self._send, error.status, self._dialect.error(ctx, error), headers)
        elif self._relay is not None:
            self._hang_up()
            self._relay.close()
            await self._gateway.keep(ctx)
            await self._send({"type": "http.response.body", "body": error_event(error)})

    def close(self) -> None:
        """The exchange is over: the upstream is let go, and that the client leaves no longer matters."""
        self._ctx.task = None
        if self._relay is not None:
            self._relay.close()
        if self._connection is not None:
            self._connection.watch(None)
        if self._watcher is not None:
            self._watcher.cancel()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close_after_response()
