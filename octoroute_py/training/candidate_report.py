"""How good a network over candidates is on sets it has not seen, beside what is simpler."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from octoroute_py.neural.candidate_net import CandidateNet, HeldOut
from octoroute_py.neural.certainty import uncertainties
from octoroute_py.neural.signals import weighted
from octoroute_py.training.candidate_world import CandidateSets
from octoroute_py.training.metrics import auc

F64 = NDArray[np.float64]

THRESHOLD, LEVEL = 0.85, 0.15
"""The router's defaults for `confidence_threshold` and `max_uncertainty`."""


class Fit(msgspec.Struct, frozen=True):
    """How well probabilities fit labels: mean log loss, and the chance that a good one ranks above a bad one."""

    log_loss: float
    auc: float


class Trust(msgspec.Struct, frozen=True):
    """What the defaults make of the leading candidates.

    `light` is the share sent to the light model, `right` how many of those were right to be. `heavy_let_through` is
    the share of the heavy requests that was sent to the light model, which `max_uncertainty` promises to bound.
    `always` is how often the light model would do well if every request went there.
    """

    light: float
    right: float
    heavy_let_through: float
    always: float


def confidences(net: CandidateNet, sets: CandidateSets) -> F64:
    """The network's confidences (B, T), -1 where there is no candidate."""
    found = np.full(sets.mask.shape, -1.0)
    read, runner = weighted(sets.signals), net.runner()
    for row, length in enumerate(sets.mask.sum(axis=1).astype(int)):
        found[row, :length] = runner.confidences(read[row, :length])
    return found


def leading(found: F64, sets: CandidateSets) -> tuple[F64, F64]:
    """The confidence and the label (B,) of each set's most confident candidate."""
    at = found.argmax(axis=1)
    rows = np.arange(len(at))
    return found[rows, at], sets.labels[rows, at]


def calibrated(net: CandidateNet, sets: CandidateSets) -> CandidateNet:
    """The network with the leading confidences of sets that it has not learned from."""
    lead, labels = leading(confidences(net, sets), sets)
    light, heavy = (np.sort(lead[labels == wanted]).astype(np.float32) for wanted in (1.0, 0.0))
    return msgspec.structs.replace(net, held_out=HeldOut(light, heavy))


def fit_of(found: F64, sets: CandidateSets) -> Fit:
    """How well probabilities (B, T) fit the labels of all candidates."""
    there = sets.mask > 0
    return fit_to(found[there], sets.labels[there])


def fit_to(found: F64, labels: F64) -> Fit:
    """How well probabilities (N,) fit labels (N,)."""
    sure = np.clip(found, 1e-6, 1 - 1e-6)
    loss = -float(np.mean(np.where(labels > 0, np.log(sure), np.log(1 - sure))))
    return Fit(loss, auc(found, labels > 0))


def trust_of(lead: F64, labels: F64, held_out: HeldOut) -> Trust:
    """What the defaults make of leading candidates of these confidences and labels (B,)."""
    light = (lead >= THRESHOLD) & (uncertainties(lead, held_out, level=LEVEL) <= LEVEL)
    return Trust(
        light=float(light.mean()),
        right=float(labels[light].mean()) if light.any() else float("nan"),
        heavy_let_through=float(light[labels == 0].mean()),
        always=float(labels.mean()),
    )


def linear(sets: CandidateSets, unseen: CandidateSets) -> F64:
    """Probabilities (B, T) for unseen sets by logistic regression on the five signals, each candidate alone."""
    there = sets.mask > 0
    x, y = _with_one(sets.signals[there]), sets.labels[there]
    weights = np.zeros(x.shape[1])
    for _ in range(12):  # Newton's method has converged long before
        p = 1.0 / (1.0 + np.exp(-x @ weights))
        weights += np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(len(weights)), x.T @ (y - p))
    found: F64 = 1.0 / (1.0 + np.exp(-_with_one(unseen.signals) @ weights))
    return found


def weighted_sum(sets: CandidateSets) -> F64:
    """The plain sum (B, T) of the weighted signals: the formula without a network, good for an order only."""
    total: F64 = weighted(sets.signals).sum(axis=-1)
    return total


def _with_one(x: F64) -> F64:
    return np.concatenate([x, np.ones((*x.shape[:-1], 1))], axis=-1)
