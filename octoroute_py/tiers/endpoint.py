"""One endpoint: its configuration, its transport, and what is known of it right now.

Whether it may be tried is a question to the endpoint: `unavailable(now)`. An attempt takes a `Hold` on it and tells the
hold how it went. The live state outlasts a reload: the endpoints of the old and the new snapshot share it as long as
they reach the same upstream in the same way (`identity`).
"""

import math
from collections.abc import Hashable

from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.words import BreakerState
from octoroute_py.tiers.live import Live, Unavailability
from octoroute_py.transport.base import Transport

MAX_COOLDOWN_S = 300.0
"""However long an upstream asks to be left alone, it is asked again after this."""
SLOW_START_S = 30.0
"""Time in which an endpoint whose breaker closed grows back to its full weight."""
SLOW_START_FLOOR = 0.1
"""The share of its weight it begins with."""
ASK_AGAIN_S = 1.0
"""What `eligible_at` promises where the true time is not known: full, drained, or out until a probe succeeds."""


class Hold:
    """One attempt's place at an endpoint. Tell it the verdict, then `close` it, in a `finally`."""

    __slots__ = ("_epoch", "_failed", "_live", "_open", "_succeeded_at", "trial")

    def __init__(self, live: Live, now: float) -> None:
        live.in_flight += 1
        breaker = live.breaker
        self._live = live
        self._epoch = breaker.epoch
        self._open = True
        self._succeeded_at: float | None = None
        self._failed = False
        self.trial = breaker.begin(now)
        """Whether this attempt is the breaker's half-open trial."""

    def success(self, now: float, first_event_s: float | None = None, *, answer_s: float | None = None) -> None:
        """The upstream answered (the first event, or the whole buffered answer). Counts once.

        `first_event_s` is the time to the first event of a stream, `answer_s` that to the end of a buffered answer;
        None where it was not measured.
        """
        if not self._open or self._succeeded_at is not None or self._failed:
            return
        self._succeeded_at = now
        live = self._live
        live.breaker.success(now, trial=self.trial, epoch=self._epoch)
        live.last_success = now
        live.auth_trusted = True
        if live.penalised and now >= live.held_until:
            live.forgive()
        if live.probe_failures:
            live.probe_failures = 0
            live.probe_down = False
        if first_event_s is not None:
            live.latency.observe(now, first_event_s)
        live.recent.good(now, first_event_s=first_event_s, answer_s=answer_s)

    def failure(self, now: float) -> None:
        """The attempt failed, or broke off after its success (a stall, a cut). Counts once."""
        if not self._open or self._failed:
            return
        self._failed = True
        self._live.breaker.failure(now, epoch=self._epoch)
        self._live.recent.bad(now, was_good_at=self._succeeded_at)

    def close(self) -> None:
        """Give the place back, and the trial slot if there was no verdict. Calling it again does nothing."""
        if not self._open:
            return
        self._open = False
        self._live.in_flight -= 1
        if self.trial and self._succeeded_at is None and not self._failed:
            self._live.breaker.abandon(trial=True, epoch=self._epoch)

    abandon = close


class Endpoint:
    """URL, upstream model and credential that answer for a tier, with the transport that reaches them."""

    __slots__ = ("breaker", "config", "id", "live", "max_in_flight", "name", "priority", "tier", "transport", "weight")

    def __init__(self, config: EndpointConfig, *, transport: Transport, live: Live) -> None:
        self.config = config
        self.transport = transport
        self.live = live
        self.breaker = live.breaker
        self.id = config.id
        self.name = config.name
        self.tier = config.tier
        self.priority = config.priority
        self.weight = config.weight
        self.max_in_flight = math.inf if config.max_in_flight is None else config.max_in_flight

    def __repr__(self) -> str:
        return f"<Endpoint {self.id}>"

    @property
    def in_flight(self) -> int:
        """Attempts that hold a place now."""
        return self.live.in_flight

    def unavailable(self, now: float) -> Unavailability | None:
        """Why it may not be tried at `now`, or None. Asking changes nothing."""
        live = self.live
        if now < live.held_until:
            return live.held_by(now)
        if live.probe_down:
            return Unavailability.PROBE
        if not self.breaker.admits(now):
            return Unavailability.BREAKER
        if live.in_flight >= self.max_in_flight:
            return Unavailability.FULL
        return None

    def out(self, now: float) -> Unavailability | None:
        """Why it cannot answer for its tier, or None. Full is not out, nor is half open with its trial under way."""
        live = self.live
        if now < live.held_until:
            return live.held_by(now)
        if live.probe_down:
            return Unavailability.PROBE
        if self.breaker.state(now) is BreakerState.OPEN:
            return Unavailability.BREAKER
        return None

    def begin(self, now: float) -> Hold:
        """An attempt begins; close the hold whatever happens."""
        return Hold(self.live, now)

    def drain(self) -> None:
        """No attempts from now on, as an operator asks; those under way go on. Outlasts a reload."""
        self.live.drain(True)

    def undrain(self) -> None:
        """Attempts again, as far as nothing else keeps it out."""
        self.live.drain(False)

    def reset(self) -> None:
        """Forget what keeps it out, so that the very next attempt may come here; a drained one stays drained."""
        self.live.reset()

    def cool_down(self, now: float, seconds: float | None = None) -> None:
        """The upstream answered 429: leave it alone for `seconds`, at most 300.

        None, or no positive number, means our own back-off: 1 s, doubling up to 60 s until a success. Jitter on what
        the upstream said is the caller's.
        """
        if seconds is None or not 0 < seconds < math.inf:
            self.live.cooldown.impose(now)
        else:
            self.live.cooldown.extend(now + min(seconds, MAX_COOLDOWN_S))
        self.live.hold_back()

    def quota_out(self, now: float) -> None:
        """The account has no quota left: out for 60 s, doubling up to 300 s until a success."""
        self.live.quota.impose(now)
        self.live.hold_back()

    def auth_out(self, now: float) -> None:
        """The upstream refused our credential or model: out for 60 s, doubling up to 300 s until a success."""
        self.live.auth.impose(now)
        self.live.auth_trusted = False
        self.live.hold_back()

    def probe_alive(self, now: float) -> None:
        """A probe was answered: the endpoint is up."""
        live = self.live
        live.last_check = now
        live.probe_failures = 0
        live.probe_down = False

    def probe_failed(self, now: float, *, threshold: int) -> None:
        """A probe failed; `threshold` of them in a row take the endpoint out."""
        live = self.live
        live.last_check = now
        live.probe_failures += 1
        if live.probe_failures >= threshold:
            live.probe_down = True

    def probe_refused(self, now: float) -> None:
        """A probe met 401 or 403: it is up, but out as after `auth_out`.

        A credential that a call has been answered with since its last refusal is believed more than the probe, because
        a key may be allowed to chat and not to list models.
        """
        self.probe_alive(now)
        if not self.live.auth_trusted:
            self.auth_out(now)

    def forget_probes(self) -> None:
        """Probing is switched off: what probes said no longer keeps the endpoint out."""
        self.live.probe_failures = 0
        self.live.probe_down = False
        self.live.next_probe_at = None

    def back_at(self, now: float) -> float:
        """When time alone brings it back: `now` if it is not out, infinity if that takes a probe or an operator."""
        live = self.live
        if live.probe_down:
            return math.inf
        return max(now, live.held_until, self.breaker.retry_at(now))

    def eligible_at(self, now: float) -> float:
        """The next time it may be tried, for Retry-After; an estimate where it is full, drained, or failed probes."""
        if self.unavailable(now) is None:
            return now
        live = self.live
        if live.drained:
            return now + ASK_AGAIN_S
        at = max(live.held_until, self.breaker.retry_at(now))
        if live.probe_down and live.next_probe_at is not None:
            at = max(at, live.next_probe_at)
        return at if at > now else now + ASK_AGAIN_S

    def effective_weight(self, now: float) -> float:
        """Its weight, less in the first 30 s after its breaker closed from a trip (never at process start)."""
        recovered_at = self.breaker.recovered_at
        if recovered_at is None or now - recovered_at >= SLOW_START_S:
            return self.weight
        # the least number there is has no tenth part, and a load is divided by what comes of it
        return self.weight * max(SLOW_START_FLOOR, (now - recovered_at) / SLOW_START_S) or self.weight


def identity(config: EndpointConfig) -> Hashable:
    """What must stay the same for live state and connections to outlast a reload: id, and how the upstream is reached.

    Besides URL, model and credential this holds all that shapes a connection or its headers, since a change there is
    how an operator mends a broken endpoint, and a transport is fixed when it is made.
    """
    registered = config.registered
    return (
        config.id,
        config.base_url,
        config.model,
        config.api_key,
        config.headers,
        config.kind,
        config.transport,
        config.proxy,
        config.http2,
        config.ca_file,
        None if registered is None else (registered.rules, registered.health_url),
    )
