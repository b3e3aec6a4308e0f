import math
from collections.abc import Callable

import pytest

from octoroute_py.config.schema import BreakerConfig, Secret
from octoroute_py.core.words import BreakerState
from octoroute_py.tiers.endpoint import Endpoint, identity
from octoroute_py.tiers.live import Unavailability
from tests.fakes.endpoints import endpoint, endpoint_config, trip


def serve(one: Endpoint, now: float) -> None:
    hold = one.begin(now)
    hold.success(now, 0.1)
    hold.close()


def test_a_new_endpoint_is_available_at_full_weight() -> None:
    one = endpoint(weight=2.0)
    assert one.unavailable(0.0) is None
    assert one.eligible_at(7.0) == 7.0
    assert one.effective_weight(0.0) == 2.0


def test_the_least_weight_there_is_does_not_become_nothing_in_a_slow_start() -> None:
    one = endpoint(weight=5e-324)
    one.breaker.recovered_at = 0.0
    assert one.effective_weight(1.0) > 0.0


def test_it_is_full_at_its_limit_and_free_again_when_a_hold_closes_once() -> None:
    one = endpoint(max_in_flight=2)
    first, second = one.begin(0.0), one.begin(0.0)
    assert one.unavailable(0.0) is Unavailability.FULL
    assert one.out(0.0) is None
    assert one.eligible_at(0.0) > 0.0
    first.close()
    first.close()
    first.abandon()
    assert one.in_flight == 1
    assert one.unavailable(0.0) is None
    second.close()
    assert one.in_flight == 0


def test_the_breaker_takes_it_out_until_a_trial_may_begin() -> None:
    one = endpoint()
    trip(one, 10.0)
    assert one.unavailable(10.0) is Unavailability.BREAKER
    at = one.eligible_at(10.0)
    assert 12.5 <= at <= 15.0
    assert one.unavailable(at) is None
    hold = one.begin(at)
    assert hold.trial
    assert one.unavailable(at) is Unavailability.BREAKER
    assert one.out(at) is None


def test_closing_a_trial_without_a_verdict_returns_its_slot() -> None:
    one = endpoint()
    trip(one, 0.0)
    for _ in range(3):
        hold = one.begin(5.0)
        assert hold.trial
        hold.close()
    assert one.breaker.state(5.0) is BreakerState.HALF_OPEN
    serve(one, 5.0)
    serve(one, 5.0)
    assert one.breaker.state(5.0) is BreakerState.CLOSED


def test_clients_that_leave_are_not_failures() -> None:
    one = endpoint()
    for _ in range(100):
        one.begin(0.0).close()
    assert one.breaker.state(0.0) is BreakerState.CLOSED
    assert one.in_flight == 0


def test_a_stall_after_the_first_event_counts_as_a_failure_too() -> None:
    one = endpoint()
    for _ in range(5):
        hold = one.begin(0.0)
        hold.success(0.0)
        hold.failure(1.0)
        hold.failure(1.0)
        hold.close()
    assert one.breaker.trips == 1


def test_an_answered_trial_that_ends_does_not_free_the_slot_of_the_next_one() -> None:
    one = endpoint(breaker=BreakerConfig(half_open_successes=3))
    trip(one, 0.0)
    first = one.begin(5.0)
    first.success(5.0)
    second = one.begin(5.0)
    assert second.trial
    first.close()
    assert one.unavailable(5.0) is Unavailability.BREAKER
    second.close()


def test_an_endpoint_remembers_how_its_attempts_ended_each_once() -> None:
    one = endpoint(breaker=BreakerConfig(enabled=False))
    for at in range(12):
        hold = one.begin(0.0)
        if at % 4 == 0:
            hold.success(1.0, 0.5)
            hold.failure(2.0)
        elif at % 4 == 1:
            hold.success(1.0, answer_s=1.0)
        elif at % 4 == 2:
            hold.success(1.0)
        else:
            hold.failure(1.0)
        hold.close()
    left = one.begin(0.0)
    left.close()
    assert one.live.recent.success_rate(2.0) == 0.5


def test_verdicts_count_once_and_not_after_the_end() -> None:
    one = endpoint()
    hold = one.begin(0.0)
    for _ in range(10):
        hold.failure(0.0)
    hold.success(0.0)
    hold.close()
    late = one.begin(0.0)
    late.close()
    late.failure(0.0)
    late.success(0.0)
    assert one.breaker.consecutive_failures == 1
    assert one.live.last_success is None


def test_a_429_is_a_cooldown_of_the_time_the_upstream_said() -> None:
    one = endpoint()
    one.cool_down(0.0, 4.0)
    one.cool_down(1.0, 1.0)
    assert one.unavailable(3.9) is Unavailability.COOLDOWN
    assert one.eligible_at(0.0) == 4.0
    assert one.unavailable(4.0) is None
    assert one.breaker.state(0.0) is BreakerState.CLOSED


@pytest.mark.parametrize("said", [None, math.nan, math.inf, 0.0, -3.0])
def test_a_429_that_says_no_time_backs_off_from_1_to_60_s(said: float | None) -> None:
    one, now, waits = endpoint(), 0.0, []
    for _ in range(8):
        one.cool_down(now, said)
        one.cool_down(now, said)
        waits.append(one.eligible_at(now) - now)
        now = one.eligible_at(now)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    serve(one, now)
    one.cool_down(now, said)
    assert one.eligible_at(now) - now == 1


def test_an_upstream_cannot_send_itself_away_for_more_than_300_s() -> None:
    one = endpoint()
    one.cool_down(0.0, 1e9)
    assert one.eligible_at(0.0) == 300.0


def test_a_success_of_a_call_begun_before_the_429_does_not_shorten_the_next() -> None:
    one = endpoint()
    early = one.begin(0.0)
    one.cool_down(0.0)
    early.success(0.5)
    early.close()
    one.cool_down(1.0)
    assert one.eligible_at(1.0) == 3.0


def test_quota_and_auth_take_it_out_for_60_s_doubling_to_300() -> None:
    for take_out, reason in (
        (Endpoint.quota_out, Unavailability.QUOTA),
        (Endpoint.auth_out, Unavailability.AUTH),
    ):
        one, now, waits = endpoint(), 0.0, []
        for _ in range(5):
            take_out(one, now)
            assert one.unavailable(now) is reason
            assert one.out(now) is reason
            waits.append(one.eligible_at(now) - now)
            now = one.eligible_at(now)
        assert waits == [60, 120, 240, 300, 300]


def test_the_gravest_reason_is_told() -> None:
    one = endpoint()
    one.cool_down(0.0, 200.0)
    one.quota_out(0.0)
    assert one.unavailable(0.0) is Unavailability.QUOTA
    one.auth_out(0.0)
    assert one.unavailable(0.0) is Unavailability.AUTH
    assert one.unavailable(100.0) is Unavailability.COOLDOWN


def test_three_failed_probes_take_it_out_and_one_good_brings_it_back() -> None:
    one = endpoint()
    for second in range(2):
        one.probe_failed(float(second), threshold=3)
    assert one.unavailable(2.0) is None
    one.probe_failed(2.0, threshold=3)
    assert one.unavailable(2.0) is Unavailability.PROBE
    assert one.back_at(2.0) == math.inf
    one.live.next_probe_at = 30.0
    assert one.eligible_at(2.0) == 30.0
    assert one.live.last_check == 2.0
    one.probe_alive(30.0)
    assert one.unavailable(30.0) is None


def test_an_answered_call_proves_it_alive_too() -> None:
    one = endpoint()
    hold = one.begin(0.0)
    for _ in range(3):
        one.probe_failed(1.0, threshold=3)
    hold.success(2.0)
    hold.close()
    assert one.unavailable(2.0) is None


def test_a_refused_probe_is_believed_unless_a_call_was_answered_with_the_key() -> None:
    one = endpoint()
    one.probe_refused(0.0)
    assert one.unavailable(0.0) is Unavailability.AUTH
    one.probe_refused(30.0)
    assert one.eligible_at(30.0) == 60.0
    serve(one, 61.0)
    one.probe_refused(90.0)
    assert one.unavailable(90.0) is None
    one.auth_out(100.0)
    one.probe_refused(161.0)
    assert one.unavailable(161.0) is Unavailability.AUTH


def test_replicas_of_a_name_fail_on_their_own() -> None:
    one, other = endpoint("fast/a#1"), endpoint("fast/a#2")
    assert one.name == other.name
    trip(one, 0.0)
    one.cool_down(0.0)
    assert one.unavailable(0.0) is not None
    assert other.unavailable(0.0) is None


def test_identity_is_id_and_the_way_to_the_upstream() -> None:
    base = endpoint_config(api_key=Secret("k1"))
    assert identity(base) == identity(
        endpoint_config(api_key=Secret("k1"), weight=9.0, priority=4, name="other", model="a")
    )
    for other in (
        endpoint_config(api_key=Secret("k2")),
        endpoint_config(),
        endpoint_config(api_key=Secret("k1"), model="b"),
        endpoint_config(api_key=Secret("k1"), base_url="http://127.0.0.2:1/x"),
        endpoint_config(api_key=Secret("k1"), headers=(("x-org", "1"),)),
        endpoint_config(api_key=Secret("k1"), http2=True),
    ):
        assert identity(other) != identity(base)
    assert "k1" not in repr(identity(base))


def test_a_drained_endpoint_takes_nothing_and_is_no_failure_until_it_is_taken_back() -> None:
    one = endpoint()
    hold = one.begin(0.0)
    one.drain()
    assert one.unavailable(1.0) is one.out(1.0) is Unavailability.DRAINED
    assert one.back_at(1.0) == math.inf
    assert 1.0 < one.eligible_at(1.0) < 60.0
    hold.success(2.0, 0.1)
    hold.close()
    assert one.unavailable(1e9) is Unavailability.DRAINED
    assert (one.in_flight, one.breaker.trips, one.breaker.consecutive_failures) == (0, 0, 0)
    one.undrain()
    assert one.unavailable(2.0) is None


def test_what_else_keeps_it_out_goes_on_below_a_drain() -> None:
    one = endpoint()
    one.drain()
    one.auth_out(0.0)
    assert one.unavailable(1.0) is Unavailability.DRAINED
    one.undrain()
    assert one.unavailable(1.0) is Unavailability.AUTH
    assert one.unavailable(61.0) is None


@pytest.mark.parametrize("trouble", ["breaker", "cooldown", "quota", "auth", "probe"])
def test_a_reset_forgets_whatever_keeps_it_out_but_a_drain(trouble: str) -> None:
    one = endpoint()
    put_out: dict[str, Callable[[], None]] = {
        "breaker": lambda: trip(one, 0.0),
        "cooldown": lambda: one.cool_down(0.0, 300.0),
        "quota": lambda: one.quota_out(0.0),
        "auth": lambda: one.auth_out(0.0),
        "probe": lambda: one.probe_failed(0.0, threshold=1),
    }
    put_out[trouble]()
    assert one.unavailable(0.5) is not None
    one.reset()
    assert one.unavailable(0.5) is None
    assert not one.live.penalised
    one.drain()
    one.reset()
    assert one.unavailable(0.5) is Unavailability.DRAINED


def test_after_a_reset_the_next_time_out_is_the_shortest_again() -> None:
    one = endpoint()
    for now in (0.0, 100.0, 300.0):
        one.auth_out(now)
    one.reset()
    one.auth_out(400.0)
    assert one.live.held_until == 460.0
