"""Draws by hash: uniform, independent and the same for ever."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.routing.sticky import digest, fraction, share_of, weighted

IDS = [f"caller-{number}" for number in range(10_000)]
GOLDEN = [0.24165364293331693, 0.17252301679396964, 0.14558158758584816, 0.250697583157381, 0.6811239243813118]
GOLDEN_DIGEST = "0bec73d32d39"
GOLDEN_ARMS = [1, 1, 2, 1, 2, 1, 1, 2, 1, 2, 2, 1]
BOUND_AT_1_IN_10_000 = {1: 15.14, 2: 18.42, 3: 21.11, 6: 27.86, 9: 33.72, 99: 161.32}
"""What chi-square exceeds once in 10,000 draws, by degrees of freedom."""


def chi_square(found: Sequence[float], expected: Sequence[float]) -> float:
    return sum((have - want) ** 2 / want for have, want in zip(found, expected, strict=True))


def test_a_caller_falls_where_it_always_fell() -> None:
    assert fraction("experiment:tone", "alice") == GOLDEN[0]
    assert fraction("experiment:tone", "bob") == GOLDEN[1]
    assert fraction("canary:next", "alice") == GOLDEN[2]
    assert fraction("", "") == GOLDEN[3]
    assert fraction("ä", "\U0001f419") == GOLDEN[4]
    assert [weighted("experiment:tone", f"caller-{n}", (1, 2, 1)) for n in range(12)] == GOLDEN_ARMS


def test_a_digest_tells_callers_apart_and_stays_what_it_is() -> None:
    assert digest("user:alice") == GOLDEN_DIGEST
    assert len({digest(id_) for id_ in IDS}) == len(IDS)


def test_salt_and_id_are_kept_apart() -> None:
    assert fraction("a", "bc") != fraction("ab", "c")


def test_callers_are_spread_evenly() -> None:
    found = Counter(int(share_of("split", id_)) for id_ in IDS)
    assert chi_square([found[cell] for cell in range(100)], [100.0] * 100) < BOUND_AT_1_IN_10_000[99]


@pytest.mark.parametrize("percent", [1.0, 5.0, 10.0, 33.3, 50.0, 90.0])
def test_a_percentage_gets_its_share(percent: float) -> None:
    below = sum(share_of("canary:next", id_) < percent for id_ in IDS)
    expected = len(IDS) * percent / 100
    assert chi_square([below, len(IDS) - below], [expected, len(IDS) - expected]) < BOUND_AT_1_IN_10_000[1]


@pytest.mark.parametrize("weights", [(1, 1), (9, 1), (70, 20, 10), (1, 2, 3, 4), (0.1, 0.2, 0.3, 0, 0.4)])
def test_arms_get_their_weights(weights: tuple[float, ...]) -> None:
    found = Counter(weighted("experiment:tone", id_, weights) for id_ in IDS)
    used = [index for index, weight in enumerate(weights) if weight]
    assert set(found) == set(used)
    expected = [len(IDS) * weights[index] / sum(weights) for index in used]
    assert chi_square([found[index] for index in used], expected) < BOUND_AT_1_IN_10_000[len(used) - 1]


def test_splits_know_nothing_of_each_other() -> None:
    pairs = Counter((weighted("experiment:a", id_, (1, 1)), weighted("experiment:b", id_, (1, 1))) for id_ in IDS)
    found = [pairs[(a, b)] for a in range(2) for b in range(2)]
    assert chi_square(found, [len(IDS) / 4] * 4) < BOUND_AT_1_IN_10_000[3]


def test_nobody_loses_a_share_that_grows() -> None:
    at_10 = {id_ for id_ in IDS if share_of("canary:next", id_) < 10}
    at_30 = {id_ for id_ in IDS if share_of("canary:next", id_) < 30}
    assert at_10 < at_30


@settings(deadline=None)
@given(st.text(), st.text())
def test_everything_falls_into_the_range(salt: str, id_: str) -> None:
    assert 0 <= fraction(salt, id_) < 1
    assert 0 <= share_of(salt, id_) < 100


@settings(deadline=None)
@given(st.text(), st.lists(st.floats(0, 1e6), min_size=1, max_size=9).filter(lambda found: sum(found) > 0))
def test_a_weight_of_zero_is_never_fallen_on(id_: str, weights: list[float]) -> None:
    assert weights[weighted("", id_, weights)] > 0


@pytest.mark.parametrize("weights", [(), (0.0,), (0, 0), (2, -1)])
def test_weights_that_say_nothing_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="Weights must be"):
        weighted("", "alice", weights)
