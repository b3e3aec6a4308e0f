"""`[[routing.rules]]` tables to rules."""

import re
import warnings
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from octoroute_py.config.fields import Table
from octoroute_py.config.schema import RuleConfig, RuleWhen, TimeOfDayRange
from octoroute_py.core.words import Importance, TaskType, Tier

_RANGE = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]|24):([0-5]\d)")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_DAY = 24 * 60


def read_rules(routing: Table) -> tuple[RuleConfig, ...]:
    """Every rule in file order; what is wrong with them is noted."""
    rules: list[RuleConfig] = []
    names: set[str] = set()
    for table in routing.tables("rules"):
        table.require("name")
        table.require("tier")
        name = table.label("name")
        if name in names:
            table.problem("name", "is already the name of another rule")
        elif name is not None:
            names.add(name)
        rules.append(
            RuleConfig(
                name=name or "",
                tier=table.choice("tier", Tier, Tier.BALANCED),
                priority=table.integer("priority", 0, low=-(2**31), high=2**31 - 1),
                enabled=table.flag("enabled", True),
                when=_when(table.table("when")),
            )
        )
    return tuple(rules)


def _when(table: Table) -> RuleWhen:
    low = table.integer("min_tokens", None, low=0)
    high = table.integer("max_tokens", None, low=0)
    if low is not None and high is not None and low > high:
        table.problem("min_tokens", "is above max_tokens", hint="no request can match")
    return RuleWhen(
        min_tokens=low,
        max_tokens=high,
        task_type=table.words("task_type", TaskType),
        importance=table.words("importance", Importance),
        model=tuple(text for _, text in table.strings("model")),
        header=_header(table.table("header")),
        pattern=_pattern(table),
        has_tools=table.flag("has_tools", None),
        has_images=table.flag("has_images", None),
        hours=_hours(table),
        timezone=_timezone(table),
    )


def _header(table: Table) -> tuple[tuple[str, str], ...]:
    wanted: list[tuple[str, str]] = []
    for name in table.names():
        value = table.value(name)
        if not _HEADER_NAME.fullmatch(name):
            table.problem(name, "is no header name")
        elif not isinstance(value, str) or not value.isprintable():
            table.problem(name, "must be a string of one line")
        else:
            wanted.append((name.lower(), value))
    return tuple(wanted)


def _pattern(table: Table) -> str | None:
    pattern = table.string("pattern")
    if pattern is None:
        return None
    try:
        with warnings.catch_warnings():
            # "possible nested set" and the like: not wrong, and not for the operator's terminal
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except re.error as error:
        at = "" if error.pos is None else f" at character {error.pos + 1}"
        table.problem("pattern", f"is no valid regular expression{at}")
        return None
    except (RecursionError, OverflowError):
        table.problem("pattern", "is too deeply nested")
        return None
    return pattern


def _hours(table: Table) -> tuple[TimeOfDayRange, ...]:
    ranges = []
    for where, text in table.strings("hours"):
        match = _RANGE.fullmatch(text.strip())
        if match is None:
            table.problem_at(where, "must be a time of day range", hint='as in "22:00-06:00"')
            continue
        start_hour, start_minute, end_hour, end_minute = map(int, match.groups())
        start, end = start_hour * 60 + start_minute, end_hour * 60 + end_minute
        if end > _DAY:
            table.problem_at(where, "ends after 24:00")
        elif start == end:
            table.problem_at(where, "starts and ends at the same minute", hint='the whole day is "00:00-24:00"')
        else:
            ranges.append(TimeOfDayRange(start, end))
    return tuple(ranges)


def _timezone(table: Table) -> str:
    name = table.string("timezone")
    if name is None:
        return "UTC"
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        table.problem("timezone", "is no known time zone", hint='an IANA name such as "Europe/Berlin"')
        return "UTC"
    return name
