"""Documents that are changed in part: a merge patch from a body, and the result read as strictly as a whole one."""

from collections.abc import Collection
from typing import TypeVar

import msgspec
from starlette.types import Receive, Scope

from octoroute_py.core.errors import BadRequest
from octoroute_py.edge.api import patch as patches
from octoroute_py.edge.api.wire import MAX_BODY_BYTES, decode
from octoroute_py.edge.wire_io import read_body

T = TypeVar("T")


async def read_patch(scope: Scope, receive: Receive, *, fixed: Collection[str]) -> bytes:
    """The patch in a body. Raises BadRequest for what is no object, and for a field that is `fixed`."""
    body = await read_body(scope, receive, MAX_BODY_BYTES)
    given = decode(body, dict[str, msgspec.Raw])
    for name in fixed:
        if name in given:
            raise BadRequest(f"'{name}' cannot be changed.", param=name)
    return body


def merged(stored: str, patch: bytes, shape: type[T]) -> T:
    """What a stored body is with the patch applied: null removes a member, which then is as if it had not been given.

    Raises BadRequest that names the field to blame.
    """
    return decode(patches.merged(stored.encode(), patch), shape)
