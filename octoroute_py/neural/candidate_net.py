"""The network over a sequence of candidates: FastGRNN over their signals, one confidence for each.

Candidates come in the order of their similarity, best first, so that the state carries what the closer ones have told
when a candidate's turn comes.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from octoroute_py.neural.compact import Int8, Matrix, Plain, size_bytes
from octoroute_py.neural.fastgrnn import Cell, following, forward

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

INPUTS = 5
"""Signals of a candidate."""
CONTEXT = 64
"""Over how many candidates the state is carried; the network learns on sets of up to so many."""


class HeldOut(msgspec.Struct, frozen=True):
    """Confidences of held-out leading candidates, sorted: where the light model did well, and where it did not."""

    light: F32
    heavy: F32


class CandidateNet(msgspec.Struct, frozen=True, kw_only=True):
    """A trained network: w (5, H), u (H, H), biases (2, H), gates (2,) as in `fastgrnn`, head (H, 1), head_bias (1,).

    `mean` and `scale` (5,) standardise the weighted signals.
    """

    w: Matrix
    u: Matrix
    biases: F32
    gates: F32
    head: Matrix
    head_bias: F32
    mean: F32
    scale: F32
    held_out: HeldOut

    @property
    def quantised(self) -> bool:
        """Whether the matrices take less than float32."""
        return not isinstance(self.w, Plain)

    @property
    def size_bytes(self) -> int:
        """What the parameters take when stored."""
        plain = (self.biases, self.gates, self.head_bias, self.mean, self.scale)
        return sum(map(size_bytes, (self.w, self.u, self.head))) + sum(part.nbytes for part in plain)

    def runner(self) -> "Runner":
        """The network ready to run."""
        return Runner(self)


class Runner:
    """A network with its matrices unpacked; holds no state between calls."""

    __slots__ = ("_cell", "_head", "_head_bias", "_mean", "_scale")

    def __init__(self, net: CandidateNet) -> None:
        self._cell = Cell(net.w.dense(), net.u.dense(), net.biases, net.gates)
        self._head = net.head.dense()[:, 0]
        self._head_bias = net.head_bias[0]
        self._mean = net.mean
        self._scale = net.scale

    def confidences(self, signals: F64) -> F32:
        """The probability (T,) that the light model does well with each candidate, from weighted signals (T, 5).

        The state is carried over the first `CONTEXT` candidates, as many as it has learned to carry; every later one is
        judged from where it was then.
        """
        inputs = ((signals - self._mean) / self._scale).astype(np.float32)
        trace = forward(self._cell, inputs[:CONTEXT])
        states = trace.states[1:]
        if len(inputs) > CONTEXT:
            states = np.concatenate([states, self._step(inputs[CONTEXT:], trace.states[CONTEXT - 1])])
        with np.errstate(over="ignore"):
            certain: F32 = 1.0 / (1.0 + np.exp(-(states @ self._head + self._head_bias)))
        return certain

    def _step(self, inputs: F32, state: F32) -> F32:
        """What each of the inputs (N, 5) makes of the same state (H,)."""
        cell = self._cell
        return np.asarray(following(cell, inputs @ cell.w + state @ cell.u, state), dtype=np.float32)


def quantise(net: CandidateNet) -> CandidateNet:
    """The network with its matrices in eight bits; one that is small already stays as it is."""
    if net.quantised:
        return net
    w, u, head = (Int8.of(matrix.dense()) for matrix in (net.w, net.u, net.head))
    return msgspec.structs.replace(net, w=w, u=u, head=head)
