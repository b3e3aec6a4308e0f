"""What the rules of the configuration and those of the API ask for, as one kind of condition."""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from octoroute_py.config.schema import RuleWhen, TimeOfDayRange
from octoroute_py.core.errors import ConfigError
from octoroute_py.core.rules import Conditions, ContentLength, Matcher, Test, TimeOfDay, Wanted
from octoroute_py.features.metadata import as_text
from octoroute_py.features.tasks import LOOKED_AT
from octoroute_py.routing.daytime import clock, find_zone, minutes
from octoroute_py.routing.shapes import (
    ANYTHING,
    During,
    Has,
    Lacks,
    Place,
    Said,
    Search,
    Shape,
    Size,
    Values,
    Within,
    Word,
)

_OPEN_ENDED: Final = re.compile(r"[*+]|\{\d*,\}")
_OPEN_ENDED_LOOKS_AT: Final = 2_048
"""A pattern such as `a.*b` takes time by the square of the text: 2 ms on so many characters, 130 ms on 16,384."""
_SHOWN: Final = 10
"""Of a longer list of values only so many are told."""


class Condition(NamedTuple):
    """One thing a rule asks for; `key` is where it stands in the rule, `wants` says in words what it asks for."""

    key: str
    wants: str
    shape: Shape


def conditions_of_file(rule: str, when: RuleWhen) -> tuple[Condition, ...]:
    """The conditions of a rule of the configuration, cheap ones first: a pattern is searched when all others hold.

    Raises ConfigError, which names the rule, for a pattern or a time zone that cannot be used.
    """
    found = [*_words(when), *_sizes(when), *_content(when)]
    for name, value in when.header:
        one = Values(frozenset((value,)))
        found.append(Condition("header", f"header {name}: {value}", Has(Place.HEADERS, name, one)))
    if when.hours:
        zone = find_zone(when.timezone)
        if zone is None:
            raise ConfigError(f"routing.rules ({rule}): when.timezone {when.timezone!r} is not a known time zone")
        found.append(Condition("hours", _time(when.hours, when.timezone), During(when.hours, zone)))
    if when.pattern is not None:
        found.append(_pattern(rule, when.pattern))
    return tuple(found)


def _words(when: RuleWhen) -> Iterator[Condition]:
    if when.task_type:
        yield Condition("task_type", _one_of(when.task_type), Said(Word.TASK_TYPE, Values(frozenset(when.task_type))))
    if when.importance:
        levels = Values(frozenset(when.importance))
        yield Condition("importance", _one_of(when.importance), Said(Word.IMPORTANCE, levels))
    if when.model:
        names = frozenset(name for name in when.model if not name.endswith("*"))
        prefixes = tuple(name[:-1] for name in when.model if name.endswith("*"))
        yield Condition("model", _one_of(when.model), Said(Word.MODEL, Values(names, prefixes)))


def _sizes(when: RuleWhen) -> Iterator[Condition]:
    least, most = when.min_tokens, when.max_tokens
    if least is not None:
        yield Condition("min_tokens", f"at least {least} tokens", Within(Size.TOKENS, least, None))
    if most is not None:
        yield Condition("max_tokens", f"at most {most} tokens", Within(Size.TOKENS, None, most))


def _content(when: RuleWhen) -> Iterator[Condition]:
    for key, word, noun, wanted in (
        ("has_tools", Word.TOOLS, "tools", when.has_tools),
        ("has_images", Word.IMAGES, "images", when.has_images),
    ):
        if wanted is not None:
            yield Condition(key, noun if wanted else f"no {noun}", Said(word, Values(frozenset((wanted,)))))


def _pattern(rule: str, pattern: str) -> Condition:
    try:
        expression = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"routing.rules ({rule}): when.pattern is not a regular expression: {error}") from None
    looked_at = _OPEN_ENDED_LOOKS_AT if _OPEN_ENDED.search(pattern) is not None else LOOKED_AT
    return Condition("pattern", f"the last user message matching {pattern}", Search(expression, looked_at))


def conditions_of_api(conditions: Conditions) -> tuple[Condition, ...]:
    """The conditions of a rule that was set over the API. A time zone that is not known here never holds."""
    found = [*_labels(conditions)]
    if conditions.content_length is not None:
        found += _length(conditions.content_length)
    custom = conditions.custom_conditions
    if custom is not None:
        for name, test in custom.headers.items():
            found += _member(f"customConditions.headers.{name}", Place.HEADERS, name.lower(), test)
        for name, test in custom.metadata.items():
            found += _member(f"customConditions.metadata.{name}", Place.METADATA, name, test)
    if conditions.time_of_day is not None:
        found.append(_time_of_day(conditions.time_of_day))
    return tuple(found)


def _labels(conditions: Conditions) -> Iterator[Condition]:
    for key, word, wanted in (
        ("agentType", Word.AGENT_TYPE, conditions.agent_type),
        ("workspaceId", Word.WORKSPACE, conditions.workspace_id),
        ("requestType", Word.REQUEST_TYPE, conditions.request_type),
        ("userTier", Word.USER_TIER, conditions.user_tier),
    ):
        if wanted is not None:
            yield Condition(key, _one_of(wanted), Said(word, Values(frozenset(wanted))))


def _length(length: ContentLength) -> Iterator[Condition]:
    low, high = length.min, length.max
    if low is None and high is None:
        return
    bounds = [f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None)
    yield Condition("contentLength", f"{' and '.join(bounds)} characters", Within(Size.CHARACTERS, low, high))


def _time_of_day(time: TimeOfDay) -> Condition:
    hours = (TimeOfDayRange(minutes(time.start), minutes(time.end)),)
    zone = find_zone(time.timezone)
    unknown = "" if zone is not None else ", a time zone that is not known here"
    return Condition("timeOfDay", _time(hours, time.timezone) + unknown, During(hours, zone))


def _member(key: str, place: Place, name: str, test: Test) -> Iterator[Condition]:
    """A condition for each thing that a test asks of a member."""
    what = f"header {name}" if place is Place.HEADERS else f"metadata {name}"
    if not isinstance(test, Matcher):
        test = Matcher(any_of=test if isinstance(test, tuple) else (test,))
    if test.any_of is not None:
        wanted = _texts(test.any_of)
        yield Condition(key, f"{what}: {_one_of(wanted)}", Has(place, name, Values(frozenset(wanted))))
    if test.prefix is not None:
        wanted_start = Values(prefixes=(test.prefix,))
        yield Condition(key, f"{what} beginning with {test.prefix}", Has(place, name, wanted_start))
    if test.exists is True:
        yield Condition(key, what, Has(place, name, ANYTHING))
    if test.exists is False:
        yield Condition(key, f"no {what}", Lacks(place, name, ANYTHING))
    if test.none_of is not None:
        unwanted = _texts(test.none_of)
        yield Condition(key, f"{what} other than {_one_of(unwanted)}", Lacks(place, name, Values(frozenset(unwanted))))


def _texts(wanted: Iterable[Wanted]) -> tuple[str, ...]:
    return tuple(as_text(each) for each in wanted)


def _time(hours: tuple[TimeOfDayRange, ...], timezone: str) -> str:
    shown = ", ".join(f"{clock(each.start_minute)}-{clock(each.end_minute)}" for each in hours)
    return f"the time within {shown} {timezone}"


def _one_of(words: tuple[str, ...]) -> str:
    more = len(words) - _SHOWN
    return " or ".join(words[:_SHOWN]) + (f" or {more} more" if more > 0 else "")
