"""A vector for every token bucket, learned from the training prompts alone.

Two kinds of directions stand side by side. *Topic* directions are the leading right singular vectors of the prompts'
tf-idf matrix: buckets that occur in the same prompts lie near each other. *Outcome* directions are the coefficients of
a ridge regression of every target on the same matrix. Those have seen the labels, so while training each fold of rows
reads the coefficients fitted without it; what is served is their mean. No borrowed weights: a deployment that trains
gets vectors of its own words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from octoroute_py.features.lexicon import BUCKETS
from octoroute_py.training.sparse import TfIdf
from octoroute_py.training.targets import Targets

F32 = NDArray[np.float32]

_POWER_ITERATIONS: Final = 3
_SPARE_DIMENSIONS: Final = 8
_FULL_TRUST: Final = 2.0
"""A bucket seen in n prompts keeps n / (n + this) of its length: what was seen once says little."""
_LENGTH: Final = 3.0
"""How long a vector is, and the root mean square of an outcome direction over the tokens of the training prompts."""
_RIDGE: Final = 20.0
_SCALAR_SHARE: Final = 0.1
_SOLVER_STEPS: Final = 12


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


def bucket_vectors(
    prompts: TfIdf, scalars: F32, targets: Targets, *, folds: NDArray[np.int64], dimensions: int, seed: int
) -> Vectors:
    """Topic and outcome directions side by side, the latter cross-fitted over `folds` (N,) numbered from 0.

    `scalars` (N, S) are standardised; they take part in the regression, so that words need not explain them.
    """
    topics = topic_vectors(prompts, dimensions=dimensions, seed=seed)
    fitted = [_outcome_vectors(prompts, scalars, targets, folds != fold) for fold in range(int(folds.max()) + 1)]
    mean = np.mean(fitted, axis=0)
    spread = np.sqrt((prompts.seen[:, None] * mean**2).sum(axis=0) / max(1, int(prompts.seen.sum())))
    scale = np.divide(_LENGTH, spread, out=np.zeros_like(spread), where=spread > 0)
    return Vectors(_beside(topics, fitted, scale), _beside(topics, [mean], scale)[0])


def _beside(topics: F32, outcomes: Sequence[NDArray[np.floating]], scale: NDArray[np.floating]) -> tuple[F32, ...]:
    return tuple(
        np.ascontiguousarray(np.concatenate((topics, outcome * scale), axis=1), dtype=np.float32)
        for outcome in outcomes
    )


def _outcome_vectors(prompts: TfIdf, scalars: F32, targets: Targets, used: NDArray[np.bool_]) -> F32:
    """Ridge coefficients (BUCKETS, 5) of the targets, centred, on the used rows; by conjugate gradients."""
    kept = used[prompts.rows]
    part = TfIdf(
        prompts.rows[kept], prompts.buckets[kept], prompts.weights[kept], prompts.seen, prompts.rarity, prompts.count
    )
    beside = scalars * np.float32(_SCALAR_SHARE) * used[:, None].astype(np.float32)
    known = targets.known * used[:, None]
    means = (targets.values * known).sum(axis=0) / np.maximum(known.sum(axis=0), 1.0)
    goal = _normal(part, beside, (targets.values - means) * known)
    solution = np.zeros_like(goal)
    residual, direction = goal.copy(), goal.copy()
    length = (residual**2).sum(axis=0)
    for _ in range(_SOLVER_STEPS):
        image = part.times(direction[:BUCKETS]) + beside @ direction[BUCKETS:]
        curved = _normal(part, beside, image) + np.float32(_RIDGE) * direction
        step = length / np.maximum((direction * curved).sum(axis=0), 1e-20)
        solution += step * direction
        residual -= step * curved
        shorter = (residual**2).sum(axis=0)
        direction = residual + shorter / np.maximum(length, 1e-20) * direction
        length = shorter
    return np.asarray(solution[:BUCKETS] * prompts.rarity[:, None], dtype=np.float32)


def _normal(prompts: TfIdf, beside: F32, image: NDArray[np.floating]) -> F32:
    """The transpose of [tf-idf, scalars] times (N, k)."""
    image = image.astype(np.float32)
    return np.concatenate((prompts.transposed_times(image), beside.T @ image))
