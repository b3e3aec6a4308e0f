import pytest

from octoroute_py.admission.claims import Claim, Subject
from octoroute_py.admission.limits import NO_PERMIT, Limited, Limiter, Measure, Standing
from octoroute_py.core.allowance import NO_RATES, Rates
from octoroute_py.core.errors import Refused

SIXTY = Rates(requests_per_window=60)


def key(rates: Rates, name: str = "app") -> Claim:
    return Claim(Subject.KEY, name, rates)


def workspace(rates: Rates) -> Claim:
    return Claim(Subject.WORKSPACE, "team", rates)


def refusal(limiter: Limiter, *claims: Claim, tokens: int = 1, now: float) -> Limited:
    with pytest.raises(Limited) as caught:
        limiter.admit(claims, tokens=tokens, now=now)
    return caught.value


def test_without_any_rate_nothing_is_counted_and_everybody_shares_one_permit() -> None:
    limiter = Limiter()
    claims = (key(NO_RATES), workspace(Rates()), Claim(Subject.IP, "192.0.2.1"))
    permit = limiter.admit(claims, tokens=10, now=0.0)
    assert permit is NO_PERMIT
    assert limiter.admit((), tokens=10, now=0.0) is NO_PERMIT
    permit.settle(5, 1.0)
    permit.refund(1.0)
    permit.release()
    assert permit.standing(1.0) is None
    assert len(limiter) == 0


def test_a_key_of_sixty_a_minute_gets_sixty_in_any_minute_and_others_go_on() -> None:
    limiter = Limiter()
    admitted, waits = [], []
    for number in range(200):
        now = number / 20
        try:
            limiter.admit((key(SIXTY),), tokens=1, now=now)
        except Limited as limited:
            waits.append((limited.retry_after_s or 0.0) - (60.0 - now))
            limiter.admit((key(SIXTY, f"other-{number}"),), tokens=1, now=now)
        else:
            admitted.append(now)
    assert admitted == [number / 20 for number in range(60)]
    assert 0.0 <= min(waits) <= max(waits) < 0.1
    refusal(limiter, key(SIXTY), now=59.9)
    limiter.admit((key(SIXTY),), tokens=1, now=60.1)


def test_a_refusal_says_whose_limit_it_is_what_it_counts_and_how_it_stands() -> None:
    limiter = Limiter()
    limiter.admit((workspace(Rates(requests_per_window=1, requests_window_s=900.0)),), tokens=1, now=0.0)
    limited = refusal(limiter, workspace(Rates(requests_per_window=1, requests_window_s=900.0)), now=100.0)
    assert isinstance(limited, Refused)
    assert (limited.status, limited.code, limited.error_type) == (429, "rate_limit_exceeded", "rate_limit_error")
    assert (limited.subject, limited.measure) == (Subject.WORKSPACE, Measure.REQUESTS)
    assert limited.standing == Standing(limit=1, remaining=0, reset_s=800.0)
    assert (limited.retry_after_s, limited.final) == (800.0, False)
    assert limited.client_message == "Too many requests: this workspace may send 1 in any 900 seconds."


def test_a_refusal_leaves_no_trace_on_other_claims() -> None:
    limiter = Limiter()
    narrow, wide = workspace(Rates(requests_per_window=1)), key(Rates(requests_per_window=5, max_concurrent=1))
    limiter.admit((narrow,), tokens=1, now=0.0)
    for _ in range(20):
        refusal(limiter, wide, narrow, now=1.0)
        refusal(limiter, narrow, wide, now=1.0)
    permit = limiter.admit((wide,), tokens=1, now=1.0)
    assert permit.standing(1.0) == Standing(limit=5, remaining=4, reset_s=60.0)


def test_of_several_limits_in_the_way_the_longest_wait_is_told() -> None:
    limiter = Limiter()
    fast, slow = key(Rates(requests_per_window=1)), workspace(Rates(requests_per_window=1))
    limiter.admit((fast,), tokens=1, now=0.0)
    limiter.admit((slow,), tokens=1, now=30.0)
    for claims in ((fast, slow), (slow, fast)):
        limited = refusal(limiter, *claims, now=40.0)
        assert (limited.subject, limited.retry_after_s) == (Subject.WORKSPACE, 50.0)
    assert limiter.admit((fast, slow), tokens=1, now=90.0) is not NO_PERMIT


def test_tokens_are_reserved_then_settled_by_what_was_used() -> None:
    limiter = Limiter()
    claim = key(Rates(tokens_per_minute=1000))
    permit = limiter.admit((claim,), tokens=800, now=0.0)
    limited = refusal(limiter, claim, tokens=300, now=10.0)
    assert (limited.measure, limited.retry_after_s) == (Measure.TOKENS, 50.0)
    assert limited.client_message == "Too many tokens: this key may use 1000 in any minute."
    permit.settle(100, 20.0)
    permit.settle(900, 20.0)
    permit.refund(20.0)
    second = limiter.admit((claim,), tokens=300, now=20.0)
    assert second.standing(20.0) == Standing(limit=1000, remaining=600, reset_s=60.0)


def test_more_tokens_than_estimated_count_against_those_who_come_next() -> None:
    limiter = Limiter()
    claim = key(Rates(tokens_per_minute=1000))
    permit = limiter.admit((claim,), tokens=100, now=0.0)
    permit.settle(1500, 5.0)
    assert permit.standing(5.0) == Standing(limit=1000, remaining=0, reset_s=55.0)
    assert refusal(limiter, claim, now=5.0).retry_after_s == 55.0
    limiter.admit((claim,), tokens=1000, now=60.0)


def test_a_request_larger_than_the_whole_limit_is_refused_for_ever() -> None:
    limiter = Limiter()
    limited = refusal(limiter, key(Rates(tokens_per_minute=1000, requests_per_window=5)), tokens=1001, now=0.0)
    assert limited.final
    assert limited.retry_after_s is None
    assert limited.client_message == (
        "This request alone needs more than the 1000 tokens that this key may use in a minute."
    )


def test_what_was_never_sent_is_given_back() -> None:
    limiter = Limiter()
    claim = key(Rates(requests_per_window=1, tokens_per_minute=100))
    permit = limiter.admit((claim,), tokens=100, now=0.0)
    permit.release()
    permit.refund(1.0)
    permit.refund(1.0)
    permit.settle(100, 1.0)
    limiter.admit((claim,), tokens=100, now=1.0)
    refusal(limiter, claim, now=1.0)


def test_slots_are_given_back_once() -> None:
    limiter = Limiter()
    claim = key(Rates(max_concurrent=2))
    first, second = (limiter.admit((claim,), tokens=1, now=0.0) for _ in range(2))
    limited = refusal(limiter, claim, now=0.0)
    assert (limited.measure, limited.retry_after_s) == (Measure.CONCURRENT, 1.0)
    assert limited.client_message == "Too many requests at once: this key may have 2."
    assert limited.standing == Standing(limit=2, remaining=0, reset_s=1.0)
    first.release()
    first.release()
    limiter.admit((claim,), tokens=1, now=0.0)
    refusal(limiter, claim, now=0.0)
    second.release()
    limiter.admit((claim,), tokens=1, now=0.0)


def test_the_tightest_window_is_the_one_with_the_smallest_share_left() -> None:
    limiter = Limiter()
    by_key = key(Rates(requests_per_window=10, tokens_per_minute=1000, max_concurrent=1))
    by_team = workspace(Rates(requests_per_window=4))
    assert limiter.admit((by_key,), tokens=950, now=0.0).standing(1.0) == Standing(1000, 50, 59.0)
    assert limiter.admit((by_team,), tokens=1, now=0.0).standing(1.0) == Standing(4, 3, 59.0)
    slots_only = limiter.admit((key(Rates(max_concurrent=1), "slots"),), tokens=1, now=0.0)
    assert slots_only.standing(0.0) is None


def test_other_rates_count_from_the_next_request_on_and_forget_nothing() -> None:
    limiter = Limiter()
    for number in range(5):
        limiter.admit((key(Rates(requests_per_window=10)),), tokens=1, now=float(number))
    assert refusal(limiter, key(Rates(requests_per_window=5)), now=10.0).retry_after_s == 50.0
    assert refusal(limiter, key(Rates(requests_per_window=2)), now=10.0).retry_after_s == 53.0
    widened = limiter.admit((key(Rates(requests_per_window=7)),), tokens=1, now=10.0)
    assert widened.standing(10.0) == Standing(limit=7, remaining=1, reset_s=60.0)


def test_a_limit_that_is_new_to_an_id_starts_empty_and_old_permits_cannot_unbalance_it() -> None:
    limiter = Limiter()
    old = limiter.admit((key(SIXTY),), tokens=500, now=0.0)
    fresh = limiter.admit((key(Rates(requests_per_window=60, tokens_per_minute=100)),), tokens=60, now=0.0)
    old.refund(1.0)
    assert fresh.standing(1.0) == Standing(limit=100, remaining=40, reset_s=59.0)
    old.settle(0, 1.0)
    assert refusal(limiter, key(Rates(tokens_per_minute=100)), tokens=41, now=1.0).retry_after_s == 59.0


def test_states_that_count_no_more_are_forgotten_as_others_come() -> None:
    limiter = Limiter()
    for number in range(2000):
        limiter.admit((Claim(Subject.IP, f"192.0.2.{number}", SIXTY),), tokens=1, now=float(number)).release()
    assert len(limiter) <= 130


def test_a_state_that_counts_outlives_an_attack_and_a_full_memory_refuses_newcomers_of_its_subject_only() -> None:
    limiter = Limiter(max_states=50)
    one = Rates(requests_per_window=1)
    slot = limiter.admit((Claim(Subject.IP, "long", Rates(max_concurrent=1)),), tokens=1, now=0.0)
    limiter.admit((Claim(Subject.IP, "victim", one),), tokens=1, now=0.0).release()
    refused = []
    for number in range(500):
        try:
            limiter.admit((Claim(Subject.IP, f"attacker-{number}", one),), tokens=1, now=1.0).release()
        except Limited as limited:
            refused.append((limited.retry_after_s, limited.subject))
    assert refused == [(1.0, Subject.IP)] * (500 - 48)
    assert len(limiter) == 50
    assert refusal(limiter, Claim(Subject.IP, "victim", one), now=59.0).retry_after_s == 1.0
    limiter.admit((Claim(Subject.AGENT_TYPE, "coder", one),), tokens=1, now=1.0)
    for number in range(100):
        limiter.admit((Claim(Subject.IP, f"later-{number}", Rates(max_concurrent=1)),), tokens=1, now=61.0).release()
    assert refusal(limiter, Claim(Subject.IP, "long", Rates(max_concurrent=1)), now=61.0).measure is Measure.CONCURRENT
    slot.release()


def test_a_newcomer_refused_for_lack_of_memory_leaves_no_trace_on_other_claims() -> None:
    limiter = Limiter(max_states=1)
    limiter.admit((Claim(Subject.IP, "first", SIXTY),), tokens=1, now=0.0)
    claim = key(Rates(max_concurrent=1))
    refusal(limiter, claim, Claim(Subject.IP, "second", SIXTY), now=0.0)
    limiter.admit((claim,), tokens=1, now=0.0)
