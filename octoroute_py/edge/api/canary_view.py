"""Canary deployments as clients read them: times in ISO 8601, latencies in ms, money in USD."""

from collections.abc import Iterator

import msgspec
from msgspec import UNSET, UnsetType

from octoroute_py.core.clock import iso
from octoroute_py.core.rollout import (
    CanaryBody,
    CanaryDeployment,
    RollbackCriteria,
    RolloutStatus,
    Side,
    SuccessCriteria,
)
from octoroute_py.manage.canary_evidence import Measured
from octoroute_py.routing.rollout import Call, Verdict
from octoroute_py.storage.registry import Document


class CanaryView(CanaryBody, frozen=True, kw_only=True, rename="camel"):
    """A deployment. `step` counts from 1 once it was started; `reason` tells what led to its status."""

    id: str
    status: RolloutStatus
    step: int
    started_at: str | None
    step_since: str | None
    reason: str
    created_at: str
    updated_at: str
    warnings: list[str] | UnsetType = UNSET


class CanaryList(msgspec.Struct, frozen=True, kw_only=True):
    """Deployments in the order they were made."""

    deployments: list[CanaryView]
    count: int


class DecisionView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the evidence says: `share` is the canary's percentage afterwards, `confidence` the part of minRequests."""

    decision: Call
    reasons: tuple[str, ...]
    share: float
    confidence: float


class Execution(DecisionView, frozen=True, kw_only=True, rename="camel"):
    """What was decided and done, and the deployment afterwards."""

    executed: bool
    deployment: CanaryView


class SideMetrics(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One model's attempts in the evaluation window; null is what cannot be told of so few."""

    requests: int
    errors: int
    error_rate: float | None
    success_rate: float | None
    latency_p50: float | None = msgspec.field(name="latencyP50")
    latency_p95: float | None = msgspec.field(name="latencyP95")
    average_cost: float | None
    quality_score: float | None


class Difference(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The canary's figures less production's."""

    error_rate: float | None
    success_rate: float | None
    latency_p50: float | None = msgspec.field(name="latencyP50")
    latency_p95: float | None = msgspec.field(name="latencyP95")
    average_cost: float | None
    quality_score: float | None


class CanaryMetrics(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was measured of both models. `confidence` is the part of minRequests that this step has.

    `since` is when the oldest of what is counted ended, null where nothing was measured.
    """

    deployment_id: str
    status: RolloutStatus
    production: SideMetrics
    canary: SideMetrics
    difference: Difference
    step_requests: int
    confidence: float
    since: str | None


def view(document: Document, warnings: list[str] | None = None) -> CanaryView:
    """The deployment of a document."""
    kept = document.read(CanaryDeployment)
    said = {name: getattr(kept, name) for name in CanaryBody.__struct_fields__}
    return CanaryView(
        **said,
        id=kept.id,
        status=kept.status,
        step=kept.step,
        started_at=_time(kept.started_ms),
        step_since=_time(kept.step_since_ms),
        reason=kept.reason,
        created_at=iso(document.created_ms),
        updated_at=iso(document.updated_ms),
        warnings=[*(warnings or ()), *_doubts(kept)] or UNSET,
    )


def _doubts(kept: CanaryDeployment) -> Iterator[str]:
    """What whoever starts it may not expect of it."""
    if kept.status is not RolloutStatus.PREPARING and not kept.status.is_live:
        return
    if kept.rollback_criteria == RollbackCriteria():
        yield "It has no rollback criterion: only an operator takes the canary back."
    criteria = kept.success_criteria
    asked = SuccessCriteria(min_requests=criteria.min_requests, evaluation_window=criteria.evaluation_window)
    if criteria == asked:
        yield "It has no success criterion: the share grows however the canary's requests end."


def decision_view(verdict: Verdict) -> DecisionView:
    """A verdict that nobody carried out."""
    return DecisionView(
        decision=verdict.call, reasons=verdict.reasons, share=verdict.share, confidence=verdict.confidence
    )


def execution_view(document: Document, verdict: Verdict, warnings: list[str]) -> Execution:
    """A verdict that was carried out."""
    told = msgspec.structs.asdict(decision_view(verdict))
    return Execution(**told, executed=verdict.call is not Call.HOLD, deployment=view(document, warnings))


def metrics_view(document: Document, measured: Measured, verdict: Verdict) -> CanaryMetrics:
    """The figures of a deployment."""
    deployment = document.read(CanaryDeployment)
    production, canary = _side(measured, Side.PRODUCTION), _side(measured, Side.CANARY)
    less = {name: _less(getattr(canary, name), getattr(production, name)) for name in Difference.__struct_fields__}
    begun = [window.since_s for window in measured.windows.values() if window.since_s is not None]
    return CanaryMetrics(
        deployment_id=deployment.id,
        status=deployment.status,
        production=production,
        canary=canary,
        difference=Difference(**less),
        step_requests=measured.step_requests,
        confidence=verdict.confidence,
        since=iso(int(min(begun) * 1000.0)) if begun else None,
    )


def _side(measured: Measured, side: Side) -> SideMetrics:
    window = measured.windows[side]
    rate = window.errors / window.requests if window.requests else None
    return SideMetrics(
        requests=window.requests,
        errors=window.errors,
        error_rate=rate,
        success_rate=None if rate is None else 1.0 - rate,
        latency_p50=window.quantile(0.5),
        latency_p95=window.quantile(0.95),
        average_cost=window.average_cost,
        quality_score=measured.quality.get(side),
    )


def _less(canary: float | None, production: float | None) -> float | None:
    return None if canary is None or production is None else canary - production


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms)
