"""Canary deployments: one shape for the API, for what is kept and for what is exported."""

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from octoroute_py.core.catalog import Id, Label, Text
from octoroute_py.core.rules import ModelRef, Percent, Share

Minutes = Annotated[float, Meta(gt=0, le=525_600)]
Milliseconds = Annotated[float, Meta(gt=0, le=86_400_000)]


class RolloutStatus(enum.StrEnum):
    """Where a deployment stands; the last three are ends."""

    PREPARING = "preparing"
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    ROLLED_BACK = "rolledback"

    @property
    def is_live(self) -> bool:
        """Whether the canary has a share of the callers."""
        return self in (RolloutStatus.ACTIVE, RolloutStatus.PAUSED)

    @property
    def is_over(self) -> bool:
        """Whether nothing comes after it."""
        return self in (RolloutStatus.COMPLETED, RolloutStatus.FAILED, RolloutStatus.ROLLED_BACK)


class Side(enum.StrEnum):
    """Which of the two models a caller gets."""

    PRODUCTION = "production"
    CANARY = "canary"


def arm_of(deployment_id: str, side: Side) -> str:
    """How a journal row tells that a deployment decided about its request, and for whom."""
    return f"canary/{deployment_id}:{side}"  # no id of an experiment has a slash


class RolloutType(enum.StrEnum):
    """How the canary's share grows from one step to the next."""

    LINEAR = "linear"
    EXPONENTIAL = "exponential"
    STEP = "step"


class Split(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Percentages of callers, which sum to 100."""

    production: Percent = 100.0
    canary: Percent = 0.0


class RolloutStrategy(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How far and how fast: `duration` is the least time from start to completion, in minutes, the same for each step.

    `steps` is for linear (10 where there is none) and step (4); exponential begins with 5 percent and doubles.
    """

    type: RolloutType = RolloutType.LINEAR
    duration: Minutes | None = None
    steps: Annotated[int, Meta(ge=1, le=100)] | None = None
    max_traffic_percentage: Annotated[float, Meta(gt=0, le=100)] = 100.0


class SuccessCriteria(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What must hold before the share grows; latencies in ms, rates 0 to 1.

    Judged is what was measured in the last `evaluation_window` minutes, and at least the last `min_requests`.
    """

    min_requests: Annotated[int, Meta(ge=1, le=100_000)] = 100
    max_error_rate: Share | None = None
    min_success_rate: Share | None = None
    max_latency_p95: Milliseconds | None = msgspec.field(default=None, name="maxLatencyP95")
    min_quality_score: Share | None = None
    evaluation_window: Minutes = 60.0


class RollbackCriteria(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What ends the deployment as soon as it is broken."""

    max_error_rate: Share | None = None
    min_success_rate: Share | None = None
    max_latency_p95: Milliseconds | None = msgspec.field(default=None, name="maxLatencyP95")
    min_quality_score: Share | None = None


class CanaryBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What an operator says of a deployment; both models are named by a registered id or a configured name.

    `traffic_split` is what it starts with; with nothing for the canary that is the first share of its strategy.
    """

    name: Label
    description: Text = ""
    production_model_id: ModelRef
    canary_model_id: ModelRef
    traffic_split: Split = Split()
    rollout_strategy: RolloutStrategy = RolloutStrategy()
    success_criteria: SuccessCriteria = SuccessCriteria()
    rollback_criteria: RollbackCriteria = RollbackCriteria()


class CanaryDeployment(CanaryBody, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A model that takes over a growing share of another's callers, as long as it does well.

    `traffic_split` is the share now, `step` the number of the step it is on, `step_since_ms` and `started_ms` Unix
    times; `reason` says in words what led to the status.
    """

    id: Id
    status: RolloutStatus = RolloutStatus.PREPARING
    step: int = 0
    started_ms: int | None = None
    step_since_ms: int | None = None
    reason: Text = ""
