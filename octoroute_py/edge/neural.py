"""POST /api/neural/route: the Tiny Dancer router over HTTP. The work is done by another process."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec
from starlette.types import Receive, Scope, Send

from octoroute_py.core.errors import GatewayError, Refused
from octoroute_py.edge.operation import Operation
from octoroute_py.edge.wire_io import ClientGone, RawHeaders, read_body, request_id_of, send_bytes, send_error
from octoroute_py.gateway.pipeline import DRAIN_RETRY_S, RETRY_SOON_S, Gateway
from octoroute_py.neural.body import RouteBody, RoutingResponse
from octoroute_py.neural.process import Broken, Busy
from octoroute_py.telemetry.dancer_counts import Ranked


class _Error(msgspec.Struct):
    code: str


_read_error = msgspec.json.Decoder(_Error).decode


class RouterAnswer(Protocol):
    """What the router says: a status, a JSON body, and the seconds to wait before trying again (0: says nothing).

    `ranked` is what it did, for metrics, where it did anything.
    """

    @property
    def status(self) -> int: ...

    @property
    def body(self) -> bytes: ...

    @property
    def retry_after_s(self) -> int: ...

    @property
    def ranked(self) -> Ranked | None: ...


AskRouter = Callable[[bytes], Awaitable[RouterAnswer]]
"""Answers a request body. Raises Busy when too many wait, Broken when there is no answer."""


class NeuralRoute:
    """Hands the body on and the answer back; what is wrong with the request the router itself says."""

    def __init__(self, gateway: Gateway, ask: AskRouter) -> None:
        self._gateway = gateway
        self._ask = ask

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200 with the decisions, 400 with what is wrong, 503 when it cannot be told now."""
        try:
            if self._gateway.draining:
                raise Refused("The gateway takes no new requests.", code="overloaded", retry_after_s=DRAIN_RETRY_S)
            body = await read_body(scope, receive, self._gateway.config.limits.max_request_bytes)
            answer = await self._ask(body)
            self._count(answer)
        except ClientGone:
            return
        except GatewayError as error:
            await send_error(scope, send, error)
            return
        except Busy:
            busy = Refused("The router is busy.", code="overloaded", retry_after_s=RETRY_SOON_S)
            await send_error(scope, send, busy)
            return
        except Broken:
            self._gateway.metrics.dancer.failed("router_unavailable")
            broken = Refused("The router did not answer.", code="router_unavailable", retry_after_s=RETRY_SOON_S)
            await send_error(scope, send, broken)
            return
        headers: RawHeaders = [
            (b"content-type", b"application/json"),
            (b"x-request-id", request_id_of(scope).encode()),
        ]
        if answer.retry_after_s:
            headers.append((b"retry-after", b"%d" % answer.retry_after_s))
        await send_bytes(send, answer.status, answer.body, headers)

    def _count(self, answer: RouterAnswer) -> None:
        dancer = self._gateway.metrics.dancer
        if answer.ranked is not None:
            dancer.ranked(answer.ranked)
        elif answer.status >= 500:
            dancer.failed(_code(answer.body))


def _code(body: bytes) -> str:
    """The error code of a short body of the router's own."""
    try:
        return _read_error(body).code
    except msgspec.MsgspecError:
        return ""


ROUTE: Final = Operation(
    summary="Which candidates the light model will do for: the Tiny Dancer router",
    body=RouteBody,
    answer=RoutingResponse,
)
