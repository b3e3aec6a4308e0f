"""One question to an endpoint of the judge's tier, JSON in and JSON out, with one more attempt elsewhere.

Endpoints are picked, held and told how it went as for a client's request, so the judge respects their breakers,
penalties and `max_in_flight`. Its calls count as upstream calls and tokens, never as requests; what a question cost is
reported as an outcome of its own, which belongs to no workspace and no key.
"""

import random
from collections.abc import Callable
from typing import Final

import msgspec

from octoroute_py.core.clock import Monotonic, Wall
from octoroute_py.core.ending import CLIENT_GONE
from octoroute_py.core.ids import new_request_id
from octoroute_py.core.trace import Trace, Trail
from octoroute_py.core.words import Inward, Surface, Tier
from octoroute_py.features.estimate import prompt_estimate
from octoroute_py.gateway.attempt import content_type, hop_to, tell_endpoint
from octoroute_py.gateway.charge import charge_answer, charge_failure
from octoroute_py.gateway.context import Snapshot
from octoroute_py.ledger.outcome import Attempt, Hop, Outcome
from octoroute_py.ledger.pricing import cost_uusd
from octoroute_py.routing.judge import Question
from octoroute_py.routing.judge_prompt import MAX_OUTPUT_TOKENS, Form
from octoroute_py.routing.verdict import JudgeFailed, JudgeFailure
from octoroute_py.telemetry.metrics import Metrics
from octoroute_py.tiers.eligibility import complies, misfit
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
_STATUS: Final = {JudgeFailure.TIMEOUT: 504, JudgeFailure.UNAVAILABLE: 503}
"""What a client would have got for a question that failed so; 502 for every other way."""
_encode: Final = msgspec.json.Encoder().encode
_decode_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Report = Callable[[Outcome], None]
"""Takes what became of a question that was sent to somebody; must not raise."""


class _Tried:
    """What one question has met so far.

    Endpoints that failed, forms (by place) that an endpoint rejected, and every attempt with its price.
    """

    __slots__ = ("attempts", "failed", "rejected", "request_id", "started_s", "started_wall_s", "trace")

    def __init__(self, *, started_s: float, started_wall_s: float, trace: Trace | None) -> None:
        self.failed: set[str] = set()
        self.rejected: set[tuple[str, int]] = set()
        self.attempts: list[Attempt] = []
        self.request_id = new_request_id()
        self.started_s = started_s
        self.started_wall_s = started_wall_s
        self.trace = trace


class _Exchanged:
    """How far one exchange has come, for whoever must pay even when it is cut off; `fault` is its end, if bad."""

    __slots__ = ("answer", "fault", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self.answer: BufferedFacts | None = None
        self.fault: Fault | None = None


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
        report: Report | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._report = report
        self._tier = tier
        self._metrics = metrics
        self._monotonic = monotonic
        self._wall = wall
        self._rng = rng
        self._refused: set[tuple[str, int]] = set()
        """Which endpoint (by id) did not take which form (by place): servers differ in what they understand."""

    async def __call__(self, question: Question) -> bytes:
        """The chat completion. Raises JudgeFailed when no endpoint gave one."""
        tried = _Tried(started_s=self._monotonic(), started_wall_s=self._wall(), trace=question.trace)
        status, code = CLIENT_GONE, None  # until more is known: whoever asked no longer waits
        try:
            body = await self._answer(question, tried)
            status = 200
            return body
        except JudgeFailed as failed:
            status, code = _STATUS.get(failed.failure, 502), failed.failure.value
            raise
        finally:
            if tried.attempts:
                self._tell(self._outcome(tried, status, code))

    def _tell(self, outcome: Outcome) -> None:
        result = "ok" if outcome.status == 200 else (outcome.error_code or "abandoned")
        if outcome.endpoint_id is not None:
            cost_uusd = outcome.cost_uusd
            self._metrics.judged(outcome.endpoint_id, result, usage=outcome.usage, cost_uusd=cost_uusd)
        if self._report is not None:
            self._report(outcome)

    async def _answer(self, question: Question, tried: _Tried) -> bytes:
        failure = JudgeFailure.UNAVAILABLE
        for sends_left in reversed(range(ATTEMPTS)):
            now = self._monotonic()
            found = self._pick(question, tried, now) if now < question.deadline_s else None
            if found is None:
                break
            endpoint, place = found
            other = self._pick(question, tried, now, but=endpoint) if sends_left else None
            until = question.deadline_s if other is None else now + (question.deadline_s - now) * FIRST_SHARE
            result = await self._attempt(endpoint, question.forms[place], until, tried)
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

    async def _attempt(self, endpoint: Endpoint, form: Form, until: float, tried: _Tried) -> bytes | Fault:
        started_s, exchanged = self._monotonic(), _Exchanged()
        hold = endpoint.begin(started_s)
        body = _body(endpoint, form)
        headers: tuple[tuple[bytes, bytes], ...] = (
            (b"accept", b"application/json"),
            (b"x-request-id", tried.request_id.encode()),
        )
        hop = None if tried.trace is None else hop_to(endpoint.config)
        if hop is not None and tried.trace is not None:
            headers = (*headers, *tried.trace.headers(hop.span_id))
        try:
            request = UpstreamRequest("POST", upstream_path(Surface.CHAT), headers, body)
            result = await self._exchange(endpoint, request, until, exchanged)
            now = self._monotonic()
            self._metrics.upstream(endpoint.id, exchanged.status)
            if isinstance(result, Fault):
                # A time-out came after the judge's limit and not after the endpoint's own.
                tell_endpoint(endpoint, hold, result, now, time_out_counts=False, rng=self._rng)
                return result
            hold.success(now)
            return result.body
        finally:
            hold.close()
            billed = _billed(endpoint, body, exchanged, started_s, self._monotonic(), hop)
            self._metrics.cost(endpoint.id, billed.cost_uusd)
            tried.attempts.append(billed)

    async def _exchange(
        self, endpoint: Endpoint, request: UpstreamRequest, until: float, exchanged: _Exchanged
    ) -> BufferedFacts | Fault:
        try:
            answer = await endpoint.transport.send(
                request, deadline=until, connect_s=self._snapshot().timers.connect_s.get(endpoint.id, 5.0)
            )
            exchanged.status = answer.status
            try:
                result = await self._read(answer, until)
            finally:
                answer.close()
        except TooLarge as error:
            exchanged.fault = classify_exception(error)
            self._metrics.upstream(endpoint.id, exchanged.status)
            raise JudgeFailed(JudgeFailure.OVERSIZE) from None
        except TransportError as error:
            result = classify_exception(error)
        if isinstance(result, Fault):
            exchanged.fault = result
        else:
            exchanged.answer = result
        return result

    async def _read(self, answer: UpstreamAnswer, until: float) -> BufferedFacts | Fault:
        body = await answer.read(deadline=until, max_bytes=MAX_ANSWER_BYTES)
        if answer.status != 200:
            return classify_response(answer.status, answer.headers, body, wall=self._wall())
        return read_answer(body, content_type(answer.headers), Surface.CHAT)

    def _outcome(self, tried: _Tried, status: int, code: str | None) -> Outcome:
        last = tried.attempts[-1]
        return Outcome(
            request_id=tried.request_id,
            surface=Inward.JUDGE,
            status=status,
            tier=last.tier,
            decided_tier=self._tier,
            endpoint_id=last.endpoint_id,
            sends=len(tried.attempts),
            attempts=tuple(tried.attempts),
            usage=last.usage if status == 200 else None,
            estimated=last.estimated and status == 200,
            cost_uusd=sum([attempt.cost_uusd for attempt in tried.attempts]),
            started_wall_s=tried.started_wall_s,
            started_ms=int(tried.started_wall_s * 1000),
            started_s=tried.started_s,
            duration_s=self._monotonic() - tried.started_s,
            error_code=code,
            trail=None if tried.trace is None else Trail(tried.trace),
        )


def _billed(
    endpoint: Endpoint, body: bytes, exchanged: _Exchanged, started_s: float, now: float, hop: Hop | None
) -> Attempt:
    def prompt() -> int:
        return prompt_estimate(Surface.CHAT, _decode_fields(body))

    fault = exchanged.fault
    if exchanged.answer is not None:
        charge = charge_answer(exchanged.answer, prompt)
    else:
        bills = endpoint.config.bills_on_accept
        charge = charge_failure(fault, status=exchanged.status, bills_on_accept=bills, prompt=prompt)
    return Attempt(
        endpoint_id=endpoint.id,
        tier=endpoint.tier,
        status=exchanged.status,
        fault=None if fault is None else fault.kind.value,
        started_s=started_s,
        ended_s=now,
        usage=charge.usage,
        estimated=charge.estimated,
        cost_uusd=0 if charge.usage is None else cost_uusd(endpoint.config, charge.usage),
        hop=hop,
    )


def _fits(endpoint: Endpoint, question: Question, form: Form) -> bool:
    needs = frozenset() if form.needs is None else frozenset({form.needs})
    case = question.case
    if not complies(case.compliance, endpoint.config):
        return False
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
