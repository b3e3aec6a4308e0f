"""A moving average of delays that jumps up at once and comes down slowly (Finagle's peak EWMA)."""

import math

DECAY_S = 30.0
"""The time constant: after it, an old measurement weighs 1/e."""


class PeakEwma:
    """Seconds to the first event, as lately seen; without news it fades, so an avoided endpoint is tried again."""

    __slots__ = ("_at", "_value_s")

    def __init__(self) -> None:
        self._value_s: float | None = None
        self._at = 0.0

    def observe(self, now: float, delay_s: float) -> None:
        """Take in one measured delay."""
        known_s = self._value_s
        if known_s is None or delay_s >= known_s:
            self._value_s = delay_s
        else:
            kept = math.exp(min(0.0, self._at - now) / DECAY_S)
            self._value_s = known_s * kept + delay_s * (1.0 - kept)
        self._at = max(now, self._at)

    def read(self, now: float) -> float | None:
        """The average at `now`, None before the first measurement; asking changes nothing."""
        if self._value_s is None or now <= self._at:
            return self._value_s
        return self._value_s * math.exp((self._at - now) / DECAY_S)
