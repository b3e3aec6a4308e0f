"""What is wrong with a rule that each of its fields allows: what no request can match, and what says two things."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Final

from octoroute_py.core.rules import Conditions, Matcher, RoutingRule, RuleTarget, Test, TrafficSplit
from octoroute_py.features.facts import CREDENTIALS
from octoroute_py.routing.daytime import find_zone

Problem = tuple[str, str]
"""The field to blame, as a path in the rule's JSON, and a sentence for whoever sent it."""

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_WHOLE: Final = 100.0


def problems(rule: RoutingRule) -> list[Problem]:
    """Everything that is wrong with a rule, in the order of its fields; nothing for one that can be used."""
    found: list[Problem] = []
    if not rule.name.strip():
        found.append(("name", "'name' must not be blank."))
    found += (_told(f"conditions.{path}", what) for path, what in _of_conditions(rule.conditions))
    found += (_told(path, what) for path, what in _of_targets(rule.targets))
    if rule.traffic_split is not None:
        found += (_told(path, what) for path, what in _of_split(rule.traffic_split, targets=len(rule.targets)))
    return found


def _told(path: str, what: str) -> Problem:
    return path, f"'{path}' {what}."


def _of_conditions(conditions: Conditions) -> Iterator[Problem]:
    length, time, custom = conditions.content_length, conditions.time_of_day, conditions.custom_conditions
    if length is not None and length.min is not None and length.max is not None and length.min > length.max:
        yield "contentLength.min", "is above 'max': no request can match"
    if time is not None and find_zone(time.timezone) is None:
        yield "timeOfDay.timezone", "is no known time zone; an IANA name such as Europe/Berlin is"
    if custom is not None:
        yield from _of_headers(custom.headers)
        for name, test in custom.metadata.items():
            yield from _of_test(f"customConditions.metadata.{name}", test)


def _of_headers(headers: Mapping[str, Test]) -> Iterator[Problem]:
    seen: set[str] = set()
    for name, test in headers.items():
        path, lower = f"customConditions.headers.{name}", name.lower()
        if not _HEADER_NAME.fullmatch(name):
            yield path, "is no name of a header"
        elif lower in CREDENTIALS:
            yield path, "is a credential, which rules do not see"
        elif lower in seen:
            yield path, "stands there twice; case makes no difference in the names of headers"
        seen.add(lower)
        yield from _of_test(path, test)


def _of_test(path: str, test: Test) -> Iterator[Problem]:
    if not isinstance(test, Matcher):
        return
    wanted = test.any_of is not None or test.prefix is not None
    if not wanted and test.none_of is None and test.exists is None:
        yield path, "asks for nothing; give anyOf, noneOf, prefix or exists"
    if wanted and test.exists is False:
        yield f"{path}.exists", "cannot be false where anyOf or prefix ask for a value: no request can match"


def _of_targets(targets: tuple[RuleTarget, ...]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, target in enumerate(targets):
        if target.model_id != target.model_id.strip():
            yield f"targets[{index}].modelId", "must not have blanks around it"
        elif target.model_id in seen:
            yield f"targets[{index}].modelId", "is a target already"
        seen.add(target.model_id)
    if all(target.weight == 0 for target in targets):
        yield "targets", "need one with a weight above 0, or one without a weight"


def _of_split(split: TrafficSplit, *, targets: int) -> Iterator[Problem]:
    if not math.isclose(split.primary + split.canary, _WHOLE, abs_tol=1e-9):
        yield "trafficSplit", "must sum to 100"
    if targets < 2:
        yield "trafficSplit", "needs two targets: the first is the primary, the second the canary"
