"""How an endpoint did in the last five minutes: its share of good verdicts, and how long its answers took on average.

Verdicts are those that its breaker gets: a cancelled attempt and a rate limit are none. An attempt has one verdict, so
a stream that breaks off after its first event turns from good to bad. What was measured is forgotten with time alone:
an endpoint that is avoided for it is tried again.
"""

from typing import Final

import msgspec
from msgspec.structs import astuple

FEWEST: Final = 10
"""With fewer measurements than this nothing is said."""
BUCKET_S: Final = 30.0
BUCKETS: Final = 10


class _Bucket:
    """What happened in one slice of time."""

    __slots__ = ("answers", "answers_s", "bad", "first_events", "first_events_s", "good", "slot")

    def __init__(self) -> None:
        self.clear(-BUCKETS)

    def clear(self, slot: int) -> None:
        """Begin the slice of that number."""
        self.slot = slot
        self.good = self.bad = self.first_events = self.answers = 0
        self.first_events_s = self.answers_s = 0.0


class Totals(msgspec.Struct, frozen=True):
    """Everything that was measured in five minutes, however little."""

    good: int = 0
    bad: int = 0
    first_events: int = 0
    first_events_s: float = 0.0
    answers: int = 0
    answers_s: float = 0.0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


class Recent:
    """A ring of ten slices of half a minute; time per verdict is constant, and asking changes nothing."""

    __slots__ = ("_ring",)

    def __init__(self) -> None:
        self._ring = [_Bucket() for _ in range(BUCKETS)]

    def good(self, now: float, *, first_event_s: float | None = None, answer_s: float | None = None) -> None:
        """An attempt was answered; how long its first event or its whole answer took, where that was measured."""
        bucket = self._bucket(now)
        bucket.good += 1
        if first_event_s is not None:
            bucket.first_events += 1
            bucket.first_events_s += first_event_s
        if answer_s is not None:
            bucket.answers += 1
            bucket.answers_s += answer_s

    def bad(self, now: float, *, was_good_at: float | None = None) -> None:
        """An attempt failed; `was_good_at` is when it was counted as good, if it was."""
        if was_good_at is not None:
            slot = int(was_good_at / BUCKET_S)
            before = self._ring[slot % BUCKETS]
            if before.slot == slot:
                before.good -= 1
        self._bucket(now).bad += 1

    def success_rate(self, now: float) -> float | None:
        """The share of good verdicts, None while there are too few."""
        good = bad = 0
        for bucket in self._known(now):
            good += bucket.good
            bad += bucket.bad
        return good / (good + bad) if good + bad >= FEWEST else None

    def first_event_s(self, now: float) -> float | None:
        """The mean time to a stream's first event, None while too few were measured."""
        known = self._known(now)
        return _mean(sum(bucket.first_events_s for bucket in known), sum(bucket.first_events for bucket in known))

    def answer_s(self, now: float) -> float | None:
        """The mean time to a whole buffered answer, None while too few were measured."""
        known = self._known(now)
        return _mean(sum(bucket.answers_s for bucket in known), sum(bucket.answers for bucket in known))

    def totals(self, now: float) -> Totals:
        """All of it, for whoever adds up several endpoints."""
        known = self._known(now)
        return Totals(
            sum(bucket.good for bucket in known),
            sum(bucket.bad for bucket in known),
            sum(bucket.first_events for bucket in known),
            sum(bucket.first_events_s for bucket in known),
            sum(bucket.answers for bucket in known),
            sum(bucket.answers_s for bucket in known),
        )

    def _known(self, now: float) -> list[_Bucket]:
        oldest = int(now / BUCKET_S) - BUCKETS + 1
        return [bucket for bucket in self._ring if bucket.slot >= oldest]

    def _bucket(self, now: float) -> _Bucket:
        slot = int(now / BUCKET_S)
        bucket = self._ring[slot % BUCKETS]
        if bucket.slot < slot:
            bucket.clear(slot)
        return bucket


def _mean(total_s: float, count: int) -> float | None:
    return total_s / count if count >= FEWEST else None


def milliseconds(seconds: float | None) -> float | None:
    """A measurement as the API tells it."""
    return None if seconds is None else round(seconds * 1000, 3)
