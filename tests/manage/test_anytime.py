"""Bets against "they are equal": fair when they are, rich when they are not."""

import math
import random
from statistics import NormalDist

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from octoroute_py.manage.anytime import (
    BURN_IN,
    FEWEST_CALLERS,
    LOG_ODDS,
    MOST_E,
    Block,
    Evidence,
    ShareBet,
    Verdict,
    agreed,
    means,
    mixed,
    rates,
    shares,
)
from octoroute_py.manage.significance import Moments
from tests.fakes.moments import of_singles


@st.composite
def block_strategy(draw: st.DrawFn) -> Block:
    arm, control = draw(st.integers(0, 20)), draw(st.integers(0, 20))
    return Block(arm, draw(st.integers(0, arm)), control, draw(st.integers(0, control)))


@settings(max_examples=30, deadline=None)
@given(block_strategy())
def test_a_block_pays_fishers_probability_over_the_hypergeometric_one(block: Block) -> None:
    assume(block.arm + block.control)
    hits = block.arm_hits + block.control_hits
    told = ShareBet().told(block)
    for log_odds, found in zip((*LOG_ODDS, *(-each for each in LOG_ODDS)), told, strict=True):
        fisher = stats.nchypergeom_fisher(block.arm + block.control, block.arm, hits, math.exp(log_odds))
        plain = stats.hypergeom(block.arm + block.control, block.arm, hits)
        expected = fisher.logpmf(block.arm_hits) - plain.logpmf(block.arm_hits)
        assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("arm", "control", "hits"), [(1, 1, 1), (16, 16, 30), (3, 29, 16), (0, 32, 7)])
def test_a_bet_on_equal_arms_is_fair(arm: int, control: int, hits: int) -> None:
    plain = stats.hypergeom(arm + control, arm, hits)
    seen = range(max(0, hits - control), min(arm, hits) + 1)
    told = {k: ShareBet().told(Block(arm, k, control, hits - k)) for k in seen}
    for at in range(2 * len(LOG_ODDS)):
        assert sum(plain.pmf(k) * math.exp(told[k][at]) for k in seen) == pytest.approx(1)


def test_a_block_of_one_arm_tells_nothing() -> None:
    assert shares([(Block(0, 0, 32, 5), 9), (Block(32, 32, 0, 0), 9)]).e_value == 1


def test_blocks_may_be_counted_or_told_one_by_one() -> None:
    block, other = Block(16, 9, 16, 15), Block(10, 3, 22, 20)
    one_by_one = ShareBet()
    for each in (block, other, block):
        one_by_one.add(each)
    assert one_by_one.evidence == shares([(block, 2), (other, 1)])


def test_an_arm_that_always_fails_is_told_by_its_first_block() -> None:
    evidence = shares([(Block(16, 0, 16, 16), 1)])
    assert evidence.verdict(alpha=0.05, higher_is_better=True) is Verdict.WORSE


@settings(deadline=None)
@given(block_strategy(), st.integers(1, 50))
def test_exchanging_the_arms_turns_the_bet(block: Block, times: int) -> None:
    found = shares([(block, times)])
    turned = shares([(Block(block.control, block.control_hits, block.arm, block.arm_hits), times)])
    assert (turned.up, turned.down) == pytest.approx((found.down, found.up), rel=1e-6)


def test_verdicts_need_the_evidence_and_know_what_is_better() -> None:
    up, down = Evidence(up=50.0, down=0.1), Evidence(up=0.1, down=50.0)
    assert up.verdict(alpha=0.05, higher_is_better=True) is Verdict.BETTER
    assert up.verdict(alpha=0.05, higher_is_better=False) is Verdict.WORSE
    assert down.verdict(alpha=0.05, higher_is_better=True) is Verdict.WORSE
    assert down.verdict(alpha=0.05, higher_is_better=False) is Verdict.BETTER
    assert up.verdict(alpha=0.025, higher_is_better=True) is Verdict.UNDECIDED


def test_endless_evidence_is_told_as_much() -> None:
    assert mixed([5000.0, -5000.0]) == pytest.approx(MOST_E)
    assert shares([(Block(16, 0, 16, 16), 100_000)]).down == pytest.approx(MOST_E)


def gauss(count: int, mean: float, *, seed: int) -> Moments:
    rng = random.Random(seed)
    numbers = [rng.gauss(mean, 1) for _ in range(count)]
    return of_singles(count, math.fsum(numbers), math.fsum(each * each for each in numbers))


@settings(deadline=None)
@given(st.integers(BURN_IN, 3000), st.integers(BURN_IN, 3000), st.floats(-0.5, 0.5), st.sampled_from([0.01, 0.05]))
def test_the_bound_leaves_zero_out_as_soon_as_the_evidence_is_enough(
    arm: int, control: int, effect: float, alpha: float
) -> None:
    # Moments by formula: what varies is one above and one below the mean.
    of_arm = of_singles(arm, arm * effect, arm * (effect**2 + 1))
    of_control = of_singles(control, 0.0, float(control))
    found = means(of_arm, of_control, alpha=alpha)
    assert found is not None
    assert found.interval is not None
    outside = not found.interval.low <= 0 <= found.interval.high
    decided = found.verdict(alpha=alpha, higher_is_better=True)
    assert outside == (decided is not Verdict.UNDECIDED)
    if outside:
        assert decided is (Verdict.BETTER if effect > 0 else Verdict.WORSE)


def test_the_evidence_of_both_sides_is_the_mixture_over_the_normal_distribution() -> None:
    arm, control = gauss(900, 0.12, seed=1), gauss(600, 0.0, seed=2)
    found = means(arm, control, alpha=0.05)
    assert found is not None
    spread = math.sqrt(arm.variance / arm.count + control.variance / control.count)
    z = (arm.mean - control.mean) / spread
    width = math.sqrt(4 * 900 * 600 / 1500 / 500)  # of the mixture, in standard errors
    steps = [(step + 0.5) / 1000 for step in range(-15_000, 15_000)]
    bets = [(d, math.exp(z * d - d * d / 2) * NormalDist(0, width).pdf(d) / 1000) for d in steps]
    assert found.up == pytest.approx(2 * sum(bet for d, bet in bets if d > 0), rel=1e-3)
    assert found.down == pytest.approx(2 * sum(bet for d, bet in bets if d < 0), rel=1e-3)


def test_nothing_is_said_of_means_before_there_are_some_or_where_nothing_varies() -> None:
    assert means(gauss(BURN_IN - 1, 0, seed=3), gauss(5000, 9, seed=4), alpha=0.05) is None
    same = of_singles(500, 500.0, 500.0)
    assert means(same, same, alpha=0.05) is None


def of_alike_callers(callers: int, each: int, mean: float) -> Moments:
    """Callers of two kinds, in halves: one gives 1 more than the mean every time, the other 1 less."""
    half, count = callers // 2, callers * each
    return Moments(
        count=count,
        total=count * mean,
        squares=half * each * ((mean + 1) ** 2 + (mean - 1) ** 2),
        callers=callers,
        count_squares=callers * each**2,
        products=callers * each**2 * mean,
        total_squares=half * each**2 * ((mean + 1) ** 2 + (mean - 1) ** 2),
    )


def test_what_callers_repeat_is_no_evidence() -> None:
    once = means(of_alike_callers(400, 1, 0.2), of_alike_callers(400, 1, 0.0), alpha=0.05)
    often = means(of_alike_callers(400, 50, 0.2), of_alike_callers(400, 50, 0.0), alpha=0.05)
    assert once is not None
    assert often is not None
    assert often.e_value == pytest.approx(once.e_value, rel=0.05)


def test_few_callers_decide_nothing() -> None:
    few, enough = FEWEST_CALLERS - 2, FEWEST_CALLERS
    assert means(of_alike_callers(few, 50, 0.2), of_alike_callers(enough, 50, 0.0), alpha=0.05) is None
    assert means(of_alike_callers(enough, 50, 0.2), of_alike_callers(enough, 50, 0.0), alpha=0.05) is not None


def test_arms_that_always_and_never_fail_are_told_apart() -> None:
    never, always = of_singles(BURN_IN, 0.0, 0.0), of_singles(BURN_IN, float(BURN_IN), float(BURN_IN))
    assert means(never, always, alpha=0.05) is None
    found = rates(never, always, alpha=0.05)
    assert found is not None
    assert found.verdict(alpha=0.05, higher_is_better=True) is Verdict.WORSE
    same = rates(always, always, alpha=0.05)
    assert same is not None
    assert same.e_value < 1
    assert rates(never, of_singles(BURN_IN - 1, 0.0, 0.0), alpha=0.05) is None


def test_two_bets_agree_on_what_both_have_made() -> None:
    found = agreed(Evidence(up=90.0, down=0.1), Evidence(up=30.0, down=0.5))
    assert (found.up, found.down) == (30.0, 0.1)
    assert found.verdict(alpha=0.05, higher_is_better=True) is Verdict.UNDECIDED
    assert found.verdict(alpha=0.1, higher_is_better=True) is Verdict.BETTER
