"""One question to an endpoint of the judge's tier, JSON in and JSON out, with one more attempt elsewhere.

Endpoints are picked, held and told how it went as for a client's request, so the judge respects their breakers,
penalties and `max_in_flight`. Its calls count as upstream calls and tokens, never as requests.
"""

import random
from collections.abc import Callable
from typing import Final

import msgspec

from octoroute_py.core.clock import Monotonic, Wall
from octoroute_py.core.ids import new_request_id
from octoroute_py.core.words import Surface, Tier
from octoroute_py.gateway.attempt import content_type, tell_endpoint
from octoroute_py.gateway.context import Snapshot
from octoroute_py.routing.judge import Question
from octoroute_py.routing.judge_prompt import MAX_OUTPUT_TOKENS, Form
from octoroute_py.routing.verdict import JudgeFailed, JudgeFailure
from octoroute_py.telemetry.metrics import Metrics
from octoroute_py.tiers.eligibility import misfit
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.transport.base import TooLarge, TransportError, UpstreamAnswer, UpstreamRequest
from octoroute_py.transport.faults import Fault, FaultKind, classify_exception, classify_response
from octoroute_py.transport.openai import BufferedFacts, read_answer, upstream_path

ATTEMPTS: Final = 2
FIRST_SHARE: Final = 0.5
"""The first attempt gets this much of the question's time where somebody else could be asked after it."""
MAX_ANSWER_BYTES: Final = 64 * 1024
"""Largest chat completion that is read: a verdict is a few bytes, what stands around it a few hundred."""

_TIMEOUTS: Final = frozenset({FaultKind.TIMEOUT, FaultKind.GATEWAY_TIMEOUT, FaultKind.REQUEST_TIMEOUT})
_encode: Final = msgspec.json.Encoder().encode


class _Tried:
    """What one question has met so far: endpoints that failed, and forms (by place) that an endpoint rejected."""

    __slots__ = ("failed", "rejected")

    def __init__(self) -> None:
        self.failed: set[str] = set()
        self.rejected: set[tuple[str, int]] = set()


class JudgeCalls:
    """Puts questions to the endpoints in force; an instance is a judge's `Ask`."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        *,
        tier: Tier,
        metrics: Metrics,
        monotonic: Monotonic,
        wall: Wall,
        rng: random.Random,
    ) -> None:
        self._snapshot = snapshot
        self._tier = tier
        self._metrics = metrics
        self._monotonic = monotonic
        self._wall = wall
        self._rng = rng
        self._refused: set[tuple[str, int]] = set()
        """Which endpoint (by id) did not take which form (by place): servers differ in what they understand."""

    async def __call__(self, question: Question) -> bytes:
        """The chat completion. Raises JudgeFailed when no endpoint gave one."""
        tried = _Tried()
        failure = JudgeFailure.UNAVAILABLE
        for sends_left in reversed(range(ATTEMPTS)):
            now = self._monotonic()
            found = self._pick(question, tried, now) if now < question.deadline_s else None
            if found is None:
                break
            endpoint, place = found
            other = self._pick(question, tried, now, but=endpoint) if sends_left else None
            until = question.deadline_s if other is None else now + (question.deadline_s - now) * FIRST_SHARE
            result = await self._attempt(endpoint, question.forms[place], until)
            if isinstance(result, bytes):
                # Only now is it known that the form was to blame: a 400 may also be for what the request says.
                self._refused.update(each for each in tried.rejected if each[0] == endpoint.id)
                return result
            if result.kind is FaultKind.EXHAUSTED:  # we can open no socket, to anybody
                raise JudgeFailed(JudgeFailure.UNAVAILABLE)
            self._snapshot().table.observe(self._monotonic())
            failure = JudgeFailure.TIMEOUT if result.kind in _TIMEOUTS else JudgeFailure.UPSTREAM
            if result.kind is FaultKind.REJECTED:
                tried.rejected.add((endpoint.id, place))
            else:
                tried.failed.add(endpoint.id)
        raise JudgeFailed(failure)

    def _pick(
        self, question: Question, tried: _Tried, now: float, *, but: Endpoint | None = None
    ) -> tuple[Endpoint, int] | None:
        """An endpoint that can be asked and was not yet, `but` this one, and the place of the form it could answer."""
        hopeless = self._refused | tried.rejected

        def place_for(endpoint: Endpoint) -> int | None:
            return next(
                (
                    place
                    for place, form in enumerate(question.forms)
                    if (endpoint.id, place) not in hopeless and _fits(endpoint, question, form)
                ),
                None,
            )

        endpoint = self._snapshot().table.pick(
            self._tier,
            now=now,
            excluded=tried.failed if but is None else tried.failed | {but.id},
            fits=lambda each: place_for(each) is not None,
        )
        place = None if endpoint is None else place_for(endpoint)
        return None if endpoint is None or place is None else (endpoint, place)

    async def _attempt(self, endpoint: Endpoint, form: Form, until: float) -> bytes | Fault:
        hold = endpoint.begin(self._monotonic())
        try:
            result, status = await self._exchange(endpoint, form, until)
            now = self._monotonic()
            self._metrics.upstream(endpoint.id, status)
            if isinstance(result, Fault):
                # A time-out came after the judge's limit and not after the endpoint's own.
                tell_endpoint(endpoint, hold, result, now, time_out_counts=False, rng=self._rng)
                return result
            hold.success(now)
            if result.usage is not None:
                self._metrics.tokens(endpoint.id, result.usage)
            return result.body
        finally:
            hold.close()

    async def _exchange(self, endpoint: Endpoint, form: Form, until: float) -> tuple[BufferedFacts | Fault, int | None]:
        headers = ((b"accept", b"application/json"), (b"x-request-id", new_request_id().encode()))
        request = UpstreamRequest("POST", upstream_path(Surface.CHAT), headers, _body(endpoint, form))
        status: int | None = None
        try:
            answer = await endpoint.transport.send(
                request, deadline=until, connect_s=self._snapshot().timers.connect_s.get(endpoint.id, 5.0)
            )
            status = answer.status
            try:
                return await self._read(answer, until), status
            finally:
                answer.close()
        except TooLarge:
            self._metrics.upstream(endpoint.id, status)
            raise JudgeFailed(JudgeFailure.OVERSIZE) from None
        except TransportError as error:
            return classify_exception(error), status

    async def _read(self, answer: UpstreamAnswer, until: float) -> BufferedFacts | Fault:
        body = await answer.read(deadline=until, max_bytes=MAX_ANSWER_BYTES)
        if answer.status != 200:
            return classify_response(answer.status, answer.headers, body, wall=self._wall())
        return read_answer(body, content_type(answer.headers), Surface.CHAT)


def _fits(endpoint: Endpoint, question: Question, form: Form) -> bool:
    needs = frozenset() if form.needs is None else frozenset({form.needs})
    case = question.case
    return (
        misfit(
            endpoint.config,
            needs=needs,
            tokens=case.tokens,
            output_tokens=MAX_OUTPUT_TOKENS,
            local_only=case.local_only,
        )
        is None
    )


def _body(endpoint: Endpoint, form: Form) -> bytes:
    config = endpoint.config
    most = MAX_OUTPUT_TOKENS if config.max_tokens is None else min(config.max_tokens, MAX_OUTPUT_TOKENS)
    return _encode({"model": config.model, **form.fields, config.token_limit_field.value: most})
