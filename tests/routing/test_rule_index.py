"""The index finds what asking every rule finds."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.config.schema import RuleConfig, RuleWhen, TimeOfDayRange
from octoroute_py.core.rules import (
    Conditions,
    ContentLength,
    CustomConditions,
    Matcher,
    RequestType,
    RoutingRule,
    RuleTarget,
    Test,
    TimeOfDay,
)
from octoroute_py.core.words import Importance, TaskType, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.routing.daytime import clock, find_zone, local_minute
from octoroute_py.routing.rule_index import MOST_SLOTS, RuleIndex
from octoroute_py.routing.rulebook import Rule, Rulebook, compile_rulebook

TARGETS = (RuleTarget(model_id="m"),)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Mars/Base",
)
MOMENTS = [
    datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    for text in (
        "2026-01-10T00:00",
        "2026-01-10T23:59",
        "2026-03-29T00:59",  # Berlin goes to summer time at 01:00
        "2026-03-29T01:00",
        "2026-10-25T00:59",  # and back
        "2026-10-25T01:00",
        "2026-03-08T06:59",  # New York
        "2026-03-08T07:00",
        "2026-04-04T14:59",  # Lord Howe, by half an hour
        "2026-04-04T15:00",
    )
]
NAMES = ("a", "b", "c", "d", "e", "f")
words = st.sampled_from(["x", "xy", "xyz", "y", "", "5", "true"])
wanted_words = st.lists(words, min_size=1, max_size=3).map(tuple)
minutes = st.sampled_from([0, 1, 59, 60, 90, 120, 180, 719, 720, 1380, 1439])
clocks = minutes.map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
bounds = st.none() | st.sampled_from([0, 1, 5, 10, 11, 100])
values = words | st.booleans() | st.sampled_from([5, 5.0, 0.5, -1])


def some(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


matchers = st.builds(
    Matcher,
    any_of=some(st.lists(values, min_size=1, max_size=3).map(tuple)),
    none_of=some(st.lists(values, min_size=1, max_size=3).map(tuple)),
    prefix=some(st.sampled_from(["x", "xy", "5"])),
    exists=some(st.booleans()),
)
tests: st.SearchStrategy[Test] = values | st.lists(values, min_size=1, max_size=3).map(tuple) | matchers
members = st.dictionaries(st.sampled_from(NAMES), tests, max_size=1)
some_times = some(st.builds(TimeOfDay, start=clocks, end=clocks, timezone=st.sampled_from(ZONES)))
api_conditions = st.builds(
    Conditions,
    agent_type=some(wanted_words),
    workspace_id=some(wanted_words),
    request_type=some(st.lists(st.sampled_from(RequestType), min_size=1, max_size=2).map(tuple)),
    content_length=some(st.builds(ContentLength, min=bounds, max=bounds)),
    time_of_day=some_times,
    user_tier=some(wanted_words),
    custom_conditions=some(st.builds(CustomConditions, headers=members, metadata=members)),
)
ranges = st.builds(TimeOfDayRange, minutes, minutes | st.just(1440)).filter(
    lambda each: each.start_minute != each.end_minute
)
file_conditions = st.builds(
    RuleWhen,
    min_tokens=bounds,
    max_tokens=bounds,
    task_type=st.just(()) | st.lists(st.sampled_from(TaskType), max_size=2).map(tuple),
    importance=st.just(()) | st.lists(st.sampled_from(Importance), max_size=2).map(tuple),
    model=st.lists(st.sampled_from(["auto", "a*", "*", "fast"]), max_size=2).map(tuple),
    header=st.lists(st.tuples(st.sampled_from(NAMES), words), max_size=2).map(tuple),
    pattern=st.none() | st.sampled_from(["x", "^y$"]),
    has_tools=some(st.booleans()),
    has_images=some(st.booleans()),
    hours=st.lists(ranges, max_size=2).map(tuple),
    timezone=st.sampled_from(ZONES[:-1]),
)
texts = st.dictionaries(st.sampled_from(NAMES), words, min_size=2)
requests = st.builds(
    Facts,
    tokens=st.sampled_from([0, 1, 4, 5, 6, 99, 100, 101]),
    characters=st.sampled_from([0, 1, 4, 5, 6, 9, 10, 11, 12, 99, 100, 101]),
    importance=st.sampled_from(Importance),
    task_type=st.sampled_from(TaskType),
    model=st.sampled_from(["auto", "Auto", "fast"]),
    has_tools=st.booleans(),
    has_images=st.booleans(),
    headers=texts,
    metadata=texts,
    last_user_text=words,
    agent_type=words,
    workspace=words,
    user_tier=words,
    request_type=st.sampled_from(RequestType),
)
moments = st.sampled_from(MOMENTS) | st.floats(1.5e9, 2.5e9)


@st.composite
def about_members(draw: st.DrawFn, given: dict[str, str]) -> dict[str, Test]:
    """Tests that these members pass, or one of which they fail."""
    asked: dict[str, Test] = {}
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=MOST_SLOTS + 2))
    spoilt = draw(st.sampled_from([None, None, *names]))
    for name in names:
        value = given.get(name)
        if value is None:
            passed: list[Test] = [Matcher(exists=False), Matcher(none_of=("x", "y"))]
            failed: list[Test] = [Matcher(exists=True), "x"]
        else:
            passed = [value, (value, "other"), Matcher(exists=True), Matcher(none_of=("other",), any_of=(value,))]
            passed += [Matcher(prefix=value[:1])] * bool(value)
            failed = ["other", Matcher(exists=False), Matcher(none_of=(value,)), Matcher(prefix=f"{value}x")]
        asked[name] = draw(st.sampled_from(failed if name == spoilt else passed))
    return asked


@st.composite
def about_now(draw: st.DrawFn, now: float) -> TimeOfDay:
    """Times of day that begin and end around now."""
    zone = draw(st.sampled_from(ZONES))
    here = find_zone(zone)
    minute = 0 if here is None else local_minute(now, here)
    ends = st.sampled_from([-1, 0, 1, 700]).map(lambda by: clock((minute + by) % 1440))
    return TimeOfDay(start=draw(ends), end=draw(ends), timezone=zone)


@st.composite
def about(draw: st.DrawFn, facts: Facts, now: float) -> Conditions:
    """Conditions that hold for these facts at this time, or nearly do."""
    length = facts.characters + draw(st.sampled_from([0, 0, 1]))
    headers, metadata = draw(about_members(facts.headers)), draw(about_members(facts.metadata))
    return Conditions(
        agent_type=draw(st.sampled_from([None, None, (facts.agent_type, "other")])),
        request_type=draw(st.sampled_from([None, None, (facts.request_type,)])),
        content_length=draw(
            st.sampled_from(
                [None, ContentLength(min=length), ContentLength(max=length), ContentLength(min=1, max=length)]
            )
        ),
        time_of_day=draw(st.none() | about_now(now)),
        custom_conditions=draw(
            st.sampled_from(
                [None, CustomConditions(headers=headers), CustomConditions(headers=headers, metadata=metadata)]
            )
        ),
    )


@st.composite
def books(draw: st.DrawFn, facts: Facts, now: float) -> Rulebook:
    """Rules of which some match and some nearly do."""
    priorities = st.integers(-1, 1)
    file = tuple(
        RuleConfig(name=f"f{index}", tier=Tier.FAST, priority=draw(priorities), when=when)
        for index, when in enumerate(draw(st.lists(file_conditions, max_size=4)))
    )
    api = [
        RoutingRule(id=f"a{index}", name="a", priority=draw(priorities), conditions=asked, targets=TARGETS)
        for index, asked in enumerate(draw(st.lists(about(facts, now) | api_conditions, max_size=12)))
    ]
    return compile_rulebook(file, api, file_rules=True)


def one_by_one(rules: tuple[Rule, ...], facts: Facts, now: float) -> Iterator[Rule]:
    return (rule for rule in rules if rule.fails(facts, now) is None)


@given(st.data(), requests, requests, moments)
@settings(max_examples=150, deadline=None)
def test_the_index_finds_the_rules_that_match_in_their_order(
    data: st.DataObject, facts: Facts, other: Facts, now: float
) -> None:
    book = data.draw(books(facts, now))
    for each in (facts, other):
        assert list(book.matching(each, now)) == list(one_by_one(book.rules, each, now))


@given(st.data(), requests, moments, st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_bounds_that_are_too_many_to_tell_apart_are_asked(
    data: st.DataObject, facts: Facts, now: float, most_cuts: int
) -> None:
    book = data.draw(books(facts, now))
    index = RuleIndex([rule.conditions for rule in book.rules], most_cuts=most_cuts)
    may = index.may_match(facts, now)
    found = [
        rule
        for place, rule in enumerate(book.rules)
        if may >> place & 1 and all(condition.shape.holds(facts, now) for condition in index.rest[place])
    ]
    assert found == list(one_by_one(book.rules, facts, now))


def test_a_thousand_rules_are_found_as_a_few_are() -> None:
    rng = random.Random(3)

    def conditions() -> Conditions:
        low = rng.randrange(900)
        kinds: list[dict[str, Any]] = [
            {"agent_type": tuple(f"agent-{rng.randrange(50)}" for _ in range(rng.randint(1, 5)))},
            {"content_length": ContentLength(min=low, max=low + rng.randrange(200))},
            {"time_of_day": TimeOfDay(start=f"{rng.randrange(24):02}:30", end="12:00", timezone=rng.choice(ZONES))},
            {"custom_conditions": CustomConditions(headers={f"h{rng.randrange(9)}": f"v{rng.randrange(4)}"})},
            {"custom_conditions": CustomConditions(metadata={"m": Matcher(none_of=(f"v{rng.randrange(4)}",))})},
        ]
        return Conditions(**{key: value for each in rng.sample(kinds, 2) for key, value in each.items()})

    api = [
        RoutingRule(id=str(n), name="a", priority=rng.randrange(9), conditions=conditions(), targets=TARGETS)
        for n in range(1_000)
    ]
    book = compile_rulebook((), api, file_rules=True)
    most = 0
    for _ in range(40):
        facts = Facts(
            tokens=1,
            importance=Importance.NORMAL,
            task_type=TaskType.CODE,
            characters=rng.randrange(1_000),
            agent_type=f"agent-{rng.randrange(50)}",
            headers={f"h{n}": f"v{rng.randrange(4)}" for n in range(9)},
            metadata={"m": f"v{rng.randrange(4)}"},
        )
        now = 1.79e9 + rng.randrange(86_400)
        found = list(book.matching(facts, now))
        assert found == list(one_by_one(book.rules, facts, now))
        most = max(most, len(found))
    assert most > 50
