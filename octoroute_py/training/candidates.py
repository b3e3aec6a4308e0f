"""Train the network over candidates: backpropagation through the sequence, AdamW, the best epoch kept.

Deterministic: the same sets and the same seed give the same network.
"""

from collections.abc import Callable, Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from octoroute_py.neural.candidate_net import INPUTS, CandidateNet, HeldOut, quantise
from octoroute_py.neural.compact import Plain
from octoroute_py.neural.fastgrnn import Cell, following, rational_sigmoid, rational_tanh, tanh_slope
from octoroute_py.neural.signals import weighted
from octoroute_py.training.candidate_world import CandidateSets

F64 = NDArray[np.float64]
Weights = dict[str, F64]

LEARNING_RATE = 0.01
WEIGHT_DECAY = 0.002
CLIP = 1.0
BATCH = 128
NOTHING_HELD_OUT = HeldOut(np.empty(0, dtype=np.float32), np.empty(0, dtype=np.float32))
GATES_AT_START = (1.0, -4.0)
"""Before the logistic function: zeta 0.73, nu 0.02."""


class Fitted(msgspec.Struct, frozen=True):
    """Trained weights in float64, the mean and scale (5,) of the weighted signals, and the losses of each epoch."""

    weights: Weights
    mean: F64
    scale: F64
    losses: tuple[float, ...]


def network(fitted: Fitted, held_out: HeldOut = NOTHING_HELD_OUT) -> CandidateNet:
    """The fitted weights as the router runs them, in eight bits."""
    weights = {name: value.astype(np.float32) for name, value in fitted.weights.items()}
    return quantise(
        CandidateNet(
            w=Plain(weights["w"]),
            u=Plain(weights["u"]),
            biases=weights["biases"],
            gates=_gates(fitted.weights).astype(np.float32),
            head=Plain(weights["head"][:-1, None]),
            head_bias=weights["head"][-1:],
            mean=fitted.mean.astype(np.float32),
            scale=fitted.scale.astype(np.float32),
            held_out=held_out,
        )
    )


def start(rng: np.random.Generator, hidden: int) -> Weights:
    """Untrained weights, as in the paper: small normal matrices, biases of one."""
    return {
        "w": 0.5 * rng.standard_normal((INPUTS, hidden)),
        "u": 0.1 * rng.standard_normal((hidden, hidden)),
        "biases": np.ones((2, hidden)),
        "gates": np.array(GATES_AT_START),
        "head": 0.1 * rng.standard_normal(hidden + 1),
    }


def fit(
    sets: CandidateSets,
    held_out: CandidateSets,
    *,
    hidden: int,
    epochs: int,
    seed: int,
    on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
) -> Fitted:
    """Learn which candidates the light model does well with; `held_out` picks the epoch.

    `on_epoch` gets the number and the held-out loss of each.
    """
    rng = np.random.default_rng(seed)
    read = weighted(sets.signals)
    seen = read[sets.mask > 0]
    mean, scale = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-6)
    inputs, unseen = (read - mean) / scale, (weighted(held_out.signals) - mean) / scale
    weights = start(rng, hidden)
    momentum = {name: np.zeros((2, *value.shape)) for name, value in weights.items()}
    best = weights
    losses: list[float] = []
    steps = epochs * -(-len(inputs) // BATCH)
    step = 0
    for epoch in range(epochs):
        for rows in _batches(rng, len(inputs)):
            _, gradients = loss_and_gradients(weights, inputs[rows], sets.labels[rows], sets.mask[rows])
            step += 1
            rate = LEARNING_RATE * 0.5 * (1.0 + np.cos(np.pi * step / steps))
            weights = _adamw(weights, gradients, momentum, rate=rate, step=step)
        loss = loss_of(weights, unseen, held_out)
        if not losses or loss < min(losses):
            best = weights
        losses.append(loss)
        on_epoch(epoch, loss)
    return Fitted(best, mean, scale, tuple(losses))


def loss_of(weights: Weights, inputs: F64, sets: CandidateSets) -> float:
    """The mean loss a candidate, of standardised inputs."""
    return loss_and_gradients(weights, inputs, sets.labels, sets.mask)[0]


def loss_and_gradients(weights: Weights, inputs: F64, labels: F64, mask: F64) -> tuple[float, Weights]:
    """Binary cross-entropy a candidate, and its gradient by every weight; inputs (B, T, 5), labels and mask (B, T)."""
    u, head = weights["u"], weights["head"]
    cell = Cell(weights["w"], u, weights["biases"], _gates(weights))
    batch, length, _ = inputs.shape
    projected = inputs @ weights["w"]
    states = np.zeros((length + 1, batch, u.shape[0]))
    totals = np.empty((length, batch, u.shape[0]))
    for t in range(length):
        totals[t] = projected[:, t] + states[t] @ u
        states[t + 1] = following(cell, totals[t], states[t])
    logits = (states[1:] @ head[:-1] + head[-1]).T  # (B, T)
    share = mask / mask.sum()
    loss = float(np.sum(share * (np.logaddexp(0.0, logits) - labels * logits)))
    error = share * (1.0 / (1.0 + np.exp(-logits)) - labels)
    gradients = {name: np.zeros_like(value) for name, value in weights.items()}
    gradients["head"][:-1] = np.einsum("bt,tbh->h", error, states[1:])
    gradients["head"][-1] = error.sum()
    _back(weights, gradients, inputs, error, states, totals)
    return loss, gradients


def _back(weights: Weights, gradients: Weights, inputs: F64, error: F64, states: F64, totals: F64) -> None:
    """Adds what the states pass back through time, last candidate first."""
    u, biases, head = weights["u"], weights["biases"], weights["head"]
    zeta, nu = _gates(weights)
    pulled = np.zeros_like(states[0])
    d_zeta = d_nu = 0.0
    for t in range(len(totals) - 1, -1, -1):
        pulled = pulled + error[:, t, None] * head[:-1]
        gate, candidate = rational_sigmoid(totals[t] + biases[1]), rational_tanh(totals[t] + biases[0])
        d_candidate = pulled * (zeta * (1 - gate) + nu) * tanh_slope(totals[t] + biases[0])
        d_gate = pulled * (states[t] - zeta * candidate) * 0.25 * tanh_slope(0.5 * (totals[t] + biases[1]))
        d_zeta += float(np.sum(pulled * (1 - gate) * candidate))
        d_nu += float(np.sum(pulled * candidate))
        given = d_candidate + d_gate
        gradients["biases"] += np.stack([d_candidate.sum(axis=0), d_gate.sum(axis=0)])
        gradients["u"] += states[t].T @ given
        gradients["w"] += inputs[:, t].T @ given
        pulled = pulled * gate + given @ u.T
    gradients["gates"] += np.array([d_zeta * zeta * (1 - zeta), d_nu * nu * (1 - nu)])


def _gates(weights: Weights) -> F64:
    """Zeta and nu, which are learned as logits."""
    gates: F64 = 1.0 / (1.0 + np.exp(-weights["gates"]))
    return gates


def _batches(rng: np.random.Generator, rows: int) -> Iterator[NDArray[np.int64]]:
    order = rng.permutation(rows)
    yield from (order[at : at + BATCH] for at in range(0, rows, BATCH))


def _adamw(weights: Weights, gradients: Weights, momentum: Weights, *, rate: float, step: int) -> Weights:
    """One step; `momentum` (2, ...) a weight holds the running means of the gradient and of its square."""
    norm = np.sqrt(sum(float(np.sum(gradient**2)) for gradient in gradients.values()))
    moved = {}
    for name, weight in weights.items():
        gradient = gradients[name] * min(1.0, CLIP / max(norm, 1e-12))
        first, second = momentum[name]
        first += 0.1 * (gradient - first)
        second += 0.001 * (gradient**2 - second)
        towards = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        decay = WEIGHT_DECAY if name in ("w", "u") else 0.0
        moved[name] = weight - rate * (towards + decay * weight)
    return moved
