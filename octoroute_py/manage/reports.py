"""What analytics tells, as values that encode to the documented JSON (camelCase).

Money is USD, latencies are milliseconds, `success_rate` is 0 to 100, `success_ratio` and `saved_share` 0 to 1. None
stands where there is nothing to measure, and, in a report to somebody who is bound to workspaces, for what belongs to
none.
"""

import enum
from typing import Any

import msgspec

ALL = "all"
"""What a report says of its model when it is about every one."""


class TimeRange(enum.StrEnum):
    """How far back a report looks."""

    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"

    def since_s(self, now_s: float) -> int:
        """Its start in Unix seconds, at a full minute or hour."""
        length_s, grain_s = _RANGES[self]
        return int(now_s - length_s) // grain_s * grain_s


_RANGES = {
    TimeRange.HOUR: (3600, 60),
    TimeRange.DAY: (86_400, 60),
    TimeRange.WEEK: (7 * 86_400, 3600),
    TimeRange.MONTH: (30 * 86_400, 3600),
}


class Figures(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What every group of requests is measured by.

    `failed_requests` were answered with an error, or broke off; `cancelled_requests` are those whose client left. Both
    rates are over the requests whose client stayed. Latencies, from the request's arrival to its end, are over those of
    them that an endpoint was tried for, and percentiles are within 1 %.
    """

    total_requests: int
    failed_requests: int
    cancelled_requests: int
    success_rate: float | None
    success_ratio: float | None
    average_latency: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    total_tokens: int
    total_cost: float


class JudgeCalls(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The gateway's own calls to choose a tier; no other figure holds them."""

    requests: int
    total_tokens: int
    total_cost: float


class ModelFigures(Figures, frozen=True, kw_only=True, rename="camel"):
    """One endpoint; `name` is None when it is not configured any more."""

    model_id: str
    name: str | None
    tier: str


class ModelsReport(Figures, frozen=True, kw_only=True, rename="camel"):
    """`GET /api/analytics/models`."""

    time_range: str
    since: str
    model_id: str
    requests_by_agent: dict[str, int]
    requests_by_status: dict[str, int]
    hourly_distribution: dict[str, int]
    models: list[ModelFigures]
    judge: JudgeCalls | None


class WorkspaceReport(Figures, frozen=True, kw_only=True, rename="camel"):
    """`GET /api/analytics/workspaces/{id}`; `budgets` is what the budgets say, if somebody does."""

    workspace_id: str
    time_range: str
    since: str
    unique_agents: int
    model_usage: dict[str, int]
    agent_usage: dict[str, int]
    requests_by_status: dict[str, int]
    budgets: Any


class TierSavings(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one tier's requests cost, and what their answers would have cost at the baseline."""

    requests: int
    failed_requests: int
    total_tokens: int
    cost: float
    baseline: float
    saved: float


class SavingsReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`GET /api/analytics/savings`: `saved` is `baseline` less `cost` less `judge_cost`."""

    time_range: str
    since: str
    requests: int
    cost: float
    judge_cost: float | None
    total_cost: float
    baseline: float
    baseline_endpoint: str | None
    saved: float | None
    saved_share: float | None
    tiers: dict[str, TierSavings]
    note: str
