"""The rule table: the operator's own rules by priority, then the built-in ones; the first that matches decides.

The built-in table is the one of octoroute 1.0.0 (contract §4), written as the same values a config file gives.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from octoroute_py.config.schema import RoutingConfig, RuleConfig, RuleWhen, TimeOfDayRange
from octoroute_py.core.clock import Wall
from octoroute_py.core.decision import Decision
from octoroute_py.core.errors import ConfigError
from octoroute_py.core.words import Importance, Reason, Strategy, TaskType, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.features.tasks import LOOKED_AT
from octoroute_py.routing.router import Inquiry

BUILT_IN: Final[tuple[RuleConfig, ...]] = (
    RuleConfig(
        name="casual_chat",
        tier=Tier.FAST,
        when=RuleWhen(
            task_type=(TaskType.CASUAL_CHAT,), max_tokens=255, importance=(Importance.LOW, Importance.NORMAL)
        ),
    ),
    RuleConfig(
        name="high_importance",
        tier=Tier.DEEP,
        when=RuleWhen(
            importance=(Importance.HIGH,),
            task_type=tuple(task_type for task_type in TaskType if task_type is not TaskType.CASUAL_CHAT),
        ),
    ),
    RuleConfig(
        name="analysis_or_creative",
        tier=Tier.DEEP,
        when=RuleWhen(task_type=(TaskType.DEEP_ANALYSIS, TaskType.CREATIVE_WRITING)),
    ),
    RuleConfig(name="code_long", tier=Tier.DEEP, when=RuleWhen(task_type=(TaskType.CODE,), min_tokens=1025)),
    RuleConfig(name="code", tier=Tier.BALANCED, when=RuleWhen(task_type=(TaskType.CODE,))),
    RuleConfig(
        name="mid_length_qa",
        tier=Tier.BALANCED,
        when=RuleWhen(task_type=(TaskType.QUESTION_ANSWER, TaskType.DOCUMENT_SUMMARY), min_tokens=200, max_tokens=2047),
    ),
)


_OPEN_ENDED: Final = re.compile(r"[*+]|\{\d*,\}")
_OPEN_ENDED_LOOKS_AT: Final = 2_048
"""A pattern such as `a.*b` takes time by the square of the text: 2 ms on so many characters, 130 ms on 16,384."""


class Condition(NamedTuple):
    """One `when.*` of a rule; `wants` says in words what it asks for, `holds` gets the facts and the wall clock."""

    key: str
    wants: str
    holds: Callable[[Facts, float], bool]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule ready to be asked; every condition must hold. `own` tells the operator's rules from the built-in ones."""

    name: str
    tier: Tier
    own: bool
    conditions: tuple[Condition, ...]
    decision: Decision

    def fails(self, facts: Facts, now: float) -> Condition | None:
        """The first condition that does not hold at wall-clock time `now` (seconds), None when the rule matches."""
        for condition in self.conditions:
            if not condition.holds(facts, now):
                return condition
        return None


class RuleRouter:
    """Decides by rules and abstains when none matches."""

    __slots__ = ("_rules", "_wall")

    def __init__(self, config: RoutingConfig, *, wall: Wall) -> None:
        self._rules = compile_rules(config.rules)
        self._wall = wall

    async def route(self, inquiry: Inquiry) -> Decision | None:
        """The tier of the first rule that matches."""
        facts = inquiry.facts
        now = self._wall()
        for rule in self._rules:
            if rule.fails(facts, now) is None:
                return rule.decision
        return None


def compile_rules(own: tuple[RuleConfig, ...]) -> tuple[Rule, ...]:
    """The enabled own rules, highest priority first (ties in file order), then the built-in table.

    Raises ConfigError for a pattern or a time zone that cannot be used.
    """
    ordered = sorted((rule for rule in own if rule.enabled), key=lambda rule: -rule.priority)
    return tuple(
        Rule(
            name=rule.name,
            tier=rule.tier,
            own=is_own,
            conditions=_conditions(rule.name, rule.when),
            decision=Decision(rule.tier, Strategy.RULE, Reason.RULE_MATCHED, rule=rule.name),
        )
        for rules, is_own in ((ordered, True), (BUILT_IN, False))
        for rule in rules
    )


def _conditions(name: str, when: RuleWhen) -> tuple[Condition, ...]:
    """The conditions that a rule gives, cheap ones first: a pattern is searched only when all others hold."""
    found = [*_of_words(when), *_of_size(when), *_of_content(when)]
    found += (_header(key, value) for key, value in when.header)
    if when.hours:
        found.append(_hours(name, when.hours, timezone=when.timezone))
    if when.pattern is not None:
        found.append(_pattern(name, when.pattern))
    return tuple(found)


def _of_words(when: RuleWhen) -> list[Condition]:
    found = []
    if when.task_type:
        task_types = frozenset(when.task_type)
        found.append(Condition("task_type", _one_of(when.task_type), lambda facts, now: facts.task_type in task_types))
    if when.importance:
        levels = frozenset(when.importance)
        found.append(Condition("importance", _one_of(when.importance), lambda facts, now: facts.importance in levels))
    if when.model:
        names = frozenset(name for name in when.model if not name.endswith("*"))
        prefixes = tuple(name[:-1] for name in when.model if name.endswith("*"))
        found.append(
            Condition(
                "model",
                _one_of(when.model),
                lambda facts, now: facts.model in names or facts.model.startswith(prefixes),
            )
        )
    return found


def _of_size(when: RuleWhen) -> list[Condition]:
    found = []
    least, most = when.min_tokens, when.max_tokens
    if least is not None:
        found.append(Condition("min_tokens", f"at least {least} tokens", lambda facts, now: facts.tokens >= least))
    if most is not None:
        found.append(Condition("max_tokens", f"at most {most} tokens", lambda facts, now: facts.tokens <= most))
    return found


def _of_content(when: RuleWhen) -> list[Condition]:
    found = []
    tools, images = when.has_tools, when.has_images
    if tools is not None:
        found.append(
            Condition("has_tools", "tools" if tools else "no tools", lambda facts, now: facts.has_tools is tools)
        )
    if images is not None:
        found.append(
            Condition("has_images", "images" if images else "no images", lambda facts, now: facts.has_images is images)
        )
    return found


def _header(name: str, value: str) -> Condition:
    return Condition("header", f"header {name}: {value}", lambda facts, now: facts.headers.get(name) == value)


def _pattern(rule: str, pattern: str) -> Condition:
    try:
        expression = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"routing.rules ({rule}): when.pattern is not a regular expression: {error}") from None
    looked_at = _OPEN_ENDED_LOOKS_AT if _OPEN_ENDED.search(pattern) is not None else LOOKED_AT
    return Condition(
        "pattern",
        f"the last user message matching {pattern}",
        lambda facts, now: expression.search(facts.last_user_text, 0, looked_at) is not None,
    )


def _hours(rule: str, hours: tuple[TimeOfDayRange, ...], *, timezone: str) -> Condition:
    try:
        zone = ZoneInfo(timezone)
    except (ValueError, OSError, KeyError):
        raise ConfigError(f"routing.rules ({rule}): when.timezone {timezone!r} is not a known time zone") from None

    def holds(facts: Facts, now: float) -> bool:
        local = datetime.fromtimestamp(now, zone)
        minute = local.hour * 60 + local.minute
        return any(in_range(minute, each) for each in hours)

    shown = ", ".join(f"{_clock(each.start_minute)}-{_clock(each.end_minute)}" for each in hours)
    return Condition("hours", f"the time within {shown} {timezone}", holds)


def in_range(minute: int, hours: TimeOfDayRange) -> bool:
    """Whether a minute of the day lies in the range; equal ends mean the whole day."""
    start, end = hours.start_minute, hours.end_minute
    return start <= minute < end if start < end else minute >= start or minute < end


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _one_of(words: tuple[str, ...]) -> str:
    return " or ".join(words)
