"""One call of the management API: from a handler's value to an answer, whatever goes wrong on the way."""

from collections.abc import Awaitable, Callable

import msgspec
from starlette.types import Receive, Scope, Send

from octoroute_py.core.errors import GatewayError
from octoroute_py.edge.wire_io import ClientGone, request_id_of, send_bytes, send_error

Handle = Callable[[Scope, Receive], Awaitable[object]]
"""Gives what the client is to read as JSON. Raises GatewayError, ClientGone."""


class Answer:
    """An ASGI app around a handler. What it answers is never stored on the way: it may hold a key."""

    __slots__ = ("_handle", "_status")

    def __init__(self, handle: Handle, *, status: int = 200) -> None:
        self._handle = handle
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The value with the status of success, or the error."""
        try:
            value = await self._handle(scope, receive)
        except ClientGone:
            return
        except GatewayError as error:
            await send_error(scope, send, error)
            return
        headers = [
            (b"content-type", b"application/json"),
            (b"cache-control", b"no-store"),
            (b"x-request-id", request_id_of(scope).encode()),
        ]
        await send_bytes(send, self._status, msgspec.json.encode(value), headers)
