"""Spans of a real process: what waits is sent when it ends, and a collector that says nothing does not keep it."""

import signal
import time
from pathlib import Path

import pytest

from tests.fakes import turns
from tests.fakes.client import ask, chat, post
from tests.fakes.collector import Collector
from tests.fakes.gateway import gateway, rule_config
from tests.fakes.upstream import FakeUpstream

END_WITHIN_S = 4.0


def config_of(upstream: FakeUpstream, collector: Collector) -> str:
    urls = [upstream.base_url]
    more = f'[health]\nenabled = false\n[tracing]\notlp_endpoint = "{collector.url}"\n'
    return rule_config(urls, urls, urls, more=more)


async def test_spans_of_the_last_requests_are_sent_before_the_process_ends(tmp_path: Path) -> None:
    with Collector() as collector:
        async with FakeUpstream() as upstream, gateway(config_of(upstream, collector), tmp_path) as running:
            upstream.enqueue(turns.json_answer(), turns.stream_answer("a", "b"))
            for stream in (False, True):
                assert (await ask(running.port, post(chat(stream=stream)))).status == 200
            running.signal(signal.SIGTERM)
            assert await running.wait() == 0
            sent = [dict(request.headers)[b"traceparent"].decode().split("-")[1:3] for request in upstream.requests]
        servers = [span for span in collector.spans if span.kind == "SERVER"]
        assert [span.attributes["octoroute.stream"] for span in servers] == [False, True]
        assert {span.attributes["http.route"] for span in servers} == {"/v1/chat/completions"}
        attempts = [span for span in collector.spans if span.kind == "CLIENT"]
        assert [[span.trace_id, span.span_id] for span in attempts] == sent
        assert all(f"trace_id={span.trace_id}" in running.log for span in servers)


@pytest.mark.parametrize("stuck", [False, True])
async def test_a_process_ends_in_time_whatever_its_collector_does(tmp_path: Path, stuck: bool) -> None:
    with Collector() as collector:
        collector.status = 503
        if stuck:
            collector.silent.set()
        async with FakeUpstream() as upstream, gateway(config_of(upstream, collector), tmp_path) as running:
            for _ in range(70):
                assert (await ask(running.port, post(chat()))).status == 200
            began = time.monotonic()
            running.signal(signal.SIGTERM)
            assert await running.wait() == 0
            assert time.monotonic() - began < END_WITHIN_S
        assert "Traceback" not in running.log
        assert running.log.count("spans") <= 2
