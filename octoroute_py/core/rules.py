"""Rules and preferences that operators set: one shape for the API, for what is kept and for what is exported."""

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from octoroute_py.core.catalog import Id, Label, Text, Words

ModelRef = Annotated[str, Meta(min_length=1, max_length=256)]
"""A registered model's id, a configured endpoint's name or id, or a tier."""
Percent = Annotated[float, Meta(ge=0, le=100)]
Share = Annotated[float, Meta(ge=0, le=1)]
Filled = Annotated[tuple[Label, ...], Meta(min_length=1, max_length=1000)]
ClockTime = Annotated[
    str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)", description="A time of day, from 00:00 to 23:59")
]
Wanted = str | bool | int | float
"""A value that a header or a member of the metadata is compared with; numbers and booleans by their JSON text."""


class RequestType(enum.StrEnum):
    """What a request wants done; told by `/api/route`, else by the operation."""

    COMPLETION = "completion"
    CHAT = "chat"
    EMBEDDING = "embedding"
    ANALYSIS = "analysis"


class ContentLength(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Characters of all message text, both bounds included."""

    min: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    max: Annotated[int, Meta(ge=0, le=10**9)] | None = None


class TimeOfDay(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """From `start` to before `end`, over midnight when `start` is later; equal ends mean the whole day."""

    start: ClockTime
    end: ClockTime
    timezone: Annotated[str, Meta(min_length=1, max_length=64, description="An IANA name")] = "UTC"


class Matcher(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """What a header or a member of the metadata must be; whatever is given must hold, at least one thing is.

    `any_of`: one of these. `none_of`: none of these (absent is none). `prefix`: begins so. `exists`: is there, or not.
    """

    any_of: Annotated[tuple[Wanted, ...], Meta(min_length=1, max_length=1000)] | None = None
    none_of: Annotated[tuple[Wanted, ...], Meta(min_length=1, max_length=1000)] | None = None
    prefix: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    exists: bool | None = None


Test = str | bool | int | float | Annotated[tuple[Wanted, ...], Meta(min_length=1, max_length=1000)] | Matcher
"""A value it must equal, a list of which it must be one, or a matcher."""


class CustomConditions(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Conditions on request headers (any case) and on the members of the body's `metadata` object."""

    headers: Annotated[dict[Label, Test], Meta(max_length=20)] = {}
    metadata: Annotated[dict[Label, Test], Meta(max_length=20)] = {}


class Conditions(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a request must be: everything given must hold; nothing given holds for all."""

    agent_type: Filled | None = None
    workspace_id: Filled | None = None
    request_type: Annotated[tuple[RequestType, ...], Meta(min_length=1, max_length=4)] | None = None
    content_length: ContentLength | None = None
    time_of_day: TimeOfDay | None = None
    user_tier: Filled | None = None
    custom_conditions: CustomConditions | None = None


class RuleTarget(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A model that a rule sends requests to.

    The first to be tried is drawn by `weight` among the targets that have one above 0; where none has, it is the one
    with the lowest `fallback_order`. The others follow by `fallback_order`, those without in the order they stand.
    A target that has `max_concurrent_requests` under way is left out.
    """

    model_id: ModelRef
    weight: Annotated[float, Meta(ge=0, le=1_000_000)] | None = None
    fallback_order: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    max_concurrent_requests: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class TrafficSplit(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Percentages of callers, which sum to 100: `canary` of them get the second target, the others the first.

    First and second are by `fallback_order`; weights are not looked at. A caller stays where it is as long as the
    split stands, and moves at most once when it is widened.
    """

    primary: Percent
    canary: Percent


class RuleBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a rule says, without its id: the first by priority (higher first, then older) that matches and has an
    eligible target decides.

    A rule of a `rule_set` is only asked for requests that an experiment gives this set.
    """

    name: Label
    description: Text = ""
    priority: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] = 0
    enabled: bool = True
    conditions: Conditions = Conditions()
    targets: Annotated[tuple[RuleTarget, ...], Meta(min_length=1, max_length=100)]
    traffic_split: TrafficSplit | None = None
    rule_set: Id | None = None


class RoutingRule(RuleBody, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A rule as it is kept."""

    id: Id


class PerformanceRequirements(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is asked of a model as measured lately; one that was hardly measured is let in.

    `max_latency` in ms, `min_success_rate` 0 to 1, `max_cost_per_token` in USD for the dearer of input and output.
    `min_quality` is kept and told back: nothing measures it.
    """

    max_latency: Annotated[float, Meta(gt=0, le=86_400_000)] | None = None
    min_success_rate: Share | None = None
    max_cost_per_token: Annotated[float, Meta(ge=0, le=1)] | None = None
    min_quality: Annotated[float, Meta(ge=0, le=1000)] | None = None


class AgentPreferences(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What requests of an agent type should be answered by, where no rule of an operator decides.

    `required_capabilities` and `performance_requirements` hold for all its requests, however they are routed.
    """

    agent_type: Label
    preferred_models: Annotated[tuple[ModelRef, ...], Meta(max_length=100)] = ()
    fallback_models: Annotated[tuple[ModelRef, ...], Meta(max_length=100)] = ()
    required_capabilities: Words = ()
    performance_requirements: PerformanceRequirements = PerformanceRequirements()
