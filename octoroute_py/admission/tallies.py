"""What one id has spent and reserved, by day, week and month."""

from typing import TypeAlias

from octoroute_py.admission.periods import day_of, month_of, week_of

LEVELS = (80, 100)
"""Percents of a budget at which its owner is told."""
_KEPT = 128

Codes: TypeAlias = tuple[int, int, int]
"""A number for the day, the week and the month of a moment, no two alike."""


def codes_at(at_s: float) -> Codes:
    """The codes of a moment in Unix seconds."""
    return day_of(at_s) * 3, week_of(at_s) * 3 + 1, month_of(at_s) * 3 + 2


class Tally:
    """The micro-USD of one id in one period."""

    __slots__ = ("_told_level", "_told_limit", "reserved", "spent")

    def __init__(self) -> None:
        self.spent = 0
        self.reserved = 0
        self._told_limit: int | None = None
        self._told_level = 0

    def told(self, limit: int, level: int) -> None:
        """Its owner knows that this level of this limit is reached."""
        if self._told_limit != limit:
            self._told_limit = limit
            self._told_level = 0
        self._told_level = max(self._told_level, level)

    def to_tell(self, limit: int) -> list[int]:
        """The levels that are reached and were not told; another limit begins anew."""
        hundredfold = self.spent * 100
        if hundredfold < limit * LEVELS[0] or self.spent == 0:
            return []
        told = self._told_level if self._told_limit == limit else 0
        return [level for level in LEVELS if told < level and hundredfold >= limit * level]


Tallies: TypeAlias = tuple[Tally, Tally, Tally]
"""Of the day, the week and the month of one moment."""


class Account:
    """All tallies of one id. `holds` are reservations under way, `budgeted` says that some budget was seen."""

    __slots__ = ("_day_code", "_tallies", "_today", "budgeted", "holds")

    def __init__(self) -> None:
        self.budgeted = False
        self.holds = 0
        self._day_code = -1
        self._today: Tallies = (Tally(), Tally(), Tally())
        self._tallies: dict[int, Tally] = {}

    def at(self, codes: Codes) -> Tallies:
        """The tallies of these periods, made where there are none; those not used for longest are dropped."""
        if self._day_code == codes[0]:
            return self._today
        day, week, month = (self._tallies.pop(code) if code in self._tallies else Tally() for code in codes)
        self._tallies.update(zip(codes, (day, week, month), strict=True))
        while len(self._tallies) > _KEPT:
            del self._tallies[next(iter(self._tallies))]
        self._day_code, self._today = codes[0], (day, week, month)
        return self._today

    @property
    def last_day(self) -> int:
        """The day whose tallies were asked for last."""
        return self._day_code // 3

    def look(self, codes: Codes) -> tuple[Tally | None, ...]:
        """The tallies of these periods where there are any; looking makes none."""
        return tuple(self._tallies.get(code) for code in codes)
