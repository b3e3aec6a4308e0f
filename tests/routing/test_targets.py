"""Targets are tried by split, else by weight, and then along their fallback order."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.core.rules import RuleTarget, TrafficSplit
from octoroute_py.routing.sticky import fraction, share_of
from octoroute_py.routing.targets import ordered
from tests.fakes.chance import follows


def target(name: str, weight: float | None = None, order: int | None = None) -> RuleTarget:
    return RuleTarget(model_id=name, weight=weight, fallback_order=order)


def names(
    targets: list[RuleTarget],
    split: TrafficSplit | None = None,
    *,
    out: frozenset[str] = frozenset(),
    draw: float = 0.0,
    share: float = 0.0,
) -> list[str]:
    found = ordered(targets, split, eligible=lambda each, canary: each.model_id not in out, draw=draw, share=share)
    return [each.model_id for each in found]


def test_without_weights_the_lowest_order_is_first_and_who_has_none_is_last() -> None:
    assert names([target("x"), target("b", order=2), target("a", order=1), target("y")]) == ["a", "b", "x", "y"]


def test_a_weight_draws_the_first_and_the_order_says_who_follows() -> None:
    targets = [target("a", 0.7, 1), target("b", 0.3, 2), target("c", order=3)]
    assert names(targets, draw=0.69) == ["a", "b", "c"]
    assert names(targets, draw=0.71) == ["b", "a", "c"]


def test_who_is_not_eligible_is_neither_drawn_nor_tried() -> None:
    targets = [target("a", 0.7, 1), target("b", 0.3, 2), target("c", order=3)]
    assert names(targets, out=frozenset({"a"}), draw=0.1) == ["b", "c"]
    assert names(targets, out=frozenset({"a", "b"}), draw=0.1) == ["c"]
    assert names(targets, out=frozenset({"a", "b", "c"})) == []


def test_a_weight_of_nought_is_a_fallback_only() -> None:
    targets = [target("a", 0.0, 1), target("b", 1.0, 2)]
    assert {names(targets, draw=draw / 100)[0] for draw in range(100)} == {"b"}


def test_a_split_goes_by_the_caller_and_not_by_weights() -> None:
    targets = [target("a", 0.0, 1), target("b", 9.0, 2)]
    split = TrafficSplit(primary=90, canary=10)
    assert names(targets, split, share=9.9, draw=0.5) == ["b", "a"]
    assert names(targets, split, share=10.0, draw=0.5) == ["a", "b"]
    assert names(targets, split, share=50.0, out=frozenset({"a"})) == ["b"]
    assert names(targets, split, share=0.0, out=frozenset({"b"})) == ["a"]


def test_only_a_splits_second_target_may_be_a_canary() -> None:
    asked: list[tuple[str, bool]] = []

    def eligible(each: RuleTarget, canary: bool) -> bool:
        asked.append((each.model_id, canary))
        return True

    targets = [target("a"), target("b"), target("c")]
    ordered(targets, TrafficSplit(primary=50, canary=50), eligible=eligible, draw=0.0, share=0.0)
    ordered(targets, None, eligible=eligible, draw=0.0, share=0.0)
    assert [each for each in asked if each[1]] == [("b", True)]


def test_weights_and_splits_are_met_by_ten_thousand_callers() -> None:
    targets = [target("a", 5), target("b", 3), target("c", 2)]
    by_weight = Counter(names(targets, draw=fraction("rule:r", f"request-{n}"))[0] for n in range(10_000))
    assert follows(by_weight, {"a": 0.5, "b": 0.3, "c": 0.2})
    split = TrafficSplit(primary=80, canary=20)
    by_split = Counter(names(targets, split, share=share_of("rule:r", f"user-{n}"))[0] for n in range(10_000))
    assert follows(by_split, {"a": 0.8, "b": 0.2})


@given(
    st.lists(
        st.tuples(st.none() | st.floats(0, 10), st.none() | st.integers(0, 3), st.booleans()), min_size=1, max_size=6
    ),
    st.floats(0, 1, exclude_max=True),
    st.none() | st.floats(0, 100),
    st.floats(0, 100, exclude_max=True),
)
def test_every_eligible_target_is_tried_once_and_no_other(
    given_: list[tuple[float | None, int | None, bool]], draw: float, canary: float | None, share: float
) -> None:
    targets = [target(str(n), weight, order) for n, (weight, order, _) in enumerate(given_)]
    out = frozenset(str(n) for n, (_, _, able) in enumerate(given_) if not able)
    split = None if canary is None else TrafficSplit(primary=100 - canary, canary=canary)
    found = names(targets, split, out=out, draw=draw, share=share)
    assert sorted(found) == sorted({each.model_id for each in targets} - out)
    assert names(targets, split, out=out, draw=draw, share=share) == found
