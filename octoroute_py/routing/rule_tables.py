"""Tables from a fact to the rules that it suits, as the bits of an integer: bit `i` is the rule at place `i`.

A value that suits one rule alone shares that rule's integer: a thousand rules with a thousand words each take little
more room than their words do.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from operator import xor
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from octoroute_py.config.schema import TimeOfDayRange
from octoroute_py.routing.daytime import DAY_MINUTES, local_minute
from octoroute_py.routing.shapes import During, Has, Lacks, Place, Values, Within

_ValueT = TypeVar("_ValueT", str, str | bool)

MOST_CUTS: Final = 4_096
"""Into so many stretches the numbers are cut at most."""


def union(masks: Iterable[int]) -> int:
    """The bits that any of them has."""
    found = 0
    for mask in masks:
        found |= mask
    return found


class WordTable:
    """From a word to the rules that take it."""

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, wanted: Iterable[tuple[int, Values]]) -> None:
        exact: dict[str | bool, list[int]] = defaultdict(list)
        prefixes: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for bit, values in wanted:
            for value in values.any_of:
                exact[value].append(bit)
            for prefix in values.prefixes:
                prefixes[len(prefix)][prefix].append(bit)
        shared: dict[int, int] = {}
        self._exact = _merged(exact, shared)
        self._prefixes = tuple((length, _merged(table, shared)) for length, table in prefixes.items())

    def of(self, value: str | bool) -> int:
        """The rules that take this word."""
        found = self._exact.get(value, 0)
        if self._prefixes and isinstance(value, str):
            for length, table in self._prefixes:
                found |= table.get(value[:length], 0)
        return found


def _merged(table: Mapping[_ValueT, list[int]], shared: dict[int, int]) -> dict[_ValueT, int]:
    """The bits of each value as one mask; masks that are equal are one object."""
    masks = {value: bits[0] if len(bits) == 1 else union(bits) for value, bits in table.items()}
    return {value: shared.setdefault(mask, mask) for value, mask in masks.items()}


class SizeTable:
    """From a number to the rules in whose bounds it lies.

    With very many different bounds it is `coarse`: it also gives rules whose bounds are only near.
    """

    __slots__ = ("_cuts", "_masks", "coarse")

    def __init__(self, wanted: Sequence[tuple[int, Within]], *, most_cuts: int = MOST_CUTS) -> None:
        lows = {within.low for _, within in wanted if within.low is not None}
        cuts = sorted(lows | {within.high + 1 for _, within in wanted if within.high is not None})
        step = -(-len(cuts) // most_cuts)
        self.coarse = step > 1
        self._cuts = cuts[::step] if self.coarse else cuts
        # A rule's bit is turned at the stretch where it begins, and turned back behind the one where it ends.
        turns = [0] * (len(self._cuts) + 2)
        for bit, within in wanted:
            low, high = within.low, within.high
            if low is None or high is None or low <= high:
                turns[0 if low is None else bisect_right(self._cuts, low)] ^= bit
                turns[-1 if high is None else bisect_right(self._cuts, high) + 1] ^= bit
        self._masks: tuple[int, ...] = tuple(accumulate(turns[:-1], xor))

    def of(self, number: int) -> int:
        """The rules that take this number."""
        return self._masks[bisect_right(self._cuts, number)]


class TimeTable:
    """From a moment to the rules whose time of day it is, each in its time zone."""

    __slots__ = ("_zones",)

    def __init__(self, wanted: Iterable[tuple[int, During]]) -> None:
        by_zone: dict[ZoneInfo, list[tuple[int, int, int]]] = defaultdict(list)
        for bit, during in wanted:
            if during.zone is not None:
                by_zone[during.zone] += ((bit, low, high) for low, high in _stretches(during.hours))
        self._zones = tuple((zone, _DayTable(stretches)) for zone, stretches in by_zone.items())

    def of(self, now: float) -> int:
        """The rules that take this Unix time. Costs a microsecond for every zone: ask once a minute."""
        return union(table.of(local_minute(now, zone)) for zone, table in self._zones)


class _DayTable:
    """From a minute of the day to the rules that hold then."""

    __slots__ = ("_cuts", "_masks")

    def __init__(self, stretches: Sequence[tuple[int, int, int]]) -> None:
        self._cuts = sorted({0, *(low for _, low, _ in stretches), *(high for _, _, high in stretches)})
        self._masks = [0] * len(self._cuts)
        for bit, low, high in stretches:
            for at in range(bisect_right(self._cuts, low) - 1, bisect_right(self._cuts, high - 1)):
                self._masks[at] |= bit

    def of(self, minute: int) -> int:
        """The rules that take this minute."""
        return self._masks[bisect_right(self._cuts, minute) - 1]


def _stretches(hours: tuple[TimeOfDayRange, ...]) -> Iterable[tuple[int, int]]:
    """The ranges as minutes from and up to, none of them over midnight."""
    for each in hours:
        start, end = each.start_minute, each.end_minute
        if start < end:
            yield start, end
        else:
            yield start, DAY_MINUTES
            yield 0, end


class MemberTable:
    """From headers, or from members of the metadata, to the rules that want them so.

    A rule may want several: each stands in a slot of its own, and a rule holds when all its slots do.
    """

    __slots__ = ("_known",)

    def __init__(self, place: Place, has: Iterable[tuple[int, int, Has]], lacks: Iterable[tuple[int, Lacks]]) -> None:
        wanted: dict[str, dict[int, list[tuple[int, Values]]]] = defaultdict(lambda: defaultdict(list))
        unwanted: dict[str, list[tuple[int, Values]]] = defaultdict(list)
        for bit, slot, one in has:
            if one.place is place:
                wanted[one.name][slot].append((bit, one.values))
        for bit, other in lacks:
            if other.place is place:
                unwanted[other.name].append((bit, other.values))
        self._known = {
            name: (
                tuple((slot, WordTable(each)) for slot, each in wanted.get(name, {}).items()),
                WordTable(unwanted[name]) if name in unwanted else None,
            )
            for name in wanted.keys() | unwanted.keys()
        }

    def __len__(self) -> int:
        return len(self._known)

    def look(self, members: Mapping[str, str], slots: list[int]) -> int:
        """Adds to each of the slots the rules that find there what they want; the rules that find what they do not."""
        denied = 0
        for name in self._known.keys() & members.keys():
            value = members[name]
            wanted, unwanted = self._known[name]
            for slot, table in wanted:
                slots[slot] |= table.of(value)
            if unwanted is not None:
                denied |= unwanted.of(value)
        return denied
