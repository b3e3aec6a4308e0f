from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.tiers.retry_budget import ExtraTry, RetryBudget


def drained(now: float = 0.0) -> RetryBudget:
    budget = RetryBudget(ratio=0.2, now=now)
    while (extra := budget.ask(now, first_failover=False)) is not None:
        extra.close()
    return budget


def test_the_bucket_holds_ten_tries_and_each_request_refills_a_tenth() -> None:
    budget = drained()
    assert budget.tries_left == 0
    for _ in range(9):
        budget.start()
    assert budget.ask(0.0, first_failover=False) is None
    budget.start()
    assert budget.ask(0.0, first_failover=False) is not None
    assert budget.ask(0.0, first_failover=False) is None


def test_three_extra_tries_may_run_at_once_with_few_requests_and_a_fifth_of_many() -> None:
    few, many = RetryBudget(ratio=0.2, now=0.0), RetryBudget(ratio=0.2, now=0.0)
    few.start()
    for _ in range(30):
        many.start()
    for budget, most in ((few, 3), (many, 6)):
        extras = [budget.ask(0.0, first_failover=False) for _ in range(most)]
        assert None not in extras
        assert budget.ask(0.0, first_failover=False) is None
        assert isinstance(extras[0], ExtraTry)
        extras[0].close()
        extras[0].close()
        assert budget.ask(0.0, first_failover=False) is not None
        assert budget.ask(0.0, first_failover=False) is None


def test_the_first_failover_is_free_in_a_young_tier_and_for_ten_seconds_after_a_success() -> None:
    budget = drained(now=100.0)
    assert budget.ask(109.0, first_failover=True) is not None
    assert budget.ask(111.0, first_failover=True) is None
    budget.success(120.0)
    free = budget.ask(130.0, first_failover=True)
    assert free is not None
    assert free.free
    assert budget.extra_in_flight == 0
    assert budget.ask(130.5, first_failover=True) is None
    assert budget.ask(120.0, first_failover=False) is None


Steps = st.lists(
    st.tuples(st.sampled_from(["start", "finish", "ask", "first", "close", "success"]), st.floats(0, 5)), max_size=200
)


@settings(max_examples=100, deadline=None)
@given(steps=Steps, ratio=st.floats(0, 1))
def test_paid_tries_never_exceed_bucket_and_share_whatever_happens(
    steps: list[tuple[str, float]], ratio: float
) -> None:
    budget = RetryBudget(ratio=ratio, now=0.0)
    now, started, running, paid = 0.0, 0, 0, 0
    extras: list[ExtraTry] = []
    for what, seconds in steps:
        now += seconds
        if what == "start":
            budget.start()
            started, running = started + 1, running + 1
        elif what == "finish" and running:
            budget.finish()
            running -= 1
        elif what in {"ask", "first"}:
            extra = budget.ask(now, first_failover=what == "first")
            if extra is not None and not extra.free:
                paid += 1
                extras.append(extra)
                assert budget.extra_in_flight <= max(3, ratio * running)
        elif what == "close" and extras:
            extras.pop().close()
        elif what == "success":
            budget.success(now)
        assert 0 <= budget.tries_left <= 10
        assert paid <= 10 + 0.1 * started + 1e-9
        assert budget.in_flight == running
        assert budget.extra_in_flight == len(extras)


def test_a_storm_of_failing_requests_is_retried_little() -> None:
    budget = RetryBudget(ratio=0.2, now=0.0)
    calls = 0
    for request in range(2000):
        now = 20.0 + request * 0.015
        budget.start()
        calls += 1
        extra = budget.ask(now, first_failover=True)
        if extra is not None:
            calls += 1
            extra.close()
        budget.finish()
    assert calls <= 1.2 * 2000 + 3
