"""The network over candidates learns by true gradients, the same way each time, and what is shipped is what it says."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from octoroute_py.neural.candidate_file import load_net, save_net, shipped
from octoroute_py.neural.candidate_net import CandidateNet
from octoroute_py.neural.fastgrnn import Cell, backward, forward
from octoroute_py.training.candidate_default import LONG, SETS
from octoroute_py.training.candidate_report import (
    calibrated,
    confidences,
    fit_of,
    leading,
    linear,
    trust_of,
    weighted_sum,
)
from octoroute_py.training.candidate_world import LONGEST, CandidateSets, make_sets
from octoroute_py.training.candidates import Weights, fit, loss_and_gradients, network, start
from octoroute_py.training.metrics import auc

F64 = NDArray[np.float64]


@pytest.fixture(scope="module")
def unseen() -> CandidateSets:
    """Sets that neither the shipped network nor anything else has seen."""
    return make_sets(np.random.default_rng(991), 4000)


@pytest.fixture(scope="module")
def net() -> CandidateNet:
    return load_net(shipped()).net


@pytest.fixture(scope="module")
def shown(net: CandidateNet, unseen: CandidateSets) -> F64:
    """What the shipped network says of them."""
    return confidences(net, unseen)


def some_weights(seed: int) -> Weights:
    rng = np.random.default_rng(seed)
    weights = start(rng, 4)
    weights["biases"] = rng.standard_normal((2, 4))
    weights["head"] = rng.standard_normal(5)
    return weights


def some_inputs(seed: int, *, rows: int = 6, length: int = 7) -> tuple[F64, F64, F64]:
    rng = np.random.default_rng(seed)
    mask = (np.arange(length) < rng.integers(1, length + 1, rows)[:, None]).astype(float)
    return rng.standard_normal((rows, length, 5)), rng.integers(0, 2, (rows, length)) * mask, mask


def test_gradients_are_those_of_finite_differences() -> None:
    weights, (inputs, labels, mask) = some_weights(1), some_inputs(2)
    _, gradients = loss_and_gradients(weights, inputs, labels, mask)
    step = 1e-6
    for name, value in weights.items():
        for at in np.ndindex(value.shape):
            losses = []
            for sign in (1, -1):
                moved = {**weights, name: value.copy()}
                moved[name][at] += sign * step
                losses.append(loss_and_gradients(moved, inputs, labels, mask)[0])
            assert gradients[name][at] == pytest.approx((losses[0] - losses[1]) / (2 * step), abs=1e-7), (name, at)


def test_gradients_of_one_set_are_those_of_the_reference_cell() -> None:
    weights, (inputs, labels, _) = some_weights(3), some_inputs(4, rows=1)
    mask = np.ones((1, 7))
    _, gradients = loss_and_gradients(weights, inputs, labels, mask)
    zeta_nu = 1 / (1 + np.exp(-weights["gates"]))
    cell = Cell(weights["w"], weights["u"], weights["biases"], zeta_nu)
    trace = forward(cell, inputs[0])
    logits = trace.states[1:] @ weights["head"][:-1] + weights["head"][-1]
    error = (1 / (1 + np.exp(-logits)) - labels[0]) / 7
    expected, _ = backward(cell, inputs[0], trace, error[:, None] * weights["head"][:-1])
    assert gradients["w"] == pytest.approx(expected.w, abs=1e-12)
    assert gradients["u"] == pytest.approx(expected.u, abs=1e-12)
    assert gradients["biases"] == pytest.approx(expected.biases, abs=1e-12)
    assert gradients["gates"] == pytest.approx(expected.gates * zeta_nu * (1 - zeta_nu), abs=1e-12)


def test_training_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for attempt in ("one", "two"):
        rng = np.random.default_rng(5)
        train, held_out, calibration = (make_sets(rng, 200) for _ in range(3))
        told: list[float] = []
        fitted = fit(train, held_out, hidden=8, epochs=2, seed=5, on_epoch=partial(note, told))
        assert tuple(told) == fitted.losses
        save_net(tmp_path / attempt, calibrated(network(fitted), calibration), {"about": "a test", "more": "words"})
        files.append((tmp_path / attempt).read_bytes())
    assert files[0] == files[1]


def note(told: list[float], epoch: int, loss: float) -> None:
    assert epoch == len(told)
    told.append(loss)


def test_a_little_training_beats_the_linear_baseline_on_the_same_sets(unseen: CandidateSets) -> None:
    rng = np.random.default_rng(5)
    train, held_out = make_sets(rng, 1500), make_sets(rng, 300)
    trained = network(fit(train, held_out, hidden=8, epochs=14, seed=5))
    mine, theirs = fit_of(confidences(trained, unseen), unseen), fit_of(linear(train, unseen), unseen)
    assert mine.log_loss < theirs.log_loss
    assert mine.auc > theirs.auc


def test_the_best_epoch_is_kept() -> None:
    rng = np.random.default_rng(6)
    train, held_out = make_sets(rng, 150), make_sets(rng, 150)
    few, many = (fit(train, held_out, hidden=8, epochs=epochs, seed=1) for epochs in (1, 25))
    assert min(many.losses) <= min(few.losses)
    kept = fit_of(confidences(network(many), held_out), held_out).log_loss
    assert kept == pytest.approx(min(many.losses), abs=0.01)


def test_the_shipped_network_is_as_good_as_its_file_says(net: CandidateNet, shown: F64, unseen: CandidateSets) -> None:
    figures = json.loads(load_net(shipped()).notes["figures"])
    fit_ = fit_of(shown, unseen)
    assert fit_.log_loss == pytest.approx(figures["network"]["log_loss"], abs=0.02)
    assert fit_.auc == pytest.approx(figures["network"]["auc"], abs=0.02)
    assert fit_of(linear(unseen, unseen), unseen).auc < fit_.auc - 0.03
    assert fit_of(weighted_sum(unseen), unseen).auc < fit_.auc - 0.08
    assert figures["network, each candidate alone"]["auc"] < figures["network"]["auc"] - 0.02
    trust = trust_of(*leading(shown, unseen), net.held_out)
    assert trust.light == pytest.approx(figures["defaults"]["light"], abs=0.04)
    assert trust.right == pytest.approx(figures["defaults"]["right"], abs=0.03)
    assert trust.right > trust.always + 0.1


def test_its_confidence_is_the_share_that_goes_well(shown: F64, unseen: CandidateSets) -> None:
    there = unseen.mask > 0
    found, labels = shown[there], unseen.labels[there]
    for low in np.arange(0.1, 0.9, 0.1):
        near = (found >= low) & (found < low + 0.1)
        assert near.sum() > 500
        assert labels[near].mean() == pytest.approx(found[near].mean(), abs=0.04)


def test_of_the_heavy_requests_no_more_are_let_through_than_promised(
    net: CandidateNet, shown: F64, unseen: CandidateSets
) -> None:
    lead, labels = leading(shown, unseen)
    noise = 3 * np.sqrt(0.15 * 0.85 * (1 / np.sum(labels == 0) + 1 / len(net.held_out.heavy)))
    assert trust_of(lead, labels, net.held_out).heavy_let_through <= 0.15 + noise


def test_it_holds_on_sets_longer_than_those_it_learned_from(net: CandidateNet) -> None:
    long = make_sets(np.random.default_rng(8), 60, longest=LONG)
    assert long.mask.sum(axis=1).max() > 4 * LONGEST
    figures = json.loads(load_net(shipped()).notes["figures"])
    assert fit_of(confidences(net, long), long).log_loss < figures["base rate"]["log_loss"] - 0.05


def test_the_shipped_calibration_is_that_of_its_own_sets(net: CandidateNet) -> None:
    assert len(net.held_out.light) + len(net.held_out.heavy) == SETS["calibration"]


def test_the_made_up_world_is_what_it_says() -> None:
    sets = make_sets(np.random.default_rng(9), 3000)
    there = sets.mask > 0
    similarity, recent, often, rate, shared = np.moveaxis(sets.signals, -1, 0)
    assert np.all(np.diff(similarity, axis=1)[there[:, 1:]] <= 0)
    assert np.all((sets.signals[there] >= (-0.2, 0, 0, 0, 0)) & (sets.signals[there] <= 1))
    assert sets.labels[there].mean() == pytest.approx(sets.truth[there].mean(), abs=0.01)
    for signal in (similarity, rate, shared):
        assert np.corrcoef(signal[there], sets.truth[there])[0, 1] > 0.1
    assert 0 < recent[there].mean() < 1
    assert 0 < often[there].mean() < 1
    assert np.all(sets.signals[~there] == 0)


def test_auc_counts_pairs_and_halves_ties() -> None:
    assert auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]) > 0) == 0.75
    assert auc(np.array([0.5, 0.5, 0.5]), np.array([0, 1, 1]) > 0) == 0.5
