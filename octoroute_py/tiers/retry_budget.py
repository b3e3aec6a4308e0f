"""How many extra tries a tier may make, so that a failing upstream is not buried under its own retries.

A bucket of ten tries is refilled by a tenth of a try with each request that starts; besides, the extra tries in flight
are bounded by a share of the requests in flight. The first failover of a request is free while the tier is known to
work elsewhere.
"""

MIN_EXTRA_IN_FLIGHT = 3
"""Extra tries that may run at once however few requests there are."""
FREE_WITHIN_S = 10.0
"""A first failover is free this long after a success in the tier, or after the tier came to be."""
_TRY = 10
_REFILL = 1
_CAPACITY = 10 * _TRY
# Tenths of a try, as integers: adding 0.1 as a float would drift.


class ExtraTry:
    """Leave for one extra try; `close` it when the try has ended."""

    __slots__ = ("_budget", "free")

    def __init__(self, budget: "RetryBudget", *, free: bool) -> None:
        self.free = free
        self._budget: RetryBudget | None = None if free else budget

    def close(self) -> None:
        """The try has ended; calling it again does nothing."""
        if self._budget is not None:
            self._budget.extra_in_flight -= 1
            self._budget = None


class RetryBudget:
    """The extra tries of one tier. `in_flight` requests and `extra_in_flight` paid extra tries are counted here."""

    __slots__ = ("_born_at", "_last_success_at", "_tokens", "extra_in_flight", "in_flight", "ratio")

    def __init__(self, *, ratio: float, now: float) -> None:
        self.ratio = ratio
        self.in_flight = 0
        self.extra_in_flight = 0
        self._tokens = _CAPACITY
        self._born_at = now
        self._last_success_at: float | None = None

    @property
    def tries_left(self) -> float:
        """Extra tries the bucket holds, 0 to 10, in tenths."""
        return self._tokens / _TRY

    def start(self) -> None:
        """A request starts in this tier; pair it with `finish`."""
        self.in_flight += 1
        if self._tokens < _CAPACITY:
            self._tokens += _REFILL

    def finish(self) -> None:
        """A request has left this tier."""
        self.in_flight -= 1

    def success(self, now: float) -> None:
        """An endpoint of this tier answered."""
        self._last_success_at = now

    def ask(self, now: float, *, first_failover: bool) -> ExtraTry | None:
        """Leave for an extra try, or None when the tier has spent its budget.

        `first_failover`: the request's first extra try, and it goes to another endpoint whose breaker is closed.
        """
        if first_failover and self._works(now):
            return ExtraTry(self, free=True)
        if self._tokens < _TRY or self.extra_in_flight + 1 > max(MIN_EXTRA_IN_FLIGHT, self.ratio * self.in_flight):
            return None
        self._tokens -= _TRY
        self.extra_in_flight += 1
        return ExtraTry(self, free=False)

    def _works(self, now: float) -> bool:
        last = self._born_at if self._last_success_at is None else self._last_success_at
        return now - last <= FREE_WITHIN_S
