from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from octoroute_py.config.schema import RuleConfig, RuleWhen, TimeOfDayRange
from octoroute_py.core.decision import Decision
from octoroute_py.core.errors import ConfigError
from octoroute_py.core.words import Importance, Reason, Strategy, TaskType, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.routing.daytime import in_range
from octoroute_py.routing.router import Inquiry
from octoroute_py.routing.rulebook import compile_rulebook
from octoroute_py.routing.rules import RuleRouter

LOW, NORMAL, HIGH = Importance.LOW, Importance.NORMAL, Importance.HIGH
CASUAL, CODE, QA = TaskType.CASUAL_CHAT, TaskType.CODE, TaskType.QUESTION_ANSWER
SUMMARY, ANALYSIS, CREATIVE = TaskType.DOCUMENT_SUMMARY, TaskType.DEEP_ANALYSIS, TaskType.CREATIVE_WRITING
FAST, BALANCED, DEEP = Tier.FAST, Tier.BALANCED, Tier.DEEP


def facts(tokens: int = 10, *, importance: Importance = NORMAL, task_type: TaskType = QA) -> Facts:
    return Facts(tokens=tokens, importance=importance, task_type=task_type)


async def decide(facts: Facts, *rules: RuleConfig, at: float = 0.0) -> Decision | None:
    for rule in compile_rulebook(rules, (), file_rules=True).matching(facts, at):
        return rule.decision
    return await RuleRouter(wall=lambda: at).route(Inquiry(facts))


async def matches(when: RuleWhen, facts: Facts, *, at: float = 0.0) -> bool:
    decision = await decide(facts, RuleConfig(name="own", tier=DEEP, when=when), at=at)
    return decision is not None and decision.rule == "own"


@pytest.mark.parametrize(
    ("task_type", "tokens", "importance", "expected"),
    [
        (CASUAL, 0, NORMAL, (FAST, "casual_chat")),
        (CASUAL, 255, LOW, (FAST, "casual_chat")),
        (CASUAL, 256, NORMAL, None),
        (CASUAL, 10, HIGH, None),
        (QA, 10, HIGH, (DEEP, "high_importance")),
        (SUMMARY, 5000, HIGH, (DEEP, "high_importance")),
        (CODE, 10, HIGH, (DEEP, "high_importance")),
        (ANALYSIS, 0, LOW, (DEEP, "analysis_or_creative")),
        (CREATIVE, 9999, NORMAL, (DEEP, "analysis_or_creative")),
        (CODE, 0, NORMAL, (BALANCED, "code")),
        (CODE, 1024, LOW, (BALANCED, "code")),
        (CODE, 1025, NORMAL, (DEEP, "code_long")),
        (QA, 199, NORMAL, None),
        (QA, 200, NORMAL, (BALANCED, "mid_length_qa")),
        (SUMMARY, 2047, LOW, (BALANCED, "mid_length_qa")),
        (SUMMARY, 2048, NORMAL, None),
    ],
)
async def test_built_in_table(
    task_type: TaskType, tokens: int, importance: Importance, expected: tuple[Tier, str] | None
) -> None:
    decision = await decide(facts(tokens, importance=importance, task_type=task_type))
    assert (decision and (decision.tier, decision.rule)) == expected
    if decision is not None:
        assert (decision.strategy, decision.reason) == (Strategy.RULE, Reason.RULE_MATCHED)


async def test_own_rules_come_before_the_built_in_ones() -> None:
    decision = await decide(facts(task_type=CODE), RuleConfig(name="all", tier=FAST))
    assert decision == Decision(FAST, Strategy.RULE, Reason.RULE_MATCHED, rule="all", rule_id="config:all")


async def test_higher_priority_first_and_file_order_among_equals() -> None:
    rules = [
        RuleConfig(name=name, tier=FAST, priority=each) for name, each in [("a", -1), ("b", 5), ("c", 5), ("d", 0)]
    ]
    assert [rule.name for rule in compile_rulebook(tuple(rules), (), file_rules=True).rules] == ["b", "c", "d", "a"]


async def test_disabled_rules_are_skipped() -> None:
    assert await decide(facts(), RuleConfig(name="off", tier=FAST, enabled=False)) is None


async def test_token_bounds_are_inclusive() -> None:
    when = RuleWhen(min_tokens=5, max_tokens=7)
    assert [n for n in range(3, 10) if await matches(when, facts(n))] == [5, 6, 7]


async def test_words_are_lists_of_which_one_must_be_given() -> None:
    when = RuleWhen(task_type=(CODE, ANALYSIS), importance=(LOW, HIGH))
    assert await matches(when, facts(task_type=CODE, importance=LOW))
    assert await matches(when, facts(task_type=ANALYSIS, importance=HIGH))
    assert not await matches(when, facts(task_type=CODE, importance=NORMAL))
    assert not await matches(when, facts(task_type=QA, importance=LOW))


@pytest.mark.parametrize(
    ("model", "expected"), [("auto", True), ("gpt-4o", True), ("gpt-", True), ("AUTO", False), ("gpt", False)]
)
async def test_model_is_an_exact_name_or_a_prefix(model: str, expected: bool) -> None:
    request = Facts(tokens=1, importance=NORMAL, task_type=QA, model=model)
    assert await matches(RuleWhen(model=("auto", "gpt-*")), request) is expected


async def test_all_headers_must_be_there_with_their_values() -> None:
    when = RuleWhen(header=(("x-app", "shop"), ("x-team", "blue")))

    def sent(**headers: str) -> Facts:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Facts(tokens=1, importance=NORMAL, task_type=QA, headers=named)

    assert await matches(when, sent(x_app="shop", x_team="blue", other="1"))
    assert not await matches(when, sent(x_app="shop"))
    assert not await matches(when, sent(x_app="Shop", x_team="blue"))


async def test_a_pattern_is_searched_in_the_last_user_message() -> None:
    when = RuleWhen(pattern=r"(?i)invoice \d+")
    assert await matches(when, Facts(tokens=1, importance=NORMAL, task_type=QA, last_user_text="my Invoice 12?"))
    assert not await matches(when, Facts(tokens=1, importance=NORMAL, task_type=QA, last_user_text="my invoice"))


@pytest.mark.parametrize(("pattern", "seen"), [("fox", 16_381), ("fo{1,2}x", 16_381), ("fo+x", 2_045), ("f.*x", 2_045)])
async def test_an_open_ended_pattern_looks_at_less_text(pattern: str, seen: int) -> None:
    def with_fox_at(start: int) -> Facts:
        return Facts(tokens=1, importance=NORMAL, task_type=QA, last_user_text=" " * start + "fox")

    assert await matches(RuleWhen(pattern=pattern), with_fox_at(seen))
    assert not await matches(RuleWhen(pattern=pattern), with_fox_at(seen + 1))


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("given", [True, False])
async def test_tools_and_images_may_be_asked_for_or_ruled_out(wanted: bool, given: bool) -> None:
    tools = Facts(tokens=1, importance=NORMAL, task_type=QA, has_tools=given)
    images = Facts(tokens=1, importance=NORMAL, task_type=QA, has_images=given)
    assert await matches(RuleWhen(has_tools=wanted), tools) is (wanted is given)
    assert await matches(RuleWhen(has_images=wanted), images) is (wanted is given)


def moment(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("time", "expected"),
    [("21:59", False), ("22:00", True), ("23:59", True), ("00:00", True), ("05:59", True), ("06:00", False)],
)
async def test_hours_cross_midnight(time: str, expected: bool) -> None:
    when = RuleWhen(hours=(TimeOfDayRange(22 * 60, 6 * 60),))
    assert await matches(when, facts(), at=moment(f"2026-01-10T{time}")) is expected


async def test_any_of_several_hours_will_do() -> None:
    when = RuleWhen(hours=(TimeOfDayRange(60, 120), TimeOfDayRange(180, 1440)))
    times = ["00:59", "01:00", "01:59", "02:00", "02:59", "03:00", "23:59"]
    held = [time for time in times if await matches(when, facts(), at=moment(f"2026-01-10T{time}"))]
    assert held == ["01:00", "01:59", "03:00", "23:59"]


@pytest.mark.parametrize(
    ("utc", "expected"),
    [
        ("2026-01-15T07:30", False),  # 08:30 in Berlin
        ("2026-01-15T08:00", True),
        ("2026-07-15T06:59", False),
        ("2026-07-15T07:00", True),  # summer time: 09:00 in Berlin
        ("2026-07-15T15:00", False),
        ("2026-01-15T15:59", True),
    ],
)
async def test_hours_follow_the_summer_time_of_their_zone(utc: str, expected: bool) -> None:
    when = RuleWhen(hours=(TimeOfDayRange(9 * 60, 17 * 60),), timezone="Europe/Berlin")
    assert await matches(when, facts(), at=moment(utc)) is expected


async def test_the_hour_that_comes_twice_matches_twice() -> None:
    when = RuleWhen(hours=(TimeOfDayRange(2 * 60, 3 * 60),), timezone="Europe/Berlin")
    first, second = moment("2026-10-25T00:30"), moment("2026-10-25T01:30")
    assert await matches(when, facts(), at=first)
    assert await matches(when, facts(), at=second)
    assert not await matches(when, facts(), at=second + 1800)


def test_a_range_with_equal_ends_is_the_whole_day() -> None:
    assert all(in_range(minute, TimeOfDayRange(540, 540)) for minute in (0, 539, 540, 1439))


async def test_every_condition_must_hold() -> None:
    when = RuleWhen(min_tokens=5, task_type=(CODE,), model=("auto",), has_tools=False, pattern="x")
    request = Facts(tokens=5, importance=NORMAL, task_type=CODE, last_user_text="x")
    assert await matches(when, request)
    assert not await matches(when, Facts(tokens=5, importance=NORMAL, task_type=CODE, last_user_text="y"))
    assert not await matches(when, Facts(tokens=4, importance=NORMAL, task_type=CODE, last_user_text="x"))


@pytest.mark.parametrize(
    ("when", "words"),
    [
        (RuleWhen(pattern="("), "pattern"),
        (RuleWhen(hours=(TimeOfDayRange(0, 1),), timezone="Mars/Base"), "timezone"),
        (RuleWhen(hours=(TimeOfDayRange(0, 1),), timezone="../etc"), "timezone"),
    ],
)
def test_a_rule_that_cannot_be_used_is_named(when: RuleWhen, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"\(odd\).*{words}"):
        compile_rulebook((RuleConfig(name="odd", tier=FAST, when=when),), (), file_rules=True)
