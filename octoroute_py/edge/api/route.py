"""POST /api/route: the Model Router Service's request, as a chat or an embedding through the same pipeline.

The answer has the same shape whatever became of it, and the HTTP status tells the truth. What is wrong with the
request itself is told as everywhere under /api.
"""

import random
from collections.abc import Mapping
from typing import Protocol

import msgspec

from octoroute_py.core.clock import iso
from octoroute_py.core.errors import BadRequest, GatewayError, UpstreamFailed
from octoroute_py.core.ids import new_request_id, safe_request_id
from octoroute_py.core.money import usd
from octoroute_py.core.rules import RequestType
from octoroute_py.core.usage import Usage
from octoroute_py.core.words import Importance, Role, Surface
from octoroute_py.edge.api.route_shape import ROUTE, Asked, Metadata, Priority
from octoroute_py.edge.api.wire import decode
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.guard import Reach
from octoroute_py.edge.idempotent import Answered, ById, Idempotent
from octoroute_py.edge.model_call import ModelCall
from octoroute_py.edge.wire_io import ENTRY_BITS, api_error_body
from octoroute_py.gateway.attempt import Sent
from octoroute_py.gateway.context import RawHeaders, RequestContext
from octoroute_py.gateway.idempotency import Idempotency
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.routing.intent import AUTO
from octoroute_py.routing.policy import HEADERS
from octoroute_py.transport.envelope import MAX_FIELDS
from octoroute_py.transport.nesting import TooComplex, has_more_members

_MOST_CHARACTERS = 128
_BYTES_OF_MANY = 4 * MAX_FIELDS
_ABSENT = msgspec.Raw(b"")
_NOTHING = (b"", b"null", b"[]")

_FIXED = ("messages", "prompt", "input", "stream", "stream_options", "octoroute")
"""What `parameters` may not hold: it is given elsewhere, or there is one answer only."""
_SPELLED = {
    "maxTokens": "max_tokens",
    "topP": "top_p",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
}
"""Sampling parameters as the Model Router Service writes them."""

_CAME_FROM = {
    "messages": "prompt",
    "input": "prompt",
    "octoroute.workspace": "workspaceId",
    "octoroute.agent_type": "agentType",
}


_IMPORTANCE = {
    Priority.LOW: Importance.LOW,
    Priority.NORMAL: Importance.NORMAL,
    Priority.HIGH: Importance.HIGH,
    Priority.CRITICAL: Importance.HIGH,
}


class Words(Protocol):
    """A request in the Model Router Service's words; what is None was not said."""

    @property
    def id(self) -> str | None:
        """The request's id."""
        ...

    @property
    def agent_type(self) -> str | None:
        """Who asks."""
        ...

    @property
    def workspace_id(self) -> str | None:
        """For whom."""
        ...

    @property
    def user_id(self) -> str | None:
        """On whose behalf."""
        ...

    @property
    def prompt(self) -> str:
        """What is asked."""
        ...

    @property
    def parameters(self) -> Mapping[str, msgspec.Raw]:
        """Fields of the OpenAI body, as spelled."""
        ...

    @property
    def metadata(self) -> Metadata:
        """What the gateway knows of it."""
        ...


class _Told(msgspec.Struct, gc=False):
    metadata: msgspec.Raw = _ABSENT


class _Sized(msgspec.Struct, gc=False):
    parameters: msgspec.Raw = _ABSENT


class _Message(msgspec.Struct, gc=False):
    tool_calls: msgspec.Raw = _ABSENT


class _Choice(msgspec.Struct, gc=False):
    message: _Message


class _Called(msgspec.Struct, gc=False):
    choices: tuple[_Choice, ...] = ()


class _Vector(msgspec.Struct, gc=False):
    embedding: msgspec.Raw


class _Vectors(msgspec.Struct, gc=False):
    data: tuple[_Vector, ...]


_decode_told = msgspec.json.Decoder(_Told).decode
_decode_sized = msgspec.json.Decoder(_Sized).decode
_decode_called = msgspec.json.Decoder(_Called).decode
_decode_vectors = msgspec.json.Decoder(_Vectors).decode
_BROKEN = (msgspec.MsgspecError, RecursionError, ValueError)


class RouteCalls:
    """The route; `answered` is None where no rows are kept."""

    def __init__(self, gateway: Gateway, memory: Idempotency, *, answered: Answered | None) -> None:
        self._gateway = gateway
        self._memory = memory
        self._answered = answered

    def add_to(self, table: Table) -> None:
        """POST /api/route, for whoever may ask models; a request is known by its id."""
        call = Idempotent(
            ModelCall(self._gateway, Surface.CHAT, ModelRouter()),
            self._gateway,
            memory=self._memory,
            source=ById(),
            answered=self._answered,
        )
        table.add("POST", "/api/route", call, role=Role.INFERENCE, reach=Reach.OWN, operation=ROUTE)


class ModelRouter:
    """The dialect of the Model Router Service."""

    def request(self, ctx: RequestContext, body: bytes) -> bytes:
        """The chat completion or embedding that a request stands for; its id is the request's from now on.

        Raises BadRequest that names the field to blame.
        """
        openai = take(ctx, read_asked(body), body)
        ctx.entry = random.getrandbits(ENTRY_BITS)
        return openai

    def answer(self, ctx: RequestContext, sent: Sent) -> bytes:
        """What the model said, who it was and what it cost. Raises UpstreamFailed when it said nothing."""
        told = _base(ctx, status="success")
        if ctx.surface is Surface.EMBEDDINGS:
            told["response"] = _embedding(sent)
            return msgspec.json.encode(told)
        text = sent.whole.text() if sent.whole is not None else None
        calls = _tool_calls(sent)
        if text is None and calls is None:
            raise UpstreamFailed("The model's answer holds no text.", code="upstream_error")
        told["response"] = text or ""
        if calls is not None:
            told["toolCalls"] = calls
        return msgspec.json.encode(told)

    def error(self, ctx: RequestContext, error: GatewayError) -> bytes:
        """The same shape for a request that was understood and failed, else the errors of /api."""
        if ctx.request_type is None:
            return api_error_body(error)
        told = _base(ctx, status=_failure(error))
        told |= {"error": error.client_message, "code": error.code}
        if error.param is not None:
            told["details"] = {"field": field_of(error.param)}
        return msgspec.json.encode(told)


def read_asked(body: bytes) -> Asked:
    """The request in a body, every value checked. Raises BadRequest that names the field to blame."""
    check_size(body)
    asked = decode(body, Asked)
    check_words(asked)
    return asked


def take(ctx: RequestContext, asked: Words, body: bytes) -> bytes:
    """The OpenAI body of a request whose words were checked; what else they say goes into `ctx`. Raises BadRequest."""
    _check_headers(ctx.raw_headers, asked)
    openai = openai_body(asked)
    if asked.id is not None:
        ctx.request_id = asked.id
    ctx.user_id = asked.user_id
    ctx.request_type = asked.metadata.request_type.value
    if ctx.snapshot.metadata_rules:
        ctx.metadata = _decode_told(body).metadata or None
    if asked.metadata.request_type is RequestType.EMBEDDING:
        ctx.surface = Surface.EMBEDDINGS
    return openai


def check_words(asked: Words) -> None:
    """Raises BadRequest that names the field to blame."""
    if asked.id is not None and safe_request_id(asked.id.encode("utf-8", "replace")) is None:
        raise BadRequest("'id' must be 1 to 128 letters, digits or any of . _ : + / = -", param="id")
    for field, value in (
        ("agentType", asked.agent_type),
        ("workspaceId", asked.workspace_id),
        ("userId", asked.user_id),
    ):
        if value is None:
            continue
        if value != value.strip() or not value or len(value) > _MOST_CHARACTERS or not value.isprintable():
            raise BadRequest(f"'{field}' must be 1 to {_MOST_CHARACTERS} visible characters.", param=field)
    if not asked.prompt.strip():
        raise BadRequest("'prompt' must be a text that is not blank.", param="prompt")


def check_size(body: bytes) -> None:
    """Refuse so many parameters that reading them would be costly in itself. Raises BadRequest."""
    if len(body) <= _BYTES_OF_MANY:
        return
    try:
        many = has_more_members(bytes(_decode_sized(body).parameters), limit=MAX_FIELDS)
    except TooComplex:
        many = True
    except _BROKEN:
        return  # whoever reads it tells what is wrong
    if many:
        raise BadRequest(f"'parameters' has more than {MAX_FIELDS} fields or values.", param="parameters")


def openai_body(asked: Words) -> bytes:
    """The OpenAI body that a request stands for. Raises BadRequest that names the parameter to blame."""
    fields: dict[str, object] = {"model": AUTO}
    for name, raw in asked.parameters.items():
        spelled = _SPELLED.get(name, name)
        if spelled in _FIXED:
            raise BadRequest(f"'{spelled}' cannot be a parameter here.", param=f"parameters.{name}")
        if spelled != name and spelled in asked.parameters:
            raise BadRequest(f"'{name}' and '{spelled}' are the same parameter.", param=f"parameters.{name}")
        fields[spelled] = raw
    model = _model(fields["model"])
    if asked.metadata.request_type is RequestType.EMBEDDING:
        if model.strip().lower() == AUTO:
            raise BadRequest("An embedding needs a model or a tier by name.", param="parameters.model")
        fields["input"] = asked.prompt
    else:
        fields["messages"] = [{"role": "user", "content": asked.prompt}]
    said = {"agent_type": asked.agent_type, "workspace": asked.workspace_id}
    hints = {name: value for name, value in said.items() if value is not None}
    if asked.metadata.priority is not None:
        hints["importance"] = _IMPORTANCE[asked.metadata.priority]
    fields["octoroute"] = hints
    return msgspec.json.encode(fields)


def _model(given: object) -> str:
    try:
        return msgspec.json.decode(given, type=str) if isinstance(given, msgspec.Raw) else AUTO
    except _BROKEN:
        raise BadRequest("'model' must be a string.", param="parameters.model") from None


def _check_headers(headers: RawHeaders, asked: Words) -> None:
    """A header that says something else than the body would win, and the request would be booked elsewhere."""
    for name, field, value in (
        ("workspace", "workspaceId", asked.workspace_id),
        ("agent_type", "agentType", asked.agent_type),
    ):
        header = HEADERS[name].lower().encode()
        if value is not None and any(
            found == header and given.decode("latin-1").strip() != value for found, given in headers
        ):
            raise BadRequest(f"{HEADERS[name]} and '{field}' say different things.", param=field)


def _base(ctx: RequestContext, *, status: str) -> dict[str, object]:
    """What every answer holds; `response` is empty until somebody fills it."""
    usage = ctx.usage or Usage()
    told: dict[str, object] = {
        "id": new_request_id(),
        "requestId": ctx.request_id,
        "modelId": ctx.endpoint_id or "",
        "response": "",
        "usage": {
            "promptTokens": usage.prompt,
            "completionTokens": usage.completion,
            "totalTokens": usage.prompt + usage.completion,
            "cost": usd(ctx.cost_uusd),
        },
        "latency": round((ctx.monotonic() - ctx.started_s) * 1000, 3),
        "status": status,
        "timestamp": iso(int(ctx.wall() * 1000)),
    }
    if ctx.warnings:
        told["warnings"] = ctx.warnings
    return told


def field_of(param: str) -> str:
    """The field of this body that a field of the OpenAI body came from; a header is its own name."""
    if param.startswith("X-"):
        return param
    return _CAME_FROM.get(param.partition("[")[0], f"parameters.{param}")


def _failure(error: GatewayError) -> str:
    """The Model Router Service's word for a failure."""
    if error.status == 429:
        return "rate_limited"
    return "timeout" if error.status == 504 else "error"


def _tool_calls(sent: Sent) -> msgspec.Raw | None:
    """The tool calls of the first choice, as the upstream spelled them; None when there are none."""
    if sent.whole is None or b'"tool_calls"' not in sent.whole.body:
        return None
    try:
        choices = _decode_called(sent.whole.body).choices
    except _BROKEN:
        return None
    calls = choices[0].message.tool_calls if choices else _ABSENT
    return None if bytes(calls) in _NOTHING else calls


def _embedding(sent: Sent) -> msgspec.Raw:
    try:
        vectors = _decode_vectors(sent.whole.body if sent.whole is not None else b"").data
    except _BROKEN:
        vectors = ()
    if not vectors:
        raise UpstreamFailed("The model's answer holds no embedding.", code="upstream_error")
    return vectors[0].embedding
