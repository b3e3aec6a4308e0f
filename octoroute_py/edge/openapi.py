"""GET /openapi.json: the management API as OpenAPI 3.1, made from the types that read its bodies and make its answers.

What a route takes and gives stands beside the route as an Operation; here it is only written down in another way.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final, get_args

import msgspec
from starlette.types import Receive, Scope, Send

from octoroute_py import __version__
from octoroute_py.core.words import Role
from octoroute_py.edge.operation import Operation, Parameter
from octoroute_py.edge.wire_io import request_id_of, send_bytes

PATH: Final = "/openapi.json"
PREFIXES: Final = ("/api/", "/admin/")
"""What is described; everything else is OpenAI's, or for machines that watch."""
JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
EVERYWHERE: Final = (400, 401, 403, 429, 503)
"""How any call may end: not understood, who is asking, too many wrong keys, no storage or shutting down."""

_REFERENCE: Final = "#/components/schemas/{name}"
_PLACE: Final = re.compile(r"\{([a-z_]+)(?::path)?\}")
_CODED: Final = re.compile(r"`([a-z]+(?:_[a-z0-9]+)+)`")

Described = tuple[str, str, Role | None, Operation]
"""A method, a path as routes have it, the role that it needs, and what it does."""
Json = dict[str, Any]


class Problem(msgspec.Struct, frozen=True):
    """What went wrong: a sentence, a word that does not change, and often the field to blame."""

    error: str
    code: str
    details: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class Description:
    """The route: the description is made when it is first asked for, and the same bytes from then on."""

    def __init__(self, described: Iterable[Described]) -> None:
        self._described = tuple(described)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200 with the document; whoever may look at anything may see it."""
        body = self._made if "_made" in self.__dict__ else await asyncio.to_thread(lambda: self._made)
        headers = ((b"content-type", JSON.encode()), (b"x-request-id", request_id_of(scope).encode()))
        await send_bytes(send, 200, body, headers)

    @cached_property
    def _made(self) -> bytes:
        return msgspec.json.encode(document(self._described))


def document(described: Iterable[Described]) -> Json:
    """The OpenAPI 3.1 document of these routes, those of PREFIXES alone."""
    told = sorted((each for each in described if each[1].startswith(PREFIXES)), key=lambda each: (each[1], each[0]))
    schemas = _Schemas(told)
    paths: dict[str, Json] = {}
    for method, path, role, operation in told:
        paths.setdefault(plain(path), {})[method.lower()] = _operation(method, path, role, operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "octoroute",
            "version": __version__,
            "summary": "The management API of the gateway",
            "description": "Times are ISO 8601 in UTC, money is USD. Answers may get more fields; unknown fields of a "
            "body are refused. POST /v1/chat/completions and its like are OpenAI's and not described here.",
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"apiKey": []}],
        "tags": [{"name": name} for name in sorted({_tag(path) for _, path, _, _ in told})],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": _common(told, schemas),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def plain(path: str) -> str:
    """A route's path as OpenAPI writes it."""
    return _PLACE.sub(r"{\1}", path)


def errors_of(path: str, operation: Operation) -> set[int]:
    """The statuses with which a call of the operation may end that is no success."""
    errors = {*EVERYWHERE, *operation.errors}
    if _PLACE.search(path):
        errors.add(404)
    if operation.body is not None:
        errors.add(413)
    return errors


def operation_id(method: str, path: str) -> str:
    """What generated clients call an operation: GET /api/models/{id}/endpoints is `getModelEndpoints`."""
    words: list[str] = []
    segments = path.split("/")[2:]
    for segment, after in zip(segments, [*segments[1:], ""], strict=True):
        if not segment.startswith("{"):
            one = segment.removesuffix("s") if after.startswith("{") else segment
            words.extend(word.capitalize() for word in re.split(r"[-_]", one))
    if path.startswith("/admin/"):
        words.insert(0, "Admin")
    return method.lower() + "".join(words)


class _Schemas:
    """The types of all operations as JSON schemas, in words of JSON."""

    def __init__(self, told: Iterable[Described]) -> None:
        types: list[Any] = [Problem]
        for _, _, _, operation in told:
            given = _body_of(operation)[0]
            types += [each for each in (given, operation.answer, operation.failure) if each is not None]
            types += [*operation.events.values(), *(parameter.shape for parameter in operation.query)]
        self._types: list[Any] = []
        for each in types:
            if each not in self._types:
                self._types.append(each)
        schemas, components = msgspec.json.schema_components(self._types, ref_template=_REFERENCE)
        self._schemas = schemas
        self.components = dict(sorted(_told(components).items()))

    def of(self, shape: Any) -> Json:
        """The schema of a type, mostly a reference to a component."""
        schema: Json = _told(self._schemas[self._types.index(shape)])
        return schema


def _told(value: Any, *, key: str = "") -> Any:
    """The schema with the names of fields as JSON has them, also where its descriptions speak of them."""
    if isinstance(value, dict):
        return {name: _told(each, key=name) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_told(each) for each in value]
    if key == "description" and isinstance(value, str):
        return _CODED.sub(lambda found: f"`{_camel(found[1])}`", " ".join(value.split()))
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _tag(path: str) -> str:
    first, second = path.split("/")[1:3]
    return second if first == "api" else first


def _operation(method: str, path: str, role: Role | None, operation: Operation, schemas: _Schemas) -> Json:
    made: Json = {
        "operationId": operation_id(method, path),
        "tags": [_tag(path)],
        "summary": operation.summary,
        "description": f"Needs a key of the role {role.value}." if role is not None else "Open to everybody.",
        "parameters": [
            *(_in_path(name) for name in _PLACE.findall(path)),
            *(_in_query(parameter, schemas) for parameter in operation.query),
        ],
    }
    if 412 in operation.errors:
        made["parameters"].append(_IF_MATCH)
    body, required = _body_of(operation)
    if body is not None:
        made["requestBody"] = {"required": required, "content": {JSON: {"schema": schemas.of(body)}}}
    made["responses"] = _responses(path, operation, schemas)
    return made


def _body_of(operation: Operation) -> tuple[Any, bool]:
    """The type of the body, and whether there must be one."""
    if type(None) not in get_args(operation.body):
        return operation.body, True
    [only] = [each for each in get_args(operation.body) if each is not type(None)]
    return only, False


_IF_MATCH: Final[Mapping[str, Any]] = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag that was read, so that nobody's change in between is undone; or *",
    "schema": {"type": "string", "pattern": r'^("[0-9]{1,18}"|\*)$'},
}
_REQUEST_ID: Final[Mapping[str, Any]] = {
    "X-Request-Id": {"description": "The id of the call, as given or made", "schema": {"type": "string"}}
}
_RETRY_AFTER: Final[Mapping[str, Any]] = {
    "Retry-After": {"description": "Seconds after which to try again", "schema": {"type": "string"}}
}
_ETAG: Final[Mapping[str, Any]] = {
    "ETag": {"description": "What If-Match takes; it changes with the document", "schema": {"type": "string"}}
}


def _in_path(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _in_query(parameter: Parameter, schemas: _Schemas) -> Json:
    return {
        "name": parameter.name,
        "in": "query",
        "required": False,
        "description": parameter.description,
        "schema": schemas.of(parameter.shape),
    }


def _responses(path: str, operation: Operation, schemas: _Schemas) -> Json:
    success: Json = {
        "description": HTTPStatus(operation.status).phrase,
        "headers": {**_REQUEST_ID, **(_ETAG if operation.etag else {})},
    }
    content: Json = {} if operation.answer is None else {JSON: {"schema": schemas.of(operation.answer)}}
    content |= {kind: {"schema": {"type": "string"}} for kind in operation.also}
    if operation.events:
        told = {name: schemas.of(shape) for name, shape in operation.events.items()}
        content[EVENTS] = {"schema": {"type": "string"}, "x-events": told}
    if content:
        success["content"] = content
    return {
        str(operation.status): success,
        **{str(status): _failure(status, operation, schemas) for status in sorted(errors_of(path, operation))},
    }


def _failure(status: int, operation: Operation, schemas: _Schemas) -> Json:
    if operation.failure is None:
        return {"$ref": f"#/components/responses/{_response_name(status)}"}
    return _error(status, {"anyOf": [schemas.of(Problem), schemas.of(operation.failure)]})


def _common(told: Iterable[Described], schemas: _Schemas) -> Json:
    """The errors that most operations share."""
    known = {404, 413, *EVERYWHERE, *(status for _, _, _, operation in told for status in operation.errors)}
    return {_response_name(status): _error(status, schemas.of(Problem)) for status in sorted(known)}


def _response_name(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "")


def _error(status: int, shape: Json) -> Json:
    headers = {**_REQUEST_ID, **(_RETRY_AFTER if status in (429, 503) else {})}
    return {"description": HTTPStatus(status).phrase, "headers": headers, "content": {JSON: {"schema": shape}}}
