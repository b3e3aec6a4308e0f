"""Exact search by cosine similarity over vectors that are kept in memory."""

import numpy as np
from numpy.typing import NDArray

from octoroute_py.neural.errors import InvalidInput
from octoroute_py.neural.signals import cosines

F32 = NDArray[np.float32]

CLOSE = 1e-4
"""Float32 products are off by less than this; what is so close to the last place is computed again exactly."""
_DIGITS = 12


class _Block:
    """The vectors of one dimension, ready to be multiplied."""

    __slots__ = ("ids", "unit", "vectors")

    def __init__(self, kept: dict[str, F32], ids: list[str]) -> None:
        self.ids = ids
        self.vectors = np.stack([kept[id] for id in ids])
        with np.errstate(all="ignore"):
            lengths = np.linalg.norm(self.vectors, axis=1, keepdims=True)
            self.unit = np.where(np.isfinite(lengths) & (lengths > 1e-18), self.vectors / lengths, np.nan)


class VectorIndex:
    """Vectors by id; not safe to use from two threads at once."""

    def __init__(self) -> None:
        self._kept: dict[str, F32] = {}
        self._blocks: dict[int, _Block] | None = None

    def put(self, id: str, vector: F32) -> None:
        """Add a vector (D,), or replace the one of this id."""
        self._kept[id] = vector
        self._blocks = None

    def nearest(self, query: F32, k: int) -> list[tuple[str, float]]:
        """The `k` ids most similar to the query (D,), best first, with their cosine; equals in the order of their ids.

        Cosines are equal when twelve digits of theirs are: how the last ones are rounded depends on the other vectors.

        Raises InvalidInput when there are vectors, but none of the query's dimensions.
        """
        if self._blocks is None:
            self._blocks = self._built()
        block = self._blocks.get(len(query))
        if block is None:
            if self._blocks:
                known = " or ".join(str(dimensions) for dimensions in sorted(self._blocks))
                raise InvalidInput(f"the vector has {len(query)} dimensions, those stored have {known}")
            return []
        close = _close_to_best(block, query, k)
        exact = cosines(query, block.vectors[close])
        order = np.argsort(-np.round(exact, _DIGITS), kind="stable")[:k]
        return [(block.ids[close[at]], float(exact[at])) for at in order]

    def _built(self) -> dict[int, _Block]:
        by_dimension: dict[int, list[str]] = {}
        for id in sorted(self._kept):
            by_dimension.setdefault(len(self._kept[id]), []).append(id)
        return {dimensions: _Block(self._kept, ids) for dimensions, ids in by_dimension.items()}


def _close_to_best(block: _Block, query: F32, k: int) -> NDArray[np.intp]:
    """Where the best `k` are among, in the order of the block; odd vectors, whose length float32 cannot tell, too."""
    if k >= len(block.ids):
        return np.arange(len(block.ids))
    scaled = query / max(float(np.max(np.abs(query))), 1e-38)
    with np.errstate(all="ignore"):
        rough = block.unit @ (scaled / max(float(np.linalg.norm(scaled)), 1e-38)).astype(np.float32)
    known = np.isfinite(rough)
    if k == 0 or int(known.sum()) <= k:
        return np.arange(len(block.ids))
    last = np.partition(rough[known], -k)[-k]
    return np.flatnonzero(~known | (rough >= last - CLOSE))
