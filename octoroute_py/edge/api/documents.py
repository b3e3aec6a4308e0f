"""Documents of the registry on the wire: when they were made and changed, and their ETag."""

import msgspec
from starlette.types import Scope

from octoroute_py.core.clock import iso
from octoroute_py.core.errors import BadRequest
from octoroute_py.edge.api.answer import JSON, Ready
from octoroute_py.storage.registry import Document


def shown(document: Document) -> dict[str, object]:
    """What a document says, and its times."""
    body: dict[str, object] = msgspec.json.decode(document.body)
    return {**body, "createdAt": iso(document.created_ms), "updatedAt": iso(document.updated_ms)}


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
