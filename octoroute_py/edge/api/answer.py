"""One call of the management API: from a handler's value to an answer, whatever goes wrong on the way."""

from collections.abc import Awaitable, Callable

import msgspec
from starlette.types import Receive, Scope, Send

from octoroute_py.core.errors import GatewayError
from octoroute_py.core.words import Role
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.operation import Operation
from octoroute_py.edge.wire_io import ClientGone, request_id_of, send_bytes, send_error

JSON = ((b"content-type", b"application/json"),)
_NOT_STORED = (b"cache-control", b"no-store")

Handle = Callable[[Scope, Receive], Awaitable[object]]
"""Gives what the client is to read as JSON, or a Ready. Raises GatewayError, ClientGone."""


class Ready(msgspec.Struct, frozen=True):
    """A body that is encoded already; `headers` hold its content type, `status` is another one than usual."""

    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    status: int | None = None


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
        ready = value if isinstance(value, Ready) else Ready(msgspec.json.encode(value), JSON)
        headers = (*ready.headers, _NOT_STORED, (b"x-request-id", request_id_of(scope).encode()))
        await send_bytes(send, ready.status or self._status, ready.body, headers)


def add_routes(table: Table, *routes: tuple[str, str, Handle, Role, Operation]) -> None:
    """Add routes, each a method, a path, its handler, the role it needs and what it is documented as."""
    for method, path, handle, role, operation in routes:
        table.add(method, path, Answer(handle, status=operation.status), role=role, operation=operation)
