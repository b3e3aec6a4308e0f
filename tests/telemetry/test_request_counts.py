"""Model Router's counts of requests, models and canaries, and the GenAI ones, each under its documented labels."""

from collections.abc import Iterable

from prometheus_client.core import Metric

from octoroute_py.core.ending import Ended
from octoroute_py.core.rollout import Side, arm_of
from octoroute_py.core.usage import Usage
from octoroute_py.core.words import BreakerState, Surface
from octoroute_py.telemetry.genai_counts import GenAiCounts
from octoroute_py.telemetry.live_rows import BreakerRow, CanaryRow, LiveRows
from octoroute_py.telemetry.model_counts import ModelCounts
from octoroute_py.telemetry.request_counts import CANARY_ERRORS, RequestCounts, Tenants
from octoroute_py.telemetry.semconv import EMBEDDINGS
from octoroute_py.telemetry.served import Served, tenant_of

FAST, DEEP = Served("fast/a#1", "small", "llama_cpp", vendor="groq"), Served("deep/b#1", "large")
VECTORS = Served("fast/v#1", "vectors", "custom", EMBEDDINGS, "cohere")


def told(families: Iterable[Metric]) -> dict[str, float]:
    """Every series that is not zero, buckets aside, as `name{values}`."""
    return {
        f"{sample.name}{{{','.join(sample.labels.values())}}}": sample.value
        for family in families
        for sample in family.samples
        if sample.value and not sample.name.endswith("_bucket")
    }


def test_a_tenant_is_a_hash_and_one_that_nobody_configured_is_other() -> None:
    tenants = Tenants()
    tenants.bind(["team-a"])
    assert tenants.of("team-a") == tenant_of("team-a")
    assert len(tenant_of("team-a")) == 8
    assert tenants.of("") == tenants.of("default") == "37a8eec1"  # SHA-256 of `default`
    assert tenants.of("somebody") == "other"


def test_requests_count_by_route_status_and_tenant() -> None:
    counts = RequestCounts(Tenants())
    counts.ended(Surface.CHAT, 200, tenant="t", seconds=0.2, error=None)
    counts.ended(Surface.EMBEDDINGS, 502, tenant="t", seconds=0.1, error="upstream_error")
    counts.ended(Surface.CHAT, 200, tenant="t", seconds=0.1, error="what-an-upstream-says")
    page = told(counts.collect(LiveRows()))
    assert page["model_router_requests_total{POST,/v1/chat/completions,200,t}"] == 2
    assert page["model_router_requests_total{POST,/v1/embeddings,502,t}"] == 1
    assert page["model_router_errors_total{POST,/v1/embeddings,upstream_error,t}"] == 1
    assert page["model_router_errors_total{POST,/v1/chat/completions,other,t}"] == 1
    assert page["model_router_request_duration_seconds_count{POST,/v1/chat/completions}"] == 2


def test_canaries_count_while_they_run_and_only_their_own_arms() -> None:
    counts = RequestCounts(Tenants())
    counts.bind_canaries(["d"])
    live = LiveRows(canaries=[CanaryRow("d", "old", "new", 25.0), CanaryRow("unbound", "x", "y", 1.0)])
    canary, production = arm_of("d", Side.CANARY), arm_of("d", Side.PRODUCTION)
    counts.decided(f"test:a,{canary}", "success")
    counts.decided(canary, "timeout")
    counts.decided(production, "cancelled")
    counts.decided(arm_of("gone", Side.CANARY), "error")
    assert told(counts.collect(live)) == {
        "model_router_canary_requests_total{d,true,new}": 2,
        "model_router_canary_requests_total{d,false,old}": 1,
        "model_router_canary_errors_total{d,true,new,timeout}": 1,
        "model_router_canary_traffic_split_production{d}": 75,
        "model_router_canary_traffic_split_canary{d}": 25,
    }
    assert set(CANARY_ERRORS) == {each.value for each in Ended} - {Ended.SUCCESS, Ended.CANCELLED}


def test_a_models_requests_tokens_and_money_go_to_their_tenants() -> None:
    counts = ModelCounts("d")
    counts.bind([FAST, DEEP], models=2, latencies=2, agent_types=["coder"])
    counts.attempted("fast/a#1", tenant="d", seconds=0.1, cost_uusd=5)
    counts.attempted("deep/b#1", tenant="d", seconds=0.3, cost_uusd=1_000_000)
    counts.ended("deep/b#1", agent_type="coder", tenant="d", usage=Usage(10, 20, 5), seconds=0.5)
    counts.ended("deep/b#1", agent_type="made-up", tenant="t", usage=None, seconds=0.5)
    page = told(counts.collect(LiveRows()))
    assert page["model_router_model_requests_total{large,openai,coder,d}"] == 1
    assert page["model_router_model_requests_total{large,openai,other,t}"] == 1
    assert page["model_router_tokens_total{large,prompt,d}"] == 10
    assert page["model_router_tokens_total{large,total,d}"] == 30
    assert page["model_router_cost_usd_total{large,openai,d}"] == 1.0
    assert page["model_router_cost_usd_total{small,llama_cpp,d}"] == 5e-6
    assert page["model_router_endpoint_latency_seconds_count{fast/a#1,llama_cpp}"] == 1
    assert page["model_router_model_latency_seconds_count{large,openai}"] == 2


def test_breakers_have_model_routers_own_numbers() -> None:
    counts = ModelCounts("d")
    counts.bind([FAST, DEEP], models=2, latencies=2)
    live = LiveRows(
        breakers=[
            BreakerRow("endpoint", "fast/a#1", BreakerState.OPEN, 1, 7),
            BreakerRow("endpoint", "deep/b#1", BreakerState.HALF_OPEN, 1, 2),
            BreakerRow("tier", "fast", BreakerState.OPEN, 1),
        ],
        up=[("fast/a#1", False), ("deep/b#1", True)],
        pools=[("gateway", 0.25), ("fast/unknown", 0.5)],
    )
    assert told(counts.collect(live)) == {
        "model_router_circuit_breaker_state{small,fast/a#1}": 1,
        "model_router_circuit_breaker_state{large,deep/b#1}": 2,
        "model_router_circuit_breaker_failures_total{small,fast/a#1}": 7,
        "model_router_circuit_breaker_failures_total{large,deep/b#1}": 2,
        "model_router_endpoint_health{deep/b#1,openai}": 1,
        "model_router_bulkhead_pool_usage{gateway}": 0.25,
    }


def test_operations_count_for_the_model_that_is_there_for_them() -> None:
    counts = GenAiCounts()
    counts.bind([FAST, VECTORS], most=2)
    counts.attempted("fast/a#1", "chat", 0.5)
    counts.used("fast/a#1", "chat", Usage(100, 7))
    counts.attempted("fast/v#1", "embeddings", 0.1)
    counts.attempted("fast/a#1", "embeddings", 0.2)
    counts.attempted("gone", "chat", 0.2)
    counts.first_token("chat", 0.3)
    counts.first_token("embeddings", 0.3)
    page = told(counts.collect())
    assert page["gen_ai_client_operation_duration_seconds_sum{chat,groq,small}"] == 0.5
    assert page["gen_ai_client_token_usage_sum{chat,groq,small,input}"] == 100
    assert page["gen_ai_client_token_usage_sum{chat,groq,small,output}"] == 7
    assert page["gen_ai_client_operation_duration_seconds_count{embeddings,cohere,vectors}"] == 1
    assert page["gen_ai_client_operation_duration_seconds_count{embeddings,other,other}"] == 1
    assert page["gen_ai_client_operation_duration_seconds_count{chat,other,other}"] == 1
    assert page["gen_ai_server_time_to_first_token_seconds_count{chat,octoroute}"] == 1


def test_buckets_are_those_of_the_conventions() -> None:
    counts = GenAiCounts()
    counts.bind([FAST], most=1)
    edges: dict[str, list[str]] = {}
    for family in counts.collect():
        edges[family.name] = list(dict.fromkeys(s.labels["le"] for s in family.samples if "le" in s.labels))
    assert [float(edge) for edge in edges["gen_ai_client_operation_duration_seconds"][:-1]] == [
        0.01 * 2**power for power in range(14)
    ]
    assert [float(edge) for edge in edges["gen_ai_client_token_usage"][:-1]] == [4**power for power in range(14)]
    assert len(edges["gen_ai_server_time_to_first_token_seconds"]) == 17
