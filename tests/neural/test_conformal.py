import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.core.words import TIERS, Tier
from octoroute_py.neural.calibrate import fit_calibration, floored, losses_of, smallest_success
from octoroute_py.neural.conformal import (
    ALWAYS,
    FALSE_ALARMS,
    MOST_KNOTS,
    NEVER,
    Floats,
    LabelSets,
    fit_curve,
    fit_guard,
    fit_sets,
    lost,
)
from tests.fakes.outcomes import drawn


def test_a_row_loses_what_the_tier_it_is_sent_to_loses() -> None:
    risks = np.array([[0.3, 0.1], [0.1, 0.3], [np.inf, 0.2], [0.5, 0.5]])
    losses = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    assert lost(risks, losses, 0.05).tolist() == [0, 0, 0, 0]
    assert lost(risks, losses, 0.2).tolist() == [0, 0, 1, 0]
    assert lost(risks, losses, 0.3).tolist() == [1, 0, 1, 0]


def by_brute_force(risks: Floats, losses: Floats, alpha: float) -> float:
    """The largest threshold up to which every bound holds, tried at every place where something changes."""
    best = NEVER
    for threshold in [*sorted(risks[np.isfinite(risks)].ravel()), ALWAYS]:
        if (lost(risks, losses, np.nextafter(threshold, -np.inf)).sum() + 1) / (len(risks) + 1) <= alpha:
            best = threshold
        else:
            return best
    held = (lost(risks, losses, ALWAYS).sum() + 1) / (len(risks) + 1) <= alpha
    return ALWAYS if held else best


@given(
    data=st.lists(
        st.tuples(st.integers(-4, 9), st.integers(-4, 9), st.booleans(), st.booleans()), min_size=1, max_size=40
    ),
    alpha=st.floats(0, 1),
)
@settings(max_examples=300, deadline=None)
def test_the_threshold_is_the_largest_that_keeps_the_bound(
    data: list[tuple[int, int, bool, bool]], alpha: float
) -> None:
    table = np.array(data, dtype=np.float64)
    risks, losses = table[:, :2] / 8, table[:, 2:]
    found, wanted = fit_curve(risks, losses).threshold(alpha), by_brute_force(risks, losses, alpha)
    assert found <= wanted
    assert found == pytest.approx(wanted, abs=1e-6)


@given(risk=st.floats(-0.1, 1.2), seed=st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_the_tolerated_loss_that_a_risk_needs_is_the_smallest_that_takes_it(risk: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    curve = fit_curve(rng.random((50, 2)), rng.integers(0, 2, (50, 2)).astype(float))
    needed = curve.alpha_for(risk)
    assert needed is not None
    assert risk <= curve.threshold(needed)
    assert risk > curve.threshold(np.nextafter(needed, 0.0))


def test_without_rows_enough_for_the_bound_nothing_but_deep_is_allowed() -> None:
    risks, losses = np.full((9, 2), 0.1), np.zeros((9, 2))
    assert fit_curve(risks, losses).threshold(0.099) == NEVER
    assert fit_curve(risks, losses).threshold(0.1) == ALWAYS


def test_a_thinned_curve_is_stricter_never_laxer() -> None:
    rng = np.random.default_rng(3)
    risks, losses = rng.random((9_000, 2)), rng.integers(0, 2, (9_000, 2)).astype(float)
    curve = fit_curve(risks, losses)
    assert len(curve.levels) == MOST_KNOTS
    for alpha in np.linspace(0, 0.5, 200):
        threshold = curve.threshold(float(alpha))
        assert (lost(risks, losses, threshold).sum() + 1) / 9_001 <= alpha or threshold == NEVER


@pytest.mark.parametrize("alpha", [0.02, 0.05, 0.10])
def test_over_resplits_the_mean_loss_is_within_half_a_percent_of_what_was_asked(alpha: float) -> None:
    rng = np.random.default_rng(5)
    raw, outcomes = drawn(rng, rows=6_000)
    losses, realised = losses_of(outcomes), []
    for _ in range(200):
        order = rng.permutation(len(raw))
        fitted, new = order[:3_000], order[3_000:]
        threshold = fit_curve(raw[fitted, 3:5], losses[fitted]).threshold(alpha)
        realised.append(lost(raw[new, 3:5], losses[new], threshold).mean())
    assert np.mean(realised) == pytest.approx(alpha, abs=0.005)


def test_an_unlabelled_balanced_tier_counts_as_no_better_than_fast() -> None:
    nan = float("nan")
    outcomes = np.array([[0, nan, 1], [1, nan, 1], [0, 1, 1], [1, 0, 1], [0, 0, 0], [0, nan, 0]], dtype=float)
    assert losses_of(outcomes).tolist() == [[1, 1], [0, 0], [1, 0], [0, 1], [0, 0], [0, 0]]
    assert smallest_success(outcomes).tolist() == [2, 0, 1, 0, 2, 2]


def test_sets_hold_the_smallest_success_of_nine_in_ten_new_requests() -> None:
    rng = np.random.default_rng(6)
    covered = []
    for _ in range(40):
        raw, outcomes = drawn(rng, rows=3_000)
        fitted = fit_calibration(raw[:1_500], outcomes[:1_500])
        inside = fitted.sets.contains(fitted.probabilities(raw[1_500:]))
        covered.append(inside[np.arange(1_500), smallest_success(outcomes[1_500:])].mean())
    assert np.mean(covered) == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize(
    ("p", "labels"),
    [
        ((0.95, 0.97), (Tier.FAST,)),
        ((0.45, 0.55), (Tier.FAST, Tier.DEEP)),
        ((0.02, 0.03), (Tier.DEEP,)),
        ((0.33, 0.66), TIERS),
    ],
)
def test_a_set_holds_the_tiers_that_are_likely_enough(p: tuple[float, float], labels: tuple[Tier, ...]) -> None:
    sets = LabelSets(limit=0.7, knots=tuple(np.linspace(0, 0.99, 100).tolist()))
    assert sets.read(*p)[0] == labels


def test_uncertainty_grows_with_the_set_and_is_1_for_an_empty_one() -> None:
    rng = np.random.default_rng(7)
    p = np.sort(rng.random((2_000, 3)), axis=1)
    labels = np.array([rng.choice(3, p=[a, b - a, 1 - b]) for a, b, _ in p])
    sets = fit_sets(p, labels)
    read = [sets.read(a, b) for a, b, _ in p.tolist()]
    of_one = [uncertainty for found, uncertainty in read if len(found) == 1]
    of_more = [uncertainty for found, uncertainty in read if len(found) > 1]
    assert of_one
    assert of_more
    assert max(of_one) <= 0.11
    assert min(of_more) >= 0.09
    assert LabelSets(limit=0.1, knots=sets.knots).read(0.4, 0.7) == ((), 1.0)


def test_a_single_row_is_no_reason_to_exclude_a_tier() -> None:
    assert fit_sets(np.array([[0.2, 0.5, 0.9]]), np.array([0])).read(0.01, 0.02)[0] == TIERS


def test_the_set_a_batch_gets_is_the_one_a_single_prompt_gets() -> None:
    sets = LabelSets(limit=0.72, knots=(0.5,))
    p = np.sort(np.random.default_rng(8).random((500, 3)), axis=1)
    one_by_one = [[tier in sets.read(a, b)[0] for tier in TIERS] for a, b, _ in p.tolist()]
    assert sets.contains(p).tolist() == one_by_one
    lowest = floored(np.zeros((500, 2)), p, sets)
    allowed = [[not row.index(True) > n if any(row) else True for n in range(2)] for row in one_by_one]
    assert np.isfinite(lowest).tolist() == allowed


def test_the_guard_turns_away_few_familiar_prompts_and_most_shifted_ones() -> None:
    rng = np.random.default_rng(9)
    raw, _ = drawn(rng, rows=4_000)
    guard = fit_guard(raw[:, 5], raw[:, 6])
    familiar, _ = drawn(rng, rows=4_000)
    shifted, _ = drawn(rng, rows=4_000, shift=4.0)
    assert np.mean([not guard.knows(*row) for row in familiar[:, 5:].tolist()]) <= 1.5 * FALSE_ALARMS
    assert np.mean([not guard.knows(*row) for row in shifted[:, 5:].tolist()]) > 0.9
    assert not guard.knows(float("nan"), 0.0)
    assert not guard.knows(0.0, float("nan"))
