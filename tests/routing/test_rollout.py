"""A canary's share grows on evidence alone, and what breaks a limit ends it."""

import math
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.core.rollout import (
    CanaryDeployment,
    RollbackCriteria,
    RolloutStatus,
    RolloutStrategy,
    RolloutType,
    Split,
    SuccessCriteria,
)
from octoroute_py.routing.rollout import Call, Evidence, Figures, Verdict, chance_of, judge, next_share, shares_of

NOW_S = 1_790_000_000.0
START_MS = int(NOW_S * 1000) - 3_600_000

STRATEGIES = st.builds(
    RolloutStrategy,
    type=st.sampled_from(RolloutType),
    steps=st.none() | st.integers(1, 100),
    max_traffic_percentage=st.floats(0.001, 100.0),
)
RATES = st.none() | st.floats(0.0, 1.0)
LATENCIES = st.none() | st.floats(1.0, 10_000.0)
SHARES = st.floats(0.0, 100.0)


@st.composite
def figures(draw: st.DrawFn) -> Figures:
    requests = draw(st.integers(0, 400))
    errors = draw(st.integers(0, requests))
    return Figures(requests, errors, draw(LATENCIES) if errors < requests else None)


EVIDENCE = st.builds(Evidence, window=figures(), step=figures(), recent=figures(), quality=RATES)
DEPLOYMENTS = st.builds(
    CanaryDeployment,
    id=st.just("d"),
    name=st.just("d"),
    production_model_id=st.just("old"),
    canary_model_id=st.just("new"),
    traffic_split=SHARES.map(lambda share: Split(production=100 - share, canary=share)),
    rollout_strategy=STRATEGIES,
    success_criteria=st.builds(
        SuccessCriteria,
        min_requests=st.integers(1, 200),
        max_error_rate=RATES,
        min_success_rate=RATES,
        max_latency_p95=LATENCIES,
        min_quality_score=RATES,
    ),
    rollback_criteria=st.builds(
        RollbackCriteria,
        max_error_rate=RATES,
        min_success_rate=RATES,
        max_latency_p95=LATENCIES,
        min_quality_score=RATES,
    ),
    status=st.sampled_from([RolloutStatus.ACTIVE, RolloutStatus.PAUSED]),
    step_since_ms=st.just(START_MS),
)


def deployment(**changes: object) -> CanaryDeployment:
    plain = CanaryDeployment(
        id="d",
        name="d",
        production_model_id="old",
        canary_model_id="new",
        traffic_split=Split(production=90.0, canary=10.0),
        success_criteria=SuccessCriteria(min_requests=100, max_error_rate=0.05),
        rollback_criteria=RollbackCriteria(max_error_rate=0.1),
        status=RolloutStatus.ACTIVE,
        step=1,
        started_ms=START_MS,
        step_since_ms=START_MS,
    )
    return msgspec.structs.replace(plain, **changes)


def same(requests: int, errors: int, p95: float | None = 50.0, *, quality: float | None = None) -> Evidence:
    """A canary that did the same in every respect."""
    told = Figures(requests, errors, p95)
    return Evidence(window=told, step=told, recent=told, quality=quality)


def verdict(evidence: Evidence, **changes: object) -> Verdict:
    return judge(deployment(**changes), evidence, now_s=NOW_S)


# shares


@pytest.mark.parametrize(
    ("strategy", "shares"),
    [
        (RolloutStrategy(), [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        (RolloutStrategy(steps=3), [33.33, 66.66, 100]),
        (RolloutStrategy(steps=4, max_traffic_percentage=50), [12.5, 25, 37.5, 50]),
        (RolloutStrategy(type=RolloutType.STEP), [25, 50, 75, 100]),
        (RolloutStrategy(type=RolloutType.STEP, steps=1, max_traffic_percentage=30), [30]),
        (RolloutStrategy(type=RolloutType.EXPONENTIAL), [5, 10, 20, 40, 80, 100]),
        (RolloutStrategy(type=RolloutType.EXPONENTIAL, max_traffic_percentage=3), [3]),
        (RolloutStrategy(steps=100, max_traffic_percentage=0.001), [0.001]),
    ],
)
def test_each_type_has_its_steps_and_ends_at_the_highest_share(strategy: RolloutStrategy, shares: list[float]) -> None:
    assert list(shares_of(strategy)) == shares


@given(strategy=STRATEGIES, share=SHARES)
def test_a_share_only_grows_and_never_above_the_highest(strategy: RolloutStrategy, share: float) -> None:
    highest = strategy.max_traffic_percentage
    after = next_share(strategy, min(share, highest))
    assert after <= highest
    assert after > min(share, highest) or after == highest


@given(strategy=STRATEGIES)
def test_the_highest_share_is_reached_in_about_the_steps_asked_for(strategy: RolloutStrategy) -> None:
    shares = list(shares_of(strategy))
    assert shares[-1] == strategy.max_traffic_percentage
    assert all(before < after for before, after in pairwise(shares))
    if strategy.type is not RolloutType.EXPONENTIAL and strategy.max_traffic_percentage >= 10:
        asked = strategy.steps or {RolloutType.LINEAR: 10, RolloutType.STEP: 4}[strategy.type]
        assert abs(len(shares) - asked) <= max(1, asked // 20)


# evidence


def test_nothing_moves_without_traffic() -> None:
    for max_error_rate in (None, 0.0, 1.0):
        told = verdict(Evidence(), rollback_criteria=RollbackCriteria(max_error_rate=max_error_rate))
        assert (told.call, told.share, told.confidence) == (Call.HOLD, 10.0, 0.0)


def test_the_share_grows_when_every_criterion_held_for_min_requests() -> None:
    assert verdict(same(99, 0)).call is Call.HOLD
    told = verdict(same(100, 5))
    assert (told.call, told.share, told.confidence) == (Call.PROCEED, 20.0, 1.0)


def test_at_the_highest_share_it_is_complete() -> None:
    full = Split(production=0.0, canary=100.0)
    assert verdict(same(99, 0), traffic_split=full).call is Call.HOLD
    assert verdict(same(100, 0), traffic_split=full).call is Call.COMPLETE


def test_evidence_of_earlier_steps_does_not_move_it() -> None:
    evidence = Evidence(window=Figures(5000, 0, 9.0), step=Figures(99, 0, 9.0), recent=Figures(100, 0, 9.0))
    told = verdict(evidence)
    assert told.call is Call.HOLD
    assert told.reasons == ("99 of 100 canary requests are measured since this step began.",)


def test_a_broken_success_criterion_holds() -> None:
    told = verdict(same(100, 6))
    assert (told.call, told.share) == (Call.HOLD, 10.0)
    assert "maxErrorRate 5 %" in told.reasons[0]


def test_a_step_that_did_badly_holds_even_where_the_window_is_good() -> None:
    evidence = Evidence(window=Figures(1000, 10, 9.0), step=Figures(100, 8, 9.0), recent=Figures(100, 8, 9.0))
    assert verdict(evidence).call is Call.HOLD


@pytest.mark.parametrize(
    ("criteria", "good", "bad"),
    [
        (SuccessCriteria(min_success_rate=0.95), same(100, 5), same(100, 6)),
        (SuccessCriteria(max_latency_p95=50.0), same(100, 0, 50.0), same(100, 0, 50.1)),
        (SuccessCriteria(max_latency_p95=50.0), same(100, 0, 50.0), same(100, 0, None)),
        (SuccessCriteria(min_quality_score=0.8), same(100, 0, quality=0.8), same(100, 0, quality=0.79)),
        (SuccessCriteria(min_quality_score=0.8), same(100, 0, quality=0.8), same(100, 0, quality=None)),
    ],
)
def test_every_success_criterion_counts(criteria: SuccessCriteria, good: Evidence, bad: Evidence) -> None:
    lenient = RollbackCriteria()
    assert verdict(good, success_criteria=criteria, rollback_criteria=lenient).call is Call.PROCEED
    assert verdict(bad, success_criteria=criteria, rollback_criteria=lenient).call is Call.HOLD


@pytest.mark.parametrize(
    ("criteria", "good", "bad"),
    [
        (RollbackCriteria(max_error_rate=0.1), same(100, 10), same(100, 11)),
        (RollbackCriteria(min_success_rate=0.9), same(100, 10), same(100, 11)),
        (RollbackCriteria(max_latency_p95=50.0), same(100, 0, 50.0), same(100, 0, 51.0)),
        (RollbackCriteria(min_quality_score=0.8), same(100, 0, quality=0.8), same(100, 0, quality=0.79)),
        (RollbackCriteria(min_quality_score=0.8), same(100, 0, quality=None), same(100, 0, quality=0.0)),
    ],
)
def test_every_rollback_criterion_ends_it_once_min_requests_are_measured(
    criteria: RollbackCriteria, good: Evidence, bad: Evidence
) -> None:
    assert verdict(good, rollback_criteria=criteria).call is not Call.ROLLBACK
    told = verdict(bad, rollback_criteria=criteria)
    assert (told.call, told.share) == (Call.ROLLBACK, 0.0)
    assert told.reasons
    few = msgspec.structs.replace(bad, window=msgspec.structs.replace(bad.window, requests=99), recent=Figures())
    assert verdict(few, rollback_criteria=criteria).call is not Call.ROLLBACK


def test_ten_failures_of_ten_end_it_and_one_of_one_does_not() -> None:
    for limit in (0.05, 0.1, 0.5):
        criteria = RollbackCriteria(max_error_rate=limit)
        assert verdict(same(10, 10, None), rollback_criteria=criteria).call is Call.ROLLBACK
        assert verdict(same(1, 1, None), rollback_criteria=criteria).call is Call.HOLD


def test_a_canary_that_turns_bad_late_is_not_shielded_by_how_good_it_was() -> None:
    evidence = Evidence(window=Figures(5000, 40, 9.0), step=Figures(5000, 40, 9.0), recent=Figures(100, 40, 9.0))
    assert verdict(evidence).call is Call.ROLLBACK


def test_a_limit_of_zero_bears_no_error() -> None:
    assert verdict(same(1, 1, None), rollback_criteria=RollbackCriteria(max_error_rate=0.0)).call is Call.ROLLBACK


def test_a_paused_one_stays_and_still_ends_at_a_broken_limit() -> None:
    assert verdict(same(500, 0), status=RolloutStatus.PAUSED).call is Call.HOLD
    assert verdict(same(500, 100), status=RolloutStatus.PAUSED).call is Call.ROLLBACK


def test_a_step_lasts_its_part_of_the_duration() -> None:
    strategy = RolloutStrategy(duration=600.0)  # ten steps of an hour each, and this one began an hour ago
    assert verdict(same(100, 0), rollout_strategy=strategy).call is Call.PROCEED
    told = verdict(same(100, 0), rollout_strategy=strategy, step_since_ms=START_MS + 1500)
    assert (told.call, told.reasons) == (Call.HOLD, ("This step lasts at least 2 s more.",))


@given(plan=DEPLOYMENTS, evidence=EVIDENCE)
def test_no_evidence_makes_a_verdict_go_beyond_its_gates(plan: CanaryDeployment, evidence: Evidence) -> None:
    told = judge(plan, evidence, now_s=NOW_S)
    highest, share = plan.rollout_strategy.max_traffic_percentage, plan.traffic_split.canary
    assert 0.0 <= told.confidence <= 1.0
    assert told.reasons
    if told.call is Call.ROLLBACK:
        assert told.share == 0.0
    elif told.call is Call.HOLD:
        assert told.share == share
    else:
        assert plan.status is RolloutStatus.ACTIVE
        assert evidence.step.requests >= plan.success_criteria.min_requests
        assert told.confidence == 1.0
    if told.call is Call.PROCEED:
        assert share < told.share <= highest
    if told.call is Call.COMPLETE:
        assert share >= highest


@given(plan=DEPLOYMENTS, evidence=EVIDENCE, more=st.integers(1, 50))
def test_more_failures_never_help(plan: CanaryDeployment, evidence: Evidence, more: int) -> None:
    def worse(told: Figures) -> Figures:
        errors = min(told.requests, told.errors + more)
        return Figures(told.requests, errors, told.latency_p95_ms if errors < told.requests else None)

    rank = {Call.ROLLBACK: 0, Call.HOLD: 1, Call.PROCEED: 2, Call.COMPLETE: 2}
    failing = msgspec.structs.replace(
        evidence, window=worse(evidence.window), step=worse(evidence.step), recent=worse(evidence.recent)
    )
    slow_but_bad = plan.rollback_criteria.max_latency_p95 is not None  # with no good answer there is no latency
    if not slow_but_bad:
        assert rank[judge(plan, failing, now_s=NOW_S).call] <= rank[judge(plan, evidence, now_s=NOW_S).call]


# chance


@given(requests=st.integers(1, 60), errors=st.integers(0, 60), rate=st.floats(0.001, 0.999))
def test_the_chance_of_errors_is_the_tail_of_the_binomial(requests: int, errors: int, rate: float) -> None:
    exact = sum(math.comb(requests, k) * rate**k * (1 - rate) ** (requests - k) for k in range(errors, requests + 1))
    found = chance_of(min(errors, requests), requests, rate)
    if errors > requests:
        return
    assert found == (1.0 if errors <= requests * rate else pytest.approx(exact, rel=1e-6))
