"""How fast somebody may go: requests, tokens and requests at once, for all limits of a request in one step.

State lives by (subject, id) and only for ids with rates. A state that no longer counts, because its windows are empty
and nobody holds a slot, is forgotten as newcomers arrive; one that counts never is. When a subject has as many states
as may be, newcomers are refused until one has run out.
"""

import enum
import math
from collections import OrderedDict
from collections.abc import Sequence
from operator import itemgetter

import msgspec

from octoroute_py.admission.claims import OWNERS, Claim, Subject
from octoroute_py.admission.window import Window
from octoroute_py.core.allowance import NO_RATES, Rates
from octoroute_py.core.errors import Refused

MAX_STATES = 100_000
"""Ids of one subject that are remembered at once."""
_TOKEN_WINDOW_S = 60.0
_SLOT_RETRY_S = 1.0
_LOOK_AT = 2
_LOOK_AT_WHEN_FULL = 8


class Measure(enum.StrEnum):
    """What a limit counts."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENT = "concurrent"


class Standing(msgspec.Struct, frozen=True):
    """How a limit stands: `remaining` of `limit`, and the seconds until it is wholly free again."""

    limit: int
    remaining: int
    reset_s: float


class Limited(Refused):
    """Too fast (429 `rate_limit_exceeded`): says whose limit it is, what it counts and how it stands.

    `retry_after_s` is when the request would fit if nothing else came; None, and `final`, when it never will because
    it is larger than the limit.
    """

    def __init__(self, message: str, *, subject: Subject, measure: Measure, standing: Standing, wait_s: float) -> None:
        never = wait_s == math.inf
        super().__init__(
            message,
            code="rate_limit_exceeded",
            status=429,
            retry_after_s=None if never else wait_s,
            error_type="rate_limit_error",
            final=never,
        )
        self.subject = subject
        self.measure = measure
        self.standing = standing


class _State:
    """What one subject uses now; a window is there while it has that limit."""

    __slots__ = ("in_flight", "rates", "requests", "tokens")

    def __init__(self) -> None:
        self.in_flight = 0
        self.rates = NO_RATES
        self.requests: Window | None = None
        self.tokens: Window | None = None

    def idle(self, now: float) -> bool:
        """Whether forgetting this state would change nothing."""
        if self.in_flight:
            return False
        return all(window is None or window.used(now) == 0 for window in (self.requests, self.tokens))

    def follow(self, rates: Rates) -> None:
        """Take other rates; windows that stay limited keep what they hold."""
        self.rates = rates
        self.requests = _changed(self.requests, rates.requests_per_window, rates.requests_window_s)
        self.tokens = _changed(self.tokens, rates.tokens_per_minute, _TOKEN_WINDOW_S)

    def standings(self, now: float) -> list[Standing]:
        """How the windows stand, requests first."""
        return [_standing(window, now) for window in (self.requests, self.tokens) if window is not None]


def _changed(window: Window | None, limit: int | None, width_s: float) -> Window | None:
    if limit is None:
        return None
    if window is None:
        return Window(limit=limit, width_s=width_s)
    window.limit = limit
    window.width_s = width_s
    return window


def _standing(window: Window, now: float) -> Standing:
    return Standing(window.limit, max(0, window.limit - window.used(now)), window.reset_in(now))


class Permit:
    """Leave to go on, which holds one slot of every limit. `release` it when the request has ended, however it did.

    `settle` or `refund` it at most once, whichever comes first counts. All times are monotonic seconds.
    """

    __slots__ = ("_at", "_held", "_requests", "_reserved", "_states", "_tokens")

    def __init__(self, states: Sequence[_State] = (), *, tokens: int = 0, now: float = 0.0) -> None:
        self._states = states
        self._at = now
        self._held = bool(states)
        self._reserved: int | None = tokens if states else None
        # The windows this request is in; those of a state may be others later, when its rates have changed.
        self._requests = [state.requests for state in states if state.requests is not None]
        self._tokens = [state.tokens for state in states if state.tokens is not None]
        for window in self._requests:
            window.add(1, now)
        for window in self._tokens:
            window.add(tokens, now)

    def standing(self, now: float) -> Standing | None:
        """The window that has the smallest share left, for the RateLimit headers; None without any."""
        standings = [standing for state in self._states for standing in state.standings(now)]
        return min(standings, key=_share_left) if standings else None

    def settle(self, tokens: int, now: float) -> None:
        """The request came to `tokens`: they take the place of the reserved ones."""
        if self._reserved is None:
            return
        more, self._reserved = tokens - self._reserved, None
        for window in self._tokens:
            window.adjust(self._at, more, now)

    def refund(self, now: float) -> None:
        """Nothing was sent: the request and its tokens are given back."""
        if self._reserved is None:
            return
        reserved, self._reserved = self._reserved, None
        for window in self._requests:
            window.adjust(self._at, -1, now)
        for window in self._tokens:
            window.adjust(self._at, -reserved, now)

    def release(self) -> None:
        """Give the slots back; calling it again does nothing."""
        if self._held:
            self._held = False
            for state in self._states:
                state.in_flight -= 1


def _share_left(standing: Standing) -> float:
    return standing.remaining / standing.limit if standing.limit else 0.0


NO_PERMIT = Permit()
"""The permit of requests that nothing limits; it holds nothing, so everybody shares it."""


class Limiter:
    """All rates in force. It has no clock: `now` is monotonic seconds and never goes back."""

    __slots__ = ("_max_states", "_states")

    def __init__(self, *, max_states: int = MAX_STATES) -> None:
        self._max_states = max_states
        self._states: dict[Subject, OrderedDict[str, _State]] = {subject: OrderedDict() for subject in Subject}

    def __len__(self) -> int:
        """States in memory, of all subjects."""
        return sum(map(len, self._states.values()))

    def admit(self, claims: Sequence[Claim], *, tokens: int, now: float) -> Permit:
        """Count a request of an estimated `tokens` for all claims, or for none and raise Limited."""
        states = self._enter(claims, now)
        if not states:
            return NO_PERMIT
        for state in states:
            if not _fits(state, tokens, now):
                refusal = self._refusal(claims, tokens, now)
                _leave(states)
                raise refusal
        return Permit(states, tokens=tokens, now=now)

    def _enter(self, claims: Sequence[Claim], now: float) -> list[_State] | None:
        """A slot of every state that limits these claims, before any verdict.

        Taken this early, it also keeps states that hold nothing else yet from being swept.
        """
        states: list[_State] | None = None
        for claim in claims:
            rates = claim.rates
            if rates is NO_RATES or rates == NO_RATES:
                continue
            state = self._states[claim.subject].get(claim.id) or self._newcomer(claim, now)
            if state is None:
                _leave(states or ())
                raise _full(claim)
            if state.rates is not rates:
                state.follow(rates)
            state.in_flight += 1
            if states is None:
                states = [state]
            else:
                states.append(state)
        return states

    def _newcomer(self, claim: Claim, now: float) -> _State | None:
        """A state for an id that has none; None when there are too many that still count."""
        states = self._states[claim.subject]
        look_at = _LOOK_AT if len(states) < self._max_states else _LOOK_AT_WHEN_FULL
        for _ in range(min(len(states), look_at)):
            oldest, state = states.popitem(last=False)
            if not state.idle(now):
                states[oldest] = state
        if len(states) >= self._max_states:
            return None
        state = states[claim.id] = _State()
        return state

    def _refusal(self, claims: Sequence[Claim], tokens: int, now: float) -> Limited:
        """What to tell: of all limits that are in the way, the one that is so for longest."""
        obstacles = [
            (wait_s, claim, measure, state)
            for claim in claims
            if (state := self._states[claim.subject].get(claim.id)) is not None and claim.rates != NO_RATES
            for measure, wait_s in _waits(state, tokens, now)
            if wait_s > 0.0
        ]
        wait_s, claim, measure, state = max(obstacles, key=itemgetter(0))
        return Limited(
            _message(claim, measure, tokens),
            subject=claim.subject,
            measure=measure,
            standing=_standing_of(state, measure, now),
            wait_s=wait_s,
        )


def _leave(states: Sequence[_State]) -> None:
    for state in states:
        state.in_flight -= 1


def _fits(state: _State, tokens: int, now: float) -> bool:
    """Whether one request more fits; its own slot is already counted."""
    most = state.rates.max_concurrent
    return (
        (most is None or state.in_flight <= most)
        and (state.requests is None or state.requests.wait(1, now) == 0.0)
        and (state.tokens is None or state.tokens.wait(tokens, now) == 0.0)
    )


def _waits(state: _State, tokens: int, now: float) -> list[tuple[Measure, float]]:
    """How long each limit is in the way of one request more, whose slot is already counted."""
    most = state.rates.max_concurrent
    return [
        (Measure.CONCURRENT, _SLOT_RETRY_S if most is not None and state.in_flight > most else 0.0),
        (Measure.REQUESTS, 0.0 if state.requests is None else state.requests.wait(1, now)),
        (Measure.TOKENS, 0.0 if state.tokens is None else state.tokens.wait(tokens, now)),
    ]


def _standing_of(state: _State, measure: Measure, now: float) -> Standing:
    window = state.requests if measure is Measure.REQUESTS else state.tokens
    if measure is Measure.CONCURRENT or window is None:
        return Standing(state.rates.max_concurrent or 0, 0, _SLOT_RETRY_S)
    return _standing(window, now)


def _message(claim: Claim, measure: Measure, tokens: int) -> str:
    owner, rates = OWNERS[claim.subject], claim.rates
    requests, most_tokens = rates.requests_per_window, rates.tokens_per_minute
    if measure is Measure.CONCURRENT:
        return f"Too many requests at once: {owner} may have {rates.max_concurrent}."
    if measure is Measure.REQUESTS:
        return f"Too many requests: {owner} may send {requests} in any {rates.requests_window_s:g} seconds."
    if most_tokens is not None and tokens > most_tokens:
        return f"This request alone needs more than the {most_tokens} tokens that {owner} may use in a minute."
    return f"Too many tokens: {owner} may use {most_tokens} in any minute."


def _full(claim: Claim) -> Limited:
    return Limited(
        "Too many clients are being counted; try again shortly.",
        subject=claim.subject,
        measure=Measure.REQUESTS,
        standing=Standing(claim.rates.requests_per_window or 0, 0, _SLOT_RETRY_S),
        wait_s=_SLOT_RETRY_S,
    )
