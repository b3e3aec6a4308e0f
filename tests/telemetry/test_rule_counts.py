"""Rules count by their ids, and nothing else can add a label."""

from octoroute_py.telemetry.rule_counts import RuleCounts


def told(counts: RuleCounts) -> dict[str, float]:
    [family] = counts.collect()
    assert family.name == "model_router_routing_rule_matches"
    return {sample.labels["rule_id"]: sample.value for sample in family.samples}


def test_rules_are_shown_from_the_start_and_count_what_they_decide() -> None:
    counts = RuleCounts()
    counts.bind(["config:night", "vip"])
    counts.decided("vip")
    counts.decided("vip")
    assert told(counts) == {"config:night": 0, "vip": 2}


def test_a_change_keeps_the_counts_of_what_stays_and_ends_the_rest() -> None:
    counts = RuleCounts()
    counts.bind(["a", "b"])
    counts.decided("a")
    counts.decided("b")
    counts.bind(["b", "c"])
    assert told(counts) == {"b": 1, "c": 0}


def test_a_rule_that_is_gone_when_its_request_ends_counts_as_other() -> None:
    counts = RuleCounts()
    counts.bind(["a"])
    counts.decided("gone")
    assert told(counts) == {"a": 0, "other": 1}
