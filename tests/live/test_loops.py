"""Endpoints that lead back to the gateway that asks them."""

from pathlib import Path

import msgspec

from tests.fakes.client import ask, chat, get, post
from tests.fakes.gateway import gateway, rule_config
from tests.fakes.upstream import FakeUpstream

MORE = '[health]\nenabled = false\n[storage]\nurl = "sqlite:///octoroute.db"\n'


async def test_a_registered_endpoint_that_is_the_gateway_itself_fails_at_once_and_not_for_ever(tmp_path: Path) -> None:
    async with FakeUpstream() as upstream:
        urls = [upstream.base_url]
        async with gateway(rule_config(urls, urls, urls, more=MORE), tmp_path) as running:
            itself = {
                "id": "itself",
                "name": "itself",
                "provider": "custom",
                "status": "testing",
                "upstreamModel": "itself",
                "endpoints": [{"url": f"http://127.0.0.1:{running.port}/v1"}],
            }
            made = await ask(running.port, post(msgspec.json.encode(itself), path="/api/models"))
            assert made.status == 201, made.body
            answer = await ask(running.port, post(chat(model="itself")))
            assert answer.status == 502
            sent = 'octoroute_upstream_requests_total{endpoint="itself:1",status_class="5xx"} '
            metrics = (await ask(running.port, get("/metrics?family=octoroute"))).body.decode()
            assert 1 <= float(metrics.partition(sent)[2].partition("\n")[0]) <= 3  # with retries
            assert "octoroute_in_flight_requests 0.0" in metrics
