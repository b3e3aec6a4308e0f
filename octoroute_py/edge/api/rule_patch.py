"""What a patch of a rule looks like: any part of it, and null for what is to be taken away."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from octoroute_py.core.catalog import Id, Label, Text
from octoroute_py.core.rules import ClockTime, ContentLength, Filled, Percent, RequestType, RuleTarget, Test


class TimeOfDayPatch(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A part of `timeOfDay`."""

    start: ClockTime | UnsetType = UNSET
    end: ClockTime | UnsetType = UNSET
    timezone: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType | None = UNSET


class CustomPatch(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A part of `customConditions`."""

    headers: dict[Label, Test | None] | UnsetType | None = UNSET
    metadata: dict[Label, Test | None] | UnsetType | None = UNSET


class ConditionsPatch(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A part of `conditions`."""

    agent_type: Filled | UnsetType | None = UNSET
    workspace_id: Filled | UnsetType | None = UNSET
    request_type: Annotated[tuple[RequestType, ...], Meta(min_length=1, max_length=4)] | UnsetType | None = UNSET
    content_length: ContentLength | UnsetType | None = UNSET
    time_of_day: TimeOfDayPatch | UnsetType | None = UNSET
    user_tier: Filled | UnsetType | None = UNSET
    custom_conditions: CustomPatch | UnsetType | None = UNSET


class SplitPatch(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A part of `trafficSplit`."""

    primary: Percent | UnsetType = UNSET
    canary: Percent | UnsetType = UNSET


class RulePatch(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A part of a rule. Lists are replaced whole."""

    name: Label | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    priority: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | UnsetType | None = UNSET
    enabled: bool | UnsetType | None = UNSET
    conditions: ConditionsPatch | UnsetType | None = UNSET
    targets: Annotated[tuple[RuleTarget, ...], Meta(min_length=1, max_length=100)] | UnsetType = UNSET
    traffic_split: SplitPatch | UnsetType | None = UNSET
    rule_set: Id | UnsetType | None = UNSET
