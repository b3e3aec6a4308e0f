"""Times of day in a time zone."""

from datetime import datetime
from zoneinfo import ZoneInfo

from octoroute_py.config.schema import TimeOfDayRange

MINUTE_S = 60
DAY_MINUTES = 24 * 60


def find_zone(name: str) -> ZoneInfo | None:
    """The time zone of an IANA name, None when there is none."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return None


def local_minute(now: float, zone: ZoneInfo) -> int:
    """The minute of the day (0 to 1439) there, at Unix time `now`; one for every minute of the world's clock."""
    local = datetime.fromtimestamp(now // MINUTE_S * MINUTE_S, zone)
    return local.hour * 60 + local.minute


def in_range(minute: int, hours: TimeOfDayRange) -> bool:
    """Whether a minute of the day lies in the range; equal ends mean the whole day."""
    start, end = hours.start_minute, hours.end_minute
    return start <= minute < end if start < end else minute >= start or minute < end


def minutes(clock: str) -> int:
    """Minutes since midnight of "HH:MM"."""
    return int(clock[:2]) * 60 + int(clock[3:])


def clock(minute: int) -> str:
    """ "HH:MM" of minutes since midnight."""
    return f"{minute // 60:02}:{minute % 60:02}"
