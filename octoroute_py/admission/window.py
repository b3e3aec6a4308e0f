"""A sliding window: never more than the limit in any stretch of its width, whatever the minute on the wall.

Entries that come close together share a bucket. A bucket is shorter than a 600th of the window and counts until the
last of its entries has left, so an entry may count that much longer than it should, never shorter: at most 1/600 less
is admitted than the limit allows, and there are never more than 602 buckets, however many entries.
"""

import math
from bisect import bisect_right
from operator import attrgetter

_BUCKETS = 600
_SLACK = 64
"""Buckets that have left are cut off the list once they are this many and half of it."""


class _Bucket:
    """Entries from `first` to `last` (monotonic seconds), `count` in all."""

    __slots__ = ("count", "first", "last")

    def __init__(self, at: float, count: int) -> None:
        self.first = at
        self.last = at
        self.count = count


_first = attrgetter("first")


class Window:
    """What was used lately of `limit` in any `width_s` seconds; a window holds an entry at its start, not at its end.

    `now` is monotonic seconds and never goes back. `limit` and `width_s` may be changed at any time; what is in the
    window stays in it.
    """

    __slots__ = ("_buckets", "_head", "_used", "limit", "width_s")

    def __init__(self, *, limit: int, width_s: float) -> None:
        self.limit = limit
        self.width_s = width_s
        self._buckets: list[_Bucket] = []
        self._head = 0
        self._used = 0

    def __len__(self) -> int:
        """Buckets in memory."""
        return len(self._buckets)

    def take(self, n: int, now: float) -> float | None:
        """Put `n` into the window if it fits: None; else the seconds until it would, if nothing else came."""
        wait_s = self.wait(n, now)
        if wait_s > 0.0:
            return wait_s
        self.add(n, now)
        return None

    def wait(self, n: int, now: float) -> float:
        """Seconds until `n` would fit: 0 when it does, infinity when it is more than the whole limit."""
        if self._used + n <= self.limit or self.used(now) + n <= self.limit:
            return 0.0
        if n > self.limit:
            return math.inf
        surplus = self._used + n - self.limit
        for position in range(self._head, len(self._buckets)):
            bucket = self._buckets[position]
            surplus -= bucket.count
            if surplus <= 0:
                return bucket.last + self.width_s - now
        return self.reset_in(now)

    def add(self, n: int, now: float) -> None:
        """Put `n` into the window without asking whether it fits."""
        buckets = self._buckets
        self._used += n
        if buckets:
            newest = buckets[-1]
            if now - newest.first < self.width_s / _BUCKETS:
                newest.count += n
                newest.last = now
                return
        self.used(now)  # drops what has left, so that memory stays bounded when nobody is ever refused
        buckets.append(_Bucket(now, n))

    def adjust(self, at: float, delta: int, now: float) -> None:
        """Correct an entry that was made at `at` by `delta`; nothing happens if it has left the window.

        A correction upwards may bring the window above its limit: nothing more fits until enough has left.
        """
        self.used(now)
        position = bisect_right(self._buckets, at, lo=self._head, key=_first) - 1
        if position < self._head:
            return
        self._buckets[position].count += delta
        self._used += delta

    def used(self, now: float) -> int:
        """How much the window holds now."""
        buckets, head = self._buckets, self._head
        if head == len(buckets) or now - buckets[head].last < self.width_s:
            return self._used
        while head < len(buckets) and now - buckets[head].last >= self.width_s:
            self._used -= buckets[head].count
            head += 1
        if head == len(buckets) or (head >= _SLACK and head * 2 >= len(buckets)):
            del buckets[:head]
            head = 0
        self._head = head
        return self._used

    def reset_in(self, now: float) -> float:
        """Seconds until the whole limit is free again, if nothing else came."""
        if self.used(now) == 0:
            return 0.0
        newest = len(self._buckets) - 1
        while self._buckets[newest].count == 0:  # emptied by corrections
            newest -= 1
        return self._buckets[newest].last + self.width_s - now
