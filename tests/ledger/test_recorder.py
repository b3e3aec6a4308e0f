import io
import json
import math
from typing import cast

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from octoroute_py.config.schema import LogFormat, LogLevel
from octoroute_py.core.ending import CLIENT_GONE
from octoroute_py.core.usage import Usage
from octoroute_py.core.words import Reason, Strategy, Surface, Tier
from octoroute_py.ledger.outcome import Attempt, Outcome
from octoroute_py.ledger.recorder import Recorder
from octoroute_py.telemetry.access import AccessLog
from octoroute_py.telemetry.metrics import Metrics
from octoroute_py.telemetry.sink import Sink


def attempt(endpoint_id: str, status: int | None, fault: str | None = None) -> Attempt:
    tier = Tier(endpoint_id.partition("/")[0])
    return Attempt(endpoint_id=endpoint_id, tier=tier, status=status, fault=fault, started_s=0.0, ended_s=0.1)


GOOD = Outcome(
    request_id="r1",
    surface=Surface.CHAT,
    principal="laptop",
    status=200,
    tier=Tier.FAST,
    decided_tier=Tier.FAST,
    strategy=Strategy.RULE,
    reason=Reason.RULE_MATCHED,
    endpoint_id="fast/a",
    attempts=(attempt("fast/a", 200),),
    stream=True,
    usage=Usage(10, 20, 5),
    started_wall_s=1_769_847_300.0,
    duration_s=0.5,
    routing_s=0.0004,
    first_event_s=0.1,
)


class Book:
    """A recorder and what it wrote."""

    def __init__(self) -> None:
        self.metrics = Metrics(["fast/a", "fast/b", "deep/c"])
        self.stream = io.BytesIO()
        self.sink = Sink(self.stream)
        log = AccessLog(self.sink, fmt=LogFormat.JSON, level=LogLevel.INFO, now=lambda: 1_769_847_300.5)
        self.recorder = Recorder(self.metrics, log)

    def counted(self) -> dict[str, float]:
        """Every series that is not zero, buckets aside, as `name{values}`."""
        return {
            f"{sample.name.removeprefix('octoroute_')}{{{','.join(sample.labels.values())}}}": sample.value
            for family in text_string_to_metric_families(self.metrics.render("octoroute").decode())
            for sample in family.samples
            if sample.value and not sample.name.endswith(("_bucket", "_sum", "_storage_state"))
        }

    def lines(self) -> list[dict[str, object]]:
        self.sink.close()
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def book() -> Book:
    return Book()


def test_a_good_answer_is_counted_once_everywhere(book: Book) -> None:
    book.recorder.record(GOOD)
    assert book.counted() == {
        "requests_total{rule,fast}": 1,
        "decisions_total{rule_matched,rule}": 1,
        "routing_duration_ms_count{rule}": 1,
        "request_duration_seconds_count{2xx,fast}": 1,
        "time_to_first_event_seconds_count{fast}": 1,
        "model_invocations_total{fast}": 1,
        "upstream_requests_total{fast/a,2xx}": 1,
        "tokens_total{fast/a,prompt}": 10,
        "tokens_total{fast/a,completion}": 20,
        "tokens_total{fast/a,cached}": 5,
    }
    (line,) = book.lines()
    assert (line["request_id"], line["key"], line["attempts"], line["prompt_tokens"]) == ("r1", "laptop", 1, 10)


def test_attempts_tell_retries_and_fallbacks(book: Book) -> None:
    attempts = (attempt("fast/a", 503), attempt("fast/b", None, "connect"), attempt("deep/c", 200))
    book.recorder.record(msgspec.structs.replace(GOOD, tier=Tier.DEEP, endpoint_id="deep/c", attempts=attempts))
    counted = book.counted()
    assert counted["retries_total{fast}"] == 1
    assert counted["tier_fallbacks_total{fast,deep}"] == 1
    assert counted["upstream_requests_total{fast/a,5xx}"] == 1
    assert counted["upstream_requests_total{fast/b,error}"] == 1
    assert counted["upstream_requests_total{deep/c,2xx}"] == 1
    assert sum(number for name, number in counted.items() if name.startswith("retries")) == 1


def test_the_line_names_the_faults_of_failed_attempts_in_order(book: Book) -> None:
    failed = (attempt("fast/a", None, "connect"), attempt("fast/b", None, "timeout"))
    book.recorder.record(msgspec.structs.replace(GOOD, attempts=(*failed, attempt("deep/c", 200))))
    book.recorder.record(GOOD)
    book.recorder.record(msgspec.structs.replace(GOOD, status=502, attempts=failed[:1], error_code="upstream_error"))
    assert [line.get("failed") for line in book.lines()] == ["connect,timeout", None, "connect"]


def test_an_attempt_that_ended_because_the_client_left_is_no_error_of_the_endpoint(book: Book) -> None:
    book.recorder.record(msgspec.structs.replace(GOOD, status=499, attempts=(attempt("fast/a", None),)))
    assert not any(name.startswith("upstream_requests") for name in book.counted())


def test_a_first_attempt_in_another_tier_is_a_fallback_and_no_retry(book: Book) -> None:
    book.recorder.record(
        msgspec.structs.replace(GOOD, tier=Tier.DEEP, endpoint_id="deep/c", attempts=(attempt("deep/c", 200),))
    )
    counted = book.counted()
    assert counted["tier_fallbacks_total{fast,deep}"] == 1
    assert not any(name.startswith("retries") for name in counted)


def test_a_broken_stream_is_no_invocation(book: Book) -> None:
    book.recorder.record(msgspec.structs.replace(GOOD, broken_stream=True, error_code="upstream_truncated"))
    counted = book.counted()
    assert counted["mid_stream_failures_total{fast/a}"] == 1
    assert "model_invocations_total{fast}" not in counted
    (line,) = book.lines()
    assert (line["level"], line["status"], line["error"]) == ("warning", 200, "upstream_truncated")


def test_a_client_that_left_is_a_499(book: Book) -> None:
    book.recorder.record(msgspec.structs.replace(GOOD, status=CLIENT_GONE, usage=None))
    counted = book.counted()
    assert counted["request_duration_seconds_count{4xx,fast}"] == 1
    assert "model_invocations_total{fast}" not in counted


def test_a_denied_request_has_no_tier(book: Book) -> None:
    book.recorder.record(
        Outcome(
            request_id="r2",
            surface=None,
            status=401,
            started_wall_s=0.0,
            duration_s=0.001,
            error_code="invalid_api_key",
        )
    )
    assert book.counted() == {"request_duration_seconds_count{4xx,none}": 1}
    assert book.lines()[0]["error"] == "invalid_api_key"


def test_recording_never_raises_and_counts_what_failed(book: Book) -> None:
    book.recorder.record(msgspec.structs.replace(GOOD, tier=cast(Tier, "unheard-of"), duration_s=math.nan))
    book.recorder.record(msgspec.structs.replace(GOOD, duration_s=cast(float, "long")))
    counted = book.counted()
    assert counted["metrics_recording_failures_total{record_outcome}"] == 2
    assert counted["metrics_recording_failures_total{write_access_line}"] == 1
    book.recorder.record(GOOD)
    assert book.counted()["requests_total{rule,fast}"] == 1


def family(book: Book, name: str) -> dict[str, float]:
    """The series of a family that are not zero, without buckets, sums and quantiles."""
    return {
        f"{sample.name.removeprefix(f'{name}_')}{{{','.join(sample.labels.values())}}}": sample.value
        for each in text_string_to_metric_families(book.metrics.render(name).decode())
        for sample in each.samples
        if sample.value > 0 and not sample.name.endswith(("_bucket", "_sum", "_microseconds"))
    }


def test_a_good_answer_counts_in_every_family(book: Book) -> None:
    book.recorder.record(msgspec.structs.replace(GOOD, cost_uusd=7, workspace="default"))
    assert family(book, "tiny_dancer") == {
        "requests_total{}": 1,
        "lightweight_routes_total{}": 1,
        "routing_requests_total{success}": 1,
        "routing_latency_seconds_count{total}": 1,
        "routing_decisions_total{lightweight}": 1,
    }
    chat, tenant = "POST,/v1/chat/completions", "37a8eec1"
    assert family(book, "model_router") == {
        f"requests_total{{{chat},200,{tenant}}}": 1,
        f"request_duration_seconds_count{{{chat}}}": 1,
        "endpoint_latency_seconds_count{fast/a,openai}": 1,
        f"model_requests_total{{none,fast/a,openai,{tenant}}}": 1,
        "model_latency_seconds_count{fast/a,openai}": 1,
        f"tokens_total{{fast/a,{tenant},prompt}}": 10,
        f"tokens_total{{fast/a,{tenant},completion}}": 20,
        f"tokens_total{{fast/a,{tenant},total}}": 30,
    }
    assert family(book, "gen_ai") == {
        "client_operation_duration_seconds_count{chat,openai,fast/a}": 1,
        "client_token_usage_count{chat,openai,fast/a,input}": 1,
        "client_token_usage_count{chat,openai,fast/a,output}": 1,
        "server_time_to_first_token_seconds_count{chat,octoroute}": 1,
    }


def test_a_failed_request_is_an_error_and_no_decision_and_costs_go_to_who_caused_them(book: Book) -> None:
    attempts = (
        msgspec.structs.replace(attempt("fast/a", 500, "server_error"), cost_uusd=2_000_000),
        msgspec.structs.replace(attempt("deep/c", None, "timeout"), cost_uusd=1_000_000),
    )
    failed = msgspec.structs.replace(
        GOOD, status=504, error_code="upstream_timeout", attempts=attempts, endpoint_id="deep/c", usage=None
    )
    book.recorder.record(failed)
    dancer, router = family(book, "tiny_dancer"), family(book, "model_router")
    assert dancer["errors_by_type_total{upstream_timeout}"] == dancer["requests_total{}"] == 1
    assert "routing_decisions_total{lightweight}" not in dancer
    assert router["errors_total{upstream_timeout,POST,/v1/chat/completions,37a8eec1}"] == 1
    assert router["cost_usd_total{fast/a,openai,37a8eec1}"] == 2
    assert router["cost_usd_total{deep/c,openai,37a8eec1}"] == 1


def test_a_request_that_was_refused_is_no_routing(book: Book) -> None:
    book.recorder.record(
        Outcome(
            request_id="r",
            surface=Surface.CHAT,
            status=404,
            started_wall_s=0.0,
            duration_s=0.001,
            error_code="model_not_found",
        )
    )
    assert family(book, "tiny_dancer") == {}
    assert family(book, "model_router")["requests_total{POST,/v1/chat/completions,404,37a8eec1}"] == 1
