"""Time as an argument: policies take `now` and never look at a clock themselves."""

import time
from collections.abc import Callable
from typing import TypeAlias

Monotonic: TypeAlias = Callable[[], float]
"""Seconds that never run backwards; every timer, breaker and deadline uses these."""

Wall: TypeAlias = Callable[[], float]
"""Seconds since the Unix epoch; only for timestamps people read, period keys and expiry dates."""

monotonic: Monotonic = time.monotonic
wall: Wall = time.time


def iso(at_ms: int) -> str:
    """Unix milliseconds as ISO 8601 in UTC, such as `2026-01-31T08:15:00.042Z`."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at_ms // 1000))}.{at_ms % 1000:03}Z"
