"""The documented queries of all reference systems, put to a real Prometheus over a gateway under load.

One gateway over simulated model servers, with a rule, a judge, the scorer, a canary, a budget, and an endpoint nobody
answers at; then a Prometheus that scrapes it. Every query gives numbers, and what was counted equals the journal.
"""

import asyncio
import contextlib
import json
import math
import sqlite3
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from octoroute_py.cli.demo import demo_config
from octoroute_py.simulator.fleet import serve_fleet
from tests.fakes.gateway import gateway
from tests.fakes.repository import ROOT
from tests.fakes.waiting import until
from tests.prometheus.server import PROMETHEUS, Prometheus, free_port, prometheus

pytestmark = [
    pytest.mark.skipif(PROMETHEUS is None, reason="no prometheus on the PATH (Debian: prometheus)"),
    pytest.mark.asyncio(loop_scope="module"),
]

QUERIES = tomllib.loads((ROOT / "tests" / "prometheus" / "queries.toml").read_text())["queries"]
PUT = [each for each in QUERIES if "left_out" not in each]
PROMPTS = (
    "hello there",
    "What is the capital of France?",
    "What are the eigenvalues of the matrix [[2,1],[1,2]] and why?",  # which the scorer leaves to the judge
    "Analyze the trade-offs of caching in distributed systems, in depth.",
    "Write a poem about a lighthouse keeper who talks to the sea.",
    "Summarize the following document: " + "the quick brown fox jumps over the lazy dog. " * 30,
)
MORE = """
[retry]
max_attempts = 1

[limits]
max_in_flight = 500

[[models.deep]]
name = "gone"
base_url = "http://127.0.0.1:{port}/v1"
priority = 0
max_in_flight = 50
input_cost_per_mtok = 1.0
output_cost_per_mtok = 1.0

[routing.neural]
max_uncertainty = 0.2

[[routing.rules]]
name = "greetings"
when.max_tokens = 3
tier = "fast"
"""


class Exam:
    """The gateway's address, its journal, and who scrapes it."""

    def __init__(self, client: httpx.AsyncClient, server: Prometheus, journal: Path) -> None:
        self.client = client
        self.server = server
        self.journal = journal

    async def api(self, path: str, body: Any) -> None:
        answer = await self.client.post(f"/api{path}", json=body)
        assert answer.is_success, answer.text

    async def chat(self, number: int, model: str = "auto", **more: Any) -> int:
        messages = [{"role": "user", "content": f"{PROMPTS[number % len(PROMPTS)]}"}]
        headers = {"x-octoroute-workspace": "team-a"} if number % 3 == 0 else {}
        body = {"model": model, "messages": messages, "user": f"u{number}", "max_tokens": 12, **more}
        return (await self.client.post("/v1/chat/completions", json=body, headers=headers)).status_code

    async def load(self) -> None:
        """Traffic of every kind, of which most goes well."""
        autos = [self.chat(number, stream=number % 2 == 0) for number in range(30)]
        named = [self.chat(number, model) for number in range(6) for model in ("fast", "balanced", "deep", "sim-fast")]
        wrong = [self.chat(number, f"no-such-model-{number}") for number in range(5)]
        broken = [self.chat(number, "gone") for number in range(7)]
        candidates = {
            "queryEmbedding": [1.0, 0.5],
            "candidates": [{"id": f"c{number}", "embedding": [0.5, number / 20]} for number in range(12)],
        }
        rankings = [self.client.post("/api/neural/route", json=candidates) for _ in range(3)]
        found = await asyncio.gather(*autos, *named, *wrong, *broken)
        assert set(found[: len(autos) + len(named)]) == {200}
        assert set(found[-len(broken) :]) <= {502, 503}
        assert {answer.status_code for answer in await asyncio.gather(*rankings)} == {200}

    def rows(self, sql: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.journal)) as connection:
            return connection.execute(sql).fetchall()


async def prepare(exam: Exam) -> None:
    """A health score, a budget and a canary that runs."""
    await exam.api("/models/sim-fast/health", {"uptime": 99, "errorRate": 0.01})
    budget = {"budgetLimits": {"daily": 100.0, "monthly": 1000.0}}
    await exam.api("/workspaces/team-a/config", budget)
    order = {
        "id": "d",
        "name": "balanced for fast",
        "productionModelId": "sim-fast",
        "canaryModelId": "sim-balanced",
        "trafficSplit": {"production": 50, "canary": 50},
        "successCriteria": {"minRequests": 10_000},
    }
    await exam.api("/canary/deployments", order)
    await exam.api("/canary/deployments/d/start", None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exam(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Exam]:
    folder = tmp_path_factory.mktemp("exam")
    async with await serve_fleet(speed=50.0) as fleet:
        config = demo_config({tier: each.base_url for tier, each in fleet.simulators.items()})
        async with gateway(config + MORE.format(port=free_port()), folder) as process:
            (folder / "prometheus").mkdir()
            limits = httpx.Limits(max_connections=16)
            async with (
                httpx.AsyncClient(base_url=process.url, timeout=30.0, limits=limits) as client,
                prometheus(process.port, folder / "prometheus") as server,
            ):
                made = Exam(client, server, folder / "octoroute.db")

                async def ready() -> bool:
                    return (await client.get("/health/ready")).status_code == 200

                await until(ready, 30.0)
                await prepare(made)
                await server.scraped(1)
                for _ in range(3):
                    await made.load()
                    await server.scraped(1)
                await server.scraped(2)
                yield made


@pytest.mark.parametrize("asked", PUT, ids=lambda asked: asked["asked"])
async def test_a_documented_query_gives_numbers(exam: Exam, asked: dict[str, Any]) -> None:
    found = await exam.server.query(asked.get("query", asked["asked"]))
    finite = [sample for sample in found if math.isfinite(sample.value)]
    assert finite
    if not asked.get("idle_labels"):  # then some of its labels have seen nothing yet
        assert finite == found


async def test_every_family_counts_what_the_journal_has(exam: Exam) -> None:
    number = exam.server.number
    [(requests, prompt, completion, cost)] = exam.rows(
        "SELECT count(*), sum(prompt_tokens), sum(completion_tokens), sum(cost_uusd) FROM journal"
        " WHERE surface != 'judge'"
    )
    [(judged, of_judge, cost_of_judge)] = exam.rows(
        "SELECT count(*), sum(prompt_tokens), sum(cost_uusd) FROM journal WHERE surface = 'judge'"
    )
    assert requests >= 190
    assert judged > 0
    assert await number("sum(octoroute_request_duration_seconds_count)") == requests
    assert await number("sum(model_router_requests_total)") == requests
    assert await number("sum(octoroute_judge_calls_total)") == judged
    assert await number('sum(octoroute_tokens_total{kind="prompt"})') == prompt + of_judge
    assert await number('sum(model_router_tokens_total{token_type="prompt"})') == prompt
    assert await number('sum(model_router_tokens_total{token_type="total"})') == prompt + completion
    assert await number('sum(gen_ai_client_token_usage_sum{gen_ai_token_type="output"})') == completion
    assert await number("sum(octoroute_cost_usd_total)") == pytest.approx((cost + cost_of_judge) / 1e6, abs=1e-9)
    assert await number("sum(model_router_cost_usd_total)") == pytest.approx(cost / 1e6, abs=1e-9)


async def test_tiers_models_statuses_and_tenants_are_those_of_the_journal(exam: Exam) -> None:
    server = exam.server
    by_tier = {
        (each.labels["tier"], each.labels["strategy"]): each.value
        for each in await server.query("octoroute_requests_total > 0")
    }
    assert by_tier == {
        (tier, strategy): count
        for tier, strategy, count in exam.rows(
            "SELECT tier, strategy, count(*) FROM journal WHERE surface != 'judge' AND strategy IS NOT NULL"
            " GROUP BY tier, strategy"
        )
    }
    by_status = {
        int(each.labels["status_code"]): each.value
        for each in await server.query("sum by (status_code) (model_router_requests_total) > 0")
    }
    assert by_status == dict(exam.rows("SELECT status, count(*) FROM journal WHERE surface != 'judge' GROUP BY status"))
    by_tenant = sorted(
        each.value for each in await server.query("sum by (tenant_id_hash) (model_router_requests_total) > 0")
    )
    assert by_tenant == sorted(
        count for (count,) in exam.rows("SELECT count(*) FROM journal WHERE surface != 'judge' GROUP BY workspace")
    )
    [(arms,)] = exam.rows("SELECT count(*) FROM journal WHERE arms LIKE 'canary/d:%'")
    assert arms > 0
    assert await server.number("sum(model_router_canary_requests_total)") == arms


async def test_the_networks_have_told_of_their_work(exam: Exam) -> None:
    number = exam.server.number
    assert await number('tiny_dancer_model_inference_duration_seconds_count{model_type="fastgrnn_candidates"}') == 9
    assert await number('tiny_dancer_model_inference_duration_seconds_count{model_type="fastgrnn"}') > 0
    assert await number("sum(tiny_dancer_candidates_processed_total)") == 9 * 12
    routed = await number('tiny_dancer_routing_requests_total{status="success"}')
    assert await number("sum(tiny_dancer_routing_decisions_total)") == routed
    assert await number("tiny_dancer_requests_total") == routed + await number("tiny_dancer_errors_total")
    assert await number('tiny_dancer_latency_microseconds{quantile="0.5"}') > 0


DASHBOARDS = [
    (f"{path.stem}: {panel['title']}", target["expr"])
    for path in sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
    for panel in json.loads(path.read_text())["panels"]
    for target in panel.get("targets", [])
]
QUIET = {"upstreams: Failures to track health"}
"""Panels that show nothing as long as nothing of the kind has happened."""


@pytest.mark.parametrize(("where", "query"), DASHBOARDS, ids=lambda value: value[:60])
async def test_a_query_of_a_dashboard_is_answered(exam: Exam, where: str, query: str) -> None:
    for name, value in (("$instance", ".*"), ("$__rate_interval", "5m"), ("$__range", "5m")):
        query = query.replace(name, value)
    found = await exam.server.query(query)
    assert bool(found) is (where not in QUIET), where


async def test_the_baseline_is_that_of_the_journal(exam: Exam) -> None:
    [(baseline,)] = exam.rows("SELECT sum(baseline_uusd) FROM journal WHERE surface != 'judge'")
    assert baseline > 0
    assert await exam.server.number("octoroute_baseline_usd_total") == pytest.approx(baseline / 1e6, abs=1e-9)
