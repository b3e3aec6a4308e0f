import random
from collections import Counter

import pytest

from octoroute_py.config.schema import BalancerName
from octoroute_py.tiers.balancer import Latency, LeastLoaded, Weighted, make_balancer
from tests.fakes.endpoints import endpoint, trip

# The 99.9 % points of the chi-squared distribution by degrees of freedom.
CHI_SQUARED_999 = {1: 10.828, 2: 13.816, 3: 16.266, 4: 18.467}
PICKS = 10_000


def chi_squared(counts: Counter[str], expected: dict[str, float]) -> float:
    return sum((counts[name] - share * PICKS) ** 2 / (share * PICKS) for name, share in expected.items())


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 2.0, 3.0, 4.0), (0.1, 10.0, 5.0)])
def test_weighted_picks_follow_the_weights(weights: tuple[float, ...]) -> None:
    endpoints = [endpoint(f"fast/a#{at}", weight=weight) for at, weight in enumerate(weights)]
    balancer = Weighted(random.Random(42))
    counts = Counter(balancer.pick(endpoints, 0.0).id for _ in range(PICKS))
    expected = {each.id: each.weight / sum(weights) for each in endpoints}
    assert chi_squared(counts, expected) < CHI_SQUARED_999[len(weights) - 1]


def test_an_endpoint_that_recovered_gets_its_share_back_without_a_step() -> None:
    healed, steady = endpoint("fast/a#1"), endpoint("fast/a#2")
    trip(healed, 0.0)
    for _ in range(2):
        hold = healed.begin(5.0)
        hold.success(5.0)
        hold.close()
    balancer = Weighted(random.Random(1))
    for age, weight in ((0.0, 0.1), (15.0, 0.5), (29.9, 0.997), (30.0, 1.0)):
        assert healed.effective_weight(5.0 + age) == pytest.approx(weight, abs=0.001)
        counts = Counter(balancer.pick([healed, steady], 5.0 + age).id for _ in range(PICKS))
        share = weight / (1 + weight)
        assert chi_squared(counts, {healed.id: share, steady.id: 1 - share}) < CHI_SQUARED_999[1]


def test_least_loaded_picks_the_fewest_attempts_for_the_weight() -> None:
    small, large = endpoint("fast/a#1"), endpoint("fast/a#2", weight=3.0)
    balancer = LeastLoaded(random.Random(1))
    picked = []
    for _ in range(8):
        chosen = balancer.pick([small, large], 0.0)
        picked.append(chosen.id)
        chosen.begin(0.0)
    assert Counter(picked) == {small.id: 2, large.id: 6}


def test_least_loaded_breaks_ties_at_random() -> None:
    endpoints = [endpoint(f"fast/a#{at}") for at in range(3)]
    balancer = LeastLoaded(random.Random(5))
    counts = Counter(balancer.pick(endpoints, 0.0).id for _ in range(PICKS))
    assert chi_squared(counts, {each.id: 1 / 3 for each in endpoints}) < CHI_SQUARED_999[2]


def test_latency_prefers_the_endpoint_with_the_sooner_first_event() -> None:
    slow, quick = endpoint("fast/a#1"), endpoint("fast/a#2")
    slow.live.latency.observe(0.0, 2.0)
    quick.live.latency.observe(0.0, 0.2)
    balancer = Latency(random.Random(1))
    assert {balancer.pick([slow, quick], 0.0).id for _ in range(50)} == {quick.id}
    for _ in range(10):
        quick.begin(0.0)
    assert {balancer.pick([slow, quick], 0.0).id for _ in range(50)} == {slow.id}


def test_latency_tries_an_unmeasured_endpoint_once_and_then_waits_for_its_answer() -> None:
    known, new = endpoint("fast/a#1"), endpoint("fast/a#2")
    known.live.latency.observe(0.0, 1.0)
    balancer = Latency(random.Random(1))
    assert balancer.pick([known, new], 0.0) is new
    hold = new.begin(0.0)
    assert balancer.pick([known, new], 0.0) is known
    hold.success(0.5, 0.5)
    hold.close()
    assert balancer.pick([known, new], 0.5) is new


def test_latency_compares_two_of_many_so_the_worst_is_never_taken() -> None:
    endpoints = [endpoint(f"fast/a#{at}") for at in range(4)]
    for at, each in enumerate(endpoints):
        each.live.latency.observe(0.0, 1.0 + at)
    balancer = make_balancer(BalancerName.LATENCY, random.Random(9))
    counts = Counter(balancer.pick(endpoints, 0.0).id for _ in range(PICKS))
    # Of the 6 pairs the best wins 3, the next 2, the third 1.
    expected = {endpoints[0].id: 3 / 6, endpoints[1].id: 2 / 6, endpoints[2].id: 1 / 6}
    assert counts[endpoints[3].id] == 0
    assert chi_squared(counts, expected) < CHI_SQUARED_999[2]


@pytest.mark.parametrize("name", list(BalancerName))
def test_every_balancer_takes_the_only_candidate(name: BalancerName) -> None:
    only = endpoint()
    assert make_balancer(name, random.Random(1)).pick([only], 0.0) is only
