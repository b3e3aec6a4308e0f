"""What words foretell of outcomes: ridge regressions of the targets on the prompts' tf-idf matrix, scalars and tags.

Rows whose balanced tier is labelled and rows where it is not mostly come of different models, so each kind has a
regression of its own. Every fold of rows reads what was fitted without it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from octoroute_py.features.lexicon import BUCKETS
from octoroute_py.training.sparse import TfIdf
from octoroute_py.training.targets import TIERS, Targets

F32 = NDArray[np.float32]
Floats = NDArray[np.floating]
Numbers = NDArray[np.int64]
Used = NDArray[np.bool_]

_RIDGE: Final = 12.0
_SCALAR_SHARE: Final = 0.05
_SOLVER_STEPS: Final = 12
_RATES: Final = (0.03, 0.97)
"""No success rate beyond these is foretold: a straight line does not keep to [0, 1]."""


@dataclass(frozen=True, slots=True)
class Regression:
    """For each fold of rows the directions (BUCKETS, K) fitted without it, and what those foretell of it.

    `foretold` (N, 5) are logits and gains, as a network's outputs are; NaN where nothing is said.
    """

    directions: tuple[F32, ...]
    foretold: F32


def regress(prompts: TfIdf, scalars: F32, tags: Numbers, targets: Targets, *, folds: Numbers) -> Regression:
    """Regressions of each kind of rows, crosswise over `folds` (N,) numbered from 0.

    `scalars` (N, S), standardised, and `tags` (N,), 0 where a row has none, take part, so that words need not explain
    them. A kind without balanced has three directions, the other one five.
    """
    named = tags[:, None] == np.arange(1, int(tags.max()) + 1)
    beside = np.concatenate((scalars * np.float32(_SCALAR_SHARE), named.astype(np.float32)), axis=1)
    foretold = np.full(targets.values.shape, np.nan, dtype=np.float32)
    directions: list[list[F32]] = [[] for _ in range(int(folds.max()) + 1)]
    laddered = targets.known[:, 1] > 0
    for kind, columns in ((~laddered, np.array([0, 2, 3])), (laddered, np.arange(TIERS + 2))):
        if not kind.any():
            continue
        asked = Targets(targets.values[:, columns], targets.known[:, columns])
        for fold, found in enumerate(directions):
            coefficients, told = _fit(prompts, beside, asked, kind & (folds != fold))
            found.append(coefficients)
            mine = np.flatnonzero(kind & (folds == fold))
            foretold[np.ix_(mine, columns)] = told[mine]
    rates = np.clip(foretold[:, :TIERS], *_RATES)
    foretold[:, :TIERS] = np.log(rates / (1.0 - rates))
    return Regression(tuple(np.concatenate(found, axis=1) for found in directions), foretold)


def _fit(prompts: TfIdf, beside: F32, targets: Targets, used: Used) -> tuple[F32, F32]:
    """Coefficients (BUCKETS, k) learned from the used rows, and what they foretell of all rows (N, k).

    NaN is foretold of what no used row tells.
    """
    known = targets.known * used[:, None]
    counts = known.sum(axis=0)
    means = (targets.values * known).sum(axis=0) / np.maximum(counts, 1.0)
    solution = _solved(prompts, beside, (targets.values - means) * known, used)
    foretold = prompts.times(solution[:BUCKETS]) + beside @ solution[BUCKETS:] + means
    foretold[:, counts == 0] = np.nan
    directions = solution[:BUCKETS] * prompts.rarity[:, None]
    return directions.astype(np.float32), foretold.astype(np.float32)


def _solved(prompts: TfIdf, beside: F32, wanted: Floats, used: Used) -> F32:
    """Ridge coefficients (BUCKETS + B, k) of what is wanted (N, k) on the used rows, by conjugate gradients.

    `beside` (N, B) stands beside the words.
    """
    kept = used[prompts.rows]
    part = TfIdf(
        prompts.rows[kept], prompts.buckets[kept], prompts.weights[kept], prompts.seen, prompts.rarity, prompts.count
    )
    beside = beside * used[:, None].astype(np.float32)
    goal = _normal(part, beside, wanted)
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
    return solution


def _normal(prompts: TfIdf, beside: F32, image: Floats) -> F32:
    """The transpose of [tf-idf, beside] times (N, k)."""
    image = image.astype(np.float32)
    return np.concatenate((prompts.transposed_times(image), beside.T @ image))
