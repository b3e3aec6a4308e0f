"""What stands between the tokens and the head while training: the recurrent cell, or the mean of the vectors."""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from octoroute_py.features.layout import MOST_TOKENS
from octoroute_py.features.lexicon import BUCKETS
from octoroute_py.features.vector import Matrix
from octoroute_py.neural import kernels
from octoroute_py.training.adamw import Parameters

F32 = NDArray[np.float32]
Rows = NDArray[np.int64]

_MOST_ROWS: Final = 512
"""So many rows are pooled at a time."""
_OUTCOME_START: Final = 1 / 3
"""Brings an outcome direction, whose root mean square over tokens is 3, to 1: the cell is not driven to its ends."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """Tokens of all rows with the vectors (BUCKETS, D) to read them by."""

    matrix: Matrix
    vectors: F32


class Body(Protocol):
    """Pools a row's tokens into numbers the head reads; `parameters` are trained in place."""

    parameters: Parameters

    def pool(self, data: Sequences, rows: Rows) -> F32:
        """Pooled numbers (B, P)."""
        ...

    def pull(self, data: Sequences, rows: Rows, d_pooled: F32) -> Parameters:
        """The gradients of the parameters, from dLoss/dpooled (B, P)."""
        ...


class MeanBody:
    """Nothing to train: the mean vector of the row's tokens."""

    def __init__(self) -> None:
        self.parameters: Parameters = {}

    def pool(self, data: Sequences, rows: Rows) -> F32:
        """The mean vectors (B, D)."""
        tokens, offsets = data.matrix.tokens, data.matrix.offsets
        pooled = np.zeros((len(rows), data.vectors.shape[1]), dtype=np.float32)
        for place, row in enumerate(rows.tolist()):
            mine = tokens[offsets[row] : offsets[row + 1]]
            if len(mine):
                pooled[place] = data.vectors[mine].mean(axis=0)
        return pooled

    def pull(self, data: Sequences, rows: Rows, d_pooled: F32) -> Parameters:
        """No gradients."""
        return {}


class CellBody:
    """A FastGRNN cell; with ranks, W and U are trained as W1 W2ᵀ and U1 U2ᵀ.

    The last `outcomes` dimensions of the vectors, up to half of the hidden ones, start with a hidden place each, so
    that the mean input tells what words foretell from the first step on.
    """

    _GATES: Final = (1.0, -4.0)
    """Raw zeta and nu at the start: their sigmoids are 0.731 and 0.018, as in the paper's own code."""

    def __init__(
        self,
        dimensions: int,
        *,
        outcomes: int,
        hidden: int,
        rank_w: int | None,
        rank_u: int | None,
        rng: np.random.Generator,
    ) -> None:
        self.hidden = hidden
        self.parameters: Parameters = {}
        w = rng.standard_normal((dimensions, hidden)) * 0.3
        if rank_w is None:
            _set_apart(w, outcomes=outcomes)
        self._add("w", w, rank=rank_w)
        self._add("u", rng.standard_normal((hidden, hidden)) * 0.1, rank=rank_u)
        self.parameters["biases"] = np.stack((np.zeros(hidden), np.ones(hidden))).astype(np.float32)
        self.parameters["gates"] = np.array(self._GATES, dtype=np.float32)
        self._states = np.zeros((0, MOST_TOKENS + 1, hidden), dtype=np.float32)
        self._sums = np.empty((0, MOST_TOKENS, hidden), dtype=np.float32)

    def pool(self, data: Sequences, rows: Rows) -> F32:
        """The last state, the mean state and the mean input of each row (B, 3H)."""
        table = self.table(data.vectors)
        pooled = np.empty((len(rows), 3 * self.hidden), dtype=np.float32)
        for start in range(0, len(rows), _MOST_ROWS):
            part = slice(start, start + _MOST_ROWS)
            self._forward(table, data.matrix, rows[part], pooled[part])
        return pooled

    def pull(self, data: Sequences, rows: Rows, d_pooled: F32) -> Parameters:
        """Backpropagation through time for the rows that were pooled last, at most 512 of them."""
        matrix, gates, u = data.matrix, self.gates(), self.weight("u")
        d_table = np.zeros((BUCKETS, self.hidden), dtype=np.float32)
        d_u, d_gates = np.zeros_like(u), np.zeros_like(gates)
        gradients = {"biases": np.zeros_like(self.parameters["biases"])}
        kernels.pool_rows_back(
            u, self.parameters["biases"], gates, matrix.tokens, matrix.offsets, rows, self._states, self._sums,
            np.ascontiguousarray(d_pooled), d_table, d_u, gradients["biases"], d_gates,
        )  # fmt: skip
        gradients["gates"] = d_gates * gates * (1.0 - gates)
        return gradients | self._shared("w", data.vectors.T @ d_table) | self._shared("u", d_u)

    def table(self, vectors: F32) -> F32:
        """What every bucket adds to the sums: vectors W (BUCKETS, H)."""
        return np.ascontiguousarray(vectors @ self.weight("w"))

    def gates(self) -> F32:
        """zeta and nu in (0, 1)."""
        return np.asarray(1.0 / (1.0 + np.exp(-self.parameters["gates"])), dtype=np.float32)

    def weight(self, name: str) -> F32:
        """W or U, multiplied out where it is kept in factors."""
        whole = self.parameters.get(name)
        if whole is not None:
            return whole
        return np.ascontiguousarray(self.parameters[f"{name}1"] @ self.parameters[f"{name}2"].T)

    def _forward(self, table: F32, matrix: Matrix, rows: Rows, pooled: F32) -> None:
        """Pools some rows and keeps their traces, which take about 34 kB a row."""
        if len(self._sums) < len(rows):
            self._states = np.zeros((len(rows), MOST_TOKENS + 1, self.hidden), dtype=np.float32)
            self._sums = np.empty((len(rows), MOST_TOKENS, self.hidden), dtype=np.float32)
        kernels.pool_rows(
            table, self.weight("u"), self.parameters["biases"], self.gates(),
            matrix.tokens, matrix.offsets, rows, self._states, self._sums, pooled,
        )  # fmt: skip

    def _add(self, name: str, start: NDArray[np.float64], *, rank: int | None) -> None:
        if rank is None:
            self.parameters[name] = start.astype(np.float32)
            return
        left, values, right = np.linalg.svd(start, full_matrices=False)
        share = np.sqrt(values[:rank])
        self.parameters[f"{name}1"] = (left[:, :rank] * share).astype(np.float32)
        self.parameters[f"{name}2"] = (right[:rank].T * share).astype(np.float32)

    def _shared(self, name: str, gradient: F32) -> Parameters:
        """A matrix's gradient, divided among its factors where it has some."""
        if name in self.parameters:
            return {name: gradient}
        left, right = self.parameters[f"{name}1"], self.parameters[f"{name}2"]
        return {f"{name}1": gradient @ right, f"{name}2": gradient.T @ left}


def _set_apart(w: NDArray[np.float64], *, outcomes: int) -> None:
    """Gives the last rows of W (D, H) a column each and no other; those left over stay as they are."""
    places = np.arange(min(outcomes, w.shape[1] // 2))
    first = len(w) - outcomes
    w[:, places] = 0.0
    w[first + places] = 0.0
    w[first + places, places] = _OUTCOME_START
