"""The five signals of a candidate, each with its formula and its weight (Tiny Dancer's feature engineering).

    semantic_similarity   cosine of the query's and the candidate's embedding, -1 to 1                         0.40
    recency               exp(-0.001 x age in seconds), 1 for a candidate made now or later                    0.20
    frequency             ln(1 + access count) / ln(1 + 10,000), at most 1                                     0.15
    success_rate          as given, 0 to 1                                                                     0.15
    metadata_overlap      keys of the query's metadata whose value the candidate has too, by all of its keys   0.10

The weights scale what the network reads. A vector of length zero is like nothing: its similarity is 0.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

SIGNALS: Final = ("semantic_similarity", "recency", "frequency", "success_rate", "metadata_overlap")
WEIGHTS: Final = (0.40, 0.20, 0.15, 0.15, 0.10)
DECAY_PER_S: Final = 0.001
FULL_COUNT: Final = 10_000


def cosines(query: F32, embeddings: F32) -> F64:
    """The similarity (N,) of a query (D,) to embeddings (N, D), -1 to 1."""
    # Dividing by the largest entry first keeps squares of huge and of tiny vectors within range.
    here, there = _unit(query.astype(np.float64)[None]), _unit(embeddings.astype(np.float64))
    products: F64 = np.clip(there @ here[0], -1.0, 1.0)
    return products


def recency(age_s: F64) -> F64:
    """How fresh candidates of these ages (N,) are; an age below zero counts as zero."""
    fresh: F64 = np.exp(-DECAY_PER_S * np.maximum(age_s, 0.0))
    return fresh


def frequency(counts: F64) -> F64:
    """How often candidates were used (N,), 0 to 1."""
    often: F64 = np.minimum(1.0, np.log1p(counts) / np.log1p(FULL_COUNT))
    return often


def overlap(wanted: Mapping[str, object] | None, has: Mapping[str, object] | None) -> float:
    """The share of the wanted keys that have the same value; 0 where there is nothing to compare."""
    if not wanted or not has:
        return 0.0
    return sum(key in has and _same(has[key], value) for key, value in wanted.items()) / len(wanted)


def weighted(signals: F64) -> F64:
    """Signals (..., 5) as the network reads them."""
    scaled: F64 = signals * np.asarray(WEIGHTS)
    return scaled


def _same(one: object, other: object) -> bool:
    """Equal as JSON values: true is not 1, although Python says so."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _unit(vectors: F64) -> F64:
    largest = np.max(np.abs(vectors), axis=1, keepdims=True, initial=0.0)
    scaled = vectors / np.where(largest > 0.0, largest, 1.0)
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit: F64 = scaled / np.where(lengths > 0.0, lengths, 1.0)
    return unit
