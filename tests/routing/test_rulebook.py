from typing import Any

from octoroute_py.config.schema import RuleConfig, RuleWhen
from octoroute_py.core.decision import Decision
from octoroute_py.core.rules import (
    Conditions,
    CustomConditions,
    RoutingRule,
    RuleTarget,
    TimeOfDay,
    TrafficSplit,
)
from octoroute_py.core.words import Importance, Reason, Strategy, TaskType, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.routing.rulebook import Rulebook, Source, compile_rulebook, compile_table
from octoroute_py.routing.rules import BUILT_IN

CODE = Facts(tokens=1, importance=Importance.NORMAL, task_type=TaskType.CODE)
TARGETS = (RuleTarget(model_id="m", weight=2), RuleTarget(model_id="fast"))


def of_file(name: str, *, priority: int = 0, **more: Any) -> RuleConfig:
    return RuleConfig(name=name, tier=Tier.DEEP, priority=priority, **more)


def of_api(id_: str, *, priority: int = 0, **more: Any) -> RoutingRule:
    return RoutingRule(id=id_, name=f"the {id_}", priority=priority, targets=TARGETS, **more)


def book(file: list[RuleConfig], api: list[RoutingRule], *, rule_set: str | None = None) -> Rulebook:
    return compile_rulebook(tuple(file), api, file_rules=True, rule_set=rule_set)


def ids(found: Rulebook) -> list[str]:
    return [rule.id for rule in found.rules]


def test_rules_of_both_sources_are_one_list_by_priority() -> None:
    file = [of_file("f1"), of_file("f2", priority=5), of_file("f3", priority=-1)]
    api = [of_api("a1", priority=5), of_api("a2", priority=9), of_api("a3", priority=-1), of_api("a4")]
    assert ids(book(file, api)) == ["a2", "config:f2", "a1", "config:f1", "a4", "config:f3", "a3"]


def test_among_equals_the_files_are_first_in_their_order_then_the_apis_in_theirs() -> None:
    assert ids(book([of_file("z"), of_file("b")], [of_api("y"), of_api("a")])) == ["config:z", "config:b", "y", "a"]


def test_a_rule_is_what_it_was_made_from() -> None:
    split = TrafficSplit(primary=90, canary=10)
    first, second = book([of_file("f")], [of_api("a", traffic_split=split, rule_set="s")], rule_set="s").rules
    assert (first.source, first.tier, first.targets) == (Source.FILE, Tier.DEEP, ())
    assert first.decision == Decision(Tier.DEEP, Strategy.RULE, Reason.RULE_MATCHED, rule="f", rule_id="config:f")
    assert (second.source, second.name, second.tier, second.decision) == (Source.API, "the a", None, None)
    assert (second.targets, second.split, second.rule_set) == (TARGETS, split, "s")


def test_a_rule_set_adds_its_rules_to_those_of_all() -> None:
    api = [of_api("all"), of_api("one", rule_set="one", priority=3), of_api("two", rule_set="two")]
    assert ids(book([of_file("f")], api)) == ["config:f", "all"]
    assert ids(book([of_file("f")], api, rule_set="one")) == ["one", "config:f", "all"]


def test_without_the_files_rules_those_of_the_api_stay() -> None:
    found = compile_rulebook((of_file("f"), of_file("off", enabled=False)), [of_api("a")], file_rules=False)
    assert (ids(found), found.disabled) == (["a"], ())


def test_disabled_rules_are_kept_apart_and_never_match() -> None:
    found = book([of_file("f", enabled=False)], [of_api("a", enabled=False), of_api("b")])
    assert (ids(found), [rule.id for rule in found.disabled]) == (["b"], ["config:f", "a"])
    assert [rule.id for rule in found.matching(CODE, 0.0)] == ["b"]


def test_matching_rules_come_in_order_and_only_when_asked_for() -> None:
    mixed = book(
        [of_file("no", priority=9, when=RuleWhen(task_type=(TaskType.CASUAL_CHAT,))), of_file("file")],
        [of_api("first", priority=8), of_api("other", conditions=Conditions(agent_type=("x",))), of_api("last")],
    )
    found = mixed.matching(CODE, 0.0)
    assert next(found).id == "first"
    assert [rule.id for rule in found] == ["config:file", "last"]


def test_no_rules_match_nothing() -> None:
    assert list(book([], []).matching(CODE, 0.0)) == []


def test_a_book_knows_what_its_rules_look_at() -> None:
    headers = of_api("h", conditions=Conditions(custom_conditions=CustomConditions(headers={"X-A": "b"})))
    metadata = of_api("m", conditions=Conditions(custom_conditions=CustomConditions(metadata={"a": 1})))
    user_tier = of_api("u", conditions=Conditions(user_tier=("gold",)))
    plain = of_api("p", conditions=Conditions(agent_type=("x",)))
    looks = [(found.reads_headers, found.reads_metadata) for found in (book([], [e]) for e in (headers, metadata))]
    assert looks == [(True, False), (False, True)]
    assert book([], [user_tier]).reads_metadata
    assert book([of_file("f", when=RuleWhen(header=(("x-a", "b"),)))], []).reads_headers
    assert not book([], [plain]).reads_headers
    assert not book([of_file("f", enabled=False, when=RuleWhen(header=(("x-a", "b"),)))], [plain]).reads_headers


def test_a_rule_by_the_clock_changes_with_the_minute() -> None:
    night = Conditions(time_of_day=TimeOfDay(start="23:59", end="00:01"))
    found = book([], [of_api("night", conditions=night), of_api("day")])
    day = 24 * 3600.0
    held = {
        at: len(list(found.matching(CODE, at)))
        for at in (day - 61, day - 60, day - 0.5, day, day + 59, day + 60, day - 60)
    }
    assert held == {day - 61: 1, day - 60: 2, day - 0.5: 2, day: 2, day + 59: 2, day + 60: 1}


def test_of_many_wanted_headers_each_counts() -> None:
    names = [f"x-{number}" for number in range(7)]
    wanted = CustomConditions(headers=dict.fromkeys(names, "yes"))
    found = book([], [of_api("all", conditions=Conditions(custom_conditions=wanted))])

    def matches(headers: dict[str, str]) -> bool:
        request = Facts(tokens=1, importance=Importance.NORMAL, task_type=TaskType.CODE, headers=headers)
        return next(found.matching(request, 0.0), None) is not None

    sent = dict.fromkeys(names, "yes")
    assert matches(sent | {"x-other": "no"})
    for name in names:
        assert not matches(sent | {name: "no"})
        assert not matches({each: value for each, value in sent.items() if each != name})


def test_the_built_in_table_is_a_book_of_its_own() -> None:
    found = compile_table(BUILT_IN)
    assert {rule.source for rule in found.rules} == {Source.BUILT_IN}
    assert [rule.name for rule in found.matching(CODE, 0.0)] == ["code"]
