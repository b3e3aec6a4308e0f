import math

from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.admission.window import Window

TICK = 1 / 64
"""Times are whole ticks, so that sums of them are exact."""


def test_what_is_above_the_limit_is_told_how_long_to_wait() -> None:
    window = Window(limit=3, width_s=60.0)
    assert [window.take(1, now) for now in (0.0, 10.0, 20.0)] == [None] * 3
    assert window.take(1, 30.0) == 30.0
    assert window.take(2, 30.0) == 40.0
    assert window.take(3, 30.0) == 50.0
    assert window.used(30.0) == 3


def test_an_entry_leaves_exactly_when_the_window_has_passed() -> None:
    window = Window(limit=1, width_s=60.0)
    assert window.take(1, 5.0) is None
    assert window.take(1, 64.984375) == TICK
    assert window.take(1, 65.0) is None


def test_nothing_is_refilled_at_the_turn_of_a_minute() -> None:
    window = Window(limit=60, width_s=60.0)
    admitted = [now for now in (55 + number * TICK for number in range(640)) if window.take(1, now) is None]
    assert len(admitted) == 60
    assert admitted[-1] < 60.0


def test_more_than_the_whole_limit_never_fits() -> None:
    window = Window(limit=100, width_s=60.0)
    assert window.take(101, 0.0) == math.inf
    assert window.used(0.0) == 0
    assert window.take(100, 0.0) is None


def test_a_correction_downwards_makes_room() -> None:
    window = Window(limit=100, width_s=60.0)
    window.take(80, 0.0)
    assert window.take(50, 1.0) == 59.0
    window.adjust(0.0, -50, 2.0)
    assert window.used(2.0) == 30
    assert window.take(50, 2.0) is None


def test_a_correction_upwards_may_exceed_the_limit_and_then_nothing_fits_until_it_has_left() -> None:
    window = Window(limit=100, width_s=60.0)
    window.take(10, 0.0)
    window.take(80, 10.0)
    window.adjust(10.0, 100, 12.0)
    assert window.used(12.0) == 190
    assert window.take(1, 12.0) == 58.0
    assert window.take(1, 70.0) is None


def test_a_correction_of_what_has_left_changes_nothing() -> None:
    window = Window(limit=100, width_s=60.0)
    window.take(80, 0.0)
    window.take(10, 61.0)
    window.adjust(0.0, 500, 62.0)
    assert window.used(62.0) == 10


def test_a_window_is_free_again_when_its_newest_entry_has_left() -> None:
    window = Window(limit=10, width_s=60.0)
    assert window.reset_in(0.0) == 0.0
    window.take(1, 0.0)
    window.take(1, 20.0)
    window.take(4, 30.0)
    assert window.reset_in(40.0) == 50.0
    window.adjust(30.0, -4, 40.0)
    assert window.reset_in(40.0) == 40.0
    assert window.reset_in(80.0) == 0.0


def test_another_limit_or_width_keeps_what_is_in_the_window() -> None:
    window = Window(limit=10, width_s=60.0)
    window.take(8, 0.0)
    window.limit = 4
    assert window.take(1, 30.0) == 30.0
    window.width_s = 300.0
    assert window.take(1, 30.0) == 270.0
    window.width_s = 20.0
    assert window.take(1, 30.0) is None


def test_memory_is_bounded_however_many_entries_there_are() -> None:
    window = Window(limit=10**9, width_s=60.0)
    now, most = 0.0, 0
    for _ in range(40_000):
        now += TICK
        assert window.take(1, now) is None
        most = max(most, len(window))
    assert most <= 2 * 602
    assert 60 * 64 <= window.used(now) <= 60.2 * 64


@given(
    limit=st.integers(1, 12),
    width_ticks=st.sampled_from([64, 600, 3840, 9600]),
    steps=st.lists(
        st.tuples(st.sampled_from([0, 0, 1, 2, 5, 6, 7, 16, 100, 700, 4000]), st.integers(1, 5)), max_size=120
    ),
)
def test_no_stretch_holds_more_than_the_limit_and_what_would_fit_is_let_in(
    limit: int, width_ticks: int, steps: list[tuple[int, int]]
) -> None:
    width_s = width_ticks * TICK
    window = Window(limit=limit, width_s=width_s)
    log: list[tuple[float, int]] = []
    now = 0.0
    for ticks, n in steps:
        now += ticks * TICK
        exact = sum(count for at, count in log if now - at < width_s)
        longest = sum(count for at, count in log if now - at < width_s * 601 / 600)
        wait_s = window.take(n, now)
        if wait_s is None:
            assert exact + n <= limit
            log.append((now, n))
        else:
            assert wait_s > 0
            assert longest + n > limit
        assert exact <= window.used(now) - (n if wait_s is None else 0) <= longest


@given(
    limit=st.integers(1, 12),
    steps=st.lists(st.tuples(st.integers(0, 900), st.integers(1, 12)), min_size=1, max_size=60),
)
def test_the_wait_it_names_is_enough_and_too_long_by_a_bucket_at_most(limit: int, steps: list[tuple[int, int]]) -> None:
    width_s = 60.0
    window = Window(limit=limit, width_s=width_s)
    log: list[tuple[float, int]] = []
    now = 0.0
    for ticks, n in steps:
        now += ticks * TICK
        wait_s = window.take(n, now)
        if wait_s == math.inf:
            assert n > limit
            continue
        if wait_s is not None:
            early = now + wait_s - width_s / 600 - TICK
            assert sum(count for at, count in log if early - at < width_s) + n > limit
            now += wait_s
            assert window.take(n, now) is None
        log.append((now, n))
