"""Rules as clients read them, wherever they stand: those of the configuration in the words of the API."""

import msgspec
from msgspec import UNSET, UnsetType

from octoroute_py.config.schema import RuleConfig, RuleWhen, TimeOfDayRange
from octoroute_py.core.catalog import Id
from octoroute_py.core.clock import iso
from octoroute_py.core.rules import (
    Conditions,
    CustomConditions,
    RuleTarget,
    TimeOfDay,
    TrafficSplit,
)
from octoroute_py.core.words import Importance, TaskType, Tier
from octoroute_py.manage.rules import Listed
from octoroute_py.routing.rulebook import Source

_DAY_MINUTES = 24 * 60


class FileConditions(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`when` of a rule of the configuration, as far as rules of the API have nothing like it."""

    min_tokens: int | UnsetType = UNSET
    max_tokens: int | UnsetType = UNSET
    task_type: tuple[TaskType, ...] | UnsetType = UNSET
    importance: tuple[Importance, ...] | UnsetType = UNSET
    model: tuple[str, ...] | UnsetType = UNSET
    pattern: str | UnsetType = UNSET
    has_tools: bool | UnsetType = UNSET
    has_images: bool | UnsetType = UNSET
    hours: tuple[str, ...] | UnsetType = UNSET
    timezone: str | UnsetType = UNSET


class RuleView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A rule. `tier` and `when` are those of a rule that is not of the API; such a one has no targets and no times."""

    id: str
    name: str
    description: str = ""
    source: Source
    priority: int
    enabled: bool
    conditions: Conditions
    when: FileConditions | UnsetType = UNSET
    tier: Tier | UnsetType = UNSET
    targets: tuple[RuleTarget, ...] = ()
    traffic_split: TrafficSplit | None = None
    rule_set: Id | None = None
    created_at: str | UnsetType = UNSET
    updated_at: str | UnsetType = UNSET
    warnings: list[str] | UnsetType = UNSET


class RuleList(msgspec.Struct, frozen=True, kw_only=True):
    """Rules in the order they are asked."""

    rules: list[RuleView]
    count: int


def view(listed: Listed, warnings: list[str] | None = None) -> RuleView:
    """A rule as it is told."""
    rule, document = listed.rule, listed.document
    if isinstance(rule, RuleConfig):
        return _of_file(listed, rule)
    return RuleView(
        source=listed.source,
        **msgspec.structs.asdict(rule),
        created_at=UNSET if document is None else iso(document.created_ms),
        updated_at=UNSET if document is None else iso(document.updated_ms),
        warnings=warnings or UNSET,
    )


def _of_file(listed: Listed, rule: RuleConfig) -> RuleView:
    when = rule.when
    told = _time_of_day(when)
    headers = CustomConditions(headers=dict(when.header)) if when.header else None
    rest = FileConditions(
        min_tokens=UNSET if when.min_tokens is None else when.min_tokens,
        max_tokens=UNSET if when.max_tokens is None else when.max_tokens,
        task_type=when.task_type or UNSET,
        importance=when.importance or UNSET,
        model=when.model or UNSET,
        pattern=UNSET if when.pattern is None else when.pattern,
        has_tools=UNSET if when.has_tools is None else when.has_tools,
        has_images=UNSET if when.has_images is None else when.has_images,
        hours=tuple(map(_range, when.hours)) if when.hours and told is None else UNSET,
        timezone=when.timezone if when.hours and told is None else UNSET,
    )
    return RuleView(
        id=listed.id,
        name=rule.name,
        source=listed.source,
        priority=rule.priority,
        enabled=rule.enabled,
        conditions=Conditions(time_of_day=told, custom_conditions=headers),
        when=UNSET if rest == FileConditions() else rest,
        tier=rule.tier,
    )


def _time_of_day(when: RuleWhen) -> TimeOfDay | None:
    """The hours, where they are one range: that is the same in both."""
    if len(when.hours) != 1:
        return None
    [only] = when.hours
    return TimeOfDay(
        start=_clock(only.start_minute), end=_clock(only.end_minute % _DAY_MINUTES), timezone=when.timezone
    )


def _range(hours: TimeOfDayRange) -> str:
    return f"{_clock(hours.start_minute)}-{_clock(hours.end_minute)}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
