"""What every resource of the management API needs: bodies read strictly, query values, where a principal may look."""

import enum
import re
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import parse_qs

import msgspec
from starlette.types import Receive, Scope

from octoroute_py.admission.principal import Principal
from octoroute_py.core.errors import BadRequest, NotFound
from octoroute_py.edge.api.allowed import allowed
from octoroute_py.edge.guard import PRINCIPAL
from octoroute_py.edge.wire_io import read_body

T = TypeVar("T")
Word = TypeVar("Word", bound=enum.StrEnum)

MAX_BODY_BYTES = 256 * 1024
"""Nothing the management API takes is larger."""
_PLACE = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_FIELD = re.compile(r"^Object (?:contains unknown|missing required) field `([^`]{1,64})`$")
_NOT_OF_THE_WORDS = "Invalid enum value "
_NOT_OF_THE_SHAPE = "Expected `str` matching regex "
_MOST_QUERY_FIELDS = 50


async def read_json(scope: Scope, receive: Receive, shape: type[T]) -> T:
    """The body as a value of `shape`. BadRequest names the field to blame; ClientGone when the client left."""
    return decode(await read_body(scope, receive, MAX_BODY_BYTES), shape)


def decode(body: bytes, shape: type[T]) -> T:
    """JSON as a value of `shape`, nothing added and nothing converted. Raises BadRequest."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        text = str(error)
        place = _PLACE.search(text)
        told = text[: place.start()] if place else text
        field = _FIELD.search(told)
        blamed = ".".join(found[1] for found in (place, field) if found and found[1])
        clearer = _clearer(told, shape, place[1] if place else "")
        raise BadRequest(f"The body is not as it should be: {clearer}.", param=blamed or None) from None
    except (msgspec.MsgspecError, RecursionError, ValueError):
        raise BadRequest("The body is not valid JSON.") from None


def _clearer(told: str, shape: type, place: str) -> str:
    """What a decoder said, with what may stand there in the place of an expression, or beside a word that may not."""
    if told.startswith(_NOT_OF_THE_WORDS) and (words := allowed(shape, place)) is not None:
        return f"{told}, which is not {words}"
    if told.startswith(_NOT_OF_THE_SHAPE) and (words := allowed(shape, place)) is not None:
        return f"Expected `str`: {words}"
    return told


def query(scope: Scope, *known: str) -> Mapping[str, str]:
    """The query's fields, each at most once. BadRequest for one that is not `known` or stands there twice."""
    try:
        found = parse_qs(
            scope.get("query_string", b"").decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_QUERY_FIELDS
        )
    except ValueError:  # bytes that belong percent-encoded, or far too many fields
        raise BadRequest("The query cannot be read.") from None
    for name, values in found.items():
        if name not in known:
            raise BadRequest(f"Known in the query are: {', '.join(known) or 'nothing'}.", param=name[:64])
        if len(values) > 1:
            raise BadRequest("A field of the query is given twice.", param=name)
    return {name: values[0] for name, values in found.items()}


def whole_number(given: Mapping[str, str], name: str, default: int, *, low: int, high: int) -> int:
    """A query field as a whole number. Raises BadRequest."""
    text = given.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,12}", text) or not low <= int(text) <= high:
        raise BadRequest(f"'{name}' must be a whole number from {low} to {high}.", param=name)
    return int(text)


def yes_or_no(given: Mapping[str, str], name: str) -> bool | None:
    """A query field that is true or false; None when it is not there. Raises BadRequest."""
    text = given.get(name)
    if text not in (None, "true", "false"):
        raise BadRequest(f"'{name}' must be true or false.", param=name)
    return None if text is None else text == "true"


def word(given: Mapping[str, str], name: str, words: type[Word]) -> Word | None:
    """A query field that is one of certain words; None when it is not there. Raises BadRequest."""
    text = given.get(name)
    if text is None:
        return None
    if text not in tuple(words):
        raise BadRequest(f"'{name}' must be one of {', '.join(words)}.", param=name)
    return words(text)


def id_of(scope: Scope, name: str = "id") -> str:
    """The id in the path."""
    id_: str = scope["path_params"][name]
    return id_


def principal_of(scope: Scope) -> Principal:
    """Who is asking; a guard has let them in."""
    principal: Principal = scope[PRINCIPAL]
    return principal


def own_workspace(scope: Scope, workspace: str) -> str:
    """The workspace, if whoever asks may see it; else NotFound, so that nobody learns which others there are."""
    own = principal_of(scope).workspaces
    if own is not None and workspace not in own:
        raise NotFound("There is no such workspace.", code="not_found")
    return workspace
