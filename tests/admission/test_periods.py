from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.admission.periods import (
    BelievedClock,
    Period,
    day_of,
    month_of,
    period_end_s,
    period_start_s,
    week_of,
)

HOUR = 3600.0
DAY = 24 * HOUR
START = datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp()


class Clocks:
    """A wall clock that can be set, and a monotonic one that cannot."""

    def __init__(self) -> None:
        self.offset = START
        self.elapsed = 500.0

    def wall(self) -> float:
        return self.offset + self.elapsed - 500.0

    def monotonic(self) -> float:
        return self.elapsed

    def believed(self, *, seen_s: float = 0.0) -> BelievedClock:
        return BelievedClock(self.wall, self.monotonic, seen_s=seen_s)


def test_every_time_that_the_wall_clock_begins_to_be_wrong_is_told_once() -> None:
    clocks, told = Clocks(), []
    clock = BelievedClock(clocks.wall, clocks.monotonic, on_error=lambda: told.append(clocks.elapsed))

    def read_on(seconds: int) -> int:
        for _ in range(seconds):
            clocks.elapsed += 1.0
            clock.read()
        return len(told)

    assert read_on(10) == 0
    clocks.offset -= 0.5  # set right
    assert read_on(10) == 0
    clocks.offset -= HOUR
    assert read_on(100) == 1
    clocks.offset += HOUR
    assert read_on(10) == 1
    clocks.offset += 3 * DAY
    assert read_on(30) == 2
    clocks.offset -= 3 * DAY
    assert read_on(30) == 2


def test_it_follows_the_wall_clock() -> None:
    clocks = Clocks()
    clock = clocks.believed()
    for seconds in (0.0, 1.0, 0.5, 40 * DAY):
        clocks.elapsed += seconds
        assert clock.read() == clocks.wall()


def test_small_steps_forward_are_believed_at_once() -> None:
    clocks = Clocks()
    clock = clocks.believed()
    for step in (HOUR, DAY, 0.25):
        clocks.offset += step
        assert clock.read() == clocks.wall()


def test_an_hour_back_holds_it_still_until_the_wall_clock_has_caught_up() -> None:
    clocks = Clocks()
    clock = clocks.believed()
    clocks.offset -= HOUR
    for _ in range(6):
        assert clock.read() == START
        clocks.elapsed += 600.0
    clocks.elapsed += 1.0
    assert clock.read() == START + 1.0


def test_a_leap_forward_is_believed_once_it_has_lasted() -> None:
    clocks = Clocks()
    clock = clocks.believed()
    clocks.offset += 40 * DAY
    for _ in range(6):
        assert clock.read() == START + clocks.elapsed - 500.0
        clocks.elapsed += 10.0
    assert clock.read() == START + 40 * DAY + 60.0


def test_a_leap_that_is_taken_back_in_time_was_never_believed() -> None:
    clocks = Clocks()
    clock = clocks.believed()
    clocks.offset += 40 * DAY
    clock.read()
    clocks.elapsed += 59.0
    assert clock.read() == START + 59.0
    clocks.offset -= 40 * DAY
    clocks.elapsed += 1.0
    assert clock.read() == START + 60.0
    clocks.offset += 40 * DAY
    clocks.elapsed += 1.0
    assert clock.read() == START + 61.0


def test_a_leap_that_leaps_on_has_to_last_anew() -> None:
    clocks = Clocks()
    clock = clocks.believed()
    clocks.offset += 40 * DAY
    clock.read()
    clocks.elapsed += 50.0
    clocks.offset += 40 * DAY
    assert clock.read() == START + 50.0
    clocks.elapsed += 50.0
    assert clock.read() == START + 100.0
    clocks.elapsed += 10.0
    assert clock.read() == START + 80 * DAY + 110.0


def test_the_return_from_a_leap_that_was_believed_is_believed_once_it_has_lasted() -> None:
    clocks = Clocks()
    clock = clocks.believed()
    clocks.offset += 40 * DAY
    clock.read()
    clocks.elapsed += 60.0
    assert clock.read() == START + 40 * DAY + 60.0
    clocks.offset -= 40 * DAY
    assert clock.read() == START + 40 * DAY + 60.0
    clocks.elapsed += 59.0
    assert clock.read() == START + 40 * DAY + 119.0
    clocks.elapsed += 1.0
    assert clock.read() == START + 120.0


def test_a_restart_with_the_clock_an_hour_back_goes_on_from_what_the_journal_has_seen() -> None:
    clocks = Clocks()
    clock = clocks.believed(seen_s=START + HOUR)
    assert clock.read() == START + HOUR
    clocks.elapsed += HOUR + 5.0
    assert clock.read() == START + HOUR + 5.0


def test_a_start_after_a_long_pause_is_believed_at_once() -> None:
    clocks = Clocks()
    assert clocks.believed(seen_s=START - 30 * DAY).read() == START


def test_a_start_after_a_wrong_date_was_mended_returns_after_a_minute() -> None:
    clocks = Clocks()
    clock = clocks.believed(seen_s=START + 40 * DAY)
    assert clock.read() == START + 40 * DAY
    clocks.elapsed += 60.0
    assert clock.read() == START + 60.0


@given(
    moves=st.lists(
        st.tuples(st.floats(0.0, 3 * HOUR), st.floats(-DAY / 2, DAY / 2) | st.just(0.0)), min_size=1, max_size=40
    )
)
def test_it_never_goes_back_for_jumps_of_less_than_a_day_and_is_never_far_behind(
    moves: list[tuple[float, float]],
) -> None:
    clocks = Clocks()
    clock = clocks.believed()
    last, furthest = clock.read(), START
    for elapsed, jump in moves:
        clocks.elapsed += elapsed
        clocks.offset = max(clocks.offset + jump, START - DAY / 2)
        clocks.offset = min(clocks.offset, START + DAY / 2)
        furthest = max(furthest, clocks.wall())
        now = clock.read()
        assert last <= now <= furthest
        assert now >= clocks.wall()
        last = now


@pytest.mark.parametrize(
    ("moment", "starts", "ends"),
    [
        (datetime(2026, 3, 10, 12), (datetime(2026, 3, 10), datetime(2026, 3, 9), datetime(2026, 3, 1)),
         (datetime(2026, 3, 11), datetime(2026, 3, 16), datetime(2026, 4, 1))),
        (datetime(2024, 2, 29, 23, 59, 59), (datetime(2024, 2, 29), datetime(2024, 2, 26), datetime(2024, 2, 1)),
         (datetime(2024, 3, 1), datetime(2024, 3, 4), datetime(2024, 3, 1))),
        (datetime(2026, 12, 31), (datetime(2026, 12, 31), datetime(2026, 12, 28), datetime(2026, 12, 1)),
         (datetime(2027, 1, 1), datetime(2027, 1, 4), datetime(2027, 1, 1))),
        (datetime(1970, 1, 1), (datetime(1970, 1, 1), datetime(1969, 12, 29), datetime(1970, 1, 1)),
         (datetime(1970, 1, 2), datetime(1970, 1, 5), datetime(1970, 2, 1))),
    ],
)  # fmt: skip
def test_periods_begin_and_end_at_midnight_utc(
    moment: datetime, starts: tuple[datetime, ...], ends: tuple[datetime, ...]
) -> None:
    at_s = moment.replace(tzinfo=UTC).timestamp()
    assert [period_start_s(period, at_s) for period in Period] == [
        start.replace(tzinfo=UTC).timestamp() for start in starts
    ]
    assert [period_end_s(period, at_s) for period in Period] == [end.replace(tzinfo=UTC).timestamp() for end in ends]


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2199, 1, 1)))
def test_periods_agree_with_the_calendar(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)
    at_s = moment.timestamp()
    day_later, week_later = moment + timedelta(days=1), moment + timedelta(days=7)
    assert day_of(day_later.timestamp()) == day_of(at_s) + 1
    assert week_of(week_later.timestamp()) == week_of(at_s) + 1
    assert (week_of(day_later.timestamp()) != week_of(at_s)) == (moment.weekday() == 6)
    assert month_of(at_s) == moment.year * 12 + moment.month - 1
    for period in Period:
        assert period_start_s(period, at_s) <= at_s < period_end_s(period, at_s)
        assert period_start_s(period, period_end_s(period, at_s)) == period_end_s(period, at_s)
