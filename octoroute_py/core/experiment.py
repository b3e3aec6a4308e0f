"""A/B experiments: one shape for the API, for what is kept and for what is exported."""

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from octoroute_py.core.catalog import Id, Label, Text
from octoroute_py.core.rules import Conditions, ModelRef
from octoroute_py.core.words import Tier

ArmName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$(?!\n)",
        description="Letters, digits and . _ @ + -",
    ),
]
"""What an arm is called: it stands behind the experiment's id and a colon in the journal, so it has none itself."""


class ExperimentStatus(enum.StrEnum):
    """Where an experiment stands."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class Metric(enum.StrEnum):
    """What the arms are compared by.

    The share of good answers, ms until the answer (of a stream: until its first event), USD a request, or the mean
    score of feedback, 0 to 1.
    """

    SUCCESS = "success"
    LATENCY = "latency"
    COST = "cost"
    QUALITY = "quality"


class ArmStrategy(enum.StrEnum):
    """Who decides for an arm; as the configured strategies."""

    RULE = "rule"
    LLM = "llm"
    NEURAL = "neural"
    HYBRID = "hybrid"
    TOOL = "tool"


class Arm(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One way to answer: exactly one of `tier`, `model_id`, `strategy` and `rule_set`, or none for what is usual."""

    name: ArmName
    weight: Annotated[float, Meta(gt=0, le=1_000_000)] = 1.0
    tier: Tier | None = None
    model_id: ModelRef | None = None
    strategy: ArmStrategy | None = None
    rule_set: Id | None = None


class ExperimentBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What an experiment is: callers who meet the conditions are shared out among the arms, each for good.

    The first arm is the control. Only requests that leave the choice to the gateway take part. `alpha` bounds the
    chance that one of equal arms is called better or worse, however often one looks.
    """

    name: Label
    description: Text = ""
    arms: Annotated[tuple[Arm, ...], Meta(min_length=2, max_length=8)]
    conditions: Conditions = Conditions()
    metric: Metric = Metric.SUCCESS
    alpha: Annotated[float, Meta(ge=1e-6, le=0.5)] = 0.05


class Experiment(ExperimentBody, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An experiment as it is kept; times are Unix ms."""

    id: Id
    status: ExperimentStatus = ExperimentStatus.DRAFT
    started_ms: int | None = None
    stopped_ms: int | None = None
