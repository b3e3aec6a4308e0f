"""A loaded artifact ready to predict: its arrays laid out for the compiled network."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from octoroute_py.neural import kernels
from octoroute_py.neural.artifact import OUTPUTS, Artifact
from octoroute_py.neural.calibration import Raw
from octoroute_py.neural.compact import F32

RAW: Final = len(Raw._fields)


class Network:
    """Turns token buckets and scalars into the seven raw numbers; its output array is reused, so one thread at a time.

    `tag_numbers` maps a known tag to its row of the head; row 0 is for none and for unknown ones.
    """

    __slots__ = ("_familiar", "_out", "_table", "_u", "_units", "_weights", "tag_numbers")

    def __init__(self, artifact: Artifact) -> None:
        self.tag_numbers = {tag: number for number, tag in enumerate(artifact.card.tags, start=1)}
        self._table = np.ascontiguousarray(artifact.table.dense())
        self._u = artifact.cell.u.dense() if artifact.cell is not None else np.empty((0, 0), dtype=np.float32)
        self._units = len(artifact.head.units_bias)
        self._weights = _laid_out(artifact)
        self._familiar = artifact.familiar.buckets
        self._out = np.empty(RAW, dtype=np.float64)

    def warm(self) -> None:
        """Compile the network or load it from the cache; takes seconds the first time."""
        kernels.warm()

    def raw(self, tokens: NDArray[np.int32], scalars: F32, *, tag: str | None = None) -> list[float]:
        """The raw numbers of one prompt, in the order of `Raw`."""
        number = self.tag_numbers.get(tag, 0) if tag is not None else 0
        try:
            kernels.predict(
                self._table, self._u, self._weights, self._familiar, self._units, tokens, scalars, number, self._out
            )
        except ZeroDivisionError:  # what overflowed is no number, and compiled code may take that for a zero
            self._out.fill(math.nan)
        numbers: list[float] = self._out.tolist()
        return numbers


def _laid_out(artifact: Artifact) -> F32:
    """Every small array one after another, in the order `kernels.predict` reads them."""
    head, familiar, cell = artifact.head, artifact.familiar, artifact.cell
    parts = [head.mean, head.inverse_std, familiar.centre, familiar.inverse_spread, familiar.whitening]
    parts += [head.weights, head.bias, head.units, head.units_bias, head.units_out, head.tags]
    if cell is not None:
        parts = [cell.biases, cell.gates, *parts]
    weights = np.concatenate([part.ravel() for part in parts]).astype(np.float32)
    if len(head.bias) != OUTPUTS:
        raise ValueError("a head has five outputs")
    return weights
