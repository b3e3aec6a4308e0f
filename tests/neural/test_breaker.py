"""The router's circuit breaker: what opens it, what closes it, and that looking at it changes nothing."""

from octoroute_py.core.words import BreakerState
from octoroute_py.neural.breaker import OPEN_S, TRIALS_TO_CLOSE, Breaker

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def tripped(threshold: int = 3, *, now: float = 0.0) -> Breaker:
    breaker = Breaker(threshold)
    for _ in range(threshold):
        assert breaker.begin(now)
        breaker.failure(now)
    return breaker


def test_it_opens_at_as_many_failures_in_a_row_as_it_was_told() -> None:
    breaker = tripped(3)
    assert breaker.state(0.0) is OPEN
    assert not breaker.begin(0.0)
    assert breaker.wait_s(10.0) == OPEN_S - 10.0
    assert breaker.trips == 1


def test_a_success_starts_the_row_over() -> None:
    breaker = Breaker(2)
    for _ in range(10):
        breaker.failure(0.0)
        breaker.success()
    assert breaker.state(0.0) is CLOSED


def test_after_a_minute_one_trial_at_a_time_is_let_through_and_three_close_it() -> None:
    breaker = tripped()
    for done in range(TRIALS_TO_CLOSE):
        assert breaker.state(OPEN_S) is HALF_OPEN
        assert breaker.begin(OPEN_S), done
        assert not breaker.begin(OPEN_S), done
        breaker.success()
    assert breaker.state(OPEN_S) is CLOSED


def test_successes_from_before_the_opening_do_not_count_for_closing() -> None:
    breaker = Breaker(1)
    for _ in range(50):
        breaker.success()
    breaker.failure(0.0)
    assert breaker.begin(OPEN_S)
    breaker.success()
    assert breaker.state(OPEN_S) is HALF_OPEN


def test_a_failed_trial_opens_it_for_another_minute() -> None:
    breaker = tripped()
    assert breaker.begin(OPEN_S)
    breaker.success()
    assert breaker.begin(OPEN_S)
    breaker.failure(OPEN_S)
    assert breaker.state(OPEN_S + 59.9) is OPEN
    assert breaker.state(2 * OPEN_S) is HALF_OPEN
    assert breaker.trips == 2


def test_a_trial_that_never_ends_gives_its_place_up() -> None:
    breaker = tripped()
    assert breaker.begin(OPEN_S)
    assert breaker.wait_s(OPEN_S + 1.0) == OPEN_S - 1.0
    assert breaker.begin(2 * OPEN_S)


def test_looking_at_it_changes_nothing() -> None:
    breaker = tripped()
    for _ in range(20):
        assert breaker.state(OPEN_S) is HALF_OPEN
        assert breaker.wait_s(OPEN_S) == 0.0
    assert breaker.begin(OPEN_S)
