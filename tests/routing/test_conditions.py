"""What each condition of the API asks of a request; those of the configuration are in test_rules.py."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from octoroute_py.core.rules import Conditions, RequestType
from octoroute_py.core.words import Importance, TaskType
from octoroute_py.features.facts import Facts
from octoroute_py.routing.conditions import conditions_of_api


def facts(**given: Any) -> Facts:
    return Facts(**{"tokens": 1, "importance": Importance.NORMAL, "task_type": TaskType.CODE, **given})


def read(**given: Any) -> Conditions:
    """Conditions as they come in a body."""
    return msgspec.json.decode(msgspec.json.encode(given), type=Conditions)


def holds(request: Facts, *, at: float = 0.0, **given: Any) -> bool:
    return all(condition.shape.holds(request, at) for condition in conditions_of_api(read(**given)))


def wants(**given: Any) -> list[tuple[str, str]]:
    return [(condition.key, condition.wants) for condition in conditions_of_api(read(**given))]


def test_nothing_asked_holds_for_all() -> None:
    assert holds(facts())
    assert holds(facts(), customConditions={"headers": {}, "metadata": {}}, contentLength={})


@pytest.mark.parametrize(
    ("key", "fact", "good", "bad"),
    [
        ("agentType", "agent_type", "coder", "Coder"),
        ("workspaceId", "workspace", "shop", "default"),
        ("userTier", "user_tier", "gold", ""),
        ("requestType", "request_type", RequestType.ANALYSIS, RequestType.CHAT),
    ],
)
def test_words_are_one_of_a_list(key: str, fact: str, good: str, bad: str) -> None:
    given: dict[str, Any] = {key: [RequestType.EMBEDDING if fact == "request_type" else "other", good]}
    assert holds(facts(**{fact: good}), **given)
    assert not holds(facts(**{fact: bad}), **given)


def test_lengths_are_characters_with_both_bounds_included() -> None:
    lengths = [0, 9, 10, 20, 21]
    found = {
        name: [length for length in lengths if holds(facts(characters=length), contentLength=bounds)]
        for name, bounds in (("both", {"min": 10, "max": 20}), ("min", {"min": 10}), ("max", {"max": 20}))
    }
    assert found == {"both": [10, 20], "min": [10, 20, 21], "max": [0, 9, 10, 20]}
    assert not holds(facts(tokens=15, characters=5), contentLength={"min": 10})
    assert holds(facts(characters=0), contentLength={"max": 0})


def moment(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("09:00", "17:00", ["09:00", "16:59"]),
        ("22:00", "06:00", ["00:00", "05:59", "22:00", "23:59"]),
        ("00:00", "00:00", ["00:00", "05:59", "06:00", "08:59", "09:00", "16:59", "17:00", "22:00", "23:59"]),
        ("17:00", "17:00", ["00:00", "05:59", "06:00", "08:59", "09:00", "16:59", "17:00", "22:00", "23:59"]),
        ("22:00", "00:00", ["22:00", "23:59"]),
    ],
)
def test_times_of_day_may_cross_midnight_and_equal_ends_are_the_whole_day(
    start: str, end: str, expected: list[str]
) -> None:
    times = ["00:00", "05:59", "06:00", "08:59", "09:00", "16:59", "17:00", "22:00", "23:59"]
    given = {"start": start, "end": end, "timezone": "Asia/Kathmandu"}
    held = [t for t in times if holds(facts(), at=moment(f"2026-05-05T{t}", "Asia/Kathmandu"), timeOfDay=given)]
    assert held == expected


def test_the_time_is_that_of_the_zone_on_days_that_change_it() -> None:
    night = {"start": "02:00", "end": "03:00", "timezone": "Europe/Berlin"}
    hours = [moment(f"2026-03-29T{hour:02}:30") for hour in range(3)]
    assert [holds(facts(), at=at, timeOfDay=night) for at in hours] == [False, False, False]
    hours = [moment(f"2026-10-25T{hour:02}:30") for hour in range(3)]
    assert [holds(facts(), at=at, timeOfDay=night) for at in hours] == [True, True, False]


def test_a_zone_that_is_not_known_here_never_holds_and_says_so() -> None:
    given = {"start": "00:00", "end": "00:00", "timezone": "Mars/Base"}
    assert not holds(facts(), timeOfDay=given)
    assert wants(timeOfDay=given) == [
        ("timeOfDay", "the time within 00:00-00:00 Mars/Base, a time zone that is not known here")
    ]


TESTED = facts(headers={"x-app": "shop-2"}, metadata={"plan": "pro", "seats": "5", "beta": "true", "Plan": "x"})


@pytest.mark.parametrize(
    ("place", "test", "expected"),
    [
        ("headers", {"X-App": "shop-2"}, True),
        ("headers", {"x-app": "Shop-2"}, False),
        ("headers", {"x-other": "shop-2"}, False),
        ("headers", {"X-APP": ["a", "shop-2"]}, True),
        ("headers", {"x-app": {"prefix": "shop"}}, True),
        ("headers", {"x-app": {"prefix": "hop"}}, False),
        ("headers", {"x-app": {"prefix": "shop", "noneOf": ["shop-2"]}}, False),
        ("headers", {"x-app": {"exists": True}, "x-other": {"exists": False}}, True),
        ("headers", {"x-app": {"exists": False}}, False),
        ("headers", {"x-other": {"exists": True}}, False),
        ("headers", {"x-other": {"noneOf": ["a"]}}, True),
        ("metadata", {"plan": "pro"}, True),
        ("metadata", {"PLAN": "pro"}, False),
        ("metadata", {"seats": 5}, True),
        ("metadata", {"seats": 5.0}, True),
        ("metadata", {"seats": "5"}, True),
        ("metadata", {"seats": [4, 6]}, False),
        ("metadata", {"beta": True}, True),
        ("metadata", {"beta": "true"}, True),
        ("metadata", {"beta": False}, False),
        ("metadata", {"beta": 1}, False),
        ("metadata", {"plan": {"anyOf": ["free", "pro"], "noneOf": [5]}, "seats": {"noneOf": [6]}}, True),
        ("metadata", {"plan": "pro", "seats": 6}, False),
    ],
)
def test_headers_and_members_of_the_metadata(place: str, test: dict[str, Any], expected: bool) -> None:
    assert holds(TESTED, customConditions={place: test}) is expected


def test_each_says_where_it_stands_and_what_it_wants() -> None:
    assert wants(
        agentType=["a", "b"],
        contentLength={"min": 1, "max": 9},
        userTier=[f"t{number}" for number in range(13)],
        customConditions={
            "headers": {"X-App": ["a", 5]},
            "metadata": {"m": {"prefix": "p", "noneOf": [True, "c"]}, "n": {"exists": True}, "o": {"exists": False}},
        },
        timeOfDay={"start": "22:00", "end": "06:00", "timezone": "Europe/Berlin"},
    ) == [
        ("agentType", "a or b"),
        ("userTier", "t0 or t1 or t2 or t3 or t4 or t5 or t6 or t7 or t8 or t9 or 3 more"),
        ("contentLength", "at least 1 and at most 9 characters"),
        ("customConditions.headers.X-App", "header x-app: a or 5"),
        ("customConditions.metadata.m", "metadata m beginning with p"),
        ("customConditions.metadata.m", "metadata m other than true or c"),
        ("customConditions.metadata.n", "metadata n"),
        ("customConditions.metadata.o", "no metadata o"),
        ("timeOfDay", "the time within 22:00-06:00 Europe/Berlin"),
    ]
