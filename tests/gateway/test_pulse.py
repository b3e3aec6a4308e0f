"""The last minutes in memory: every request counted in the second it ended, old ones forgotten, nothing unbounded."""

import math
import sys
from collections import Counter
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.core.words import TIERS, Tier
from octoroute_py.gateway.pulse import KEPT, MOST_DURATIONS, RATE_S, WINDOW_S, Pulse, Second
from octoroute_py.ledger.outcome import Attempt, Outcome

START = 1_800_000_000


class Clock:
    """A wall clock that is set."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def outcome(
    number: int = 0,
    *,
    tier: Tier | None = Tier.FAST,
    status: int = 200,
    error_code: str | None = None,
    duration_s: float = 0.1,
    endpoints: tuple[str, ...] = ("fast-0",),
    cost_uusd: int = 0,
    baseline_uusd: int = 0,
) -> Outcome:
    attempts = tuple(
        Attempt(endpoint_id=each, tier=tier or Tier.FAST, status=status, started_s=0.0, ended_s=0.1)
        for each in endpoints
    )
    return Outcome(
        request_id=f"r-{number}",
        surface=None,
        status=status,
        tier=tier,
        endpoint_id=endpoints[-1] if endpoints else None,
        attempts=attempts,
        started_wall_s=0.0,
        duration_s=duration_s,
        error_code=error_code,
        cost_uusd=cost_uusd,
        baseline_uusd=baseline_uusd,
    )


def pulse_at(clock: Clock, outcomes: Iterable[tuple[float, Outcome]]) -> Pulse:
    pulse = Pulse(clock)
    for at, each in outcomes:
        clock.now = at
        pulse.saw(each)
    return pulse


def test_before_the_first_request_every_second_is_empty() -> None:
    pulse = Pulse(Clock())
    window = pulse.window()
    assert window == [Second(at) for at in range(START - WINDOW_S, START)]
    assert (pulse.per_second(), pulse.requests, pulse.newest(), pulse.last()) == (0.0, 0, [], Second(START - 1))
    assert pulse.tiers_per_second() == dict.fromkeys(TIERS, 0.0)


def test_a_second_adds_up_what_ended_in_it_and_is_told_when_it_is_over() -> None:
    clock = Clock()
    pulse = pulse_at(
        clock,
        [
            (START + 0.1, outcome(cost_uusd=10, baseline_uusd=50, duration_s=0.1)),
            (START + 0.5, outcome(tier=Tier.DEEP, cost_uusd=70, baseline_uusd=70, duration_s=0.3)),
            (START + 0.9, outcome(tier=None, status=429, error_code="rate_limited", endpoints=())),
        ],
    )
    assert pulse.last() == Second(START - 1)
    clock.now = START + 1.0
    assert pulse.last() == Second(START, 3, 1, (1, 0, 1), 0.1, 0.3, 80, 40)
    clock.now = START + 2.0
    assert pulse.last() == Second(START + 1)
    assert pulse.window()[-2].requests == 3


def test_who_left_has_not_failed_and_is_not_timed() -> None:
    clock = Clock()
    pulse = pulse_at(clock, [(START, outcome(status=499, error_code="client_closed", duration_s=9.0))])
    clock.now = START + 1
    assert pulse.last() == Second(START, 1, 0, (1, 0, 0), None, None, 0, 0)
    assert (pulse.requests, pulse.failed) == (1, 0)


def test_a_second_is_forgotten_when_it_leaves_the_window() -> None:
    clock = Clock()
    pulse = pulse_at(clock, [(START, outcome())])
    clock.now = START + WINDOW_S
    assert pulse.window()[0].requests == 1
    clock.now = START + WINDOW_S + 1
    assert sum(second.requests for second in pulse.window()) == 0
    clock.now = START + 10 * WINDOW_S
    pulse.saw(outcome())
    clock.now += 1
    assert [second.requests for second in pulse.window()][-2:] == [0, 1]


def test_rates_are_means_of_ten_full_seconds() -> None:
    clock = Clock()
    pulse = pulse_at(clock, [(START + n / 10, outcome(endpoints=("a", "b"))) for n in range(100)])
    clock.now = START + RATE_S
    assert (pulse.per_second(), pulse.tiers_per_second()[Tier.FAST]) == (10.0, 10.0)
    assert pulse.endpoints_per_second() == {"a": 10.0, "b": 10.0}
    clock.now = START + RATE_S + 5
    assert (pulse.per_second(), pulse.endpoints_per_second()["a"]) == (5.0, 5.0)
    clock.now = START + 2 * RATE_S
    assert (pulse.per_second(), pulse.endpoints_per_second()) == (0.0, {})


def test_the_newest_are_told_from_any_count_on_as_far_as_they_are_kept() -> None:
    pulse = pulse_at(Clock(), [(START, outcome(number)) for number in range(KEPT + 10)])
    assert [each.request_id for each in pulse.newest(KEPT + 7)] == [f"r-{n}" for n in range(KEPT + 7, KEPT + 10)]
    assert len(pulse.newest()) == KEPT
    assert pulse.newest(KEPT + 10) == pulse.newest(KEPT + 99) == []


def test_what_is_kept_is_bounded_however_much_happens() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    for number in range(3 * MOST_DURATIONS):
        pulse.saw(outcome(number, duration_s=1.0 if number < 2 * MOST_DURATIONS else 2.0))
    assert len(pulse._durations) == MOST_DURATIONS
    clock.now += 1
    assert (pulse.last().p50_s, pulse.last().p95_s) == (2.0, 2.0)  # of its last thousand
    for _ in range(3 * WINDOW_S):
        clock.now += 1
        pulse.saw(outcome(endpoints=tuple(f"endpoint-{n}" for n in range(20))))
    assert len(pulse._ring) + len(pulse._flows) < WINDOW_S + 2 * RATE_S
    assert sum(sys.getsizeof(flow) for _, flow in pulse._flows) < 32_000


def test_a_clock_that_goes_back_loses_nothing_that_lies_ahead_of_it_twice() -> None:
    clock = Clock()
    pulse = pulse_at(clock, [(START, outcome()), (START + 1, outcome()), (START, outcome())])
    clock.now = START + 2
    assert [second.requests for second in pulse.window()][-2:] == [2, 1]


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 4), st.sampled_from(TIERS), st.booleans(), st.floats(0, 60)), max_size=60))
def test_the_window_adds_up_to_what_was_told(told: list[tuple[float, Tier, bool, float]]) -> None:
    clock = Clock()
    told = sorted(told, key=lambda each: each[0])
    pulse = pulse_at(
        clock,
        [
            (START + at, outcome(tier=tier, error_code="upstream_error" if bad else None, duration_s=took))
            for at, tier, bad, took in told
        ],
    )
    clock.now = START + 5
    window = pulse.window()
    assert sum(second.requests for second in window) == pulse.requests == len(told)
    assert sum(second.failed for second in window) == pulse.failed == sum(bad for _, _, bad, _ in told)
    counted = Counter(tier for _, tier, _, _ in told)
    assert [sum(second.tiers[at] for second in window) for at in range(len(TIERS))] == [counted[tier] for tier in TIERS]
    for second in window:
        took = sorted(each for at, _, _, each in told if int(START + at) == second.at)
        assert second.p50_s == (took[math.ceil(len(took) / 2) - 1] if took else None)
