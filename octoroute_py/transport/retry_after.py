"""How long an upstream asks to be left alone."""

import math
import re
from collections.abc import Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER_S = 300.0
"""Longer waits are cut to this; one trial after five minutes tells more than the upstream's promise."""

_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,15})?")
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|d|h|m|s)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_RESET = b"x-ratelimit-reset-"
_REMAINING = b"x-ratelimit-remaining-"


def read_retry_after(headers: Iterable[tuple[bytes, bytes]], *, wall: float, jitter: float = 1.0) -> float | None:
    """Seconds to wait, or None when the headers give no usable answer.

    Looked at in this order, the first usable one counts: `retry-after-ms`, `retry-after` (seconds or an HTTP date,
    against `wall`), then the longest `x-ratelimit-reset-<what>` whose `x-ratelimit-remaining-<what>` is zero or
    missing: a limit with something left is not why we were refused. Zero, negative, infinite and unreadable values
    are no answer. At most 300 s, then times `jitter` (the caller draws it from U(1, 1.25)).
    """
    first: dict[bytes, str] = {}
    for name, value in headers:
        if name.startswith((b"retry-after", b"x-ratelimit-")):
            first.setdefault(name, value.decode("latin-1").strip())
    seconds = _positive(_number(first.get(b"retry-after-ms"), unit_s=0.001))
    if seconds is None:
        seconds = _positive(_seconds_or_date(first.get(b"retry-after"), wall=wall))
    if seconds is None:
        seconds = _longest_reset(first)
    return None if seconds is None else min(seconds, MAX_RETRY_AFTER_S) * jitter


def _positive(seconds: float | None) -> float | None:
    return seconds if seconds is not None and math.isfinite(seconds) and seconds > 0 else None


def _number(text: str | None, *, unit_s: float) -> float | None:
    return float(text) * unit_s if text is not None and _NUMBER.fullmatch(text) else None


def _seconds_or_date(text: str | None, *, wall: float) -> float | None:
    if text is None:
        return None
    seconds = _number(text, unit_s=1.0)
    if seconds is not None:
        return seconds
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp() - wall
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _longest_reset(first: dict[bytes, str]) -> float | None:
    longest: float | None = None
    for name, value in first.items():
        if not name.startswith(_RESET):
            continue
        remaining = first.get(_REMAINING + name[len(_RESET) :])
        if remaining is not None and _number(remaining, unit_s=1.0) != 0:
            continue
        seconds = _positive(_duration(value))
        if seconds is not None and (longest is None or seconds > longest):
            longest = seconds
    return longest


def _duration(text: str) -> float | None:
    """`1s`, `6m0s`, `250ms`, or plain seconds; a number too big for a wait is a timestamp and is not read."""
    seconds = _number(text, unit_s=1.0)
    if seconds is not None:
        return seconds if seconds < 1e9 else None
    parts = _PART.findall(text[:64])
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)
