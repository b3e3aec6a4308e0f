"""POST /v1/routing/explain: where a chat request would go, and why; no tier is called and nothing is counted.

The body is that of a chat completion, hints and headers as for one. `?judge=ask` lets a judge be asked where the
decision is its own; without it the answer says that it would be asked next. A judge costs as much for this as for a
request, so that with it the limits of requests hold, and it counts as one.
"""

import asyncio
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from octoroute_py.core.errors import BadRequest, GatewayError
from octoroute_py.core.words import Surface
from octoroute_py.edge.guard import PRINCIPAL, source_of
from octoroute_py.edge.model_call import Exchange
from octoroute_py.edge.wire_io import ClientGone, read_body, request_id_of, send_error, send_json
from octoroute_py.gateway.context import RequestContext
from octoroute_py.gateway.explaining import explain
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.routing.explain import Explanation
from octoroute_py.transport.openai import parse_body

Read: TypeAlias = Callable[[RequestContext, Scope, bytes], bool]
"""Takes a body into the context of its request; whether a judge may be asked. Raises GatewayError."""
Tell: TypeAlias = Callable[[RequestContext, Explanation], object]
"""What is told of a decision, as JSON."""


class Explained:
    """A decision as data, from the snapshot in force; `read` and `tell` are the two sides of its wire."""

    def __init__(self, gateway: Gateway, *, read: Read, tell: Tell) -> None:
        self._gateway = gateway
        self._read = read
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200 with the explanation, or the error that the request itself would get."""
        gateway = self._gateway
        ctx = RequestContext(
            request_id=request_id_of(scope),
            surface=Surface.CHAT,
            snapshot=gateway.snapshot,
            principal=scope[PRINCIPAL],
            raw_headers=scope["headers"],
            monotonic=gateway.monotonic,
            wall=gateway.wall,
            source=source_of(scope),
        )
        exchange = Exchange(gateway, ctx, scope, receive, send)
        try:
            body = await read_body(scope, receive, ctx.snapshot.config.limits.max_request_bytes)
            exchange.watch()
            ask_judge = self._read(ctx, scope, body)
            ctx.enter(gateway.policies)
            if ask_judge:
                gateway.admit(ctx)
            await send_json(scope, send, self._tell(ctx, await explain(ctx, ask_judge=ask_judge)))
        except ClientGone:
            return
        except GatewayError as error:
            await send_error(scope, send, error)
        except asyncio.CancelledError:  # whoever leaves does not keep the judge at work
            if not await exchange.told_to_end():
                raise
        finally:
            gateway.leave(ctx)
            exchange.close()


def explained_chat(gateway: Gateway) -> Explained:
    """The route."""
    return Explained(gateway, read=_read, tell=lambda ctx, found: found)


def _read(ctx: RequestContext, scope: Scope, body: bytes) -> bool:
    ask_judge = _asks_judge(scope)
    ctx.read(parse_body(body, Surface.CHAT))
    return ask_judge


def _asks_judge(scope: Scope) -> bool:
    asked = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True).get("judge")
    if asked is not None and asked != ["ask"]:
        raise BadRequest("'judge' can only be ask.", param="judge")
    return asked is not None
