"""The head's gradients, and the losses it is trained by."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from octoroute_py.training.dataset import Row, read_rows
from octoroute_py.training.head import Head
from octoroute_py.training.targets import Distillation, Targets, loss_and_slope, outcomes_of, priors, targets_of
from tests.fakes.labelled import write_lines

ROWS = np.arange(6, dtype=np.int64)


def drawn_targets(*, taught: bool) -> Targets:
    rng = np.random.default_rng(1)
    known = (rng.random((6, 5)) < 0.7).astype(np.float32)
    values = np.concatenate((rng.integers(0, 2, (6, 3)), rng.integers(-1, 2, (6, 2))), axis=1).astype(np.float32)
    return Targets(values * known, known, rng.standard_normal((6, 5)).astype(np.float32) if taught else None)


@pytest.mark.parametrize("taught", [False, True])
def test_the_slope_of_the_loss_equals_finite_differences(taught: bool) -> None:
    targets, rng = drawn_targets(taught=taught), np.random.default_rng(2)
    outputs = rng.standard_normal((6, 5))
    soft = Distillation(share=0.3, temperature=3.0)
    _, slope = loss_and_slope(outputs, targets, ROWS, distillation=soft)
    for place in np.ndindex(outputs.shape):
        step = np.zeros_like(outputs)
        step[place] = 1e-5
        above, _ = loss_and_slope(outputs + step, targets, ROWS, distillation=soft)
        below, _ = loss_and_slope(outputs - step, targets, ROWS, distillation=soft)
        assert slope[place] == pytest.approx((above - below) / 2e-5, rel=1e-3, abs=1e-4)


def test_what_is_not_known_is_not_learned() -> None:
    targets = drawn_targets(taught=False)
    _, slope = loss_and_slope(np.ones((6, 5), dtype=np.float32), targets, ROWS, distillation=Distillation())
    assert (slope[targets.known == 0] == 0).all()
    assert (slope[:, :3][targets.known[:, :3] == 1] != 0).all()


def test_agreeing_with_the_teacher_costs_least() -> None:
    targets = drawn_targets(taught=True)
    assert targets.taught is not None
    alone = Distillation(share=1.0, temperature=2.0)
    agreed, slope = loss_and_slope(targets.taught, targets, ROWS, distillation=alone)
    assert np.abs(slope).max() < 1e-6
    assert loss_and_slope(targets.taught + 0.5, targets, ROWS, distillation=alone)[0] > agreed


def test_where_the_teacher_says_nothing_the_outcome_alone_is_learned() -> None:
    targets = drawn_targets(taught=True)
    assert targets.taught is not None
    silent = dataclasses.replace(targets, taught=np.full_like(targets.taught, np.nan))
    outputs = np.ones((6, 5), dtype=np.float32)
    _, slope = loss_and_slope(outputs, silent, ROWS, distillation=Distillation(share=0.75))
    _, untaught = loss_and_slope(outputs, dataclasses.replace(targets, taught=None), ROWS, distillation=Distillation())
    np.testing.assert_allclose(slope, 0.25 * untaught, rtol=1e-5)


def test_priors_are_the_rates_of_what_is_known() -> None:
    values = np.array([[1, 0, 1, 0, 1], [0, 0, 1, 1, 0], [1, 0, 0, 0, 0]], dtype=np.float32)
    known = np.array([[1, 0, 1, 1, 0], [1, 0, 1, 1, 0], [1, 0, 0, 0, 0]], dtype=np.float32)
    found = priors(Targets(values * known, known))
    np.testing.assert_allclose(1 / (1 + np.exp(-found[:3])), [2 / 3, 0.01, 0.99], atol=1e-5)
    np.testing.assert_allclose(found[3:], [0.5, 0.0])


def test_targets_of_rows_are_outcomes_and_gains(tmp_path: Path) -> None:
    rows: list[Row] = read_rows(
        write_lines(
            tmp_path / "rows.jsonl",
            [
                {"prompt": "a", "tiers": {"fast": 0, "balanced": 1, "deep": 1}},
                {"prompt": "b", "weak_correct": 1, "strong_correct": 0},
            ],
        )
    )
    targets = targets_of(rows)
    assert targets.values.tolist() == [[0, 1, 1, 1, 0], [1, 0, 0, -1, 0]]
    assert targets.known.tolist() == [[1, 1, 1, 1, 1], [1, 0, 1, 1, 0]]
    np.testing.assert_array_equal(outcomes_of(rows), [[0, 1, 1], [1, np.nan, 0]])


@pytest.mark.parametrize("units", [0, 4])
def test_gradients_of_the_head_equal_finite_differences(units: int) -> None:
    rng = np.random.default_rng(3)
    head = Head(7, units=units, tags=2, start=np.zeros(5, dtype=np.float32), dropout=0.4, rng=rng)
    parameters: dict[str, Any] = head.parameters
    for name in parameters:
        parameters[name] = parameters[name].astype(np.float64)
    pooled, scalars = rng.standard_normal((6, 4)), rng.standard_normal((6, 3))
    tags, slope = np.array([0, 1, 2, 1, 0, 2]), rng.standard_normal((6, 5))

    def value() -> float:
        return float((head.forward(pooled, scalars, tags, learning=False).outputs * slope).sum())

    gradients, d_read = head.backward(head.forward(pooled, scalars, tags, learning=False), slope)
    for name, gradient in gradients.items():
        if name == "tags":
            assert (gradient[0] == 0).all()
            gradient = gradient[1:]
        values = head.parameters[name][1:] if name == "tags" else head.parameters[name]
        for place in np.ndindex(values.shape):
            assert gradient[place] == pytest.approx(numeric(values, place, value), rel=1e-4, abs=1e-4)
    for place in np.ndindex(pooled.shape):
        assert d_read[place] == pytest.approx(numeric(pooled, place, value), rel=1e-4, abs=1e-4)


def numeric(values: np.ndarray, place: tuple[int, ...], loss: object, *, step: float = 1e-6) -> float:
    assert callable(loss)
    kept = values[place]
    values[place] = kept + step
    above = loss()
    values[place] = kept - step
    below = loss()
    values[place] = kept
    return float((above - below) / (2 * step))


def test_dropout_keeps_the_mean_and_only_while_learning() -> None:
    rng = np.random.default_rng(4)
    head = Head(50, units=0, tags=0, start=np.zeros(5, dtype=np.float32), dropout=0.3, rng=rng)
    pooled, scalars = np.ones((400, 40), dtype=np.float32), np.ones((400, 10), dtype=np.float32)
    tags = np.zeros(400, dtype=np.int64)
    learning = head.forward(pooled, scalars, tags, learning=True)
    assert np.mean(learning.read == 0) == pytest.approx(0.3, abs=0.02)
    assert learning.read.mean() == pytest.approx(1.0, abs=0.02)
    assert (head.forward(pooled, scalars, tags, learning=False).read == 1).all()
