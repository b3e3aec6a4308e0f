"""From what a body pools of a row, its scalars and its tag to the five outputs, forward and backward.

output = x W + bias + tags[t] + relu(x V + c) O        x = [pooled, scalars], dropout on x and on the relu
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octoroute_py.training.adamw import Parameters
from octoroute_py.training.targets import TIERS

F32 = NDArray[np.float32]
Floats = NDArray[np.floating]
Tags = NDArray[np.int64]

OUTPUTS = TIERS + 2


@dataclass(frozen=True, slots=True)
class Pass:
    """What a forward pass leaves for the backward one."""

    outputs: Floats  # (B, 5)
    read: F32  # (B, F), what dropout left of x
    kept_read: F32 | None
    lit: Floats  # (B, K), the relu after dropout
    kept_lit: F32 | None
    tags: Tags


class Head:
    """A linear readout with a few rectified units beside it (`units` 0: linear alone); trained in place."""

    def __init__(
        self, inputs: int, *, units: int, tags: int, start: F32, dropout: float, rng: np.random.Generator
    ) -> None:
        self._rng = rng
        self._dropout = dropout
        self.parameters: Parameters = {
            "weights": rng.standard_normal((inputs, OUTPUTS)).astype(np.float32) * np.float32(0.05),
            "bias": start.copy(),
            "tags": np.zeros((tags + 1, OUTPUTS), dtype=np.float32),
            "units": rng.standard_normal((inputs, units)).astype(np.float32) * np.float32(inputs**-0.5),
            "units_bias": np.zeros(units, dtype=np.float32),
            "units_out": rng.standard_normal((units, OUTPUTS)).astype(np.float32) * np.float32(0.05),
        }

    def forward(self, pooled: Floats, scalars: Floats, tags: Tags, *, learning: bool) -> Pass:
        """The outputs for pooled (B, P), standardised scalars (B, S) and tag numbers (B,)."""
        own = self.parameters
        read: Floats = np.concatenate((pooled, scalars), axis=1)
        kept_read = self._mask(read.shape) if learning else None
        if kept_read is not None:
            read = read * kept_read
        lit: Floats = np.maximum(read @ own["units"] + own["units_bias"], np.float32(0.0))
        kept_lit = self._mask(lit.shape) if learning else None
        if kept_lit is not None:
            lit = lit * kept_lit
        outputs = read @ own["weights"] + own["bias"] + own["tags"][tags] + lit @ own["units_out"]
        return Pass(outputs, read, kept_read, lit, kept_lit, tags)

    def backward(self, made: Pass, slope: Floats) -> tuple[Parameters, F32]:
        """The gradients from dLoss/doutputs (B, 5), and dLoss/d[pooled, scalars]."""
        own = self.parameters
        d_tags = np.zeros_like(own["tags"])
        np.add.at(d_tags, made.tags, slope)
        d_tags[0] = 0.0  # no tag adds nothing
        d_lit = slope @ own["units_out"].T * (made.lit > 0)
        if made.kept_lit is not None:
            d_lit = d_lit * made.kept_lit
        d_read = slope @ own["weights"].T + d_lit @ own["units"].T
        if made.kept_read is not None:
            d_read = d_read * made.kept_read
        gradients = {
            "weights": made.read.T @ slope,
            "bias": slope.sum(axis=0),
            "tags": d_tags,
            "units": made.read.T @ d_lit,
            "units_bias": d_lit.sum(axis=0),
            "units_out": made.lit.T @ slope,
        }
        return gradients, np.asarray(d_read, dtype=np.float32)

    def _mask(self, shape: tuple[int, ...]) -> F32:
        kept = self._rng.random(shape, dtype=np.float32) >= self._dropout
        return np.asarray(kept / np.float32(1.0 - self._dropout), dtype=np.float32)
