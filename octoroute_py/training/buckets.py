"""A vector for every token bucket, learned from the training prompts alone.

Two kinds of directions stand side by side. *Topic* directions are the leading right singular vectors of the prompts'
tf-idf matrix: buckets that occur in the same prompts lie near each other. *Outcome* directions are the coefficients of
the `regression` of the targets on the same matrix. Those have seen the labels, so while training each fold of rows
reads the coefficients fitted without it; what is served is their mean. No borrowed weights: a deployment that trains
gets vectors of its own words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from octoroute_py.features.lexicon import BUCKETS
from octoroute_py.training.regression import Regression
from octoroute_py.training.sparse import TfIdf

F32 = NDArray[np.float32]

_POWER_ITERATIONS: Final = 3
_SPARE_DIMENSIONS: Final = 8
_FULL_TRUST: Final = 2.0
"""A bucket seen in n prompts keeps n / (n + this) of its length: what was seen once says little."""
_LENGTH: Final = 3.0
"""How long a vector is, and the root mean square of an outcome direction over the tokens of the training prompts."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors (BUCKETS, D): for each fold of rows those it may learn from, and those that are `served`."""

    folds: tuple[F32, ...]
    served: F32


def topic_vectors(prompts: TfIdf, *, dimensions: int, seed: int) -> F32:
    """Topic directions (BUCKETS, dimensions) by a seeded, randomised truncated SVD; buckets never seen get zeros.

    Source of the method: Halko, Martinsson and Tropp, Finding structure with randomness (SIAM Review 2011).
    """
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((BUCKETS, dimensions + _SPARE_DIMENSIONS)).astype(np.float32)
    for _ in range(_POWER_ITERATIONS):
        basis = np.linalg.qr(prompts.transposed_times(prompts.times(basis)))[0]
    projected = prompts.times(basis)
    values, rotation = np.linalg.eigh((projected.T @ projected).astype(np.float64))
    leading = np.argsort(-values, kind="stable")[:dimensions]
    vectors = basis @ (rotation[:, leading] * np.sqrt(np.maximum(values[leading], 0.0))).astype(np.float32)
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-9)
    trust = prompts.seen / (prompts.seen + _FULL_TRUST)
    return np.ascontiguousarray(vectors * (_LENGTH * trust / lengths)[:, None], dtype=np.float32)


def bucket_vectors(prompts: TfIdf, regression: Regression, *, dimensions: int, seed: int) -> Vectors:
    """Topic directions, so many `dimensions` of them, and outcome directions side by side."""
    topics = topic_vectors(prompts, dimensions=dimensions, seed=seed)
    fitted = regression.directions
    mean = np.mean(fitted, axis=0)
    spread = np.sqrt((prompts.seen[:, None] * mean**2).sum(axis=0) / max(1, int(prompts.seen.sum())))
    scale = np.divide(_LENGTH, spread, out=np.zeros_like(spread), where=spread > 0)
    return Vectors(_beside(topics, fitted, scale), _beside(topics, [mean], scale)[0])


def _beside(topics: F32, outcomes: Sequence[NDArray[np.floating]], scale: NDArray[np.floating]) -> tuple[F32, ...]:
    return tuple(
        np.ascontiguousarray(np.concatenate((topics, outcome * scale), axis=1), dtype=np.float32)
        for outcome in outcomes
    )
