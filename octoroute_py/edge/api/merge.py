"""A part of a document to be changed: JSON merge patches (RFC 7396), their result read as strictly as a whole one."""

from collections.abc import Collection
from typing import Final, TypeVar

import msgspec
from starlette.types import Receive, Scope

from octoroute_py.core.errors import BadRequest
from octoroute_py.edge.api.wire import decode, read_json

T = TypeVar("T")

_DEEPEST: Final = 32
"""No document is nested so deeply."""


async def read_patch(scope: Scope, receive: Receive, *, fixed: Collection[str]) -> dict[str, object]:
    """The patch in a body. Raises BadRequest for what is no object, and for a field that is `fixed`."""
    patch = await read_json(scope, receive, dict[str, object])
    for name in fixed:
        if name in patch:
            raise BadRequest(f"'{name}' cannot be changed.", param=name)
    return patch


def merged(stored: str, patch: dict[str, object], shape: type[T]) -> T:
    """What a stored body is with the patch applied: null removes a member, which then is as if it had not been given.

    Raises BadRequest that names the field to blame.
    """
    whole = _merge(msgspec.json.decode(stored), patch, left=_DEEPEST)
    return decode(msgspec.json.encode(whole), shape)


def _merge(target: object, patch: object, *, left: int) -> object:
    if not isinstance(patch, dict):
        return patch
    if left == 0:
        raise BadRequest("The body is too deeply nested.")
    known = target if isinstance(target, dict) else {}
    kept = {name: value for name, value in known.items() if name not in patch}
    changed = {
        name: _merge(known.get(name), value, left=left - 1) for name, value in patch.items() if value is not None
    }
    return kept | changed
