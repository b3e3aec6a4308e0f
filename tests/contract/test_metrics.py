"""`/metrics` as a Prometheus server finds it."""

import asyncio
import random
import re
from collections.abc import Iterator

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.client import Answer, ask, chat, get, post
from tests.fakes.house import House

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Types and labels of the eight families of octoroute 1.0.0, by the name the parser gives them.
OLD = {
    "octoroute_requests": ("counter", {"tier", "strategy"}),
    "octoroute_routing_duration_ms": ("histogram", {"strategy"}),
    "octoroute_model_invocations": ("counter", {"tier"}),
    "octoroute_health_tracking_failures": ("counter", {"endpoint", "error_type"}),
    "octoroute_metrics_recording_failures": ("counter", {"operation"}),
    "octoroute_background_health_task_failures": ("counter", {"failure_type"}),
    "octoroute_clock_errors": ("counter", set()),
    "octoroute_baseline_usd": ("counter", set()),
    "octoroute_cost_usd": ("counter", {"endpoint"}),
    "octoroute_limited_requests": ("counter", {"subject", "limit"}),
    "octoroute_budget_events": ("counter", {"subject", "level"}),
    "octoroute_journal_skipped": ("counter", set()),
    "octoroute_journal_rows": ("gauge", {"where"}),
    "octoroute_journal_lost": ("counter", set()),
    "octoroute_storage_state": ("gauge", {"state"}),
    "octoroute_mid_stream_failures": ("counter", {"endpoint"}),
}
NEW = {
    "octoroute_request_duration_seconds": ("histogram", {"tier", "status_class"}),
    "octoroute_time_to_first_event_seconds": ("histogram", {"tier"}),
    "octoroute_in_flight_requests": ("gauge", set()),
    "octoroute_upstream_requests": ("counter", {"endpoint", "status_class"}),
    "octoroute_retries": ("counter", {"tier"}),
    "octoroute_tier_fallbacks": ("counter", {"from_tier", "to_tier"}),
    "octoroute_endpoint_available": ("gauge", {"endpoint"}),
    "octoroute_breaker_state": ("gauge", {"scope", "id", "state"}),
    "octoroute_breaker_trips": ("counter", {"scope", "id"}),
    "octoroute_tokens": ("counter", {"endpoint", "kind"}),
    "octoroute_refused_requests": ("counter", {"reason"}),
    "octoroute_decisions": ("counter", {"strategy", "reason"}),
    "octoroute_config_reloads": ("counter", {"outcome"}),
    "octoroute_spans_exported": ("counter", set()),
    "octoroute_spans_dropped": ("counter", {"reason"}),
    "octoroute_drained_endpoints": ("gauge", set()),
    "octoroute_judge_calls": ("counter", {"result"}),
    "octoroute_judge_cost_usd": ("counter", set()),
    "octoroute_judge_tokens": ("counter", {"kind"}),
    "model_router_model_health_score": ("gauge", {"model_id"}),
    "model_router_routing_rule_matches": ("unknown", {"rule_id"}),
}
DANCER = {
    "tiny_dancer_requests": ("counter", set()),
    "tiny_dancer_lightweight_routes": ("counter", set()),
    "tiny_dancer_powerful_routes": ("counter", set()),
    "tiny_dancer_inference_time_microseconds": ("gauge", set()),
    "tiny_dancer_latency_microseconds": ("gauge", {"quantile"}),
    "tiny_dancer_errors": ("counter", set()),
    "tiny_dancer_circuit_breaker_trips": ("counter", set()),
    "tiny_dancer_uptime_seconds": ("gauge", set()),
    "tiny_dancer_routing_requests": ("counter", {"status"}),
    "tiny_dancer_routing_latency_seconds": ("histogram", {"operation"}),
    "tiny_dancer_feature_engineering_duration_seconds": ("histogram", {"batch_size"}),
    "tiny_dancer_model_inference_duration_seconds": ("histogram", {"model_type"}),
    "tiny_dancer_circuit_breaker_state": ("gauge", set()),
    "tiny_dancer_routing_decisions": ("counter", {"model_type"}),
    "tiny_dancer_errors_by_type": ("counter", {"error_type"}),
    "tiny_dancer_candidates_processed": ("counter", {"batch_size_range"}),
    "tiny_dancer_confidence_scores": ("histogram", {"decision_type"}),
    "tiny_dancer_uncertainty_estimates": ("histogram", {"decision_type"}),
}
ROUTER = {
    "model_router_requests": ("counter", {"method", "route", "status_code", "tenant_id_hash"}),
    "model_router_request_duration_seconds": ("histogram", {"method", "route"}),
    "model_router_errors": ("counter", {"method", "route", "error_type", "tenant_id_hash"}),
    "model_router_circuit_breaker_state": ("gauge", {"model_id", "circuit_breaker_name"}),
    "model_router_circuit_breaker_failures": ("counter", {"model_id", "circuit_breaker_name"}),
    "model_router_endpoint_health": ("gauge", {"endpoint_url", "model_provider"}),
    "model_router_endpoint_latency_seconds": ("histogram", {"endpoint_url", "model_provider"}),
    "model_router_bulkhead_pool_usage": ("gauge", {"pool_name"}),
    "model_router_model_requests": ("counter", {"model_id", "model_provider", "agent_type", "tenant_id_hash"}),
    "model_router_model_latency_seconds": ("histogram", {"model_id", "model_provider"}),
    "model_router_tokens": ("counter", {"model_id", "token_type", "tenant_id_hash"}),
    "model_router_cost_usd": ("counter", {"model_id", "model_provider", "tenant_id_hash"}),
    "model_router_canary_requests": ("counter", {"deployment_id", "is_canary", "model_id"}),
    "model_router_canary_errors": ("counter", {"deployment_id", "is_canary", "model_id", "error_type"}),
    "model_router_canary_traffic_split_production": ("gauge", {"deployment_id"}),
    "model_router_canary_traffic_split_canary": ("gauge", {"deployment_id"}),
    "model_router_canary_deployments_total": ("gauge", {"status"}),
    "model_router_models_total": ("gauge", {"status"}),
    "model_router_routing_rules_total": ("gauge", {"enabled"}),
    "model_router_workspace_budget_utilization": ("gauge", {"workspace_id"}),
    "model_router_workspace_daily_spend": ("gauge", {"workspace_id"}),
}
_GEN_AI = {"gen_ai_operation_name", "gen_ai_provider_name"}
GEN_AI = {
    "gen_ai_client_operation_duration_seconds": ("histogram", {*_GEN_AI, "gen_ai_request_model"}),
    "gen_ai_client_token_usage": ("histogram", {*_GEN_AI, "gen_ai_request_model", "gen_ai_token_type"}),
    "gen_ai_server_time_to_first_token_seconds": ("histogram", _GEN_AI),
}
ALL = OLD | NEW | DANCER | ROUTER | GEN_AI
BUCKETS_MS = ["0.1", "0.5", "1", "5", "10", "50", "100", "500", "1000", "+Inf"]
SAMPLE_LINE = re.compile(
    r"(?:octoroute|tiny_dancer|model_router|gen_ai)_[a-z_]+"
    r'(\{[a-z_]+="[^"\\]*"(,[a-z_]+="[^"\\]*")*\})? (\d|\+Inf|-Inf|NaN)\S*'
)

ENDPOINTS = {"fast/small#1", "fast/org#1", "balanced/middle#1", "balanced/middle#2", "deep/large#1"}
TIERS = {"fast", "balanced", "deep"}
LABELS = {
    "tier": TIERS | {"none"},
    "from_tier": TIERS,
    "to_tier": TIERS,
    "endpoint": ENDPOINTS,
    "id": ENDPOINTS | TIERS,
    "scope": {"endpoint", "tier"},
    "state": {"closed", "open", "half_open", "ok", "degraded", "refused", "off"},
    "subject": {"key", "workspace", "agent_type", "ip"},
    "limit": {"requests", "tokens", "concurrent", "budget"},
    "level": {"80", "100"},
    "where": {"waiting", "spool", "memory"},
    "strategy": {"rule", "llm", "neural", "tool"},
    "status_class": {"2xx", "3xx", "4xx", "5xx", "error"},
    "kind": {"prompt", "completion", "cached"},
}


async def scrape(house: House, query: str = "") -> Answer:
    answer = await house.ask(get(f"/metrics{query}"))
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer


def families(page: bytes) -> dict[str, Metric]:
    """The page as prometheus-client reads it."""
    found = list(text_string_to_metric_families(page.decode()))
    assert len({family.name for family in found}) == len(found)
    return {family.name: family for family in found}


def series(page: bytes) -> Iterator[str]:
    """Every sample line."""
    return (line for line in page.decode().splitlines() if line and not line.startswith("#"))


async def value(house: House, name: str, **labels: str) -> float:
    """A sample's value."""
    read = families((await scrape(house)).body)
    [found] = [
        sample.value
        for family in read.values()
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    return float(found)


async def test_an_untouched_gateway_has_every_family(house: House) -> None:
    read = families((await scrape(house)).body)
    for name, (kind, labels) in ALL.items():
        family = read[name]
        assert family.type == kind
        assert family.documentation
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == labels
    assert set(read) == set(ALL)


async def test_old_buckets_are_kept(house: House) -> None:
    family = families((await scrape(house)).body)["octoroute_routing_duration_ms"]
    edges = [
        sample.labels["le"]
        for sample in family.samples
        if sample.name.endswith("_bucket") and sample.labels["strategy"] == "rule"
    ]
    assert edges == BUCKETS_MS


async def test_every_family_has_help_and_type_before_its_samples(house: House) -> None:
    page = (await scrape(house)).body.decode()
    told: set[str] = set()
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            name = line.split()[2]
            assert f"# HELP {name} " in page
            told.add(name)
        elif not line.startswith("#"):
            name = re.split(r"[{ ]", line)[0]
            assert name in told or re.sub(r"_(bucket|sum|count)$", "", name) in told


async def test_every_line_is_well_formed_and_no_series_is_there_twice(house: House) -> None:
    lines = list(series((await scrape(house)).body))
    assert [line for line in lines if SAMPLE_LINE.fullmatch(line) is None] == []
    names = [line.rpartition(" ")[0] for line in lines]
    assert len(names) == len(set(names))
    for line in lines:
        float(line.rpartition(" ")[2])


async def test_concurrent_scrapes_of_an_idle_gateway_are_identical(house: House) -> None:
    pages = await asyncio.gather(*[scrape(house) for _ in range(10)])
    assert len({page.body for page in pages}) == 1


async def test_one_family_can_be_asked_for(house: House) -> None:
    page = await scrape(house, "?family=octoroute")
    assert [line for line in series(page.body) if not line.startswith("octoroute_")] == []
    assert len(list(series(page.body))) > 100
    for other in ("tiny_dancer", "model_router", "gen_ai"):
        assert [line for line in series((await scrape(house, f"?family={other}")).body) if other not in line] == []
    assert (await house.ask(get("/metrics?family=nonsense"))).status == 400


async def test_labels_hold_nothing_that_clients_made_up(house: House) -> None:
    before = {line.rpartition(" ")[0] for line in series((await scrape(house)).body)}
    rng = random.Random(1)
    made_up = ["".join(rng.choices('abcdefghij-/#{}"\\\n', k=rng.randrange(1, 80))) for _ in range(50)]
    headers = {
        "x-octoroute-workspace": "made-up-workspace",
        "x-octoroute-tag": "made-up-tag",
        "x-request-id": "made-up",
    }
    statuses = [
        (await ask(house.gateway.port, post(chat(model=f"x{name}"), headers=headers))).status for name in made_up
    ]
    assert set(statuses) == {404}
    assert (await ask(house.gateway.port, post(chat(model="fast"), headers=headers))).status == 200
    page = (await scrape(house)).body
    assert {line.rpartition(" ")[0] for line in series(page)} == before
    for family in families(page).values():
        for sample in family.samples:
            for label, text in sample.labels.items():
                assert text in LABELS.get(label, {text}), (sample.name, label, text)
    assert b"made-up" not in page


async def test_requests_are_counted_where_they_went(house: House) -> None:
    before = await value(house, "octoroute_requests_total", tier="balanced", strategy="rule")
    invoked = await value(house, "octoroute_model_invocations_total", tier="balanced")
    timed = await value(house, "octoroute_routing_duration_ms_count", strategy="rule")
    for stream in (False, True, False):
        await house.ask(post(chat(model="balanced", stream=stream)))
    assert await value(house, "octoroute_requests_total", tier="balanced", strategy="rule") == before + 3
    assert await value(house, "octoroute_model_invocations_total", tier="balanced") == invoked + 3
    assert await value(house, "octoroute_routing_duration_ms_count", strategy="rule") == timed + 3
    assert await value(house, "octoroute_in_flight_requests") == 0
