"""Many simulated deployments: worse canaries end in time, equal ones take over, and nothing moves by itself."""

import random

import pytest

from octoroute_py.routing.rollout import Call
from tests.fakes.canary_runs import GRACE, LIMIT, in_time, rolled_back, run, steady, still, turning

LEAST = 100


@pytest.mark.parametrize("rate", [3 * LIMIT, 0.3, 1.0])
def test_a_worse_canary_is_rolled_back_within_min_requests_and_twenty(rate: float) -> None:
    assert in_time(steady(150, LEAST, rate, random.Random(1)), LEAST) >= 0.98


def test_a_canary_that_turns_bad_later_is_noticed_as_soon() -> None:
    after = turning(100, LEAST, 0.3, random.Random(2))
    assert sum(each <= LEAST + GRACE for each in after) >= 98


def test_one_that_fails_half_as_often_as_it_may_takes_over_nine_times_in_ten() -> None:
    found = steady(100, LEAST, LIMIT / 2, random.Random(3))
    assert rolled_back(found) <= 0.15
    assert {each.call for each in found} <= {Call.ROLLBACK, Call.COMPLETE}


def test_one_that_does_not_fail_takes_over_in_ten_steps_of_min_requests() -> None:
    assert run(LEAST, lambda _: 0.0, random.Random(4)) == (Call.COMPLETE, 10 * LEAST, 100.0)


def test_nothing_moves_without_traffic() -> None:
    assert still(1000) == 0
