"""Prompts as rows of a sparse tf-idf matrix over the buckets, and products with it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octoroute_py.features.lexicon import BUCKETS
from octoroute_py.features.vector import Matrix
from octoroute_py.neural.kernels import jit

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]


@jit
def _gather_product(into: I32, of: I32, weights: F32, factor: F32, out: F32) -> None:
    """out[into] += weight · factor[of], entry by entry: a sparse matrix, or its transpose, times a dense one."""
    for entry in range(len(into)):
        for column in range(factor.shape[1]):
            out[into[entry], column] += weights[entry] * factor[of[entry], column]


@dataclass(frozen=True, slots=True)
class TfIdf:
    """A sparse matrix (N, BUCKETS) with rows of unit length: (1 + ln tf) · ln((1 + N) / (1 + df)).

    `rows`, `buckets` and `weights` are its entries; `seen` (BUCKETS,) is df, the prompts a bucket occurs in, and
    `rarity` (BUCKETS,) the logarithm.
    """

    rows: I32
    buckets: I32
    weights: F32
    seen: NDArray[np.int64]
    rarity: NDArray[np.float64]
    count: int

    def times(self, factor: F32) -> F32:
        """Itself times (BUCKETS, k): (N, k)."""
        out = np.zeros((self.count, factor.shape[1]), dtype=np.float32)
        _gather_product(self.rows, self.buckets, self.weights, np.ascontiguousarray(factor), out)
        return out

    def transposed_times(self, factor: F32) -> F32:
        """Its transpose times (N, k): (BUCKETS, k)."""
        out = np.zeros((BUCKETS, factor.shape[1]), dtype=np.float32)
        _gather_product(self.buckets, self.rows, self.weights, np.ascontiguousarray(factor), out)
        return out


def tf_idf(matrix: Matrix) -> TfIdf:
    """The tf-idf matrix of some prompts."""
    count = len(matrix.offsets) - 1
    places = np.repeat(np.arange(count, dtype=np.int64), np.diff(matrix.offsets))
    keys, times = np.unique(places * BUCKETS + matrix.tokens, return_counts=True)
    rows, buckets = (keys // BUCKETS).astype(np.int32), (keys % BUCKETS).astype(np.int32)
    seen = np.bincount(buckets, minlength=BUCKETS).astype(np.int64)
    rarity = np.log((1.0 + count) / (1.0 + seen))
    weights = (1.0 + np.log(times)) * rarity[buckets]
    lengths = np.sqrt(np.bincount(rows, weights=weights**2, minlength=count))
    weights = weights / np.maximum(lengths, 1e-12)[rows]
    return TfIdf(rows, buckets, weights.astype(np.float32), seen, rarity, count)
