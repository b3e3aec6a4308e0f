import pytest

from octoroute_py.core.words import Tier
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.live import Unavailability
from octoroute_py.tiers.table import TierTable
from octoroute_py.tiers.watch import Change, EndpointWatch, TierChange
from tests.fakes.endpoints import config, endpoint_config, table, trip
from tests.fakes.silent_transport import SilentTransport

FAST, DEEP = Tier.FAST, Tier.DEEP


def two() -> tuple[TierTable, Endpoint, Endpoint]:
    tiers = table(endpoint_config("fast/a#1"), endpoint_config("deep/b#1"))
    one, other = tiers.endpoints
    return tiers, one, other


def reloaded(tiers: TierTable, *ids: str) -> TierTable:
    new, _ = tiers.rebuild(config(*map(endpoint_config, ids)), lambda _: SilentTransport())
    return new


def probes_fail(one: Endpoint, now: float) -> None:
    one.probe_failed(now, threshold=1)


def test_nothing_is_told_of_healthy_endpoints() -> None:
    tiers, one, _ = two()
    watch = EndpointWatch()
    for now in (0.0, 1.0):
        assert watch.changes(tiers, now) == []
        assert watch.tier_changes(tiers, now) == []
    hold = one.begin(1.0)
    hold.failure(1.0)
    hold.close()
    assert watch.changes(tiers, 2.0) == []


def test_an_endpoint_that_is_out_is_told_once_and_its_return_too() -> None:
    tiers, one, _ = two()
    watch = EndpointWatch()
    one.cool_down(10.0, 8.0)
    assert watch.changes(tiers, 10.5) == [Change("fast/a#1", FAST, None, Unavailability.COOLDOWN, 7.5)]
    assert watch.changes(tiers, 11.5) == []
    assert watch.changes(tiers, 18.0) == [Change("fast/a#1", FAST, Unavailability.COOLDOWN, None, 0.0)]
    assert watch.changes(tiers, 19.0) == []


@pytest.mark.parametrize(
    ("happens", "because", "back_in_s"),
    [
        (Endpoint.cool_down, Unavailability.COOLDOWN, 1.0),
        (Endpoint.quota_out, Unavailability.QUOTA, 60.0),
        (Endpoint.auth_out, Unavailability.AUTH, 60.0),
        (probes_fail, Unavailability.PROBE, None),
    ],
)
def test_the_reason_and_the_time_are_told(happens: object, because: Unavailability, back_in_s: float | None) -> None:
    tiers, one, _ = two()
    happens(one, 0.0)  # type: ignore[operator]  # one of the four functions above
    assert EndpointWatch().changes(tiers, 0.0) == [Change("fast/a#1", FAST, None, because, back_in_s)]


def test_an_open_breaker_is_back_by_time_and_out_again_when_its_trial_fails() -> None:
    tiers, one, _ = two()
    watch = EndpointWatch()
    trip(one, 0.0)
    (change,) = watch.changes(tiers, 0.0)
    assert change.after is Unavailability.BREAKER
    assert change.back_in_s is not None
    back_at = change.back_in_s
    assert watch.changes(tiers, back_at - 0.01) == []
    assert [each.after for each in watch.changes(tiers, back_at)] == [None]
    trip(one, back_at)
    assert [each.after for each in watch.changes(tiers, back_at)] == [Unavailability.BREAKER]


def test_another_reason_for_being_out_is_told() -> None:
    tiers, one, _ = two()
    watch = EndpointWatch()
    one.cool_down(0.0, 8.0)
    watch.changes(tiers, 0.0)
    one.auth_out(1.0)
    assert watch.changes(tiers, 1.0) == [
        Change("fast/a#1", FAST, Unavailability.COOLDOWN, Unavailability.AUTH, 60.0),
    ]


def test_an_endpoint_that_a_reload_removed_is_forgotten() -> None:
    tiers, one, _ = two()
    watch = EndpointWatch()
    one.cool_down(0.0, 8.0)
    assert len(watch.changes(tiers, 0.0)) == 1
    assert len(watch.tier_changes(tiers, 0.0)) == 1
    without = reloaded(tiers, "deep/b#1")
    assert watch.changes(without, 1.0) == []
    assert watch.tier_changes(without, 1.0) == []
    again = reloaded(without, "fast/a#1", "deep/b#1")
    assert watch.changes(again, 2.0) == []
    assert watch.tier_changes(again, 2.0) == []


def test_a_reload_that_keeps_an_endpoint_tells_nothing_new() -> None:
    tiers, one, _ = two()
    watch = EndpointWatch()
    one.cool_down(0.0, 8.0)
    watch.changes(tiers, 0.0)
    assert watch.changes(reloaded(tiers, "fast/a#1", "fast/c#1"), 1.0) == []


def test_a_tier_is_told_when_its_last_endpoint_goes_out_and_when_the_first_is_back() -> None:
    tiers = table(endpoint_config("fast/a#1"), endpoint_config("fast/a#2"), endpoint_config("deep/b#1"))
    one, other, _ = tiers.endpoints
    watch = EndpointWatch()
    one.cool_down(0.0, 8.0)
    assert watch.tier_changes(tiers, 0.0) == []
    other.cool_down(0.0, 4.0)
    assert watch.tier_changes(tiers, 1.0) == [TierChange(FAST, out=True)]
    assert watch.tier_changes(tiers, 2.0) == []
    assert watch.tier_changes(tiers, 4.0) == [TierChange(FAST, out=False)]


def test_looking_changes_nothing() -> None:
    tiers, one, _ = two()
    trip(one, 0.0)
    EndpointWatch().changes(tiers, 0.0)
    EndpointWatch().tier_changes(tiers, 0.0)
    assert (tiers.tier_trips(FAST), one.breaker.trips, one.in_flight) == (0, 1, 0)
