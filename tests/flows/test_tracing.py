"""Tracing from a client's request to the collector: the tree of spans, and the ids that upstreams see."""

import contextlib
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
import structlog.testing
from structlog.typing import EventDict

import octoroute_py
from octoroute_py.app.tracing import FLUSH_WITHIN_S
from octoroute_py.telemetry import tracing
from tests.fakes import turns
from tests.fakes.application import Running, running
from tests.fakes.collector import Collector, Seen
from tests.fakes.scoring import FakeScorer, neural
from tests.fakes.script import Recorded, Step
from tests.fakes.upstream import FakeUpstream
from tests.fakes.waiting import until

CALLER = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
PROMPT = "a-secret-nobody-may-trace"
KEY = "sk-upstream-0123456789abcdef"
DECISION = "routing_request"


class Fleet(NamedTuple):
    """One upstream a tier; the judge is asked at `balanced`."""

    fast: FakeUpstream
    balanced: FakeUpstream
    deep: FakeUpstream


@pytest_asyncio.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with FakeUpstream() as fast, FakeUpstream() as balanced, FakeUpstream() as deep:
        yield Fleet(fast, balanced, deep)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as one:
        yield one


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    """What the sending of spans says in the log."""
    with structlog.testing.capture_logs() as lines:
        yield lines


def config(fleet: Fleet, collector: Collector | None, *, strategy: str = "rule", more: str = "") -> str:
    """A gateway in front of the fleet; `more` belongs to `[tracing]`."""
    models = "".join(
        f'[[models.{tier}]]\nname = "{tier}-model"\nmodel = "vendor/{tier}"\nbase_url = "{upstream.base_url}"\n'
        f'api_key_env = "UPSTREAM"\ninput_cost_per_mtok = 1.0\noutput_cost_per_mtok = 2.0\n'
        for tier, upstream in zip(Fleet._fields, fleet, strict=True)
    )
    target = "" if collector is None else f'[tracing]\notlp_endpoint = "{collector.url}"\n{more}'
    return (
        f'{models}[routing]\nstrategy = "{strategy}"\n[health]\nenabled = false\n[storage]\nurl = "none"\n'
        f"[retry]\nbackoff_seconds = 0.01\n{target}"
    )


def gateway(text: str, **more: Any) -> contextlib.AbstractAsyncContextManager[Running]:
    return running(text, env={"UPSTREAM": KEY, "OTLP": "authorization=Bearer%20collector-key"}, **more)


def parent_of(request: Recorded) -> tuple[str, str, str]:
    """Trace, span and flags as an upstream was told."""
    (value,) = [value for name, value in request.headers if name.lower() == b"traceparent"]
    version, trace, span, flags = value.decode().split("-")
    assert version == "00"
    return trace, span, flags


def by_parent(spans: list[Seen], parent: Seen) -> list[Seen]:
    return [span for span in spans if span.parent_id == parent.span_id]


def judging(request: Recorded) -> tuple[Step, ...]:
    """The judge says DEEP, whoever else asks gets an answer."""
    asked = json.loads(request.body).get("temperature") == 0
    return tuple(turns.json_answer("DEEP" if asked else "Hello.")(request))


async def test_a_request_is_a_server_span_with_its_routing_and_its_attempt(fleet: Fleet, collector: Collector) -> None:
    async with gateway(config(fleet, collector, more='service_name = "gate"\nheaders_env = "OTLP"\n')) as one:
        answer = await one.chat("fast", messages=[{"role": "user", "content": PROMPT}])
        assert answer.status_code == 200
    server, routing, attempt = collector.spans
    assert (server.name, server.kind, server.parent_id, server.status) == ("chat fast", "SERVER", "", "UNSET")
    assert (routing.name, routing.kind, routing.parent_id) == (DECISION, "INTERNAL", server.span_id)
    assert (attempt.name, attempt.kind, attempt.parent_id) == ("chat vendor/fast", "CLIENT", server.span_id)
    assert {span.trace_id for span in collector.spans} == {server.trace_id}
    assert routing.within(server)
    assert attempt.within(server)
    assert routing.ended_ns <= attempt.started_ns
    assert abs(server.ended_ns / 1e9 - time.time()) < 30
    assert parent_of(fleet.fast.requests[0]) == (server.trace_id, attempt.span_id, "01")
    assert collector.paths == {"/v1/traces"}
    assert collector.headers["authorization"] == "Bearer collector-key"
    assert server.resource["service.name"] == "gate"
    assert server.resource["service.version"] == octoroute_py.__version__


async def test_its_attributes_have_the_names_of_the_conventions_and_say_nothing_secret(
    fleet: Fleet, collector: Collector
) -> None:
    async with gateway(config(fleet, collector)) as one:
        await one.chat("fast", messages=[{"role": "user", "content": PROMPT}], headers={"x-request-id": "req-77"})
    server, routing, attempt = collector.spans
    cost = (7 * 1.0 + 5 * 2.0) / 1e6
    assert server.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "fast",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 5,
        "octoroute.request_id": "req-77",
        "octoroute.stream": False,
        "octoroute.attempts": 1,
        "octoroute.cost_usd": pytest.approx(cost),
        "octoroute.workspace": "default",
        "octoroute.tier": "fast",
        "octoroute.strategy": "rule",
        "octoroute.reason": "explicit_tier",
        "octoroute.endpoint": "fast/fast-model#1",
    }
    assert routing.attributes == {"octoroute.tier": "fast", "octoroute.strategy": "rule"}
    assert attempt.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "vendor/fast",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 5,
        "server.address": "127.0.0.1",
        "server.port": fleet.fast.port,
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "octoroute.endpoint": "fast/fast-model#1",
        "octoroute.tier": "fast",
        "octoroute.attempt": 1,
        "octoroute.cost_usd": pytest.approx(cost),
    }
    told = repr(collector.spans)
    assert PROMPT not in told
    assert KEY not in told


async def test_a_retry_is_two_attempts_of_which_the_first_failed(fleet: Fleet, collector: Collector) -> None:
    fleet.fast.enqueue(turns.status(503))
    async with gateway(config(fleet, collector)) as one:
        assert (await one.chat("fast")).status_code == 200
    server, _, first, second = collector.spans
    assert [span.attributes["octoroute.attempt"] for span in (first, second)] == [1, 2]
    assert (first.status, first.attributes["http.response.status_code"]) == ("ERROR", 503)
    assert first.attributes["error.type"] == "unavailable"
    assert (second.status, "error.type" in second.attributes) == ("UNSET", False)
    assert first.ended_ns <= second.started_ns
    assert server.attributes["octoroute.attempts"] == 2
    seen = [parent_of(request) for upstream in fleet for request in upstream.requests]
    assert sorted(seen) == sorted((server.trace_id, span.span_id, "01") for span in (first, second))


async def test_an_attempt_that_reaches_nobody_has_an_error_and_no_status(fleet: Fleet, collector: Collector) -> None:
    for upstream in fleet:
        await upstream.stop_listening()
    async with gateway(config(fleet, collector)) as one:
        answer = await one.chat("fast")
    server, attempts = collector.spans[0], collector.spans[2:]
    assert (server.status, server.attributes["http.response.status_code"]) == ("ERROR", answer.status_code)
    assert server.attributes["error.type"] == answer.json()["error"]["code"]
    assert len(attempts) > 1
    assert {span.attributes["error.type"] for span in attempts} == {"connect"}
    assert all("http.response.status_code" not in span.attributes for span in attempts)


async def test_what_a_client_asks_wrongly_is_no_error_of_ours_and_names_no_span(
    fleet: Fleet, collector: Collector
) -> None:
    async with gateway(config(fleet, collector)) as one:
        assert (await one.chat("no-such-model-" + PROMPT)).status_code == 404
    server, routing = collector.spans
    assert (server.name, server.status) == ("chat", "UNSET")
    assert server.attributes["error.type"] == routing.attributes["error.type"] == "model_not_found"
    assert PROMPT not in repr(collector.spans)


async def test_a_stream_lasts_to_its_last_byte_and_tells_its_first_event(fleet: Fleet, collector: Collector) -> None:
    fleet.fast.enqueue(turns.stream_answer("a", "b"))
    async with gateway(config(fleet, collector)) as one:
        assert "[DONE]" in (await one.chat("fast", stream=True)).text
    server, _, attempt = collector.spans
    assert server.attributes["octoroute.stream"] is True
    assert server.attributes["gen_ai.usage.output_tokens"] == 5
    for span in (server, attempt):
        ((name, at_ns),) = span.events
        assert name == "first_event"
        assert attempt.started_ns <= at_ns <= attempt.ended_ns
    assert attempt.within(server)


async def test_a_stream_that_breaks_is_an_error_although_its_status_was_good(
    fleet: Fleet, collector: Collector
) -> None:
    fleet.fast.enqueue(turns.error_event_after(2))
    async with gateway(config(fleet, collector)) as one:
        assert (await one.chat("fast", stream=True)).status_code == 200
    server, _, attempt = collector.spans
    assert (server.status, server.attributes["http.response.status_code"]) == ("ERROR", 200)
    assert attempt.status == "ERROR"
    assert {"error.type"} <= server.attributes.keys() & attempt.attributes.keys()


async def test_the_judge_is_a_part_of_the_routing_of_whoever_had_it_asked(fleet: Fleet, collector: Collector) -> None:
    fleet.balanced.always(judging)
    async with gateway(config(fleet, collector, strategy="llm")) as one:
        assert (await one.chat()).headers["x-octoroute-strategy"] == "llm"
    (server,) = collector.named("chat auto")
    (routing,) = by_parent(collector.spans, server)[:1]
    (judge,) = by_parent(collector.spans, routing)
    assert (judge.kind, judge.attributes["octoroute.judge"]) == ("CLIENT", True)
    assert judge.attributes["octoroute.request_id"] != server.attributes["octoroute.request_id"]
    assert judge.within(routing)
    assert parent_of(fleet.balanced.requests[0]) == (server.trace_id, judge.span_id, "01")
    (attempt,) = [span for span in by_parent(collector.spans, server) if span.kind == "CLIENT"]
    assert parent_of(fleet.deep.requests[0]) == (server.trace_id, attempt.span_id, "01")
    assert len(collector.spans) == 4


async def test_a_judge_that_fails_is_an_error_in_the_routing(fleet: Fleet, collector: Collector) -> None:
    fleet.balanced.enqueue(turns.status(500))
    async with gateway(config(fleet, collector, strategy="llm")) as one:
        assert (await one.chat()).headers["x-octoroute-reason"] == "judge_failed"
    (routing,) = collector.named(DECISION)
    (judge,) = by_parent(collector.spans, routing)
    assert (judge.status, judge.attributes["http.response.status_code"]) == ("ERROR", 500)
    assert (routing.status, collector.named("chat auto")[0].status) == ("UNSET", "UNSET")


async def test_the_scorers_steps_are_spans_of_the_routing(fleet: Fleet, collector: Collector) -> None:
    from octoroute_py.config.load import parse_config
    from octoroute_py.routing.artifact import load_prepared

    text = config(fleet, collector, strategy="neural")
    scorer = load_prepared(parse_config(text, env={"UPSTREAM": KEY}))
    async with gateway(text, neural=scorer) as one:
        assert (await one.chat()).status_code == 200
    (routing,) = collector.named(DECISION)
    steps = by_parent(collector.spans, routing)
    assert [step.name for step in steps] == ["feature_engineering", "model_inference", "uncertainty_estimation"]
    assert all(step.within(routing) for step in steps)
    assert all(a.ended_ns <= b.started_ns for a, b in itertools.pairwise(steps))


async def test_what_a_scorer_did_not_time_is_no_span(fleet: Fleet, collector: Collector) -> None:
    async with gateway(config(fleet, collector, strategy="neural"), neural=neural(FakeScorer())) as one:
        assert (await one.chat()).status_code == 200
    (routing,) = collector.named(DECISION)
    assert by_parent(collector.spans, routing) == []


async def test_the_callers_trace_goes_on_to_the_upstream_with_its_state(fleet: Fleet, collector: Collector) -> None:
    trace, span = CALLER
    headers = {"traceparent": f"00-{trace}-{span}-01", "tracestate": "congo=t61"}
    async with gateway(config(fleet, collector, more="sample_ratio = 0.0\n")) as one:
        await one.chat("fast", headers=headers)
    server, _, attempt = collector.spans
    assert (server.trace_id, server.parent_id, server.state) == (trace, span, "congo=t61")
    assert parent_of(fleet.fast.requests[0]) == (trace, attempt.span_id, "01")
    assert dict(fleet.fast.requests[0].headers)[b"tracestate"] == b"congo=t61"


@pytest.mark.parametrize(("ratio", "flag"), [(1.0, "00"), (0.0, None)])
async def test_what_is_not_sampled_is_passed_on_and_makes_no_span(
    fleet: Fleet, collector: Collector, ratio: float, flag: str | None
) -> None:
    trace, span = CALLER
    headers = {} if flag is None else {"traceparent": f"00-{trace}-{span}-{flag}"}
    async with gateway(config(fleet, collector, more=f"sample_ratio = {ratio}\n")) as one:
        await one.chat("fast", headers=headers)
    seen = parent_of(fleet.fast.requests[0])
    assert seen[2] == "00"
    assert seen[1] != span
    assert (seen[0] == trace) is (flag is not None)
    assert collector.spans == []


async def test_of_many_requests_the_ratio_makes_spans(fleet: Fleet, collector: Collector) -> None:
    async with gateway(config(fleet, collector, more="sample_ratio = 0.5\n")) as one:
        for _ in range(60):
            await one.chat("fast")
    sampled = {parent_of(request)[0] for request in fleet.fast.requests if parent_of(request)[2] == "01"}
    assert 10 < len(sampled) < 50
    assert {span.trace_id for span in collector.spans} == sampled
    assert len(collector.spans) == 3 * len(sampled)


async def test_the_access_line_holds_the_traces_id(fleet: Fleet, collector: Collector) -> None:
    async with gateway(config(fleet, collector)) as one:
        await one.chat("fast")
    assert f"trace_id={collector.spans[0].trace_id}" in one.stderr.getvalue().decode()


async def test_without_tracing_the_callers_trace_stays_here_and_nothing_is_noted(fleet: Fleet) -> None:
    trace, span = CALLER
    before = threading.active_count()
    async with gateway(config(fleet, None)) as one:
        await one.chat("fast", headers={"traceparent": f"00-{trace}-{span}-01", "tracestate": "a=b"})
        assert not [each for each in threading.enumerate() if each.name.startswith("OtelBatch")]
    assert threading.active_count() <= before + 1
    names = {name.lower() for name, _ in fleet.fast.requests[0].headers}
    assert names.isdisjoint({b"traceparent", b"tracestate"})
    assert "trace_id" not in one.stderr.getvalue().decode()


def test_without_tracing_nothing_of_opentelemetry_is_imported(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from tests.fakes.application import httpx_config, running\n"
        "async def main():\n"
        "    async with running(httpx_config()) as one:\n"
        "        assert (await one.client.get('/health')).status_code == 200\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('opentelemetry', 'requests')])\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "[]\n", done.stdout + done.stderr


def counts(page: str) -> dict[str, float]:
    """The counters of spans on a metrics page."""
    lines = [line.rpartition(" ") for line in page.splitlines() if line.startswith("octoroute_spans_")]
    return {name: float(value) for name, _, value in lines}


DROPPED = 'octoroute_spans_dropped_total{reason="%s"}'


async def test_spans_that_arrived_are_counted(fleet: Fleet, collector: Collector) -> None:
    async with gateway(config(fleet, collector)) as one:
        await one.chat("fast")
        await collector.wait(3)
    metrics = one.application.gateway.metrics.render().decode()
    assert counts(metrics)["octoroute_spans_exported_total"] == 3


@pytest.mark.parametrize("status", [400, 500])
async def test_a_collector_that_refuses_costs_its_spans_and_one_line(
    fleet: Fleet, collector: Collector, status: int, logged: list[EventDict], caplog: pytest.LogCaptureFixture
) -> None:
    collector.status = status
    async with gateway(config(fleet, collector)) as one:
        for _ in range(5):
            assert (await one.chat("fast")).status_code == 200
    lost = counts(one.application.gateway.metrics.render().decode())
    assert lost[DROPPED % "export_failed"] == 15
    assert [line["event"] for line in logged] == ["spans are lost: the collector does not take them"]
    assert caplog.records == []


async def test_a_collector_that_is_back_is_told_once(
    fleet: Fleet, collector: Collector, logged: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octoroute_py.telemetry.otlp._BATCH", 1)
    collector.status = 500
    async with gateway(config(fleet, collector)) as one:
        await one.chat("fast")

        async def lost() -> bool:
            return counts(one.application.gateway.metrics.render().decode())[DROPPED % "export_failed"] == 3

        await until(lost)
        collector.status = 200
        await one.chat("fast")
        await one.chat("fast")
        await collector.wait(6)
    said = [line["event"] for line in logged]
    assert said == ["spans are lost: the collector does not take them", "the collector takes spans again"]


@pytest.mark.parametrize("down", [True, False])
async def test_nobody_waits_for_a_collector_that_is_down_or_silent_nor_does_the_end(
    fleet: Fleet, collector: Collector, down: bool, logged: list[EventDict], caplog: pytest.LogCaptureFixture
) -> None:
    text = config(fleet, collector)
    if down:
        text = text.replace(collector.url, "http://127.0.0.1:9")
    else:
        collector.silent.set()
    async with gateway(text) as one:
        slowest = 0.0
        for _ in range(100):
            started = time.monotonic()
            assert (await one.chat("fast")).status_code == 200
            slowest = max(slowest, time.monotonic() - started)
        assert slowest < 1.0
        ending = time.monotonic()
    assert time.monotonic() - ending < FLUSH_WITHIN_S + 1.0
    assert [line["event"] for line in logged] == ["spans were not sent in time and are lost"]
    assert caplog.records == []


async def test_a_full_queue_loses_whole_requests_and_counts_them(
    fleet: Fleet, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "MOST_WAITING", 4)
    monkeypatch.setattr("octoroute_py.telemetry.otlp._BATCH", 4)
    collector.silent.set()
    async with gateway(config(fleet, collector)) as one:
        for _ in range(10):
            await one.chat("fast")
        one.application.gateway.settle()
        lost = counts(one.application.gateway.metrics.render().decode())
        assert lost[DROPPED % "queue_full"] == 6 * 3
    assert len(fleet.fast.requests) == 10
