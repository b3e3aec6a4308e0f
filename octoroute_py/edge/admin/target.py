"""What a call of the admin API is about: a small body that may be left out."""

from typing import TypeVar

from starlette.types import Receive, Scope

from octoroute_py.edge.api.wire import MAX_BODY_BYTES, decode
from octoroute_py.edge.wire_io import read_body

T = TypeVar("T")


async def chosen_by(scope: Scope, receive: Receive, shape: type[T]) -> T:
    """The body, where none is the same as `{}`. Raises BadRequest, ClientGone."""
    return decode(await read_body(scope, receive, MAX_BODY_BYTES) or b"{}", shape)
