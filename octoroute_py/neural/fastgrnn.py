"""FastGRNN (Kusupati et al., NeurIPS 2018) as plain numpy: what the kernels must compute, forward and backward.

    h~ = tanh(W x + U h + b_h)        z = sigmoid(W x + U h + b_z)        h' = (zeta (1 - z) + nu) h~ + z h

W and U are shared by candidate and gate; zeta and nu are two learned numbers in (0, 1). Matrices are kept the way rows
are multiplied, `x @ w + h @ u`. tanh is the rational x (27 + x²) / (27 + 9 x²), clamped at ±3, and the sigmoid is made
of it: what is trained is what is served.
"""

from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from octoroute_py.neural.compact import F32, Int8, LowRank, Matrix, Plain, Sparse, pruned, size_bytes

Floats = NDArray[np.floating]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of a network: sizes, and the ranks of W and U where they are products of two factors (None: full)."""

    input_size: int = 5
    hidden_size: int = 8
    output_size: int = 1
    rank_w: int | None = None
    rank_u: int | None = None
    seed: int = 0


class Cell(NamedTuple):
    """What the cell computes with: w (D, H), u (H, H), biases (2, H) of candidate and gate, gates (2,): zeta and nu."""

    w: Floats
    u: Floats
    biases: Floats
    gates: Floats


class Trace(NamedTuple):
    """A forward pass: states (T + 1, H) beginning with h0, sums (T, H) = Wx + Uh."""

    states: Floats
    sums: Floats


def rational_tanh(x: Floats) -> Floats:
    """tanh within 0.024, by one division."""
    x = np.clip(x, -3.0, 3.0)
    return np.asarray(x * (27.0 + x * x) / (27.0 + 9.0 * x * x), dtype=x.dtype)


def rational_sigmoid(x: Floats) -> Floats:
    """The sigmoid made of `rational_tanh`; 0 and 1 beyond ±6."""
    return np.asarray(0.5 + 0.5 * rational_tanh(0.5 * x), dtype=x.dtype)


def tanh_slope(x: Floats) -> Floats:
    """The derivative of `rational_tanh`."""
    square = np.minimum(x * x, 9.0)
    return np.asarray(((9.0 - square) / (9.0 + 3.0 * square)) ** 2, dtype=x.dtype)


def forward(cell: Cell, inputs: Floats) -> Trace:
    """Runs the cell from a zero state over inputs (T, D)."""
    states = np.zeros((len(inputs) + 1, cell.u.shape[0]), dtype=inputs.dtype)
    sums = inputs @ cell.w  # (T, H)
    for t in range(len(inputs)):
        sums[t] += states[t] @ cell.u
        states[t + 1] = following(cell, sums[t], states[t])
    return Trace(states, sums)


def following(cell: Cell, total: Floats, state: Floats) -> Floats:
    """The state (..., H) after one step: from Wx + Uh, `total` (..., H), and the state before it."""
    zeta, nu = cell.gates
    candidate = rational_tanh(total + cell.biases[0])
    gate = rational_sigmoid(total + cell.biases[1])
    return np.asarray((zeta * (1.0 - gate) + nu) * candidate + gate * state)


def backward(cell: Cell, inputs: Floats, trace: Trace, d_states: Floats) -> tuple[Cell, Floats]:
    """Backpropagation through time: d_states (T, H) is dLoss/dh after each step.

    Returns dLoss/d of everything in the cell, and dLoss/dinputs (T, D).
    """
    zeta, nu = cell.gates
    d_sums = np.zeros_like(trace.sums)  # (T, H)
    d_u, d_biases, d_gates = np.zeros_like(cell.u), np.zeros_like(cell.biases), np.zeros_like(cell.gates)
    pulled = np.zeros(cell.u.shape[0], dtype=inputs.dtype)
    for t in range(len(inputs) - 1, -1, -1):
        pulled = pulled + d_states[t]
        through, around = trace.sums[t] + cell.biases[0], trace.sums[t] + cell.biases[1]
        candidate, gate, before = rational_tanh(through), rational_sigmoid(around), trace.states[t]
        d_candidate = pulled * (zeta * (1.0 - gate) + nu) * tanh_slope(through)
        d_gate = pulled * (before - zeta * candidate) * 0.25 * tanh_slope(0.5 * around)
        d_gates += np.array([(pulled * (1.0 - gate) * candidate).sum(), (pulled * candidate).sum()])
        d_biases += np.stack((d_candidate, d_gate))
        d_sums[t] = d_candidate + d_gate
        d_u += np.outer(before, d_sums[t])
        pulled = pulled * gate + cell.u @ d_sums[t]
    return Cell(inputs.T @ d_sums, d_u, d_biases, d_gates), d_sums @ cell.w.T


def pool(states: Floats, projected: Floats) -> Floats:
    """What the scorer's head reads of a sequence (3H,): the last state, the mean state, the mean of Wx."""
    steps = max(1, len(projected))
    return np.concatenate((states[-1], states[1:].sum(axis=0) / steps, projected.sum(axis=0) / steps))


@dataclass(frozen=True, slots=True)
class _Weights:
    """Every parameter in the form it is stored in."""

    w: Matrix
    u: Matrix
    out: Matrix
    biases: F32
    gates: F32
    out_bias: F32


class FastGRNN:
    """A FastGRNN with a logistic readout after every step, small enough to read in one go.

        network = FastGRNN(Config(input_size=5, hidden_size=8))
        network.predict(features)      # (T, 5) -> (T, 1), each in (0, 1)

    `quantize` and `prune` return a new network that computes with what it keeps. It begins with random weights, as
    training does; `with_weights` gives it learned ones.
    """

    __slots__ = ("_cell", "_weights", "config")

    def __init__(self, config: Config, *, weights: _Weights | None = None) -> None:
        self.config = config
        self._weights = weights if weights is not None else _random_weights(config)
        stored = self._weights
        self._cell = Cell(stored.w.dense(), stored.u.dense(), stored.biases, stored.gates)

    @property
    def cell(self) -> Cell:
        """What it computes with."""
        return self._cell

    @property
    def readout(self) -> tuple[F32, F32]:
        """Weights (H, O) and bias (O,) of the readout."""
        return self._weights.out.dense(), self._weights.out_bias

    def with_weights(self, cell: Cell, readout: tuple[Floats, Floats]) -> "FastGRNN":
        """A network of the same shape with these parameters; W and U keep their ranks."""
        w, u, biases, gates = (np.asarray(part, dtype=np.float32) for part in cell)
        out, out_bias = (np.asarray(part, dtype=np.float32) for part in readout)
        shapes = (w.shape, u.shape, biases.shape, gates.shape, out.shape, out_bias.shape)
        if shapes != _shapes(self.config):
            raise ValueError(f"weights of shapes {shapes} do not fit {_shapes(self.config)}")
        w_form = _of_rank(w, self.config.rank_w)
        return FastGRNN(
            self.config, weights=_Weights(w_form, _of_rank(u, self.config.rank_u), Plain(out), biases, gates, out_bias)
        )

    def states(self, inputs: F32) -> F32:
        """The hidden state after every step: inputs (T, D) -> (T, H)."""
        return np.asarray(forward(self._cell, inputs).states[1:], dtype=np.float32)

    def predict(self, inputs: F32) -> F32:
        """The readout after every step: inputs (T, D) -> (T, O), each in (0, 1)."""
        logits = self.states(inputs) @ self._weights.out.dense() + self._weights.out_bias
        return np.asarray(1.0 / (1.0 + np.exp(-logits)), dtype=np.float32)

    def quantize(self) -> "FastGRNN":
        """The network with W, U and the readout in eight bits."""
        stored = self._weights
        w, u, out = (Int8.of(matrix.dense()) for matrix in (stored.w, stored.u, stored.out))
        return FastGRNN(self.config, weights=_Weights(w, u, out, stored.biases, stored.gates, stored.out_bias))

    def prune(self, sparsity: float) -> "FastGRNN":
        """The network with only the largest entries of W and U: the share `sparsity` in [0, 1) of them is dropped."""
        stored = self._weights
        w, u = (Sparse.of(pruned(matrix.dense(), sparsity)) for matrix in (stored.w, stored.u))
        return FastGRNN(self.config, weights=_Weights(w, u, stored.out, stored.biases, stored.gates, stored.out_bias))

    def size_bytes(self) -> int:
        """What its parameters take when stored in their form."""
        stored = self._weights
        plain = (stored.biases, stored.gates, stored.out_bias)
        return sum(map(size_bytes, (stored.w, stored.u, stored.out))) + sum(part.nbytes for part in plain)


def _shapes(config: Config) -> tuple[tuple[int, ...], ...]:
    inputs, hidden, outputs = config.input_size, config.hidden_size, config.output_size
    return ((inputs, hidden), (hidden, hidden), (2, hidden), (2,), (hidden, outputs), (outputs,))


def _of_rank(matrix: F32, rank: int | None) -> Matrix:
    return Plain(matrix) if rank is None else LowRank.of(matrix, rank)


def _random_weights(config: Config) -> _Weights:
    rng = np.random.default_rng(config.seed)
    w, u, biases, gates, out, out_bias = (np.empty(shape, dtype=np.float32) for shape in _shapes(config))
    for part in (w, u, out):
        part[:] = 0.1 * rng.standard_normal(part.shape)
    biases[:] = 1.0
    gates[:] = 0.731, 0.018  # the sigmoid of 1 and -4, the starting values of the paper's own code
    out_bias[:] = 0.0
    return _Weights(_of_rank(w, config.rank_w), _of_rank(u, config.rank_u), Plain(out), biases, gates, out_bias)
