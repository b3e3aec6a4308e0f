"""The changing part of an endpoint: what outlasts a reload, and the reasons why it may not be tried."""

import enum
import math
import random

from octoroute_py.config.schema import BreakerConfig
from octoroute_py.tiers.breaker import Breaker
from octoroute_py.tiers.latency import PeakEwma
from octoroute_py.tiers.recent import Recent


class Unavailability(enum.StrEnum):
    """Why an endpoint may not be tried now. All but FULL mean that it is out; DRAINED is by an operator's will."""

    DRAINED = "drained"
    BREAKER = "breaker"
    COOLDOWN = "cooldown"
    QUOTA = "quota_exhausted"
    AUTH = "auth_failed"
    PROBE = "probe_failed"
    FULL = "full"


class Penalty:
    """A time out that doubles while the same trouble goes on, from `first_s` to `most_s`."""

    __slots__ = ("_first_s", "_most_s", "_steps", "until")

    def __init__(self, *, first_s: float, most_s: float) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._steps = 0
        self.until = -math.inf

    def impose(self, now: float) -> None:
        """Start the next time out; while one runs nothing happens, since calls under way only tell the same again."""
        if now < self.until:
            return
        length_s = min(self._first_s * 2.0**self._steps, self._most_s)
        self.until = now + length_s
        if length_s < self._most_s:
            self._steps += 1

    def extend(self, until: float) -> None:
        """Stay out at least until then."""
        self.until = max(self.until, until)

    def forgive(self) -> None:
        """The next time out is the shortest again."""
        self._steps = 0


class Live:
    """What is known of an endpoint beyond its configuration; changed by its endpoint, its holds and the prober.

    Times are monotonic seconds, None for "never". `held_until` is the end of the last running penalty, infinity while
    it is drained, so that looking for the one finds the other; `penalised` says that some penalty was imposed since the
    last forgiveness; `auth_trusted` that a call was answered with this credential since it was last refused.
    """

    __slots__ = (
        "auth",
        "auth_trusted",
        "breaker",
        "cooldown",
        "drained",
        "held_until",
        "in_flight",
        "last_check",
        "last_success",
        "latency",
        "next_probe_at",
        "penalised",
        "probe_down",
        "probe_failures",
        "quota",
        "recent",
    )

    def __init__(self, policy: BreakerConfig, *, rng: random.Random) -> None:
        self.breaker = Breaker(policy, rng=rng)
        self.latency = PeakEwma()
        self.recent = Recent()
        self.in_flight = 0
        self.last_success: float | None = None
        self.cooldown = Penalty(first_s=1.0, most_s=60.0)
        self.quota = Penalty(first_s=60.0, most_s=300.0)
        self.auth = Penalty(first_s=60.0, most_s=300.0)
        self.auth_trusted = False
        self.penalised = False
        self.drained = False
        self.held_until = -math.inf
        self.probe_failures = 0
        self.probe_down = False
        self.last_check: float | None = None
        self.next_probe_at: float | None = None

    def hold_back(self) -> None:
        """Take a changed penalty into account."""
        self.penalised = True
        self._hold()

    def drain(self, drained: bool) -> None:
        """Take no new attempts, or take them again."""
        self.drained = drained
        self._hold()

    def reset(self) -> None:
        """Forget whatever keeps it out but an operator's will: breaker, penalties, failed probes."""
        self.breaker.reset()
        self.forgive()
        for penalty in (self.cooldown, self.quota, self.auth):
            penalty.until = -math.inf
        self._hold()
        self.auth_trusted = False
        self.probe_failures = 0
        self.probe_down = False

    def _hold(self) -> None:
        ends = max(self.cooldown.until, self.quota.until, self.auth.until)
        self.held_until = math.inf if self.drained else ends

    def held_by(self, now: float) -> Unavailability:
        """That it is drained, else the gravest of the penalties that run at `now`; one of them must."""
        if self.drained:
            return Unavailability.DRAINED
        if now < self.auth.until:
            return Unavailability.AUTH
        if now < self.quota.until:
            return Unavailability.QUOTA
        return Unavailability.COOLDOWN

    def forgive(self) -> None:
        """An answer arrived after every penalty had run out."""
        self.penalised = False
        self.cooldown.forgive()
        self.quota.forgive()
        self.auth.forgive()
