"""Documents of the registry on the wire: their ids, their ETags, and patches of them."""

import uuid
from collections.abc import Callable
from typing import TypeVar

import msgspec
from starlette.types import Receive, Scope

from octoroute_py.core.errors import BadRequest
from octoroute_py.edge.api.answer import JSON, Ready
from octoroute_py.edge.api.patch import merged
from octoroute_py.edge.api.wire import MAX_BODY_BYTES, decode
from octoroute_py.edge.wire_io import read_body
from octoroute_py.storage.registry import Document

T = TypeVar("T")

NewId = Callable[[], str]


def new_id() -> str:
    """An id for what a client gave none."""
    return str(uuid.uuid4())


async def read_patch(scope: Scope, receive: Receive, patch: type[object], shape: type[T]) -> Callable[[str], T]:
    """What the body, a merge patch that must be a `patch`, makes of the JSON that is kept. Both raise BadRequest."""
    body = await read_body(scope, receive, MAX_BODY_BYTES)
    decode(body, patch)
    return lambda kept: decode(merged(kept.encode(), body), shape)


def tagged(value: object, document: Document) -> Ready:
    """A JSON answer with the ETag of the document it is about."""
    return Ready(msgspec.json.encode(value), (*JSON, (b"etag", b'"%d"' % document.revision)))


def expected(scope: Scope) -> int | None:
    """The revision of `If-Match`; None for none and for `*`. Raises BadRequest for what is no ETag of ours."""
    given = [value for name, value in scope["headers"] if name == b"if-match"]
    if not given or given == [b"*"]:
        return None
    text = given[0].decode("latin-1").strip()
    if len(given) > 1 or not (text[:1] == text[-1:] == '"' and text[1:-1].isascii() and text[1:-1].isdecimal()):
        raise BadRequest("If-Match must be one ETag as it was given, quotes included, or *.", param="If-Match")
    return int(text[1:-1][:18])
