"""What a route takes and gives, told beside the route: the API's own description is made from it."""

from collections.abc import Mapping
from typing import Any

import msgspec


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A field of the query; `shape` is the type of its value."""

    name: str
    description: str
    shape: Any = str


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One route in words and types.

    `body` validates what is sent (None: nothing is; a type that may be None: it may be left out), `answer` is what
    success with `status` looks like (None: nothing, or no JSON), `also` names other types of content that the answer
    may have. `errors` are the statuses it may end with beside those that every route has, `failure` a shape that an
    error may have beside the usual one. `etag`: the answer has the ETag of the document it is about. `events`: the
    answer never ends by itself; it is a stream of these server-sent events, by name with the type of their data.
    """

    summary: str
    body: Any = None
    answer: Any = None
    status: int = 200
    also: tuple[str, ...] = ()
    query: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()
    failure: Any = None
    etag: bool = False
    events: Mapping[str, Any] = {}
