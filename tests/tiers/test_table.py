import pytest

from octoroute_py.config.schema import BreakerConfig, EndpointConfig, HealthConfig, RetryConfig, TierFallback
from octoroute_py.core.words import BreakerState, Tier
from octoroute_py.tiers.table import TierTable, plan
from octoroute_py.transport.base import Transport
from tests.fakes.endpoints import config, endpoint_config, table, trip
from tests.fakes.silent_transport import SilentTransport

FAST = Tier.FAST


def two_classes() -> TierTable:
    return table(
        endpoint_config("fast/spare#1", priority=1),
        endpoint_config("fast/main#1", priority=5),
        endpoint_config("fast/main#2", priority=5),
        endpoint_config("fast/last#1", priority=0),
        endpoint_config("deep/big#1"),
    )


def takers(tiers: TierTable) -> set[str]:
    """Who is picked for a fast request, tried often enough to see everyone who can be."""
    picked = [tiers.pick(FAST, now=0.0) for _ in range(200)]
    return {each.id for each in picked if each is not None}


def test_a_lower_class_gets_nothing_while_the_higher_has_an_available_endpoint() -> None:
    tiers = two_classes()
    assert takers(tiers) == {"fast/main#1", "fast/main#2"}
    trip(tiers.by_id["fast/main#1"], 0.0)
    assert takers(tiers) == {"fast/main#2"}
    trip(tiers.by_id["fast/main#2"], 0.0)
    assert takers(tiers) == {"fast/spare#1"}


def test_excluding_one_replica_leaves_its_namesake() -> None:
    tiers = two_classes()
    for _ in range(50):
        picked = tiers.pick(FAST, now=0.0, excluded={"fast/main#1"})
        assert picked is tiers.by_id["fast/main#2"]


def test_only_endpoints_that_fit_are_picked() -> None:
    tiers = two_classes()
    picked = tiers.pick(FAST, now=0.0, fits=lambda each: each.name == "spare")
    assert picked is tiers.by_id["fast/spare#1"]
    assert tiers.pick(FAST, now=0.0, fits=lambda each: False) is None


def test_nobody_is_picked_when_all_are_excluded_full_or_out() -> None:
    tiers = table(endpoint_config("fast/a#1", max_in_flight=1), endpoint_config("fast/a#2"))
    tiers.by_id["fast/a#1"].begin(0.0)
    tiers.by_id["fast/a#2"].cool_down(0.0, 5.0)
    assert tiers.pick(FAST, now=0.0) is None
    assert tiers.pick(Tier.DEEP, now=0.0) is None


def test_a_name_means_its_replicas_and_an_id_means_that_one() -> None:
    tiers = two_classes()
    assert [each.id for each in tiers.named("main")] == ["fast/main#1", "fast/main#2"]
    assert [each.id for each in tiers.named("fast/main#2")] == ["fast/main#2"]
    assert tiers.named("unknown") == ()
    assert tiers.pool_of(("fast/main#2",)).pick(now=0.0) is tiers.by_id["fast/main#2"]


def test_the_tier_is_open_when_all_are_out_and_half_open_when_the_best_is() -> None:
    tiers = table(endpoint_config("fast/a#1"), endpoint_config("fast/a#2"), endpoint_config("fast/a#3"))
    one, two, three = tiers.endpoints
    assert tiers.tier_state(FAST, 0.0) is BreakerState.CLOSED
    trip(one, 0.0)
    two.auth_out(0.0)
    assert tiers.tier_state(FAST, 0.0) is BreakerState.CLOSED
    assert tiers.available_count(FAST, 0.0) == 1
    for _ in range(3):
        three.probe_failed(0.0, threshold=3)
    assert tiers.tier_state(FAST, 0.0) is BreakerState.OPEN
    assert tiers.available_count(FAST, 0.0) == 0
    assert tiers.tier_state(FAST, 5.0) is BreakerState.HALF_OPEN
    hold = one.begin(5.0)
    assert tiers.tier_state(FAST, 5.0) is BreakerState.HALF_OPEN
    hold.close()
    three.probe_alive(5.0)
    assert tiers.tier_state(FAST, 5.0) is BreakerState.CLOSED


def test_a_full_tier_is_not_open() -> None:
    tiers = table(endpoint_config("fast/a#1", max_in_flight=1))
    tiers.endpoints[0].begin(0.0)
    assert tiers.tier_state(FAST, 0.0) is BreakerState.CLOSED
    assert tiers.available_count(FAST, 0.0) == 1


def test_a_tier_without_endpoints_is_open() -> None:
    assert table().tier_state(FAST, 0.0) is BreakerState.OPEN


def test_openings_of_the_tier_are_counted_once_each() -> None:
    tiers = table(endpoint_config("fast/a#1"), endpoint_config("deep/b#1"))
    one = tiers.by_id["fast/a#1"]
    tiers.observe(0.0)
    trip(one, 0.0)
    for _ in range(3):
        tiers.observe(0.0)
    assert tiers.tier_trips(FAST) == 1
    trial = one.begin(5.0)
    trial.failure(5.0)
    trial.close()
    tiers.observe(5.0)
    assert tiers.tier_trips(FAST) == 2
    one.cool_down(5.5, 100.0)
    tiers.observe(5.5)
    assert tiers.tier_trips(FAST) == 2
    assert tiers.tier_trips(Tier.DEEP) == 0


def test_the_next_time_somebody_is_eligible_is_the_least_over_the_endpoints() -> None:
    tiers = table(endpoint_config("fast/a#1"), endpoint_config("fast/a#2"))
    one, two = tiers.endpoints
    one.cool_down(0.0, 4.0)
    assert tiers.next_eligible_at(FAST, 0.0) == 0.0
    two.cool_down(0.0, 9.0)
    assert tiers.next_eligible_at(FAST, 0.0) == 4.0
    assert tiers.next_eligible_at((two,), 0.0) == 9.0


def test_the_cheapest_are_those_of_the_endpoints_that_may_be_used() -> None:
    prices = {"fast/a#1": 1.0, "balanced/b#1": 4.0, "deep/c#1": 9.0, "deep/d#1": 8.0}
    tiers = table(*(endpoint_config(id_, output_cost_per_mtok=price) for id_, price in prices.items()))
    # of each tier one: without a limit of its own an answer may be longer in one tier than in another
    assert [each.id for each in tiers.cheapest(None)] == ["fast/a#1", "balanced/b#1", "deep/d#1"]
    assert [each.id for each in tiers.cheapest(frozenset({"deep/c#1"}))] == ["deep/c#1"]
    assert tiers.cheapest(frozenset()) == ()


def rebuild(
    tiers: TierTable, *endpoints: EndpointConfig, **fields: object
) -> tuple[TierTable, tuple[str, ...], list[str]]:
    made: list[str] = []

    def make(each: EndpointConfig) -> Transport:
        made.append(each.id)
        return SilentTransport()

    new, removed = tiers.rebuild(config(*endpoints, **fields), make)
    return new, tuple(each.id for each in removed), made


def test_a_reload_keeps_state_and_transport_of_unchanged_endpoints() -> None:
    old = table(endpoint_config("fast/a#1"), endpoint_config("fast/b#1"), endpoint_config("deep/c#1"))
    trip(old.by_id["fast/a#1"], 0.0)
    hold = old.by_id["fast/a#1"].begin(0.0)
    new, removed, made = rebuild(
        old,
        endpoint_config("fast/a#1", weight=7.0, max_in_flight=1),
        endpoint_config("fast/b#1", base_url="http://127.0.0.9:1/b"),
        endpoint_config("fast/d#1"),
    )
    kept = new.by_id["fast/a#1"]
    assert kept.breaker.state(0.0) is BreakerState.OPEN
    assert kept.transport is old.by_id["fast/a#1"].transport
    assert (kept.weight, kept.in_flight) == (7.0, 1)
    assert removed == ("fast/b#1", "deep/c#1")
    assert made == ["fast/b#1", "fast/d#1"]
    hold.close()
    assert kept.in_flight == 0
    assert new.budget(FAST) is old.budget(FAST)


def test_a_reload_applies_the_new_policies_to_kept_endpoints() -> None:
    old = table(endpoint_config("fast/a#1"))
    for _ in range(3):
        old.endpoints[0].probe_failed(0.0, threshold=3)
    new, _, _ = rebuild(
        old,
        endpoint_config("fast/a#1"),
        breaker=BreakerConfig(failure_threshold=1),
        health=HealthConfig(enabled=False),
        retry=RetryConfig(budget_ratio=0.5),
    )
    kept = new.endpoints[0]
    assert kept.unavailable(0.0) is None
    trip(kept, 0.0)
    assert kept.breaker.trips == 1
    assert new.budget(FAST).ratio == 0.5


def test_a_reload_that_fails_changes_nothing() -> None:
    old = table(endpoint_config("fast/a#1"))

    def broken(_: EndpointConfig) -> Transport:
        raise OSError("no such CA file")

    changed = config(endpoint_config("fast/a#1"), endpoint_config("fast/b#1"), breaker=BreakerConfig(enabled=False))
    with pytest.raises(OSError, match="CA file"):
        old.rebuild(changed, broken)
    assert old.endpoints[0].breaker.policy == BreakerConfig()


@pytest.mark.parametrize(
    ("tier", "fallback", "order"),
    [
        ("fast", "up", "fast balanced deep"),
        ("deep", "up", "deep"),
        ("balanced", "none", "balanced"),
        ("deep", "down", "deep balanced fast"),
        ("balanced", "both", "balanced deep fast"),
        ("deep", "both", "deep balanced fast"),
    ],
)
def test_the_tiers_are_tried_in_the_order_the_fallback_says(tier: str, fallback: str, order: str) -> None:
    assert " ".join(plan(Tier(tier), TierFallback(fallback))) == order


def test_drained_endpoints_do_not_count_for_the_breaker_of_their_tier() -> None:
    tiers = table(endpoint_config("fast/a#1"), endpoint_config("fast/b#1"))
    one, other = tiers.endpoints
    one.drain()
    assert (tiers.tier_state(Tier.FAST, 0.0), tiers.available_count(Tier.FAST, 0.0)) == (BreakerState.CLOSED, 1)
    other.drain()
    assert (tiers.tier_state(Tier.FAST, 0.0), tiers.available_count(Tier.FAST, 0.0)) == (BreakerState.CLOSED, 0)
    assert tiers.pick(Tier.FAST, now=0.0) is None
    tiers.observe(0.0)
    assert tiers.tier_trips(Tier.FAST) == 0
    other.undrain()
    trip(other, 0.0)
    assert tiers.tier_state(Tier.FAST, 0.0) is BreakerState.OPEN
    tiers.observe(0.0)
    assert tiers.tier_trips(Tier.FAST) == 1


def test_a_drain_outlasts_a_rebuild_of_the_same_endpoint_and_no_other() -> None:
    tiers = table(endpoint_config("fast/a#1"), endpoint_config("fast/b#1"))
    for each in tiers.endpoints:
        each.drain()
    moved = endpoint_config("fast/b#1", base_url="http://127.0.0.1:2/elsewhere")
    after, _ = tiers.rebuild(config(endpoint_config("fast/a#1", weight=3.0), moved), lambda _: SilentTransport())
    assert [each.live.drained for each in after.endpoints] == [True, False]


def test_the_best_state_of_the_tiers_is_open_only_when_all_are() -> None:
    tiers = table(*(endpoint_config(f"{tier.value}/a#1") for tier in Tier))
    for each, state in zip(tiers.endpoints, (BreakerState.CLOSED, BreakerState.CLOSED, BreakerState.OPEN), strict=True):
        trip(each, 0.0)
        assert tiers.best_state(0.0) is state
    assert tiers.best_state(1e6) is BreakerState.HALF_OPEN
