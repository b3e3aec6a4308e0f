"""Figures are exact where they can be, and percentiles are true within 1 %."""

import math

from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.core.ending import Ended
from octoroute_py.manage.figures import by_status, figures, most, percentile_ms, together
from octoroute_py.storage.analytics import Cell
from octoroute_py.storage.entries import latency_bucket

EMPTY = Cell(
    surface="chat",
    agent_type="",
    tier="fast",
    endpoint="e",
    status=200,
    requests=0,
    failures=0,
    duration_us=0,
    prompt_tokens=0,
    completion_tokens=0,
    cached_tokens=0,
    cost_uusd=0,
    baseline_uusd=0,
)


def cell(**changes: object) -> Cell:
    return EMPTY._replace(**changes)  # type: ignore[arg-type]


def buckets_of(durations_us: list[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for duration in durations_us:
        found[latency_bucket(duration)] = found.get(latency_bucket(duration), 0) + 1
    return found


@given(
    durations=st.lists(st.integers(1, 10**10), min_size=1, max_size=60),
    percent=st.sampled_from([1, 50, 95, 99, 100]),
)
def test_a_percentile_is_the_nearest_rank_within_one_per_cent(durations: list[int], percent: int) -> None:
    true_us = sorted(durations)[math.ceil(percent * len(durations) / 100) - 1]
    told = percentile_ms(buckets_of(durations), percent)
    assert told is not None
    assert abs(told - true_us / 1000) <= 0.01 * true_us / 1000 + 0.0005  # it is told in whole microseconds


def test_nothing_has_no_percentile_no_average_and_no_rate() -> None:
    nothing = figures([], {})
    assert (nothing.total_requests, nothing.total_cost) == (0, 0.0)
    assert {nothing.p50, nothing.p99, nothing.average_latency, nothing.success_rate, nothing.success_ratio} == {None}


def test_clients_that_left_are_neither_success_nor_failure() -> None:
    cells = [
        cell(requests=6, failures=1),
        cell(status=502, requests=2, failures=2),
        cell(status=499, requests=5, duration_us=10**9),
    ]
    told = figures(cells, {})
    assert (told.total_requests, told.failed_requests, told.cancelled_requests) == (13, 3, 5)
    assert (told.success_rate, told.success_ratio) == (62.5, 0.625)


def test_the_average_is_over_requests_that_an_endpoint_was_tried_for_and_whose_client_stayed() -> None:
    cells = [
        cell(requests=2, duration_us=3_000_000),
        cell(status=429, endpoint="", requests=100, duration_us=100),
        cell(status=499, requests=5, duration_us=10**9),
    ]
    assert figures(cells, {}).average_latency == 1500.0


def test_only_clients_that_left_leave_nothing_to_rate() -> None:
    assert figures([cell(status=499, requests=3)], {}).success_rate is None


def test_every_word_is_told_and_a_broken_stream_is_an_error() -> None:
    cells = [
        cell(requests=5, failures=2),
        cell(status=504, requests=1, failures=1),
        cell(status=429, requests=3, failures=3),
        cell(status=499, requests=4),
    ]
    assert by_status(cells) == {
        Ended.SUCCESS: 3,
        Ended.ERROR: 2,
        Ended.TIMEOUT: 1,
        Ended.RATE_LIMITED: 3,
        Ended.CANCELLED: 4,
    }


def test_the_busiest_names_come_first_and_there_is_an_end_to_them() -> None:
    cells = [cell(agent_type=f"a{number}", requests=number) for number in range(1, 1501)]
    told = most(cells, lambda each: each.agent_type)
    assert list(told)[:2] == ["a1500", "a1499"]
    assert len(told) == 1000


def test_buckets_of_several_groups_are_added() -> None:
    assert together([{1: 2, 2: 1}, {2: 3}]) == {1: 2, 2: 4}
