import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.config.schema import BreakerConfig
from octoroute_py.core.words import BreakerState
from octoroute_py.tiers.breaker import Breaker, VerdictWindow

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def make(policy: BreakerConfig | None = None, *, seed: int = 1) -> Breaker:
    return Breaker(policy or BreakerConfig(), rng=random.Random(seed))


def attempt(breaker: Breaker, now: float, *, good: bool) -> bool:
    """One whole attempt; whether it was the trial."""
    epoch, trial = breaker.epoch, breaker.begin(now)
    if good:
        breaker.success(now, trial=trial, epoch=epoch)
    else:
        breaker.failure(now, epoch=epoch)
    return trial


def tripped(now: float = 100.0) -> Breaker:
    breaker = make()
    for _ in range(breaker.policy.failure_threshold):
        attempt(breaker, now, good=False)
    assert breaker.state(now) is OPEN
    return breaker


def test_it_opens_at_five_failures_in_a_row_and_not_before() -> None:
    breaker = make()
    for _ in range(4):
        attempt(breaker, 1.0, good=False)
    assert breaker.state(1.0) is CLOSED
    attempt(breaker, 1.0, good=False)
    assert breaker.state(1.0) is OPEN
    assert not breaker.admits(1.0)
    assert breaker.trips == 1


def test_failures_that_it_was_told_of_are_counted_and_late_ones_are_not() -> None:
    breaker = make()
    late = breaker.epoch
    for _ in range(6):
        attempt(breaker, 1.0, good=False)  # the sixth while it is open
    assert breaker.failures == 6
    breaker.failure(1.0, epoch=late)
    assert breaker.failures == 6


def test_a_success_starts_the_row_of_failures_over() -> None:
    breaker = make(BreakerConfig(min_requests=1000))
    for _ in range(20):
        for _ in range(4):
            attempt(breaker, 1.0, good=False)
        attempt(breaker, 1.0, good=True)
    assert breaker.state(1.0) is CLOSED


def test_it_opens_when_half_of_ten_verdicts_in_the_window_are_failures() -> None:
    breaker = make()
    for second in range(9):
        attempt(breaker, float(second), good=second % 2 == 0)
    assert breaker.state(9.0) is CLOSED
    attempt(breaker, 9.0, good=False)
    assert breaker.state(9.0) is OPEN


def test_verdicts_older_than_the_window_do_not_count_for_the_ratio() -> None:
    breaker = make()
    for second in range(9):
        attempt(breaker, float(second), good=second % 2 == 0)
    attempt(breaker, 80.0, good=False)
    assert breaker.state(80.0) is CLOSED


def test_open_becomes_half_open_by_time_alone_between_half_and_all_of_the_open_time() -> None:
    waits = []
    for seed in range(200):
        breaker = make(seed=seed)
        for _ in range(5):
            attempt(breaker, 0.0, good=False)
        wait = breaker.retry_at(0.0)
        assert breaker.state(wait - 1e-6) is OPEN
        assert breaker.state(wait) is HALF_OPEN
        waits.append(wait)
    assert 2.5 <= min(waits) < 2.7
    assert 4.8 < max(waits) <= 5.0


def test_asking_for_the_state_changes_nothing() -> None:
    breaker = tripped()
    later = breaker.retry_at(100.0)
    for _ in range(50):
        assert breaker.state(later) is HALF_OPEN
        assert breaker.admits(later)
    assert breaker.state(100.0) is OPEN
    assert breaker.begin(later)


def test_half_open_lets_one_trial_through_at_a_time_and_two_successes_close() -> None:
    breaker = tripped()
    now = breaker.retry_at(100.0)
    assert breaker.begin(now)
    assert not breaker.admits(now)
    assert not breaker.begin(now)
    breaker.success(now, trial=True, epoch=breaker.epoch)
    assert breaker.state(now) is HALF_OPEN
    assert attempt(breaker, now, good=True)
    assert breaker.state(now) is CLOSED
    assert breaker.recovered_at == now


def test_a_failed_trial_opens_again_for_longer_up_to_the_cap() -> None:
    breaker, now = tripped(), 100.0
    waits = []
    for _ in range(12):
        until = breaker.retry_at(now)
        waits.append(until - now)
        now = until
        attempt(breaker, now, good=False)
    for step, wait in enumerate(waits):
        longest = min(5.0 * 2**step, 300.0)
        assert longest / 2 <= wait <= longest
    assert breaker.trips == 13


def test_the_open_time_falls_by_one_doubling_for_each_minute_of_health() -> None:
    def wait_after(health_s: float) -> float:
        breaker, now = tripped(), 100.0
        for _ in range(3):
            now = breaker.retry_at(now)
            attempt(breaker, now, good=False)
        now = breaker.retry_at(now)
        attempt(breaker, now, good=True)
        attempt(breaker, now, good=True)
        now += health_s
        for _ in range(5):
            attempt(breaker, now, good=False)
        return breaker.retry_at(now) - now

    assert 40 <= wait_after(1.0) <= 80
    assert 20 <= wait_after(61.0) <= 40
    assert 2.5 <= wait_after(600.0) <= 5


def test_a_cancelled_trial_returns_its_slot_without_a_verdict() -> None:
    breaker = tripped()
    now = breaker.retry_at(100.0)
    for _ in range(10):
        assert breaker.begin(now)
        breaker.abandon(trial=True, epoch=breaker.epoch)
    assert breaker.state(now) is HALF_OPEN
    assert breaker.trips == 1
    attempt(breaker, now, good=True)
    attempt(breaker, now, good=True)
    assert breaker.state(now) is CLOSED


def test_late_verdicts_of_attempts_begun_before_the_opening_change_nothing() -> None:
    breaker = make()
    early = breaker.epoch
    for _ in range(5):
        attempt(breaker, 0.0, good=False)
    until = breaker.retry_at(0.0)
    for now in (1.0, until, until + 1):
        for _ in range(5):
            breaker.failure(now, epoch=early)
            breaker.success(now, trial=False, epoch=early)
    assert breaker.retry_at(0.0) == until
    assert breaker.state(until) is HALF_OPEN
    attempt(breaker, until, good=True)
    attempt(breaker, until, good=True)
    for _ in range(5):
        breaker.failure(until, epoch=early)
    assert breaker.state(until) is CLOSED


def test_a_trial_that_breaks_off_after_its_success_opens_again() -> None:
    breaker = tripped()
    now = breaker.retry_at(100.0)
    attempt(breaker, now, good=True)
    breaker.failure(now, epoch=breaker.epoch)
    assert breaker.state(now) is OPEN


def test_retry_at_of_a_running_trial_is_not_now() -> None:
    breaker = tripped()
    now = breaker.retry_at(100.0)
    assert breaker.retry_at(now) == now
    breaker.begin(now)
    assert breaker.retry_at(now) > now


def test_a_reset_closes_at_once_and_forgets() -> None:
    breaker = tripped()
    now = breaker.retry_at(100.0)
    breaker.begin(now)
    epoch = breaker.epoch
    breaker.reset()
    breaker.failure(now, epoch=epoch)
    assert breaker.state(now) is CLOSED
    assert breaker.recovered_at is None
    assert breaker.consecutive_failures == 0
    for _ in range(4):
        attempt(breaker, now, good=False)
    assert breaker.state(now) is CLOSED


def test_a_disabled_breaker_is_always_closed() -> None:
    breaker = make(BreakerConfig(enabled=False))
    for _ in range(100):
        assert not attempt(breaker, 1.0, good=False)
    assert breaker.state(1.0) is CLOSED
    assert breaker.admits(1.0)
    assert breaker.trips == 0


def test_a_new_policy_applies_to_what_was_learnt() -> None:
    breaker = make()
    for _ in range(2):
        attempt(breaker, 1.0, good=False)
    breaker.follow(BreakerConfig(failure_threshold=3, window_seconds=30))
    attempt(breaker, 1.0, good=False)
    assert breaker.state(1.0) is OPEN
    breaker.follow(BreakerConfig(enabled=False))
    assert breaker.state(1.0) is CLOSED


@pytest.mark.parametrize("gap", [0.0, 0.5, 3.0, 7.0, 59.0, 61.0, 1000.0])
def test_the_window_counts_what_a_plain_list_counts(gap: float) -> None:
    window = VerdictWindow(60.0)
    seen: list[tuple[int, bool]] = []
    now = 12345.0
    rng = random.Random(7)
    for _ in range(200):
        now += gap * rng.random()
        slot = int(now / 6.0)
        bad = rng.random() < 0.4
        (window.add_failure if bad else window.add_success)(now)
        seen.append((slot, bad))
        recent = [failed for at, failed in seen if at > slot - 10]
        assert (window.total, window.failures) == (len(recent), sum(recent))


def test_it_tells_the_verdicts_of_its_window_and_telling_changes_nothing() -> None:
    breaker = make()
    for now, good in ((100.0, True), (101.0, False), (130.0, True)):
        attempt(breaker, now, good=good)
    assert breaker.verdicts(130.0) == (1, 2)
    assert breaker.verdicts(175.0) == (0, 1)
    assert breaker.verdicts(1e6) == (0, 0)
    assert breaker.verdicts(130.0) == (1, 2)


@given(st.lists(st.tuples(st.floats(0.0, 15.0), st.booleans()), max_size=60), st.floats(0.0, 90.0))
def test_what_it_tells_is_what_it_would_count_with_one_more(steps: list[tuple[float, bool]], later_s: float) -> None:
    window, now = VerdictWindow(60.0), 1000.0
    for gap, good in steps:
        now += gap
        window.add_success(now) if good else window.add_failure(now)
    now += later_s
    bad, good_ones = window.seen(now)
    window.add_failure(now)
    assert (window.failures, window.total) == (bad + 1, bad + good_ones + 1)


def test_it_knows_since_when_it_has_not_been_closed() -> None:
    breaker = tripped(100.0)
    seen = [(breaker.opened_at, breaker.trips)]
    for now, good in ((200.0, False), (400.0, True), (401.0, True)):
        attempt(breaker, now, good=good)
        seen.append((breaker.opened_at, breaker.trips))
    assert seen == [(100.0, 1), (100.0, 2), (100.0, 2), (None, 2)]
