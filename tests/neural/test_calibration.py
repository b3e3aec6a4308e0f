import json
from typing import Any

import numpy as np
import pytest

from octoroute_py.core.words import TIERS
from octoroute_py.neural.calibrate import TAG_ROWS, fit_calibration
from octoroute_py.neural.calibration import Calibration, Raw
from octoroute_py.neural.decide import Basis
from octoroute_py.neural.platt import calibration_error, fit_platt, monotone, sigmoid
from tests.fakes.outcomes import drawn


def test_probabilities_say_what_happens(calibration: Calibration) -> None:
    raw, outcomes = drawn(np.random.default_rng(2), rows=4_000)
    p = calibration.probabilities(raw)
    assert calibration_error(p[:, 0], outcomes[:, 0]) < 0.03
    assert calibration_error(sigmoid(raw[:, 0]), outcomes[:, 0]) > 0.05  # what the network said was too sure


def test_platt_scaling_finds_the_true_law() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=50_000) * 2
    correct = (rng.random(50_000) < sigmoid(0.7 * logits - 0.4)).astype(float)
    assert fit_platt(logits, correct) == pytest.approx((0.7, -0.4), abs=0.03)


def test_logits_that_point_the_wrong_way_are_not_used() -> None:
    rng = np.random.default_rng(4)
    logits = rng.normal(size=5_000)
    correct = (rng.random(5_000) < sigmoid(-logits)).astype(float)
    slope, intercept = fit_platt(logits, correct)
    assert slope == 0.0
    assert intercept == pytest.approx(0.0, abs=0.1)


def test_probabilities_never_fall_from_fast_to_deep_and_move_as_little_as_possible() -> None:
    p = np.random.default_rng(5).random((300, 3))
    found = monotone(p)
    assert (np.diff(found, axis=1) >= -1e-12).all()
    grid = np.linspace(0, 1, 41)
    for row, near in zip(p[:20], found, strict=False):
        best = min(
            ((a, b, c) for a in grid for b in grid[grid >= a] for c in grid[grid >= b]),
            key=lambda t: sum((np.array(t) - row) ** 2),
        )
        assert ((near - row) ** 2).sum() <= ((np.array(best) - row) ** 2).sum() + 1e-12


def test_one_prompt_gets_the_numbers_its_batch_gets(calibration: Calibration) -> None:
    raw, _ = drawn(np.random.default_rng(6), rows=500)
    raw[:250, :3] = raw[:250, 2::-1]  # out of order
    batch = calibration.probabilities(raw)
    for row, wanted in zip(raw.tolist(), batch.tolist(), strict=True):
        score = calibration.score(Raw(*row))
        assert (score.p_fast, score.p_balanced, score.p_deep) == pytest.approx(tuple(wanted))
        assert (score.gain_fast, score.gain_balanced) == (row[3], row[4])


@pytest.mark.parametrize("logit", [-1e6, -800.0, 0.0, 800.0, 1e6])
def test_extreme_logits_give_probabilities(calibration: Calibration, logit: float) -> None:
    score = calibration.score([logit, logit, logit, 0.0, 0.0, 1.0, 0.0])
    assert 0.0 <= score.p_fast <= score.p_balanced <= score.p_deep <= 1.0


def test_an_unknown_kind_of_prompt_widens_the_uncertainty(calibration: Calibration) -> None:
    far = calibration.score([4.0, 4.0, 4.0, 0.0, 0.0, 1e6, 0.0])
    near = calibration.score([4.0, 4.0, 4.0, 0.0, 0.0, 5.0, 0.0])
    assert (far.in_distribution, far.labels, far.uncertainty) == (False, TIERS, 1.0)
    assert near.in_distribution
    assert near.uncertainty < 1.0


def test_a_planted_shift_of_the_traffic_trips_the_guard(calibration: Calibration) -> None:
    shifted, _ = drawn(np.random.default_rng(7), rows=1_000, shift=5.0)
    assert np.mean([calibration.score(row).in_distribution for row in shifted.tolist()]) < 0.05


def tagged() -> Calibration:
    raw, outcomes = drawn(np.random.default_rng(8), rows=2_000)
    tags = ["support"] * TAG_ROWS + ["rare"] * (TAG_ROWS - 1) + [None] * (2_000 - 2 * TAG_ROWS + 1)
    return fit_calibration(raw, outcomes, tags=tags, known_tags=frozenset({"support", "rare"}))


def test_a_tag_has_a_dial_of_its_own_once_it_has_outcomes_enough() -> None:
    calibration = tagged()
    own, rare, none = (calibration.dial(0.05, tag) for tag in ("support", "rare", None))
    assert (own.rows, own.tag, own.basis) == (TAG_ROWS, "support", Basis.GAIN)
    assert (rare.rows, rare.tag, rare.basis) == (2_000, None, Basis.GAIN)
    assert rare == none
    assert calibration.threshold(0.05, "support") == own.threshold


def test_a_tag_never_seen_is_judged_by_the_chance_of_failure() -> None:
    assert tagged().dial(0.05, "news").basis is Basis.FAILURE


def test_a_deployment_without_labels_of_balanced_can_be_calibrated() -> None:
    raw, outcomes = drawn(np.random.default_rng(9), rows=1_000)
    outcomes[:, 1] = np.nan
    p = fit_calibration(raw, outcomes).probabilities(raw)
    assert (np.diff(p, axis=1) >= -1e-12).all()


def test_calibration_without_an_outcome_is_refused() -> None:
    raw, outcomes = drawn(np.random.default_rng(10), rows=10)
    with pytest.raises(ValueError, match="known outcome"):
        fit_calibration(raw, outcomes * np.nan)


def test_what_is_kept_is_read_back_the_same() -> None:
    calibration = tagged()
    tensors, told = calibration.to_tensors()
    assert Calibration.from_tensors(tensors, json.loads(json.dumps(told))) == calibration


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("calibration.platt", np.zeros((2, 2))),
        ("calibration.platt", np.full((3, 2), np.nan)),
        ("calibration.sets", np.array([0.5, 0.2], dtype=np.float32)),
        ("calibration.gain.losses", np.array([-1, 2], dtype=np.int32)),
        ("calibration.gain.thresholds", np.array([0.1], dtype=np.float32)),
        ("calibration.failure.thresholds", np.full(3, np.inf, dtype=np.float32)),
    ],
)
def test_unsound_numbers_are_refused(calibration: Calibration, name: str, value: Any) -> None:
    tensors, told = calibration.to_tensors()
    with pytest.raises(ValueError, match="calibration"):
        Calibration.from_tensors({**tensors, name: value}, told)


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"set_limit": "high"}, {"unseen_limit": float("nan")}, {"rows": None}, {"tags": ["x"]}]
)
def test_an_unsound_description_is_refused(calibration: Calibration, change: dict[str, Any]) -> None:
    tensors, told = calibration.to_tensors()
    with pytest.raises(ValueError, match="calibration"):
        Calibration.from_tensors(tensors, {**told, **change})
