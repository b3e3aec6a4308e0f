"""Who of a pool takes an attempt, and the parts of it that requests may use."""

import random
from collections.abc import Sequence

import pytest

from octoroute_py.core.words import Capability, Location, Tier
from octoroute_py.tiers.balancer import Weighted
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.pool import MOST_PARTS, Pool
from tests.fakes.endpoints import endpoint, trip

VISION = frozenset({Capability.IMAGE_INPUT})


def pool(endpoints: Sequence[Endpoint]) -> Pool:
    return Pool(Tier.FAST, endpoints, balancer=Weighted(random.Random(1)))


def takers(asked: Pool) -> set[str]:
    """Who is picked, tried often enough to see everyone who can be."""
    found = [asked.pick(now=0.0) for _ in range(2_000)]
    return {each.id for each in found if each is not None}


def test_of_hundreds_only_the_highest_priority_with_somebody_available_is_picked() -> None:
    endpoints = [endpoint(f"fast/a#{at}", priority=at // 100) for at in range(300)]
    whole = pool(endpoints)
    assert takers(whole) == {each.id for each in endpoints[200:]}
    for each in endpoints[200:]:
        trip(each, 0.0)
    assert takers(whole) == {each.id for each in endpoints[100:200]}
    for each in endpoints[:199]:
        trip(each, 0.0)
    assert takers(whole) == {"fast/a#199"}
    trip(endpoints[199], 0.0)
    assert whole.pick(now=0.0) is None


def test_somebody_else_is_found_wherever_they_stand_and_only_if_they_may_be_tried() -> None:
    endpoints = [endpoint(f"fast/a#{at}") for at in range(60)]
    whole = pool(endpoints)
    for each in endpoints[:50]:
        trip(each, 0.0)
    for each in (*endpoints[50:], *endpoints[:2]):
        assert whole.has_any(besides=each, now=0.0)
    tried = {each.id for each in endpoints[51:]}
    assert whole.has_any(besides=endpoints[55], now=0.0, excluded=tried)
    assert not whole.has_any(besides=endpoints[50], now=0.0, excluded=tried)
    assert not whole.has_any(besides=endpoints[50], now=0.0, fits=lambda each: each is endpoints[50])
    assert whole.has_any(besides=endpoints[50], now=100.0, excluded=tried)  # the others are half open then


def test_nobody_else_is_in_a_pool_of_one_or_of_none() -> None:
    only = endpoint()
    assert not pool([only]).has_any(besides=only, now=0.0)
    assert not pool([]).has_any(now=0.0)
    assert pool([only]).has_any(now=0.0)
    assert pool([only]).has_any(besides=endpoint("fast/b#1"), now=0.0)


def test_a_part_is_the_whole_where_everybody_will_do() -> None:
    whole = pool([endpoint("fast/a#1"), endpoint("fast/a#2", capabilities=VISION, context_window=100)])
    assert whole.able(VISION, local_only=False) is whole
    assert whole.with_room(90, 10) is whole
    assert whole.within(frozenset({"fast/a#1", "fast/a#2", "deep/b#1"})) is whole


def test_a_part_is_made_once() -> None:
    whole = pool([endpoint("fast/a#1", location=Location.LOCAL), endpoint("fast/a#2"), endpoint("fast/a#3")])
    some = whole.within(frozenset({"fast/a#1", "fast/a#2"}))
    local = some.able(frozenset(), local_only=True)
    assert [each.id for each in some.endpoints] == ["fast/a#1", "fast/a#2"]
    assert [each.id for each in local.endpoints] == ["fast/a#1"]
    assert whole.within(frozenset({"fast/a#2", "fast/a#1"})) is some
    assert some.able(frozenset(), local_only=True) is local
    assert local.within(frozenset()).pick(now=0.0) is None


def test_the_output_an_endpoint_allows_counts_for_its_room_however_much_was_asked() -> None:
    whole = pool([endpoint("fast/a#1", context_window=100, max_tokens=20), endpoint("fast/a#2", context_window=100)])
    assert [each.id for each in whole.with_room(80, 50).endpoints] == ["fast/a#1"]
    assert [each.id for each in whole.with_room(50, 50).endpoints] == ["fast/a#1", "fast/a#2"]
    assert whole.with_room(101, None).endpoints == ()


def test_parts_beyond_the_most_are_made_again_and_are_the_same() -> None:
    endpoints = [endpoint(f"fast/a#{at}") for at in range(MOST_PARTS + 10)]
    whole = pool(endpoints)
    for _ in range(2):
        for each in endpoints:
            assert whole.within(frozenset({each.id})).endpoints == (each,)


def test_parts_of_parts_count_for_the_whole() -> None:
    whole = pool([endpoint("fast/a#1"), endpoint("fast/a#2"), endpoint("fast/a#3")])
    pair = frozenset({"fast/a#1", "fast/a#2"})
    some = whole.within(pair)
    for at in range(MOST_PARTS):
        assert some.within(frozenset({"fast/a#1", f"deep/b#{at}"})).endpoints == whole.endpoints[:1]
    made_again = whole.within(pair)
    assert made_again is not some
    assert made_again.endpoints == some.endpoints


@pytest.mark.parametrize(("prices", "dear"), [(((1.0, 9.0), (2.0, 3.0), (1.0, 3.0)), 2), (((5.0, 5.0),) * 40, 1)])
def test_only_endpoints_that_some_request_finds_dearest_are_among_the_dearest(
    prices: tuple[tuple[float, float], ...], dear: int
) -> None:
    whole = pool(
        [
            endpoint(f"fast/a#{at}", input_cost_per_mtok=given, output_cost_per_mtok=out)
            for at, (given, out) in enumerate(prices)
        ]
    )
    assert len(whole.dearest) == dear
