"""What time money believes it is, and the days, weeks and months (UTC) that budgets are for."""

import enum
from collections.abc import Callable
from datetime import UTC, datetime

from octoroute_py.core.clock import Monotonic, Wall

DOUBT_S = 24 * 3600.0
"""A jump of the wall clock by more than this is believed only once it has lasted."""
LASTING_S = 60.0
"""How long a jump has to last to be believed."""
BEHIND_S = 1.0
"""A wall clock that goes back by more than this is an error; less is a clock being set right."""
_DAY_S = 86400
_MONDAY_OFFSET = 3  # 1970-01-01 was a Thursday


class BelievedClock:
    """A wall clock that never goes back, but for one case, so that nobody gets a budget twice by setting a clock.

    A wall clock that is behind holds this one still until it has caught up. One that has jumped by more than 24 hours,
    either way and compared with what the monotonic clock says has passed, is not believed until the jump has lasted 60
    seconds; meanwhile time goes on at the monotonic clock's pace. So a wrong date that somebody has mended again costs
    60 seconds, and only that return takes this clock back.

    `seen_s` is the latest time known from before this process (Unix seconds), that of the journal's last row: a start
    is no way back either. A wall clock ahead of it is believed at once: nobody knows how long the gateway was off.
    `on_error` hears each time that the wall clock begins to be wrong.
    """

    __slots__ = ("_at", "_behind", "_doubted_offset", "_doubted_since", "_monotonic", "_on_error", "_seen_s", "_wall")

    def __init__(
        self,
        wall: Wall,
        monotonic: Monotonic,
        *,
        seen_s: float = 0.0,
        on_error: Callable[[], None] = lambda: None,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._at = monotonic()
        self._seen_s = max(seen_s, wall())
        self._doubted_since: float | None = None
        self._doubted_offset = 0.0
        self._on_error = on_error
        self._behind = False

    def read(self) -> float:
        """Unix seconds, as far as they can be believed."""
        at, now = self._monotonic(), self._wall()
        expected = self._seen_s + (at - self._at)
        if abs(now - expected) <= DOUBT_S:
            self._doubted_since = None
            believed = max(self._seen_s, now)
            behind = now < self._seen_s - BEHIND_S
            if behind and not self._behind:
                self._on_error()
            self._behind = behind
        else:
            believed = now if self._has_lasted(now - at, at) else expected
        self._at, self._seen_s = at, believed
        return believed

    def _has_lasted(self, offset: float, at: float) -> bool:
        """Whether the wall clock has been where it is, so far from the monotonic one, for long enough."""
        if self._doubted_since is None or abs(offset - self._doubted_offset) > DOUBT_S:
            self._doubted_since = at
            self._doubted_offset = offset
            self._on_error()
        if at - self._doubted_since < LASTING_S:
            return False
        self._doubted_since = None
        return True


class Period(enum.StrEnum):
    """What a budget is for."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def day_of(at_s: float) -> int:
    """Days since 1970-01-01."""
    return int(at_s // _DAY_S)


def week_of(at_s: float) -> int:
    """Weeks since that of 1970-01-01; they begin on Monday."""
    return (day_of(at_s) + _MONDAY_OFFSET) // 7


def month_of(at_s: float) -> int:
    """Months since the year 0."""
    date = datetime.fromtimestamp(at_s, UTC)
    return date.year * 12 + date.month - 1


def period_start_s(period: Period, at_s: float) -> float:
    """When the period that holds `at_s` began, in Unix seconds."""
    return _start_s(period, at_s, 0)


def period_end_s(period: Period, at_s: float) -> float:
    """When the period that holds `at_s` ends and the next begins, in Unix seconds."""
    return _start_s(period, at_s, 1)


def _start_s(period: Period, at_s: float, later: int) -> float:
    if period is Period.DAY:
        return float((day_of(at_s) + later) * _DAY_S)
    if period is Period.WEEK:
        return float(((week_of(at_s) + later) * 7 - _MONDAY_OFFSET) * _DAY_S)
    year, month = divmod(month_of(at_s) + later, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC).timestamp()
