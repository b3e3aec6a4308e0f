import random
from collections import Counter
from collections.abc import Sequence

import pytest

from octoroute_py.config.schema import BalancerName
from octoroute_py.tiers.balancer import Balancer, Latency, LeastLoaded, Rank, Search, Weighted, make_balancer
from octoroute_py.tiers.endpoint import Endpoint
from tests.fakes.chance import follows
from tests.fakes.endpoints import endpoint, trip

PICKS = 10_000
HUNDREDS = 300


def check(counts: Counter[str], expected: dict[str, float]) -> None:
    """Picks follow these shares, and nobody else was picked."""
    assert counts.total() == PICKS
    assert follows(counts, expected)


def pick(balancer: Balancer, endpoints: Sequence[Endpoint], now: float = 0.0) -> Endpoint:
    found = balancer.pick(Rank(endpoints), Search(now))
    assert found is not None
    return found


def picks(balancer: Balancer, endpoints: Sequence[Endpoint], search: Search | None = None) -> Counter[str]:
    rank, search = Rank(endpoints), search or Search(0.0)
    found = [balancer.pick(rank, search) for _ in range(PICKS)]
    return Counter(each.id for each in found if each is not None)


def many(count: int = HUNDREDS, *, weights: Sequence[float] = (1.0, 2.0, 3.0, 4.0)) -> list[Endpoint]:
    """Endpoints whose weights are these in turn."""
    return [endpoint(f"fast/a#{at}", weight=weights[at % len(weights)]) for at in range(count)]


def shares(endpoints: Sequence[Endpoint], now: float = 0.0) -> dict[str, float]:
    """What each of them should get by its weight."""
    whole = sum(each.effective_weight(now) for each in endpoints)
    return {each.id: each.effective_weight(now) / whole for each in endpoints}


def heal(one: Endpoint, at: float) -> None:
    """Its breaker opened and has closed again at that time."""
    trip(one, at - 5.0)
    for _ in range(2):
        hold = one.begin(at)
        hold.success(at)
        hold.close()


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 2.0, 3.0, 4.0), (0.1, 10.0, 5.0)])
def test_weighted_picks_follow_the_weights(weights: tuple[float, ...]) -> None:
    endpoints = many(len(weights), weights=weights)
    check(picks(Weighted(random.Random(42)), endpoints), shares(endpoints))


def test_weighted_picks_among_hundreds_follow_the_weights_of_those_that_may_be_tried() -> None:
    endpoints = many()
    for at, each in enumerate(endpoints):
        if at % 10 < 5:
            trip(each, 0.0)
    tried = {endpoints[6].id, endpoints[7].id}
    able = [each for at, each in enumerate(endpoints) if at % 10 >= 5 and each.id not in tried and each.weight < 4.0]
    search = Search(0.0, tried, lambda each: each.weight < 4.0)
    check(picks(Weighted(random.Random(7)), endpoints, search), shares(able))


@pytest.mark.parametrize("left", [2, 5])
def test_weighted_picks_follow_the_weights_when_nearly_everybody_is_out(left: int) -> None:
    endpoints = many(150)
    for each in endpoints[left:]:
        each.quota_out(0.0)
    check(picks(Weighted(random.Random(3)), endpoints), shares(endpoints[:left]))


def test_nobody_is_picked_when_nobody_may_be_tried() -> None:
    endpoints = many(50)
    for name in BalancerName:
        balancer = make_balancer(name, random.Random(1))
        assert balancer.pick(Rank(endpoints), Search(0.0, fits=lambda each: False)) is None


def test_an_endpoint_that_recovered_gets_its_share_back_without_a_step() -> None:
    healed, steady = endpoint("fast/a#1"), endpoint("fast/a#2")
    heal(healed, 5.0)
    balancer = Weighted(random.Random(1))
    for age, weight in ((0.0, 0.1), (15.0, 0.5), (29.9, 0.997), (30.0, 1.0)):
        assert healed.effective_weight(5.0 + age) == pytest.approx(weight, abs=0.001)
        share = weight / (1 + weight)
        check(picks(balancer, [healed, steady], Search(5.0 + age)), {healed.id: share, steady.id: 1 - share})


def test_among_hundreds_those_that_recovered_get_what_they_have_of_their_weight() -> None:
    endpoints = many()
    for each in endpoints[::3]:
        heal(each, 5.0)
    for each in endpoints[1::3]:
        each.cool_down(14.0, 10.0)
    able = [each for at, each in enumerate(endpoints) if at % 3 != 1]
    assert able[0].effective_weight(15.0) == pytest.approx(1 / 3)
    check(picks(Weighted(random.Random(2)), endpoints, Search(15.0)), shares(able, 15.0))


def test_least_loaded_picks_the_fewest_attempts_for_the_weight() -> None:
    small, large = endpoint("fast/a#1"), endpoint("fast/a#2", weight=3.0)
    balancer = LeastLoaded(random.Random(1))
    picked = []
    for _ in range(8):
        chosen = pick(balancer, [small, large])
        picked.append(chosen.id)
        chosen.begin(0.0)
    assert Counter(picked) == {small.id: 2, large.id: 6}


def test_least_loaded_breaks_ties_at_random() -> None:
    endpoints = many(3, weights=(1.0,))
    check(picks(LeastLoaded(random.Random(5)), endpoints), {each.id: 1 / 3 for each in endpoints})


@pytest.mark.parametrize("idle", [50, 5, 0], ids=["half are idle", "few are idle", "nobody is idle"])
def test_least_loaded_among_many_draws_from_the_ties_alone(idle: int) -> None:
    endpoints = many(100, weights=(1.0, 2.0))
    for at, each in enumerate(endpoints):
        for _ in range(0 if at < idle else 1 + at % 4):
            each.begin(0.0)
    heal(endpoints[1], 5.0)
    endpoints[3].cool_down(5.0, 100.0)
    able = [each for each in endpoints if each is not endpoints[3]]
    load = {each.id: (each.in_flight + 1) / each.effective_weight(6.0) for each in able}
    ties = [each for each in able if load[each.id] == min(load.values())]
    assert len(ties) > 1 or idle == 5
    found = picks(LeastLoaded(random.Random(5)), endpoints, Search(6.0))
    if len(ties) > 1:
        check(found, {each.id: 1 / len(ties) for each in ties})
    else:
        assert set(found) == {ties[0].id}


def test_latency_prefers_the_endpoint_with_the_sooner_first_event() -> None:
    slow, quick = endpoint("fast/a#1"), endpoint("fast/a#2")
    slow.live.latency.observe(0.0, 2.0)
    quick.live.latency.observe(0.0, 0.2)
    balancer = Latency(random.Random(1))
    assert {pick(balancer, [slow, quick]).id for _ in range(50)} == {quick.id}
    for _ in range(10):
        quick.begin(0.0)
    assert {pick(balancer, [slow, quick]).id for _ in range(50)} == {slow.id}


def test_latency_tries_an_unmeasured_endpoint_once_and_then_waits_for_its_answer() -> None:
    known, new = endpoint("fast/a#1"), endpoint("fast/a#2")
    known.live.latency.observe(0.0, 1.0)
    balancer = Latency(random.Random(1))
    assert pick(balancer, [known, new]) is new
    hold = new.begin(0.0)
    assert pick(balancer, [known, new]) is known
    hold.success(0.5, 0.5)
    hold.close()
    assert pick(balancer, [known, new], 0.5) is new


@pytest.mark.parametrize("out", [0, 4, 96])
def test_latency_compares_two_of_many_so_the_worst_is_never_taken(out: int) -> None:
    endpoints = many(4 + out, weights=(1.0,))
    for each in endpoints[4:]:
        trip(each, 0.0)
    for at, each in enumerate(endpoints):
        each.live.latency.observe(0.0, 1.0 + at)
    random.Random(1).shuffle(endpoints)
    counts = picks(make_balancer(BalancerName.LATENCY, random.Random(9)), endpoints)
    # Of the 6 pairs the best wins 3, the next 2, the third 1.
    check(counts, {f"fast/a#{at}": share for at, share in enumerate((3 / 6, 2 / 6, 1 / 6))})


@pytest.mark.parametrize("name", list(BalancerName))
def test_every_balancer_takes_the_only_candidate(name: BalancerName) -> None:
    only = endpoint()
    assert pick(make_balancer(name, random.Random(1)), [only]) is only
    others = many(40)
    for each in others:
        trip(each, 0.0)
    assert pick(make_balancer(name, random.Random(1)), [*others, only]) is only
