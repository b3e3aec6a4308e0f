"""Distributions of durations: buckets for Prometheus, and a window for exact percentiles."""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence

import msgspec

_INFINITY = math.inf


class Histogram:
    """Counts by upper bound, bounds inclusive; one writer, any reader."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> bool:
        """Count a value; False, and not counted, if it is negative, infinite or no number."""
        if not 0.0 <= value < _INFINITY:
            return False
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value
        return True

    @property
    def touched(self) -> bool:
        """Whether any value was counted."""
        return any(self._counts)

    def cumulative(self) -> tuple[list[tuple[str, float]], float]:
        """Prometheus's view: (upper bound, values up to it) pairs ending with +Inf, and the sum."""
        total = 0
        rows: list[tuple[str, float]] = []
        for bound, count in zip((*self._bounds, math.inf), list(self._counts), strict=True):
            total += count
            rows.append(("+Inf" if bound == math.inf else f"{bound:.12g}", total))
        return rows, self._sum


class Percentiles(msgspec.Struct, frozen=True):
    """Exact percentiles in seconds over the last `count` requests."""

    count: int
    p50_s: float
    p95_s: float
    p99_s: float


class Window:
    """The last `size` values."""

    __slots__ = ("_values", "add")

    def __init__(self, size: int) -> None:
        self._values: deque[float] = deque(maxlen=size)
        self.add = self._values.append
        """Take in a value in place of the oldest one."""

    def mean(self) -> float:
        """The mean of the values it holds, not a number while there are none."""
        values = self._values.copy()
        return math.fsum(values) / len(values) if values else math.nan

    def percentiles(self) -> Percentiles | None:
        """Nearest-rank percentiles of the values it holds, None while there are none."""
        ordered = sorted(self._values.copy())
        if not ordered:
            return None
        return Percentiles(len(ordered), *(nearest_rank(ordered, share) for share in (0.5, 0.95, 0.99)))


def nearest_rank(ordered: Sequence[float], share: float) -> float:
    """The value that this share of some values in order, of which there is one at least, do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
