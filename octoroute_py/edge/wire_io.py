"""The few ASGI gestures every raw endpoint needs: request id, body, JSON answers, errors."""

import math
import random
from collections.abc import Iterable
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from octoroute_py.admission.limits import Limited
from octoroute_py.core.errors import BadRequest, GatewayError
from octoroute_py.core.ids import new_request_id, safe_request_id
from octoroute_py.edge.cycle import BODY_FOLLOWS
from octoroute_py.gateway.headers import limit_headers

RawHeaders = list[tuple[bytes, bytes]]

_REQUEST_ID_KEY = "octoroute.request_id"
ENTRY_BITS = 63
"""Random bits that tell requests apart whose id is not of our making."""
_ENTRY_KEY = "octoroute.entry"


PLAIN_ERRORS = ("/api/", "/admin/")
"""Paths whose errors are `{error, code, details?}`; all others answer with OpenAI's envelope."""


class ClientGone(Exception):
    """The client left while its request was being read."""


def request_id_of(scope: Scope) -> str:
    """This request's id: the caller's own when it is safe to repeat, else a new one; the same at every call."""
    known: str | None = scope.get(_REQUEST_ID_KEY)
    if known is None:
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                known = safe_request_id(value)
        scope[_ENTRY_KEY] = 0 if known is None else random.getrandbits(ENTRY_BITS)
        known = known or new_request_id()
        scope[_REQUEST_ID_KEY] = known
    return known


def entry_of(scope: Scope) -> int:
    """What tells this request from others that came with its id: 0 for an id of our own making, else random."""
    request_id_of(scope)
    entry: int = scope[_ENTRY_KEY]
    return entry


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """The whole request body; BadRequest 413 as soon as it is known to be above the cap, before it is buffered."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > max_bytes:
            raise _too_large(max_bytes)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False):
        if size > max_bytes:
            raise _too_large(max_bytes)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > max_bytes:
        raise _too_large(max_bytes)
    return b"".join(parts)


def _too_large(max_bytes: int) -> BadRequest:
    return BadRequest(f"The request body is larger than {max_bytes} bytes.", status=413, code="request_too_large")


async def send_bytes(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """A whole answer in two ASGI messages, its length told."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
            BODY_FOLLOWS: True,
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_json(scope: Scope, send: Send, value: Any, *, status: int = 200) -> None:
    """A small JSON answer with its request id."""
    headers = [(b"content-type", b"application/json"), (b"x-request-id", request_id_of(scope).encode())]
    await send_bytes(send, status, msgspec.json.encode(value), headers)


def error_headers(error: GatewayError, request_id: str) -> RawHeaders:
    """What goes with an error: type, id, and where it applies Retry-After, the SDK's hint and the 401 challenge."""
    headers = [(b"content-type", b"application/json"), (b"x-request-id", request_id.encode())]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
    if isinstance(error, Limited):
        headers.extend(limit_headers(error.standing))
    if error.final:
        headers.append((b"x-should-retry", b"false"))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.status in (413, 414, 431):
        headers.append((b"connection", b"close"))
    return headers


def error_body(path: str, error: GatewayError) -> bytes:
    """The error as clients of the path read it: OpenAI's envelope, or `{error, code, details?}` of management."""
    return api_error_body(error) if path.startswith(PLAIN_ERRORS) else error.body()


def api_error_body(error: GatewayError) -> bytes:
    """The error as the management API tells it."""
    body: dict[str, object] = {"error": error.client_message, "code": error.code}
    if error.param is not None:
        body["details"] = {"field": error.param}
    return msgspec.json.encode(body)


async def send_error(scope: Scope, send: Send, error: GatewayError, extra: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """The error, in the shape of its path."""
    await send_bytes(
        send, error.status, error_body(scope["path"], error), [*error_headers(error, request_id_of(scope)), *extra]
    )
