"""The network over a sequence of candidates: FastGRNN over their signals, one confidence for each.

Candidates come in the order of their similarity, best first, so that the state carries what the closer ones have told
when a candidate's turn comes. The cell is the real one (Kusupati et al., NeurIPS 2018), W and U shared by gate and
candidate:

    s = W x + U h;  h~ = tanh(s + b_h);  z = sigmoid(s + b_z);  h' = (zeta (1 - z) + nu) h~ + z h

Weights are kept as int8 with one scale a tensor, or as float32.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I8 = NDArray[np.int8]

INPUTS = 5
"""Signals of a candidate."""
CONTEXT = 64
"""Over how many candidates the state is carried; the network learns on sets of up to so many."""


class Calibration(msgspec.Struct, frozen=True):
    """Confidences of held-out leading candidates, sorted: where the light model did well, and where it did not."""

    light: F32
    heavy: F32


class CandidateNet(msgspec.Struct, frozen=True, kw_only=True):
    """A trained network: w (5, H), u (H, H), biases (2, H) for candidate and gate, gates (zeta, nu), head (H + 1,).

    `mean` and `scale` (5,) standardise the weighted signals. `quantised` says that the weights lie on the int8 grid.
    """

    w: F32
    u: F32
    biases: F32
    gates: F32
    head: F32
    mean: F32
    scale: F32
    calibration: Calibration
    quantised: bool

    @property
    def hidden(self) -> int:
        """The size of the state."""
        return int(self.u.shape[0])

    def confidences(self, signals: NDArray[np.float64]) -> F32:
        """The probability (T,) that the light model does well with each candidate, from weighted signals (T, 5)."""
        inputs = ((signals - self.mean) / self.scale).astype(np.float32) @ self.w
        states = run(inputs, self.u, self.biases, self.gates)
        with np.errstate(over="ignore"):
            certain: F32 = 1.0 / (1.0 + np.exp(-(states @ self.head[:-1] + self.head[-1])))
        return certain


def run(inputs: F32, u: F32, biases: F32, gates: F32) -> F32:
    """The states (T, H) of the cell over projected inputs (T, H), starting from zero.

    The state is carried over the first `CONTEXT` candidates, as many as it has learned to carry; every later one is
    judged from where it was then.
    """
    states = np.empty_like(inputs)
    state = np.zeros(inputs.shape[1], dtype=inputs.dtype)
    for t, projected in enumerate(inputs[:CONTEXT]):
        before, state = state, step(projected, state, u, biases, gates)
        states[t] = state
    if len(inputs) > CONTEXT:
        states[CONTEXT:] = step(inputs[CONTEXT:], before, u, biases, gates)
    return states


def step(projected: F32, state: F32, u: F32, biases: F32, gates: F32) -> F32:
    """The next state, for one candidate (H,) or for each of several (N, H)."""
    zeta, nu = gates
    total = projected + state @ u
    gate = sigmoid(total + biases[1])
    following: F32 = (zeta * (1 - gate) + nu) * tanh(total + biases[0]) + gate * state
    return following


def tanh(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """The odd Pade approximation of tanh, clamped at 3: what the network is trained with as well."""
    x = np.clip(x, -3.0, 3.0)
    square = x * x
    return x * (27.0 + square) / (27.0 + 9.0 * square)


def sigmoid(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """The logistic function by the same approximation; 0 and 1 from 6 on."""
    return 0.5 + 0.5 * tanh(0.5 * x)
