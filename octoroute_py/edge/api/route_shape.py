"""What POST /api/route takes, and what it answers: the answers themselves hold parts as the upstream spelled them."""

import enum
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from octoroute_py.core.rules import RequestType
from octoroute_py.edge.operation import Operation


class Priority(enum.StrEnum):
    """How much a request matters to whoever sends it."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    CRITICAL = "critical"


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """What the gateway knows of `metadata`."""

    request_type: RequestType = RequestType.COMPLETION
    priority: Priority | None = None


AskedId = Annotated[
    str,
    Meta(
        description="Letters, digits and . _ : + / = -",
        extra_json_schema={"minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z0-9._:+/=-]+$"},
    ),
]
Who = Annotated[
    str,
    Meta(
        description="Visible characters, with no blank around them",
        extra_json_schema={"minLength": 1, "maxLength": 128, "pattern": r"^[!-~]([ -~]*[!-~])?$"},
    ),
]
Prompt = Annotated[str, Meta(description="A text that is not blank", extra_json_schema={"pattern": r"\S"})]
"""They are checked where the request is read, which tells better what is wrong."""


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The body of a request. `parameters` are as spelled; `metadata` may hold more, which only rules look at."""

    id: AskedId
    agent_type: Who
    workspace_id: Who
    user_id: Who
    prompt: Prompt
    parameters: dict[str, msgspec.Raw]
    metadata: Metadata


class RouteUsage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Tokens as the upstream counted them, and USD of all attempts."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost: float


class RouteAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a model said: text, or the embedding. `model_id` is the endpoint that said it, `latency` in ms."""

    id: str
    request_id: str
    model_id: str
    response: str | list[float]
    usage: RouteUsage
    latency: float
    status: Literal["success"]
    timestamp: str
    tool_calls: Any | UnsetType = UNSET
    warnings: list[str] | UnsetType = UNSET


class RouteFailure(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A request that was understood and failed: as an answer, with what went wrong."""

    id: str
    request_id: str
    model_id: str
    response: str
    usage: RouteUsage
    latency: float
    status: Literal["error", "timeout", "rate_limited"]
    timestamp: str
    error: str
    code: str
    details: dict[str, Any] | UnsetType = UNSET
    warnings: list[str] | UnsetType = UNSET


ROUTE: Final = Operation(
    summary="Answer a request of the Model Router Service",
    body=Asked,
    answer=RouteAnswer,
    errors=(404, 409, 413, 422, 502, 504),
    failure=RouteFailure,
)
