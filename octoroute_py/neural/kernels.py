"""The network's numba twins: the same numbers as `fastgrnn`, in microseconds.

One forward pass serves both sides: inference reads a table that holds W already, training projects the bucket vectors
first. Importing this module imports numba; `warm` compiles what inference needs, or loads it from numba's cache.
"""

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]


def jit(function: F) -> F:
    """The function compiled when it is first called, for calls from Python too; keeps its signature.

    Sums may be taken in any order (fastmath), so results equal those of numpy but for rounding.
    """
    options: dict[str, Any] = {"fastmath": True, "no_cfunc_wrapper": True}
    compiled: F = njit(**options)(function)
    return compiled


def _inner(function: F) -> F:
    """The same for calls from compiled code only, which takes less time to compile."""
    options: dict[str, Any] = {"fastmath": True, "no_cfunc_wrapper": True, "no_cpython_wrapper": True}
    compiled: F = njit(**options)(function)
    return compiled


@_inner
def _tanh(x: Any) -> Any:
    x = min(max(x, np.float32(-3.0)), np.float32(3.0))
    square = x * x
    return x * (np.float32(27.0) + square) / (np.float32(27.0) + np.float32(9.0) * square)


@_inner
def _sigmoid(x: Any) -> Any:
    return np.float32(0.5) + np.float32(0.5) * _tanh(np.float32(0.5) * x)


@_inner
def _slope(x: Any) -> Any:
    """The derivative of `_tanh`."""
    square = min(x * x, np.float32(9.0))
    root = (np.float32(9.0) - square) / (np.float32(9.0) + np.float32(3.0) * square)
    return root * root


@_inner
def _forward(inputs: F32, u: F32, biases: F32, gates: F32, states: F32, sums: F32) -> None:
    """Runs the cell over projected inputs (T, H); states (T + 1, H) begin with h0, sums (T, H) receive Wx + Uh."""
    size = u.shape[0]
    fours = size - size % 4
    zeta, nu = gates[0], gates[1]
    for t in range(inputs.shape[0]):
        for j in range(size):
            sums[t, j] = inputs[t, j]
        # Four rows of U at a time: a sum is read and written a quarter as often, which is most of what a step costs.
        for i in range(0, fours, 4):
            a, b, c, d = states[t, i], states[t, i + 1], states[t, i + 2], states[t, i + 3]
            for j in range(size):
                sums[t, j] += a * u[i, j] + b * u[i + 1, j] + c * u[i + 2, j] + d * u[i + 3, j]
        for i in range(fours, size):
            for j in range(size):
                sums[t, j] += states[t, i] * u[i, j]
        for j in range(size):
            candidate = _tanh(sums[t, j] + biases[0, j])
            gate = _sigmoid(sums[t, j] + biases[1, j])
            states[t + 1, j] = (zeta * (np.float32(1.0) - gate) + nu) * candidate + gate * states[t, j]


@_inner
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


@_inner
def _gather(table: F32, tokens: I32, inputs: F32) -> None:
    for t in range(len(tokens)):
        for j in range(table.shape[1]):
            inputs[t, j] = table[tokens[t], j]


@jit
def pool_rows(
    table: F32,
    u: F32,
    biases: F32,
    gates: F32,
    tokens: I32,
    offsets: I64,
    rows: I64,
    states: F32,
    sums: F32,
    pooled: F32,
) -> None:
    """Fills pooled (B, 3H) for the given rows of a data set, and the traces that `pool_rows_back` goes back along.

    table (V, H) holds Wx of every token, u (H, H), biases (2, H), gates (2,); `offsets` say where a row's tokens begin.
    With T tokens in the longest row the traces are states (B, T + 1, H), zero at the first step, and sums (B, T, H).
    """
    inputs = np.empty((sums.shape[1], u.shape[0]), dtype=np.float32)
    for b in range(len(rows)):
        mine = tokens[offsets[rows[b]] : offsets[rows[b] + 1]]
        _gather(table, mine, inputs)
        _forward(inputs[: len(mine)], u, biases, gates, states[b], sums[b])
        _pool(inputs[: len(mine)], states[b], pooled[b])


@_inner
def _step_back(
    given: F32,
    pulled: F32,
    before: F32,
    total: F32,
    u: F32,
    biases: F32,
    gates: F32,
    d_u: F32,
    d_biases: F32,
    d_gates: F32,
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


@jit
def pool_rows_back(
    u: F32, biases: F32, gates: F32, tokens: I32, offsets: I64, rows: I64, states: F32, sums: F32, d_pooled: F32,
    d_table: F32, d_u: F32, d_biases: F32, d_gates: F32,
) -> None:  # fmt: skip
    """Adds to the gradients what dLoss/dpooled (B, 3H) asks for, along the traces that `pool_rows` left."""
    size = u.shape[0]
    pulled = np.empty(size, dtype=np.float32)
    given = np.empty(size, dtype=np.float32)
    for b in range(len(rows)):
        mine = tokens[offsets[rows[b]] : offsets[rows[b] + 1]]
        share = np.float32(1.0) / np.float32(max(1, len(mine)))
        for j in range(size):
            pulled[j] = d_pooled[b, j]
        for t in range(len(mine) - 1, -1, -1):
            for j in range(size):
                pulled[j] += d_pooled[b, size + j] * share
            _step_back(given, pulled, states[b, t], sums[b, t], u, biases, gates, d_u, d_biases, d_gates)
            for j in range(size):
                d_table[mine[t], j] += given[j] + d_pooled[b, 2 * size + j] * share


@_inner
def _read_sequence(table: F32, u: F32, weights: F32, tokens: I32, pooled: F32) -> None:
    steps, size = len(tokens), table.shape[1]
    inputs = np.empty((steps, size), dtype=np.float32)
    _gather(table, tokens, inputs)
    if len(u) > 0:
        states = np.empty((steps + 1, size), dtype=np.float32)
        states[0, :] = 0.0
        sums = np.empty((steps, size), dtype=np.float32)
        _forward(inputs, u, weights[: 2 * size].reshape(2, size), weights[2 * size : 2 * size + 2], states, sums)
        _pool(inputs, states, pooled)
        return
    pooled[:] = 0.0
    for t in range(steps):
        for j in range(size):
            pooled[j] += inputs[t, j] / np.float32(steps)


@_inner
def _distance(read: F32, usual: F32, scalars: F32, mean: F32, whitening: F32) -> Any:
    """Root mean square of how many standard deviations the numbers lie from those of the training data.

    Those of the sequence one by one, the scalars after whitening, which is lower triangular.
    """
    size, count = len(usual) // 2, len(scalars)
    total = np.float32(0.0)
    used = size
    for i in range(size):
        off = (read[i] - usual[i]) * usual[size + i]
        total += off * off
    for i in range(count):
        white = np.float32(0.0)
        for j in range(i + 1):
            white += whitening[count * i + j] * (scalars[j] - mean[j])
        used += whitening[count * i + i] > 0
        total += white * white
    return np.sqrt(total / used)


@_inner
def _read_out(
    read: F32, weights: F32, bias: F32, units: F32, units_bias: F32, units_out: F32, out: NDArray[np.float64]
) -> None:
    for k in range(5):
        out[k] = bias[k]
    for i in range(len(read)):
        for k in range(5):
            out[k] += read[i] * weights[5 * i + k]
    many = len(units_bias)
    lit = units_bias.copy()
    for i in range(len(read)):
        for k in range(many):
            lit[k] += read[i] * units[many * i + k]
    for i in range(many):
        for k in range(5):
            out[k] += max(lit[i], np.float32(0.0)) * units_out[5 * i + k]


@jit
def predict(
    table: F32, u: F32, weights: F32, familiar: NDArray[np.bool_], units: int, tokens: I32, scalars: F32, tag: int,
    out: NDArray[np.float64],
) -> None:  # fmt: skip
    """The seven raw numbers of one prompt: five outputs, its distance from the training data, its unfamiliar share.

    table (V, W); u (H, H), or (0, 0) for a linear artifact; `weights` one after another: biases (2, H), gates (2,),
    mean and inverse_std (S,), centre and inverse_spread (P,), whitening (S, S), head (P + S, 5), bias (5,), units
    (P + S, K), their bias (K,) and output (K, 5), tags (n + 1, 5). `units` is K.
    """
    width, count = table.shape[1], len(scalars)
    size = 3 * width if len(u) > 0 else width
    read = np.empty(size + count, dtype=np.float32)
    _read_sequence(table, u, weights, tokens, read[:size])
    at = 2 * width + 2 if len(u) > 0 else 0
    spread = at + 2 * count
    white = spread + 2 * size
    head = white + count * count
    bias = head + 5 * len(read)
    first = bias + 5
    unit_bias = first + units * len(read)
    unit_out = unit_bias + units
    tags = unit_out + 5 * units
    out[5] = _distance(read[:size], weights[spread:white], scalars, weights[at:spread], weights[white:head])
    for i in range(count):
        off = (scalars[i] - weights[at + i]) * weights[at + count + i]
        read[size + i] = min(max(off, np.float32(-4.0)), np.float32(4.0))
    _read_out(
        read, weights[head:bias], weights[bias:first], weights[first:unit_bias], weights[unit_bias:unit_out],
        weights[unit_out:tags], out,
    )  # fmt: skip
    for k in range(5):
        out[k] += weights[tags + 5 * tag + k]
    strange = 0
    for t in range(len(tokens)):
        strange += not familiar[tokens[t]]
    out[6] = strange / max(1, len(tokens))


def keep_compiled(function: Callable[..., Any]) -> None:
    """Keep what is compiled for the next start, beside the module or in the user's cache folder, if that can be."""
    entry: Any = function
    with contextlib.suppress(RuntimeError):  # no such folder: the code lives in this process alone
        entry.enable_caching()


def warm() -> None:
    """Compiles what inference needs, or loads it from the cache."""
    keep_compiled(predict)
    predict(
        np.zeros((1, 1), dtype=np.float32), np.zeros((1, 1), dtype=np.float32), np.zeros(64, dtype=np.float32),
        np.zeros(1, dtype=np.bool_), 1, np.zeros(1, dtype=np.int32), np.zeros(1, dtype=np.float32), 0,
        np.zeros(7, dtype=np.float64),
    )  # fmt: skip
