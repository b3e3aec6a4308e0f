"""The circuit breaker of one endpoint, as a pure state machine.

    closed ──failures in a row, or too large a share of recent verdicts──► open
    open ──time alone──► half_open (one trial at a time)
    half_open ──enough trials succeed──► closed          half_open ──a trial fails──► open, for longer

Every attempt remembers the `epoch` it began in. An opening starts a new epoch, so late verdicts, of attempts begun
before it, change nothing: they neither keep the breaker open nor close it.
"""

import math
import random

from octoroute_py.config.schema import BreakerConfig
from octoroute_py.core.words import BreakerState

HEALTH_STEP_S = 60.0
"""After each such time of staying closed the next opening is one doubling shorter."""
TRIAL_WAIT_S = 1.0
"""What `retry_at` promises while a trial is under way: its end is not known."""
_BUCKETS = 10


class VerdictWindow:
    """Verdicts of the last `seconds`, counted in a ring of ten buckets; memory and time per verdict are constant."""

    __slots__ = ("_bad", "_good", "_slot", "_width_s", "failures", "total")

    def __init__(self, seconds: float) -> None:
        self._width_s = seconds / _BUCKETS
        self.clear()

    def clear(self) -> None:
        """Forget every verdict."""
        self._good = [0] * _BUCKETS
        self._bad = [0] * _BUCKETS
        self._slot = 0
        self.total = 0
        self.failures = 0

    def add_success(self, now: float) -> None:
        """Count a good verdict."""
        slot = int(now / self._width_s)
        if slot > self._slot:
            self._advance(slot)
        self._good[self._slot % _BUCKETS] += 1
        self.total += 1

    def add_failure(self, now: float) -> None:
        """Count a bad verdict; `total` and `failures` are exact right after it."""
        slot = int(now / self._width_s)
        if slot > self._slot:
            self._advance(slot)
        self._bad[self._slot % _BUCKETS] += 1
        self.total += 1
        self.failures += 1

    def seen(self, now: float) -> tuple[int, int]:
        """Bad and good verdicts that are still in the window at `now`; asking changes nothing."""
        oldest = max(int(now / self._width_s), self._slot) - _BUCKETS + 1
        kept = [slot % _BUCKETS for slot in range(max(oldest, self._slot - _BUCKETS + 1), self._slot + 1)]
        return sum(self._bad[index] for index in kept), sum(self._good[index] for index in kept)

    def _advance(self, slot: int) -> None:
        for passed in range(min(slot - self._slot, _BUCKETS)):
            index = (slot - passed) % _BUCKETS
            self.total -= self._good[index] + self._bad[index]
            self.failures -= self._bad[index]
            self._good[index] = self._bad[index] = 0
        self._slot = slot


class Breaker:
    """Decides from verdicts whether an endpoint may be called.

    `trips` counts every opening, also those of a failed trial, `failures` every failure that mattered. `recovered_at`
    is the time it last closed after having been open (None: never opened, open now, or reset by hand), `opened_at` when
    it last left being closed (None: it is closed now), however often it opened again since. A disabled policy is always
    closed.
    """

    __slots__ = (
        "_level",
        "_max_level",
        "_open_until",
        "_rng",
        "_trial_in_flight",
        "_trial_successes",
        "_window",
        "consecutive_failures",
        "epoch",
        "failures",
        "opened_at",
        "policy",
        "recovered_at",
        "trips",
    )

    def __init__(self, policy: BreakerConfig, *, rng: random.Random) -> None:
        self.policy = policy
        self.epoch = 0
        self.trips = 0
        self.failures = 0
        self.consecutive_failures = 0
        self.recovered_at: float | None = None
        self.opened_at: float | None = None
        self._rng = rng
        self._window = VerdictWindow(policy.window_seconds)
        self._max_level = _levels(policy)
        self._level = 0
        self._open_until: float | None = None
        self._trial_in_flight = False
        self._trial_successes = 0

    def state(self, now: float) -> BreakerState:
        """The state at `now`; asking changes nothing."""
        if self._open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._open_until else BreakerState.HALF_OPEN

    @property
    def trials_under_way(self) -> int:
        """Half-open trials that wait for their verdict: 0 or 1."""
        return int(self._trial_in_flight)

    def verdicts(self, now: float) -> tuple[int, int]:
        """Failures and successes of the last `window_seconds` that it goes by; asking changes nothing."""
        return self._window.seen(now)

    def admits(self, now: float) -> bool:
        """Whether an attempt may begin: closed, or half open with no trial under way."""
        open_until = self._open_until
        return open_until is None or (now >= open_until and not self._trial_in_flight)

    def begin(self, now: float) -> bool:
        """An admitted attempt begins; True when it is the half-open trial, whose slot it then occupies."""
        if self._open_until is None or now < self._open_until or self._trial_in_flight:
            return False
        self._trial_in_flight = True
        return True

    def success(self, now: float, *, trial: bool, epoch: int) -> None:
        """An attempt begun in `epoch` was answered; a trial gives its slot back."""
        if epoch != self.epoch:
            return
        if self._open_until is None:
            self.consecutive_failures = 0
            self._window.add_success(now)
        elif trial:
            self._trial_in_flight = False
            self._trial_successes += 1
            self.consecutive_failures = 0
            if self._trial_successes >= self.policy.half_open_successes:
                self._close(now)

    def failure(self, now: float, *, epoch: int) -> None:
        """An attempt begun in `epoch` failed, or broke off after its success; half open, it opens again.

        The share of failures is looked at here only: a success never opens a breaker.
        """
        if epoch != self.epoch or not self.policy.enabled:
            return
        self.failures += 1
        if self._open_until is None:
            self.consecutive_failures += 1
            self._window.add_failure(now)
            if self._too_many():
                self._level = self._healed_level(now)
                self._open(now)
        elif now >= self._open_until:
            self.consecutive_failures += 1
            self._open(now)

    def abandon(self, *, trial: bool, epoch: int) -> None:
        """An attempt ended with no verdict (the client left): a trial only gives its slot back."""
        if trial and epoch == self.epoch:
            self._trial_in_flight = False

    def retry_at(self, now: float) -> float:
        """The next time an attempt may be admitted; `now` when it already is."""
        if self._open_until is None:
            return now
        if now < self._open_until:
            return self._open_until
        return now + TRIAL_WAIT_S if self._trial_in_flight else now

    def reset(self) -> None:
        """Close at once and forget all failures, as an operator asks; attempts under way no longer count."""
        self._close(None)
        self.epoch += 1
        self._level = 0
        self.consecutive_failures = 0

    def follow(self, policy: BreakerConfig) -> None:
        """Go on under another policy (a reload); what was learnt stays, unless the breaker is switched off."""
        if policy == self.policy:
            return
        if policy.window_seconds != self.policy.window_seconds:
            self._window = VerdictWindow(policy.window_seconds)
        self.policy = policy
        self._max_level = _levels(policy)
        self._level = min(self._level, self._max_level)
        if not policy.enabled:
            self.reset()

    def _too_many(self) -> bool:
        policy, window = self.policy, self._window
        return self.consecutive_failures >= policy.failure_threshold or (
            window.total >= policy.min_requests and window.failures >= policy.failure_ratio * window.total
        )

    def _healed_level(self, now: float) -> int:
        if self.recovered_at is None:
            return self._level
        return max(0, self._level - int((now - self.recovered_at) / HEALTH_STEP_S))

    def _open(self, now: float) -> None:
        policy = self.policy
        longest_s = min(policy.open_seconds * 2.0**self._level, policy.max_open_seconds)
        if self.opened_at is None:
            self.opened_at = now
        self._open_until = now + longest_s / 2 + self._rng.random() * longest_s / 2
        self._level = min(self._level + 1, self._max_level)
        self._trial_in_flight = False
        self._trial_successes = 0
        self.recovered_at = None
        self.epoch += 1
        self.trips += 1

    def _close(self, now: float | None) -> None:
        self._open_until = None
        self.opened_at = None
        self._trial_in_flight = False
        self._trial_successes = 0
        self.recovered_at = now
        self._window.clear()


def _levels(policy: BreakerConfig) -> int:
    """How many doublings reach the longest open time; more would only make recovery of the level slower."""
    if policy.open_seconds <= 0 or policy.max_open_seconds <= policy.open_seconds:
        return 0
    return math.ceil(math.log2(policy.max_open_seconds / policy.open_seconds))
