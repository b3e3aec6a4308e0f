"""From outcomes to spans, where a whole gateway is not needed to see it."""

from typing import Any

import pytest

from octoroute_py.config.schema import TracingConfig
from octoroute_py.core.ending import CLIENT_GONE
from octoroute_py.core.trace import Trace, Trail
from octoroute_py.core.usage import Usage
from octoroute_py.core.words import Inward, Reason, Strategy, Surface, Tier
from octoroute_py.ledger.outcome import Attempt, Hop, Outcome
from octoroute_py.ledger.spans import SpanTeller, count_of, spans_of
from octoroute_py.telemetry.trace_counts import TraceCounts
from octoroute_py.telemetry.tracing import MakeSpans, Span, SpanKind, Tracing

WALL_S = 1_769_847_300.0
TRACE = Trace(trace_id=1, span_id=2, parent_id=3, routing_id=4, sampled=True)


def trail(*, routed: bool = True) -> Trail:
    made = Trail(TRACE)
    made.route = "/v1/chat/completions"
    if routed:
        made.routing_begins(100.25, model="auto")
    return made


def attempt(*, base_url: str = "https://api.openai.com/v1", hop: bool = True, **changed: Any) -> Attempt:
    fields: dict[str, Any] = {"endpoint_id": "fast/a#1", "tier": Tier.FAST, "status": 200}
    fields |= {"started_s": 100.5, "ended_s": 101.5, "hop": Hop(9, "small", base_url) if hop else None}
    return Attempt(**(fields | changed))


def outcome(*attempts: Attempt, **changed: Any) -> Outcome:
    fields: dict[str, Any] = {"request_id": "req-1", "surface": Surface.CHAT, "status": 200, "trail": trail()}
    fields |= {"started_wall_s": WALL_S, "started_s": 100.0, "duration_s": 2.0, "routing_s": 0.125}
    fields |= {"decided_tier": Tier.FAST, "attempts": attempts}
    return Outcome(**(fields | changed))


def server(**changed: Any) -> Span:
    return spans_of(outcome(**changed))[0]


def test_times_are_those_of_the_wall_clock_at_the_requests_beginning() -> None:
    first, routing, sent = spans_of(outcome(attempt()))
    at = round(WALL_S * 1e9)
    assert (first.started_ns - at, first.ended_ns - at) == (0, 2_000_000_000)
    assert (routing.started_ns - at, routing.ended_ns - at) == (250_000_000, 375_000_000)
    assert (sent.started_ns - at, sent.ended_ns - at) == (500_000_000, 1_500_000_000)


def test_the_callers_span_is_the_parent_and_somebody_elses() -> None:
    first, routing, sent = spans_of(outcome(attempt()))
    assert [(span.span_id, span.parent_id, span.remote) for span in (first, routing, sent)] == [
        (2, 3, True),
        (4, 2, False),
        (9, 2, False),
    ]


@pytest.mark.parametrize(
    ("changed", "failed", "error"),
    [
        ({"status": 200}, False, None),
        ({"status": 429, "error_code": "rate_limit_exceeded"}, False, "rate_limit_exceeded"),
        ({"status": CLIENT_GONE}, False, "client_gone"),
        ({"status": 502, "error_code": "upstream_error"}, True, "upstream_error"),
        ({"status": 200, "error_code": "upstream_error", "broken_stream": True}, True, "upstream_error"),
    ],
)
def test_only_what_went_wrong_here_or_behind_us_is_an_error(
    changed: dict[str, Any], failed: bool, error: str | None
) -> None:
    span = server(**changed)
    assert (span.failed, span.attributes.get("error.type")) == (failed, error)


def test_a_request_refused_before_it_was_routed_is_one_span_without_a_model() -> None:
    (span,) = spans_of(
        outcome(status=503, error_code="overloaded", trail=trail(routed=False), decided_tier=None, routing_s=None)
    )
    assert (span.name, span.failed) == ("chat", True)
    assert "gen_ai.request.model" not in span.attributes


def test_a_routing_that_did_not_end_lasted_to_the_end_of_the_request() -> None:
    first, routing = spans_of(outcome(status=CLIENT_GONE, decided_tier=None, routing_s=None))
    assert routing.ended_ns == first.ended_ns
    assert routing.failed is False


def test_the_rule_and_the_confidence_are_told_where_there_are_any() -> None:
    decided = {"strategy": Strategy.RULE, "reason": Reason.RULE_MATCHED, "rule": "night", "confidence": 0.75}
    first, routing = spans_of(outcome(**decided))
    assert first.attributes["octoroute.rule"] == routing.attributes["octoroute.rule"] == "night"
    assert first.attributes["octoroute.reason"] == "rule_matched"
    assert routing.attributes["octoroute.confidence"] == 0.75


def test_the_first_event_belongs_to_the_attempt_it_came_from() -> None:
    failed = attempt(started_s=100.4, ended_s=100.45, status=None, fault="connect")
    first, _, broken, sent = spans_of(outcome(failed, attempt(), stream=True, first_event_s=1.0))
    assert [len(span.events) for span in (first, broken, sent)] == [1, 0, 1]
    assert first.events == sent.events == (("first_event", round((WALL_S + 1.0) * 1e9)),)


def test_an_attempt_the_client_left_has_neither_status_nor_error() -> None:
    *_, sent = spans_of(outcome(attempt(status=None), status=CLIENT_GONE))
    assert sent.failed is False
    assert {"error.type", "http.response.status_code"}.isdisjoint(sent.attributes)


@pytest.mark.parametrize(
    ("base_url", "provider", "address", "port"),
    [
        ("https://api.openai.com/v1", "openai", "api.openai.com", 443),
        ("https://my.openai.azure.com/openai/v1", "azure.ai.openai", "my.openai.azure.com", 443),
        ("https://api.mistral.ai/v1", "mistral_ai", "api.mistral.ai", 443),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "gcp.gemini", None, 443),
        ("https://notopenai.com.evil.test/v1", "openai", "notopenai.com.evil.test", 443),
        ("http://API.X.AI:8080/v1", "x_ai", "api.x.ai", 8080),
        ("http://[::1]/v1", "openai", "::1", 80),
        ("http://notx.ai/v1", "openai", "notx.ai", 80),
    ],
)
def test_an_upstream_is_told_by_its_host_and_port_alone(
    base_url: str, provider: str, address: str | None, port: int
) -> None:
    *_, sent = spans_of(outcome(attempt(base_url=base_url)))
    assert (sent.attributes["gen_ai.provider.name"], sent.attributes["server.port"]) == (provider, port)
    assert address is None or sent.attributes["server.address"] == address
    assert "/v1" not in repr(sent.attributes)


@pytest.mark.parametrize(
    ("surface", "operation"),
    [
        (Surface.CHAT, "chat"),
        (Surface.RESPONSES, "chat"),
        (Surface.COMPLETIONS, "text_completion"),
        (Surface.EMBEDDINGS, "embeddings"),
    ],
)
def test_spans_are_named_by_operation_and_model(surface: Surface, operation: str) -> None:
    first, _, sent = spans_of(outcome(attempt(), surface=surface))
    assert (first.name, sent.name) == (f"{operation} auto", f"{operation} small")
    assert (first.kind, sent.kind) == (SpanKind.SERVER, SpanKind.CLIENT)


def test_cached_tokens_are_told_where_there_are_any() -> None:
    *_, sent = spans_of(outcome(attempt(usage=Usage(10, 5, 4))))
    assert sent.attributes["gen_ai.usage.cache_read.input_tokens"] == 4


def test_a_question_to_a_judge_is_its_attempts_within_the_routing() -> None:
    spans = spans_of(outcome(attempt(), attempt(fault="timeout"), surface=Inward.JUDGE, trail=Trail(TRACE)))
    assert [(span.parent_id, span.failed) for span in spans] == [(4, False), (4, True)]
    assert all(span.attributes["octoroute.judge"] is True for span in spans)


@pytest.mark.parametrize(
    "each",
    [
        outcome(),
        outcome(attempt(), attempt()),
        outcome(attempt(hop=False)),
        outcome(attempt(), trail=trail(routed=False)),
        outcome(attempt(), attempt(), surface=Inward.JUDGE, trail=Trail(TRACE)),
        outcome(trail=None),
    ],
)
def test_their_number_is_known_before_they_are_made(each: Outcome) -> None:
    assert count_of(each) == len(spans_of(each))


def test_timed_steps_are_children_of_the_routing() -> None:
    with_steps = trail()
    with_steps.step("feature_engineering", 100.25, 100.26)
    with_steps.step("model_inference", 100.26, 100.27)
    made = outcome(trail=with_steps)
    assert count_of(made) == 4
    assert [(span.name, span.parent_id) for span in spans_of(made)[2:]] == [
        ("feature_engineering", 4),
        ("model_inference", 4),
    ]


class Kept(Tracing):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__(TracingConfig(), TraceCounts())
        self.put_: list[int] = []

    def put(self, make: MakeSpans, count: int) -> None:
        self.put_.append(count)


def test_only_sampled_requests_are_handed_over() -> None:
    kept = Kept()
    tell = SpanTeller(kept)
    tell(outcome(trail=None))
    tell(outcome(trail=Trail(Trace(trace_id=1, span_id=2, routing_id=4, sampled=False))))
    assert kept.put_ == []
    tell(outcome(attempt()))
    assert kept.put_ == [3]
