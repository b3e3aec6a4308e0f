"""The network's numba twins: the same numbers as `fastgrnn`, in microseconds.

One forward pass serves both sides: inference reads a table that holds W already, training projects the bucket vectors
first. Importing this module imports numba; `warm` compiles what inference needs, or loads it from numba's cache.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]


@njit(fastmath=True)
def _tanh(x: float) -> float:
    x = min(max(x, np.float32(-3.0)), np.float32(3.0))
    square = x * x
    return x * (np.float32(27.0) + square) / (np.float32(27.0) + np.float32(9.0) * square)


@njit(fastmath=True)
def _sigmoid(x: float) -> float:
    return np.float32(0.5) + np.float32(0.5) * _tanh(np.float32(0.5) * x)


@njit(fastmath=True)
def _slope(x: float) -> float:
    """The derivative of `_tanh`."""
    square = min(x * x, np.float32(9.0))
    root = (np.float32(9.0) - square) / (np.float32(9.0) + np.float32(3.0) * square)
    return root * root


@njit(fastmath=True)
def _forward(inputs: F32, u: F32, biases: F32, gates: F32, states: F32, sums: F32) -> None:
    """Runs the cell over projected inputs (T, H); states (T + 1, H) begin with h0, sums (T, H) receive Wx + Uh."""
    size = u.shape[0]
    zeta, nu = gates[0], gates[1]
    for t in range(inputs.shape[0]):
        for j in range(size):
            sums[t, j] = inputs[t, j]
        for i in range(size):
            held = states[t, i]
            for j in range(size):
                sums[t, j] += held * u[i, j]
        for j in range(size):
            candidate = _tanh(sums[t, j] + biases[0, j])
            gate = _sigmoid(sums[t, j] + biases[1, j])
            states[t + 1, j] = (zeta * (np.float32(1.0) - gate) + nu) * candidate + gate * states[t, j]


@njit(fastmath=True)
def _pool(inputs: F32, states: F32, pooled: F32) -> None:
    """What the head reads of a sequence (3H,): the last state, the mean state, the mean projected input."""
    steps, size = inputs.shape
    share = np.float32(1.0) / np.float32(max(1, steps))
    for j in range(3 * size):
        pooled[j] = 0.0
    for t in range(steps):
        for j in range(size):
            pooled[size + j] += states[t + 1, j] * share
            pooled[2 * size + j] += inputs[t, j] * share
    for j in range(size):
        pooled[j] = states[steps, j]


@njit(fastmath=True)
def _project(vectors: F32, w: F32, tokens: I32, inputs: F32) -> None:
    for t in range(len(tokens)):
        for j in range(w.shape[1]):
            inputs[t, j] = 0.0
        for i in range(w.shape[0]):
            value = vectors[tokens[t], i]
            for j in range(w.shape[1]):
                inputs[t, j] += value * w[i, j]


@njit(fastmath=True)
def pool_rows(
    vectors: F32, w: F32, u: F32, biases: F32, gates: F32, tokens: I32, offsets: I64, rows: I64, pooled: F32
) -> None:
    """Fills pooled (B, 3H) for the given rows of a data set; vectors (V, D), w (D, H), u (H, H), biases (2, H)."""
    size = u.shape[0]
    inputs = np.empty((512, size), dtype=np.float32)
    states = np.zeros((513, size), dtype=np.float32)
    sums = np.empty((512, size), dtype=np.float32)
    for b in range(len(rows)):
        mine = tokens[offsets[rows[b]] : offsets[rows[b] + 1]]
        steps = len(mine)
        _project(vectors, w, mine, inputs)
        _forward(inputs[:steps], u, biases, gates, states, sums)
        _pool(inputs[:steps], states, pooled[b])


@njit(fastmath=True)
def _step_back(
    given: F32, pulled: F32, before: F32, total: F32, u: F32, biases: F32, gates: F32, d_u: F32, d_biases: F32, d_gates: F32
) -> None:
    """One step of backpropagation: `pulled` is dLoss/dh' and becomes dLoss/dh; `given` receives dLoss/d(Wx + Uh)."""
    size = u.shape[0]
    zeta, nu = gates[0], gates[1]
    one = np.float32(1.0)
    half = np.float32(0.5)
    d_zeta = d_nu = np.float32(0.0)
    for j in range(size):
        through = total[j] + biases[0, j]
        around = total[j] + biases[1, j]
        candidate = _tanh(through)
        gate = _sigmoid(around)
        d_candidate = pulled[j] * (zeta * (one - gate) + nu) * _slope(through)
        d_gate = pulled[j] * (before[j] - zeta * candidate) * half * half * _slope(half * around)
        d_zeta += pulled[j] * (one - gate) * candidate
        d_nu += pulled[j] * candidate
        d_biases[0, j] += d_candidate
        d_biases[1, j] += d_gate
        given[j] = d_candidate + d_gate
        pulled[j] *= gate
    d_gates[0] += d_zeta
    d_gates[1] += d_nu
    for i in range(size):
        back = np.float32(0.0)
        held = before[i]
        for j in range(size):
            back += u[i, j] * given[j]
            d_u[i, j] += held * given[j]
        pulled[i] += back


@njit(fastmath=True)
def pool_rows_back(
    vectors: F32, w: F32, u: F32, biases: F32, gates: F32, tokens: I32, offsets: I64, rows: I64, d_pooled: F32,
    d_w: F32, d_u: F32, d_biases: F32, d_gates: F32,
) -> None:  # fmt: skip
    """Adds to the gradients what dLoss/dpooled (B, 3H) asks for; the forward pass is done again, row by row."""
    size = u.shape[0]
    inputs = np.empty((512, size), dtype=np.float32)
    states = np.zeros((513, size), dtype=np.float32)
    sums = np.empty((512, size), dtype=np.float32)
    pulled = np.empty(size, dtype=np.float32)
    given = np.empty(size, dtype=np.float32)
    for b in range(len(rows)):
        mine = tokens[offsets[rows[b]] : offsets[rows[b] + 1]]
        steps = len(mine)
        share = np.float32(1.0) / np.float32(max(1, steps))
        _project(vectors, w, mine, inputs)
        _forward(inputs[:steps], u, biases, gates, states, sums)
        pulled[:] = d_pooled[b, :size]
        for t in range(steps - 1, -1, -1):
            for j in range(size):
                pulled[j] += d_pooled[b, size + j] * share
            _step_back(given, pulled, states[t], sums[t], u, biases, gates, d_u, d_biases, d_gates)
            for j in range(size):
                given[j] += d_pooled[b, 2 * size + j] * share
            for i in range(w.shape[0]):
                value = vectors[mine[t], i]
                for j in range(size):
                    d_w[i, j] += value * given[j]
