"""The router's own circuit breaker, as a pure state machine.

    closed ──failures in a row──► open ──60 s──► half_open (one trial at a time)
    half_open ──three trials succeed──► closed          half_open ──a trial fails──► open

Asking for the state changes nothing. A trial that never ends gives its place up after another 60 s.
"""

from octoroute_py.core.words import BreakerState

OPEN_S = 60.0
TRIALS_TO_CLOSE = 3


class Breaker:
    """Decides from successes and failures whether the network may be asked; `trips` counts its openings."""

    __slots__ = ("_failures", "_open_until", "_successes", "_threshold", "_trial_until", "trips")

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._failures = 0
        self._successes = 0
        self._open_until: float | None = None
        self._trial_until: float | None = None
        self.trips = 0

    def state(self, now: float) -> BreakerState:
        """The state at `now`, monotonic seconds."""
        if self._open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._open_until else BreakerState.HALF_OPEN

    def wait_s(self, now: float) -> float:
        """How long until the network may be asked again; 0 when it may be now."""
        if self._open_until is None:
            return 0.0
        return max(0.0, self._open_until - now, (self._trial_until or now) - now)

    def begin(self, now: float) -> bool:
        """Whether the network may be asked now; when half open, this takes the one trial's place."""
        if self.wait_s(now) > 0.0:
            return False
        if self._open_until is not None:
            self._trial_until = now + OPEN_S
        return True

    def success(self) -> None:
        """What was begun went well."""
        self._failures = 0
        if self._open_until is None:
            return
        self._trial_until = None
        self._successes += 1
        if self._successes >= TRIALS_TO_CLOSE:
            self._open_until = None

    def failure(self, now: float) -> None:
        """What was begun failed."""
        self._failures += 1
        if self._open_until is not None or self._failures >= self._threshold:
            self._open_until = now + OPEN_S
            self._trial_until = None
            self._successes = 0
            self.trips += 1
