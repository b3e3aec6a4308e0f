"""Each figure against its definition, spelled out by brute force on small cases."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.neural.platt import calibration_error
from octoroute_py.training.metrics import against_random_mix, apgr_interval, auc, best_mix, recovery

BITS = st.integers(0, 1)
Rows = list[tuple[int, int, int]]
ROWS = st.lists(st.tuples(st.integers(0, 3), BITS, BITS), min_size=2, max_size=5)


def recovered_by_definition(rows: Rows, calls: int) -> float:
    """The mean over all orders that respect the score of what `calls` calls to the large model win back."""
    gap = sum(large - small for _, small, large in rows)
    orders = [
        order for order in itertools.permutations(rows) if all(a[0] >= b[0] for a, b in itertools.pairwise(order))
    ]
    return sum(sum(large - small for _, small, large in order[:calls]) for order in orders) / len(orders) / gap


@given(ROWS)
@settings(max_examples=150, deadline=None)
def test_the_recovered_share_is_the_mean_over_all_orders_that_respect_the_score(rows: Rows) -> None:
    need, small, large = np.array(rows, dtype=float).T
    curve = recovery(need, small, large)
    if large.sum() <= small.sum():
        assert math.isnan(curve.apgr())
        assert math.isnan(curve.cpt(0.5))
        return
    points = [recovered_by_definition(rows, calls) for calls in range(len(rows) + 1)]
    at = np.arange(len(rows) + 1) / len(rows)
    assert np.interp(at, curve.calls, curve.recovered) == pytest.approx(points)
    assert curve.apgr() == pytest.approx(np.trapezoid(points, at))
    for share in (0.5, 0.8):
        first = curve.cpt(share) / 100
        assert np.interp(first, at, points) == pytest.approx(share)
        before = np.linspace(0, first, 1_001)[:-1]
        assert (np.interp(before, at, points) < share + 1e-9).all()


def test_a_scorer_that_says_the_same_of_all_rows_is_exactly_random() -> None:
    curve = recovery(np.zeros(9), np.array([0.0, 1, 0] * 3), np.ones(9))
    assert (curve.apgr(), curve.cpt(0.5), curve.cpt(0.8)) == pytest.approx((0.5, 50.0, 80.0))


def test_a_perfect_scorer_wins_the_gap_back_with_the_fewest_calls() -> None:
    small, large = np.array([0.0, 0, 1, 1]), np.ones(4)
    curve = recovery(large - small, small, large)
    assert (curve.cpt(0.5), curve.cpt(1.0), curve.apgr()) == pytest.approx((25.0, 50.0, 0.75))


@given(st.lists(st.tuples(st.integers(0, 4), BITS), min_size=2, max_size=30))
@settings(max_examples=150, deadline=None)
def test_auc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[int, int]]) -> None:
    good = [score for score, right in rows if right]
    bad = [score for score, right in rows if not right]
    found = auc(np.array([score for score, _ in rows], dtype=float), np.array([right > 0 for _, right in rows]))
    if not good or not bad:
        assert math.isnan(found)
        return
    pairs = [(a > b) + 0.5 * (a == b) for a in good for b in bad]
    assert found == pytest.approx(sum(pairs) / len(pairs))


@given(st.lists(st.tuples(st.floats(0, 1), BITS), min_size=1, max_size=40))
@settings(max_examples=150, deadline=None)
def test_the_calibration_error_is_the_weighted_gap_over_bins(rows: list[tuple[float, int]]) -> None:
    error = 0.0
    for number in range(10):
        inside = [(p, right) for p, right in rows if min(int(p * 10), 9) == number]
        if inside:
            stated, real = (sum(column) / len(inside) for column in zip(*inside, strict=True))
            error += abs(stated - real) * len(inside) / len(rows)
    p, right = np.array(rows, dtype=float).T
    assert calibration_error(p, right) == pytest.approx(error)


@given(st.lists(st.tuples(st.integers(0, 2), BITS, BITS, BITS), min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_the_random_mix_is_the_mean_over_all_ways_to_deal_out_the_same_tiers(
    rows: list[tuple[int, int, int, int]],
) -> None:
    tiers, quality = np.array([row[0] for row in rows]), np.array([row[1:] for row in rows], dtype=float)
    deals = [np.mean([quality[n, tier] for n, tier in enumerate(deal)]) for deal in itertools.permutations(tiers)]
    wanted = np.mean([quality[n, tier] for n, tier in enumerate(tiers)]) - np.mean(deals)
    assert against_random_mix(tiers, quality, draws=2).value == pytest.approx(wanted)


def test_a_random_scorer_is_not_taken_for_a_better_one_in_95_of_100_runs() -> None:
    claimed = 0
    for run in range(200):
        rng = np.random.default_rng(run)
        quality = (rng.random((400, 3)) < [0.5, 0.65, 0.8]).astype(float)
        lead = against_random_mix(rng.integers(0, 3, 400), quality, seed=run, draws=300)
        claimed += lead.low > 0
    assert claimed <= 10


def test_a_scorer_that_knows_something_is_seen_to_be_better() -> None:
    rng = np.random.default_rng(1)
    ease = rng.random(2_000)
    quality = np.stack([rng.random(2_000) < ease, rng.random(2_000) < 0.8, np.ones(2_000)], axis=1).astype(float)
    lead = against_random_mix(np.where(ease > 0.7, 0, 2), quality)
    assert 0 < lead.low < lead.value < lead.high


def test_the_interval_of_apgr_holds_what_more_data_would_show() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(60):
        ease = rng.random(400)
        small = (rng.random(400) < ease).astype(float)
        found = apgr_interval(-ease, small, np.ones(400), draws=100)
        held += found.low <= 2 / 3 <= found.high  # the integral of 1 - (1 - c)^2
    assert held >= 54


@pytest.mark.parametrize(
    ("cost", "best"), [(1.0, 0.4), (2.5, 0.55), (4.0, 0.7), (12.0, 0.75), (20.0, 0.8), (0.5, -math.inf)]
)
def test_the_best_random_mix_lies_on_the_upper_hull_of_the_tiers(cost: float, best: float) -> None:
    quality, prices = np.array([0.4, 0.7, 0.8]), np.array([1.0, 4.0, 20.0])
    assert best_mix(quality, prices, np.array([cost]))[0] == pytest.approx(best)


def test_a_tier_below_the_hull_is_not_part_of_the_best_mix() -> None:
    quality, prices = np.array([0.4, 0.41, 0.8]), np.array([1.0, 11.0, 21.0])
    assert best_mix(quality, prices, np.array([11.0]))[0] == pytest.approx(0.6)
