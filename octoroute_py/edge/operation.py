"""What a route takes and gives, told beside the route: the API's own description is made from it."""

from typing import Any

import msgspec


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A field of the query; `shape` is the type of its value."""

    name: str
    description: str
    shape: Any = str


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One route in words and types.

    `body` validates what is sent (None: nothing is), `answer` is what success with `status` looks like (None: nothing,
    or no JSON). `errors` are the statuses it may end with beside those that every route has.
    """

    summary: str
    body: Any = None
    answer: Any = None
    status: int = 200
    query: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()
