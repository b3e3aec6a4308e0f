"""The compiled twin of `candidate_net.Runner`: the same numbers, in microseconds.

Importing this module imports numba. Unlike the scorer's kernels this one keeps to IEEE arithmetic, so that a sum that
overflows still shows.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from octoroute_py.neural.candidate_net import CONTEXT, CandidateNet
from octoroute_py.neural.kernels import keep_compiled

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


class CompiledRunner:
    """A network ready to run; the first one made in a process compiles the kernel, or loads it from the cache."""

    __slots__ = ("_mean", "_scale", "_weights")

    def __init__(self, net: CandidateNet) -> None:
        warm()
        self._mean = net.mean
        self._scale = net.scale
        w, u, head = (np.ascontiguousarray(matrix.dense()) for matrix in (net.w, net.u, net.head))
        self._weights = (w, u, net.biases, net.gates, head[:, 0].copy(), net.head_bias[0])

    def confidences(self, signals: F64) -> F32:
        """The probability (T,) that the light model does well with each candidate, from weighted signals (T, 5)."""
        inputs = ((signals - self._mean) / self._scale).astype(np.float32)
        found = np.empty(len(inputs), dtype=np.float32)
        read(inputs, *self._weights, CONTEXT, found)
        return found


def _jit(function: Any) -> Any:
    options: dict[str, Any] = {"no_cfunc_wrapper": True}
    return njit(**options)(function)


@_jit
def _tanh(x: Any) -> Any:
    if x > np.float32(3.0):
        x = np.float32(3.0)
    elif x < np.float32(-3.0):
        x = np.float32(-3.0)
    square = x * x
    return x * (np.float32(27.0) + square) / (np.float32(27.0) + np.float32(9.0) * square)


@_jit
def read(
    inputs: F32, w: F32, u: F32, biases: F32, gates: F32, head: F32, head_bias: Any, context: int, found: F32
) -> None:
    """Fills found (T,) with a probability for each of the standardised inputs (T, 5); the state grows to `context`."""
    size = u.shape[0]
    half, one = np.float32(0.5), np.float32(1.0)
    zeta, nu = gates[0], gates[1]
    before = np.zeros(size, dtype=np.float32)
    after = np.zeros(size, dtype=np.float32)
    for t in range(inputs.shape[0]):
        if t < context:
            before[:] = after
        logit = head_bias
        for j in range(size):
            total = np.float32(0.0)
            for i in range(inputs.shape[1]):
                total += inputs[t, i] * w[i, j]
            for i in range(size):
                total += before[i] * u[i, j]
            gate = half + half * _tanh(half * (total + biases[1, j]))
            after[j] = (zeta * (one - gate) + nu) * _tanh(total + biases[0, j]) + gate * before[j]
            logit += after[j] * head[j]
        found[t] = one / (one + np.exp(-logit))


def warm() -> None:
    """Compiles it, or loads it from the cache."""
    keep_compiled(read)
    one = np.zeros((1, 1), dtype=np.float32)
    line = np.zeros(2, dtype=np.float32)
    read(one, one, one, np.zeros((2, 1), dtype=np.float32), line, line[:1], np.float32(0.0), 1, line[:1])
