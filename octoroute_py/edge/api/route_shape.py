"""What POST /api/route takes, and what it answers: the answers themselves hold parts as the upstream spelled them."""

import enum
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

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


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The body of a request. `parameters` are as spelled; `metadata` may hold more, which only rules look at."""

    id: str
    agent_type: str
    workspace_id: str
    user_id: str
    prompt: str
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
