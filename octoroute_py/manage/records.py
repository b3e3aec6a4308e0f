"""Requests as rows for people and programs: the documented record as JSON, and a table as CSV."""

import csv
import io
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from octoroute_py.core.clock import iso
from octoroute_py.core.ending import ended
from octoroute_py.core.money import usd
from octoroute_py.storage.history import Record

_REQUEST_TYPES = {"completions": "completion", "embeddings": "embedding"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class Usage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Tokens of the answer and USD of all attempts; `estimated` when no upstream counted."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    total_tokens: int
    cost: float
    estimated: bool


class RequestRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One request. `latency` is `total_latency` without the choice of a tier; all times are milliseconds.

    `model_id` is the endpoint that answered, or was tried last, `attempts` how many were sent and `attempt_details`
    what became of each, unless there was one and it went well. `entry` tells requests of one id apart,
    `decided_tier` is the tier that was chosen before any fallback, `arms` are those of experiments and canary
    deployments that had an effect.
    """

    request_id: str
    entry: str
    timestamp: str
    status: str
    http_status: int
    error: str | None
    model_id: str | None
    tier: str | None
    decided_tier: str | None
    arms: tuple[str, ...]
    agent_type: str | None
    workspace_id: str
    key_id: str
    user_id: str | None
    request_type: str
    tag: str | None
    strategy: str | None
    reason: str | None
    rule: str | None
    confidence: float | None
    stream: bool
    latency: float
    total_latency: float
    time_to_first_event: float | None
    usage: Usage
    cost: float
    baseline: float
    attempts: int
    attempt_details: msgspec.Raw | None


COLUMNS = (
    "requestId",
    "entry",
    "timestamp",
    "status",
    "httpStatus",
    "error",
    "modelId",
    "tier",
    "agentType",
    "workspaceId",
    "keyId",
    "userId",
    "requestType",
    "tag",
    "strategy",
    "reason",
    "rule",
    "confidence",
    "stream",
    "latency",
    "totalLatency",
    "timeToFirstEvent",
    "promptTokens",
    "completionTokens",
    "cachedTokens",
    "totalTokens",
    "estimated",
    "cost",
    "baseline",
    "attempts",
    "decidedTier",
    "arms",
)
"""The columns of the CSV: the fields of a record, those of its usage among them."""


class RequestsPage(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /api/metrics/requests`: `next` is the `before` of the page after this one, None after the last."""

    requests: list[RequestRecord]
    count: int
    next: str | None


def as_json(records: Sequence[Record], *, next_: str | None) -> bytes:
    """A page as JSON."""
    page = RequestsPage(requests=[record_of(record) for record in records], count=len(records), next=next_)
    return msgspec.json.encode(page)


def as_csv(records: Sequence[Record]) -> bytes:
    """A page as CSV (RFC 4180, UTF-8) with a line of names; nothing in it is a formula to a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for record in records:
        row = msgspec.to_builtins(msgspec.structs.replace(record_of(record), attempt_details=None))
        row["arms"] = record.arms
        values = {**row, **row["usage"]}
        writer.writerow([_cell(values[name]) for name in COLUMNS])
    return text.getvalue().encode()


def record_of(row: Record) -> RequestRecord:
    """The journal's row as the API tells it."""
    cost = usd(row.cost_uusd)
    return RequestRecord(
        request_id=row.request_id,
        entry=str(row.entry),
        timestamp=iso(row.started_ms),
        status=ended(row.status, failed=row.error_code is not None),
        http_status=row.status,
        error=row.error_code,
        model_id=row.endpoint or None,
        tier=row.tier or None,
        decided_tier=row.decided_tier,
        arms=() if row.arms is None else tuple(row.arms.split(",")),
        agent_type=row.agent_type or None,
        workspace_id=row.workspace,
        key_id=row.key_id,
        user_id=row.user_id,
        request_type=row.request_type or _REQUEST_TYPES.get(row.surface, row.surface),
        tag=row.tag,
        strategy=row.strategy,
        reason=row.reason,
        rule=row.rule,
        confidence=row.confidence,
        stream=bool(row.stream),
        latency=(row.duration_us - (row.routing_us or 0)) / 1000,
        total_latency=row.duration_us / 1000,
        time_to_first_event=None if row.first_event_us is None else row.first_event_us / 1000,
        usage=Usage(
            prompt_tokens=row.prompt_tokens,
            completion_tokens=row.completion_tokens,
            cached_tokens=row.cached_tokens,
            total_tokens=row.prompt_tokens + row.completion_tokens,
            cost=cost,
            estimated=bool(row.estimated),
        ),
        cost=cost,
        baseline=usd(row.baseline_uusd),
        attempts=row.sends,
        attempt_details=None if row.attempts is None else msgspec.Raw(row.attempts.encode()),
    )


def _cell(value: object) -> object:
    """Text that a spreadsheet would take for a formula gets a quotation mark in front; numbers get no exponent."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")
    return value
