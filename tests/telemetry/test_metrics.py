import math
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from octoroute_py.admission.claims import Subject
from octoroute_py.admission.limits import Measure
from octoroute_py.admission.tallies import LEVELS
from octoroute_py.core.usage import Usage
from octoroute_py.core.words import TIERS, BreakerState, Keeping, Reason, Strategy, Tier
from octoroute_py.telemetry.labels import JUDGE_RESULTS, BackgroundFailure, HealthFailure, RecordingFailure
from octoroute_py.telemetry.ledger_counts import BUDGET_LEVELS, LIMITS, SUBJECTS, KeepingRow
from octoroute_py.telemetry.live_rows import BreakerRow, LiveRows
from octoroute_py.telemetry.metrics import FAMILIES, Metrics
from octoroute_py.telemetry.served import Known, Served

TIER = {"fast", "balanced", "deep"}
STRATEGY = {"rule", "llm", "neural", "tool"}
CLASSES = {"2xx", "3xx", "4xx", "5xx"}
ENDPOINT = {"fast/a", "deep/b"}

# Name to kind and labels, and for each label the values it may have (contract §6, octoroute 1.0.0).
EXPECTED: dict[str, tuple[str, dict[str, set[str]]]] = {
    "octoroute_requests_total": ("counter", {"tier": TIER, "strategy": STRATEGY}),
    "octoroute_routing_duration_ms": ("histogram", {"strategy": STRATEGY}),
    "octoroute_model_invocations_total": ("counter", {"tier": TIER}),
    "octoroute_health_tracking_failures_total": (
        "counter",
        {"endpoint": ENDPOINT, "error_type": {"unknown_endpoint", "http_client_failed", "invalid_url"}},
    ),
    "octoroute_metrics_recording_failures_total": (
        "counter",
        {
            "operation": {
                "record_request",
                "record_routing_duration",
                "record_model_invocation",
                "record_outcome",
                "write_access_line",
            }
        },
    ),
    "octoroute_background_health_task_failures_total": (
        "counter",
        {"failure_type": {"panic", "unexpected_termination"}},
    ),
    "octoroute_clock_errors_total": ("counter", {}),
    "octoroute_config_reloads_total": ("counter", {"outcome": {"applied", "refused"}}),
    "octoroute_drained_endpoints": ("gauge", {}),
    "octoroute_judge_calls_total": ("counter", {"result": set(JUDGE_RESULTS)}),
    "octoroute_judge_cost_usd_total": ("counter", {}),
    "octoroute_judge_tokens_total": ("counter", {"kind": {"prompt", "completion", "cached"}}),
    "octoroute_refused_requests_total": (
        "counter",
        {"reason": {"invalid_api_key", "permission_denied", "rate_limit_exceeded"}},
    ),
    "octoroute_mid_stream_failures_total": ("counter", {"endpoint": ENDPOINT}),
    "octoroute_request_duration_seconds": ("histogram", {"tier": TIER | {"none"}, "status_class": CLASSES}),
    "octoroute_time_to_first_event_seconds": ("histogram", {"tier": TIER}),
    "octoroute_in_flight_requests": ("gauge", {}),
    "octoroute_upstream_requests_total": ("counter", {"endpoint": ENDPOINT, "status_class": CLASSES | {"error"}}),
    "octoroute_retries_total": ("counter", {"tier": TIER}),
    "octoroute_tier_fallbacks_total": ("counter", {"from_tier": TIER, "to_tier": TIER}),
    "octoroute_endpoint_available": ("gauge", {"endpoint": ENDPOINT}),
    "octoroute_breaker_state": (
        "gauge",
        {"scope": {"endpoint", "tier"}, "id": ENDPOINT | TIER, "state": {"closed", "open", "half_open"}},
    ),
    "octoroute_breaker_trips_total": ("counter", {"scope": {"endpoint", "tier"}, "id": ENDPOINT | TIER}),
    "octoroute_tokens_total": ("counter", {"endpoint": ENDPOINT, "kind": {"prompt", "completion", "cached"}}),
    "octoroute_baseline_usd_total": ("counter", {}),
    "octoroute_cost_usd_total": ("counter", {"endpoint": ENDPOINT}),
    "octoroute_limited_requests_total": ("counter", {"subject": set(SUBJECTS), "limit": set(LIMITS)}),
    "octoroute_budget_events_total": ("counter", {"subject": set(SUBJECTS), "level": {"80", "100"}}),
    "octoroute_journal_skipped_total": ("counter", {}),
    "octoroute_journal_rows": ("gauge", {"where": {"waiting", "spool", "memory"}}),
    "octoroute_journal_lost_total": ("counter", {}),
    "octoroute_spans_exported_total": ("counter", {}),
    "octoroute_spans_dropped_total": ("counter", {"reason": {"queue_full", "export_failed", "broken"}}),
    "octoroute_storage_state": ("gauge", {"state": set(Keeping)}),
    "octoroute_decisions_total": ("counter", {"strategy": STRATEGY, "reason": {reason.value for reason in Reason}}),
}

Key = tuple[str, tuple[tuple[str, str], ...]]


def live() -> LiveRows:
    return LiveRows(
        breakers=(
            *(BreakerRow("endpoint", endpoint_id, BreakerState.CLOSED, 0) for endpoint_id in sorted(ENDPOINT)),
            *(BreakerRow("tier", tier.value, BreakerState.HALF_OPEN, 3) for tier in TIERS),
        ),
        available=tuple((endpoint_id, endpoint_id == "fast/a") for endpoint_id in sorted(ENDPOINT)),
        health=(("gpt-4o", 85.39), ("small", 0.0)),
        keeping=KeepingRow(Keeping.DEGRADED, waiting=3, spooled=2, unkept=1, lost=4),
    )


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics(live=live)
    endpoints = (Served("deep/b", "gpt-4o"), Served("fast/a", "small"))
    made.know(Known(endpoints=endpoints, rules=("config:night", "vip")))
    return made


def samples(page: bytes) -> dict[Key, float]:
    """Every series of a page; fails on one that is there twice."""
    found: dict[Key, float] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics.render())[name, tuple(sorted(labels.items()))]


def test_every_metric_has_its_help_its_type_and_only_these_labels(metrics: Metrics) -> None:
    page = metrics.render("octoroute").decode()
    assert dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.M)) == {name: kind for name, (kind, _) in EXPECTED.items()}
    assert Counter(re.findall(r"^# HELP (\S+) \S", page, re.M)) == Counter(EXPECTED.keys())
    for name, labels in samples(page.encode()):
        _, allowed = EXPECTED[name if name in EXPECTED else re.sub("_(bucket|count|sum)$", "", name)]
        own = dict(labels)
        own.pop("le", None)
        assert own.keys() == allowed.keys()
        assert all(own[label] in values for label, values in allowed.items())


def test_there_are_no_creation_times_and_no_process_metrics(metrics: Metrics) -> None:
    names = {name for name, _ in samples(metrics.render())}
    assert not any(name.endswith("_created") for name in names)
    assert all(name.startswith(FAMILIES) for name in names)


def test_a_gateway_without_endpoints_has_a_page() -> None:
    assert b"octoroute_tokens_total" in Metrics().render()


def test_old_histogram_buckets_are_kept(metrics: Metrics) -> None:
    bounds = [
        dict(labels)["le"]
        for name, labels in samples(metrics.render())
        if name == "octoroute_routing_duration_ms_bucket" and ("strategy", "rule") in labels
    ]
    assert bounds == ["0.1", "0.5", "1", "5", "10", "50", "100", "500", "1000", "+Inf"]


def test_bucket_edges_are_inclusive(metrics: Metrics) -> None:
    metrics.routing_duration(Strategy.RULE, 0.5)
    metrics.routing_duration(Strategy.RULE, 0.5000001)
    bucket = "octoroute_routing_duration_ms_bucket"
    assert value(metrics, bucket, strategy="rule", le="0.1") == 0
    assert value(metrics, bucket, strategy="rule", le="0.5") == 1
    assert value(metrics, bucket, strategy="rule", le="1") == 2
    assert value(metrics, "octoroute_routing_duration_ms_count", strategy="rule") == 2


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_an_impossible_duration_is_a_recording_failure(metrics: Metrics, bad: float) -> None:
    metrics.routing_duration(Strategy.RULE, bad)
    metrics.finished(Tier.FAST, 200, bad)
    failures = "octoroute_metrics_recording_failures_total"
    assert value(metrics, failures, operation="record_routing_duration") == 1
    assert value(metrics, failures, operation="record_request") == 1
    assert value(metrics, "octoroute_routing_duration_ms_count", strategy="rule") == 0
    assert metrics.percentiles() is None


def test_what_happens_is_counted_where_it_belongs(metrics: Metrics) -> None:
    metrics.in_flight_inc()
    metrics.in_flight_inc()
    metrics.in_flight_dec()
    metrics.request_routed(Tier.FAST, Strategy.RULE, Reason.RULE_MATCHED)
    metrics.model_invoked(Tier.FAST)
    metrics.finished(Tier.FAST, 200, 0.2)
    metrics.finished(None, 401, 0.001)
    metrics.finished(Tier.DEEP, 499, 3.0)
    metrics.first_event(Tier.DEEP, 0.02)
    metrics.upstream("fast/a", 503)
    metrics.upstream("fast/a", None)
    metrics.retry(Tier.FAST)
    metrics.fallback(Tier.FAST, Tier.BALANCED)
    metrics.tokens("fast/a", Usage(10, 20, 5))
    metrics.mid_stream_failure("deep/b")
    metrics.health_tracking_failure("deep/b", HealthFailure.INVALID_URL)
    metrics.health_task_failure(BackgroundFailure.PANIC)
    metrics.clock_error()
    metrics.cost("fast/a", 1_250_000)
    metrics.ledger.limited("key", "requests")
    metrics.ledger.limited("made-up", "requests")
    metrics.ledger.budget_reached("workspace", 80)
    metrics.ledger.budget_reached("workspace", 81)
    metrics.ledger.journal_skipped()
    page = metrics.render("octoroute")
    nonzero = {key: number for key, number in samples(page).items() if number and "_bucket" not in key[0]}
    expected: dict[Key, float] = {
        ("octoroute_in_flight_requests", ()): 1,
        ("octoroute_requests_total", (("strategy", "rule"), ("tier", "fast"))): 1,
        ("octoroute_decisions_total", (("reason", "rule_matched"), ("strategy", "rule"))): 1,
        ("octoroute_model_invocations_total", (("tier", "fast"),)): 1,
        ("octoroute_request_duration_seconds_count", (("status_class", "2xx"), ("tier", "fast"))): 1,
        ("octoroute_request_duration_seconds_sum", (("status_class", "2xx"), ("tier", "fast"))): 0.2,
        ("octoroute_request_duration_seconds_count", (("status_class", "4xx"), ("tier", "none"))): 1,
        ("octoroute_request_duration_seconds_sum", (("status_class", "4xx"), ("tier", "none"))): 0.001,
        ("octoroute_request_duration_seconds_count", (("status_class", "4xx"), ("tier", "deep"))): 1,
        ("octoroute_request_duration_seconds_sum", (("status_class", "4xx"), ("tier", "deep"))): 3.0,
        ("octoroute_time_to_first_event_seconds_count", (("tier", "deep"),)): 1,
        ("octoroute_time_to_first_event_seconds_sum", (("tier", "deep"),)): 0.02,
        ("octoroute_upstream_requests_total", (("endpoint", "fast/a"), ("status_class", "5xx"))): 1,
        ("octoroute_upstream_requests_total", (("endpoint", "fast/a"), ("status_class", "error"))): 1,
        ("octoroute_retries_total", (("tier", "fast"),)): 1,
        ("octoroute_tier_fallbacks_total", (("from_tier", "fast"), ("to_tier", "balanced"))): 1,
        ("octoroute_tokens_total", (("endpoint", "fast/a"), ("kind", "prompt"))): 10,
        ("octoroute_tokens_total", (("endpoint", "fast/a"), ("kind", "completion"))): 20,
        ("octoroute_tokens_total", (("endpoint", "fast/a"), ("kind", "cached"))): 5,
        ("octoroute_mid_stream_failures_total", (("endpoint", "deep/b"),)): 1,
        ("octoroute_health_tracking_failures_total", (("endpoint", "deep/b"), ("error_type", "invalid_url"))): 1,
        ("octoroute_background_health_task_failures_total", (("failure_type", "panic"),)): 1,
        ("octoroute_clock_errors_total", ()): 1,
        ("octoroute_cost_usd_total", (("endpoint", "fast/a"),)): 1.25,
        ("octoroute_limited_requests_total", (("limit", "requests"), ("subject", "key"))): 1,
        ("octoroute_budget_events_total", (("level", "80"), ("subject", "workspace"))): 1,
        ("octoroute_journal_skipped_total", ()): 1,
        ("octoroute_journal_rows", (("where", "waiting"),)): 3,
        ("octoroute_journal_rows", (("where", "spool"),)): 2,
        ("octoroute_journal_rows", (("where", "memory"),)): 1,
        ("octoroute_storage_state", (("state", "degraded"),)): 1,
        ("octoroute_journal_lost_total", ()): 4,
        ("octoroute_endpoint_available", (("endpoint", "fast/a"),)): 1,
        **{
            ("octoroute_breaker_state", (("id", name), ("scope", "endpoint"), ("state", "closed"))): 1
            for name in ENDPOINT
        },
        **{("octoroute_breaker_state", (("id", name), ("scope", "tier"), ("state", "half_open"))): 1 for name in TIER},
        **{("octoroute_breaker_trips_total", (("id", name), ("scope", "tier"))): 3 for name in TIER},
    }
    assert nonzero == expected


def test_refusals_are_counted_by_a_closed_set_of_reasons(metrics: Metrics) -> None:
    for code in ("invalid_api_key", "invalid_api_key", "permission_denied", "rate_limit_exceeded", "made-up"):
        metrics.refused(code)
    page = samples(metrics.render())
    assert {
        labels: number for (name, labels), number in page.items() if name == "octoroute_refused_requests_total"
    } == {
        (("reason", "invalid_api_key"),): 2,
        (("reason", "permission_denied"),): 1,
        (("reason", "rate_limit_exceeded"),): 1,
    }


def test_counts_for_info(metrics: Metrics) -> None:
    metrics.finished(Tier.FAST, 200, 0.2)
    metrics.finished(Tier.FAST, 502, 0.4)
    metrics.finished(None, 404, 0.001)
    metrics.tokens("fast/a", Usage(10, 20, 5))
    metrics.tokens("gone", Usage(1, 2, 0))
    metrics.recording_failed(RecordingFailure.OUTCOME)
    counters = metrics.counters()
    assert (counters.requests, counters.failed, counters.in_flight) == (3, 1, 0)
    assert (counters.prompt_tokens, counters.completion_tokens, counters.recording_failures) == (11, 22, 1)
    percentiles = metrics.percentiles()
    assert percentiles is not None
    assert (percentiles.count, percentiles.p50_s, percentiles.p99_s) == (2, 0.2, 0.4)


def test_a_counter_never_falls_whatever_an_upstream_reports(metrics: Metrics) -> None:
    metrics.tokens("fast/a", Usage(5, 5, 5))
    metrics.tokens("fast/a", Usage(-100, -1, -1))
    assert value(metrics, "octoroute_tokens_total", endpoint="fast/a", kind="prompt") == 5


def test_ten_thousand_unknown_names_become_one() -> None:
    metrics = Metrics(sorted(ENDPOINT), live=live)
    before = len(samples(metrics.render()))
    for number in range(10_000):
        name = f"model-{number}"
        metrics.upstream(name, 200)
        metrics.tokens(name, Usage(1, 1))
        metrics.mid_stream_failure(name)
    after = samples(metrics.render())
    assert after["octoroute_mid_stream_failures_total", (("endpoint", "other"),)] == 10_000
    assert b"model-" not in metrics.render()
    assert len(after) - before <= 13


def test_a_reload_keeps_the_counts_of_what_stays_and_ends_the_rest(metrics: Metrics) -> None:
    metrics.upstream("fast/a", 200)
    metrics.upstream("deep/b", 200)
    metrics.bind(["fast/a", "fast/new"])
    assert value(metrics, "octoroute_upstream_requests_total", endpoint="fast/a", status_class="2xx") == 1
    assert value(metrics, "octoroute_upstream_requests_total", endpoint="fast/new", status_class="2xx") == 0
    assert b"deep/b" not in metrics.render()
    metrics.upstream("deep/b", 200)
    assert value(metrics, "octoroute_upstream_requests_total", endpoint="other", status_class="2xx") == 1


def test_an_endpoint_id_is_escaped() -> None:
    metrics = Metrics(['fast/"x"\\\n'])
    metrics.mid_stream_failure('fast/"x"\\\n')
    assert value(metrics, "octoroute_mid_stream_failures_total", endpoint='fast/"x"\\\n') == 1


def test_one_family_can_be_asked_for(metrics: Metrics) -> None:
    whole = metrics.render().decode().splitlines()
    for family in FAMILIES:
        lines = metrics.render(family).decode().splitlines()
        assert lines
        assert lines == [line for line in whole if re.match(rf"(# \w+ )?{family}_", line)]
    with pytest.raises(ValueError, match="octoroute"):
        metrics.render("go")


def test_concurrent_scrapes_of_an_idle_gateway_are_identical(metrics: Metrics) -> None:
    metrics.finished(Tier.FAST, 200, 0.3)
    with ThreadPoolExecutor(10) as pool:
        pages = list(pool.map(lambda _: metrics.render(), range(10)))
    assert len(set(pages)) == 1


def test_whatever_may_run_out_has_a_label() -> None:
    assert set(SUBJECTS) == set(Subject)
    assert set(LIMITS) == {*Measure, "budget"}
    assert BUDGET_LEVELS == LEVELS
