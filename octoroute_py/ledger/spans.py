"""From how a request ended to its spans: the request, the choice of its tier, and each attempt.

Nothing is made up: what was not timed or not known is left out. No word of a prompt or an answer is in a span, and no
path or credential of an endpoint.
"""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from octoroute_py.core.ending import CLIENT_GONE
from octoroute_py.core.money import usd
from octoroute_py.core.trace import Trace, Trail
from octoroute_py.core.usage import Usage
from octoroute_py.core.words import Inward
from octoroute_py.ledger.outcome import Attempt, Hop, Outcome
from octoroute_py.telemetry import semconv
from octoroute_py.telemetry.tracing import Attribute, Span, SpanKind, Tracing

_GONE: Final = "client_gone"
_DEFAULT_PORT: Final = {"http": 80, "https": 443}


class SpanTeller:
    """One of a recorder's `told`: hands over the spans of what was sampled."""

    __slots__ = ("_tracing",)

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    def __call__(self, outcome: Outcome) -> None:
        """Take the spans of a finished request or question; never waits."""
        if outcome.trail is not None and outcome.trail.trace.sampled:
            self._tracing.put(lambda: spans_of(outcome), count_of(outcome))


def count_of(outcome: Outcome) -> int:
    """How many spans `spans_of` gives."""
    trail, sent = outcome.trail, sum(1 for attempt in outcome.attempts if attempt.hop is not None)
    if trail is None:
        return 0
    if outcome.surface is Inward.JUDGE:
        return sent
    return 1 + (0 if trail.routing_started_s is None else 1 + len(trail.steps)) + sent


def spans_of(outcome: Outcome) -> list[Span]:
    """The spans of a request, parents first; those of a question to a judge are its attempts."""
    trail = outcome.trail
    if trail is None:
        return []
    trace = trail.trace
    if outcome.surface is Inward.JUDGE:
        return list(_attempts(outcome, trace, parent_id=trace.routing_id))
    spans = [_server(outcome, trail)]
    if trail.routing_started_s is not None:
        spans.extend(_routing(outcome, trail, trail.routing_started_s))
    spans.extend(_attempts(outcome, trace, parent_id=trace.span_id))
    return spans


def _server(outcome: Outcome, trail: Trail) -> Span:
    trace, operation = trail.trace, semconv.operation_of(outcome.surface)
    failed = outcome.status >= 500 or (outcome.error_code is not None and outcome.status < 400)
    first_s = outcome.first_event_s
    ended_s = outcome.started_s + outcome.duration_s
    return Span(
        # The name of a model is known to be one only once it led somewhere: whatever else clients write is no name.
        name=operation if outcome.decided_tier is None else f"{operation} {trail.model}",
        kind=SpanKind.SERVER,
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        parent_id=trace.parent_id,
        remote=trace.parent_id != 0,
        state=trace.state,
        started_ns=_ns(outcome, outcome.started_s),
        ended_ns=_ns(outcome, ended_s),
        attributes=dict(_of_request(outcome, trail, operation)),
        events=() if first_s is None else ((semconv.FIRST_EVENT, _ns(outcome, outcome.started_s + first_s)),),
        failed=failed,
    )


def _of_request(outcome: Outcome, trail: Trail, operation: str) -> Iterator[tuple[str, Attribute]]:
    yield semconv.HTTP_METHOD, "POST"
    if trail.route:
        yield semconv.HTTP_ROUTE, trail.route
    yield semconv.HTTP_STATUS, outcome.status
    error = _GONE if outcome.status == CLIENT_GONE else outcome.error_code
    if error is not None:
        yield semconv.ERROR_TYPE, error
    yield semconv.OPERATION, operation
    if outcome.decided_tier is not None:
        yield semconv.REQUEST_MODEL, trail.model
    yield from _of_usage(outcome.usage)
    yield semconv.REQUEST_ID, outcome.request_id
    yield semconv.STREAM, outcome.stream
    yield semconv.ATTEMPTS, len(outcome.attempts)
    yield semconv.COST_USD, usd(outcome.cost_uusd)
    for name, text in (
        (semconv.WORKSPACE, outcome.workspace),
        (semconv.AGENT_TYPE, outcome.agent_type),
        (semconv.TIER, outcome.tier),
        (semconv.STRATEGY, outcome.strategy),
        (semconv.REASON, outcome.reason),
        (semconv.RULE, outcome.rule),
        (semconv.ENDPOINT, outcome.endpoint_id),
    ):
        if text:
            yield name, str(text)


def _routing(outcome: Outcome, trail: Trail, started_s: float) -> Iterator[Span]:
    """The choice of the tier, and of it what was timed."""
    trace, decided = trail.trace, outcome.decided_tier is not None
    attributes: dict[str, Attribute] = {}
    if outcome.decided_tier is not None:
        attributes[semconv.TIER] = outcome.decided_tier.value
    if outcome.strategy is not None:
        attributes[semconv.STRATEGY] = outcome.strategy.value
    if outcome.rule is not None:
        attributes[semconv.RULE] = outcome.rule
    if outcome.confidence is not None:
        attributes[semconv.CONFIDENCE] = outcome.confidence
    if not decided and outcome.error_code is not None:
        attributes[semconv.ERROR_TYPE] = outcome.error_code
    # One that was never finished ended with the request.
    ended_s = outcome.started_s + outcome.duration_s if outcome.routing_s is None else started_s + outcome.routing_s
    yield Span(
        name=semconv.ROUTING_SPAN,
        kind=SpanKind.INTERNAL,
        trace_id=trace.trace_id,
        span_id=trace.routing_id,
        parent_id=trace.span_id,
        state=trace.state,
        started_ns=_ns(outcome, started_s),
        ended_ns=_ns(outcome, ended_s),
        attributes=attributes,
        failed=not decided and outcome.status >= 500,
    )
    for step in trail.steps:
        yield Span(
            name=step.name,
            kind=SpanKind.INTERNAL,
            trace_id=trace.trace_id,
            span_id=step.span_id,
            parent_id=trace.routing_id,
            state=trace.state,
            started_ns=_ns(outcome, step.started_s),
            ended_ns=_ns(outcome, step.ended_s),
            attributes={},
        )


def _attempts(outcome: Outcome, trace: Trace, *, parent_id: int) -> Iterator[Span]:
    first_at = None if outcome.first_event_s is None else outcome.started_s + outcome.first_event_s
    for number, attempt in enumerate(outcome.attempts, start=1):
        hop = attempt.hop
        if hop is None:
            continue
        began = first_at is not None and attempt.started_s <= first_at <= attempt.ended_s
        yield Span(
            name=f"{semconv.operation_of(outcome.surface)} {hop.model}",
            kind=SpanKind.CLIENT,
            trace_id=trace.trace_id,
            span_id=hop.span_id,
            parent_id=parent_id,
            state=trace.state,
            started_ns=_ns(outcome, attempt.started_s),
            ended_ns=_ns(outcome, attempt.ended_s),
            attributes=dict(_of_attempt(outcome, attempt, hop, number)),
            events=((semconv.FIRST_EVENT, _ns(outcome, first_at)),) if began and first_at is not None else (),
            failed=attempt.fault is not None,
        )


def _of_attempt(outcome: Outcome, attempt: Attempt, hop: Hop, number: int) -> Iterator[tuple[str, Attribute]]:
    url = urlsplit(hop.base_url)
    host = url.hostname or ""
    yield semconv.OPERATION, semconv.operation_of(outcome.surface)
    yield semconv.PROVIDER, semconv.provider_of(host)
    yield semconv.REQUEST_MODEL, hop.model
    yield semconv.SERVER_ADDRESS, host
    yield semconv.SERVER_PORT, url.port or _DEFAULT_PORT[url.scheme]
    yield semconv.HTTP_METHOD, "POST"
    if attempt.status is not None:
        yield semconv.HTTP_STATUS, attempt.status
    if attempt.fault is not None:
        yield semconv.ERROR_TYPE, attempt.fault
    yield from _of_usage(attempt.usage)
    yield semconv.ENDPOINT, attempt.endpoint_id
    yield semconv.TIER, attempt.tier.value
    yield semconv.ATTEMPT, number
    yield semconv.COST_USD, usd(attempt.cost_uusd)
    if outcome.surface is Inward.JUDGE:
        yield semconv.JUDGE, True
        yield semconv.REQUEST_ID, outcome.request_id


def _of_usage(usage: Usage | None) -> Iterator[tuple[str, Attribute]]:
    if usage is not None:
        yield semconv.INPUT_TOKENS, usage.prompt
        yield semconv.OUTPUT_TOKENS, usage.completion
        if usage.cached:
            yield semconv.CACHED_TOKENS, usage.cached


def _ns(outcome: Outcome, at_s: float) -> int:
    """A monotonic time of this request as Unix nanoseconds; all of one request by the same pair of clocks."""
    # Two roundings: a float of Unix time is good for a quarter of a microsecond, a difference for nanoseconds.
    return round(outcome.started_wall_s * 1e9) + round((at_s - outcome.started_s) * 1e9)
