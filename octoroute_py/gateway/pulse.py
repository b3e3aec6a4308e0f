"""The last five minutes, second by second: what the page draws, counted as requests end.

Nobody has to watch for it to count: that is a few additions a request, and what is kept is bounded by its window. A
second is that in which a request ended. Figures mean what they mean in the journal: a failed request is one with an
error code whose client stayed, and durations are of requests that were tried somewhere.
"""

from collections import deque
from typing import Final

import msgspec

from octoroute_py.core.clock import Wall
from octoroute_py.core.ending import CLIENT_GONE
from octoroute_py.core.words import TIERS, Tier
from octoroute_py.ledger.outcome import Outcome
from octoroute_py.telemetry.samples import nearest_rank

WINDOW_S: Final = 300
"""How many full seconds are remembered."""
RATE_S: Final = 10
"""Rates are means over so many full seconds."""
KEPT: Final = 50
"""How many of the newest requests are kept."""
MOST_DURATIONS: Final = 1000
"""Percentiles of a second with more requests are those of its last thousand."""

_SLOTS: Final = WINDOW_S + 4
"""The window, the second that runs, and some that a late reader may still ask for."""
_FLOW_SLOTS: Final = RATE_S + 2
_AT: Final = {tier: at for at, tier in enumerate(TIERS)}


class Second(msgspec.Struct, frozen=True):
    """One second, by when it began (Unix). `tiers` counts requests in the order of TIERS; None: none was timed."""

    at: int
    requests: int = 0
    failed: int = 0
    tiers: tuple[int, ...] = (0,) * len(TIERS)
    p50_s: float | None = None
    p95_s: float | None = None
    cost_uusd: int = 0
    saved_uusd: int = 0


class _Slot:
    """A second while it is counted, and afterwards."""

    __slots__ = ("at", "cost_uusd", "failed", "p50_s", "p95_s", "requests", "saved_uusd", "tiers")

    def __init__(self) -> None:
        self.begin(-1)

    def begin(self, at: int) -> None:
        """Start counting another second."""
        self.at = at
        self.requests = self.failed = self.cost_uusd = self.saved_uusd = 0
        self.tiers = [0] * len(TIERS)
        self.p50_s: float | None = None
        self.p95_s: float | None = None

    def told(self) -> Second:
        """As a value."""
        return Second(
            self.at,
            self.requests,
            self.failed,
            tuple(self.tiers),
            self.p50_s,
            self.p95_s,
            self.cost_uusd,
            self.saved_uusd,
        )


class Pulse:
    """Hears of every outcome (`saw`), on the event loop; `wall` is a clock that does not go back."""

    __slots__ = ("_durations", "_flow", "_flows", "_newest", "_now", "_ring", "_wall", "failed", "requests")

    def __init__(self, wall: Wall) -> None:
        self._wall = wall
        self._ring = [_Slot() for _ in range(_SLOTS)]
        self._now = self._ring[0]
        self._durations: list[float] = []
        self._flow: dict[str, int] = {}
        self._flows = [(-1, self._flow) for _ in range(_FLOW_SLOTS)]
        self._newest: deque[Outcome] = deque(maxlen=KEPT)
        self.requests = 0
        """Requests since the start."""
        self.failed = 0
        """How many of them failed."""

    def saw(self, outcome: Outcome) -> None:
        """A request has ended."""
        second = self._second()
        self._newest.append(outcome)
        self.requests += 1
        second.requests += 1
        if outcome.error_code is not None and outcome.status != CLIENT_GONE:
            self.failed += 1
            second.failed += 1
        if outcome.tier is not None:
            second.tiers[_AT[outcome.tier]] += 1
        second.cost_uusd += outcome.cost_uusd
        second.saved_uusd += outcome.baseline_uusd - outcome.cost_uusd
        if outcome.endpoint_id is not None and outcome.status != CLIENT_GONE:
            if len(self._durations) < MOST_DURATIONS:
                self._durations.append(outcome.duration_s)
            else:
                self._durations[second.requests % MOST_DURATIONS] = outcome.duration_s
        flow = self._flow
        for attempt in outcome.attempts:
            flow[attempt.endpoint_id] = flow.get(attempt.endpoint_id, 0) + 1

    @property
    def now_s(self) -> float:
        """Its clock: Unix seconds."""
        return self._wall()

    def newest(self, since: int = 0) -> list[Outcome]:
        """Those that ended after the first `since` requests, oldest first, as far as they are kept."""
        wanted = min(self.requests - since, len(self._newest))
        return [] if wanted <= 0 else list(self._newest)[-wanted:]

    def last(self) -> Second:
        """The last full second."""
        return self._of(self._second().at - 1)

    def window(self) -> list[Second]:
        """Every full second of the window, oldest first, those without requests among them."""
        now = self._second().at
        return [self._of(at) for at in range(now - WINDOW_S, now)]

    def per_second(self) -> float:
        """Requests a second lately."""
        now = self._second().at
        return sum(self._of(at).requests for at in range(now - RATE_S, now)) / RATE_S

    def tiers_per_second(self) -> dict[Tier, float]:
        """Requests a second lately, by the tier that answered, or was tried last."""
        now = self._second().at
        lately = [self._of(at).tiers for at in range(now - RATE_S, now)]
        return {tier: sum(counts[at] for counts in lately) / RATE_S for tier, at in _AT.items()}

    def endpoints_per_second(self) -> dict[str, float]:
        """Attempts a second lately, by endpoint; one that had none is not there."""
        now = self._second().at
        found: dict[str, int] = {}
        for at, flow in self._flows:
            if now - RATE_S <= at < now:
                for endpoint_id, count in flow.items():
                    found[endpoint_id] = found.get(endpoint_id, 0) + count
        return {endpoint_id: count / RATE_S for endpoint_id, count in found.items()}

    def _of(self, at: int) -> Second:
        slot = self._ring[at % _SLOTS]
        return slot.told() if slot.at == at else Second(at)

    def _second(self) -> _Slot:
        """The second that runs; the one before is closed when another has begun."""
        at = int(self._wall())
        if at != self._now.at:
            before, durations = self._now, sorted(self._durations)
            if durations:
                before.p50_s, before.p95_s = nearest_rank(durations, 0.5), nearest_rank(durations, 0.95)
                self._durations = []
            self._now = self._ring[at % _SLOTS]
            if self._now.at != at:
                self._now.begin(at)
            known_at, flow = self._flows[at % _FLOW_SLOTS]
            self._flow = flow if known_at == at else {}
            self._flows[at % _FLOW_SLOTS] = at, self._flow
        return self._now
