"""Tiny Dancer's counts: what is light and what is powerful, true quantiles, and the networks' work."""

import math

import pytest
from prometheus_client.core import Metric

from octoroute_py.core.words import BreakerState, Tier
from octoroute_py.telemetry.dancer_counts import DancerCounts, Ranked, Scored
from octoroute_py.telemetry.live_rows import BreakerRow, LiveRows


def told(counts: DancerCounts, live: LiveRows | None = None) -> dict[str, float]:
    """Every series that is not zero, buckets aside, as `name{values}`."""
    found: list[Metric] = list(counts.collect(live or LiveRows()))
    return {
        f"{sample.name.removeprefix('tiny_dancer_')}{{{','.join(sample.labels.values())}}}": sample.value
        for family in found
        for sample in family.samples
        if sample.value and not sample.name.endswith("_bucket") and not math.isnan(sample.value)
    }


def test_before_the_first_request_quantiles_are_no_numbers() -> None:
    values = [
        sample.value
        for family in DancerCounts().collect(LiveRows())
        for sample in family.samples
        if sample.name.endswith("_microseconds")
    ]
    assert len(values) == 4
    assert all(math.isnan(value) for value in values)


def test_fast_is_light_deep_is_powerful_and_balanced_is_neither() -> None:
    counts = DancerCounts()
    for tier, times in ((Tier.FAST, 3), (Tier.BALANCED, 2), (Tier.DEEP, 1)):
        for _ in range(times):
            counts.routed(tier, 0.001)
    counts.failed("upstream_error")
    counts.failed("made-up")
    page = told(counts)
    assert page["requests_total{}"] == 8
    assert page["lightweight_routes_total{}"] == 3
    assert page["powerful_routes_total{}"] == 1
    assert page["routing_decisions_total{balanced}"] == 2
    assert page["errors_total{}"] == 2
    assert page["errors_by_type_total{upstream_error}"] == page["errors_by_type_total{other}"] == 1
    assert page["routing_requests_total{success}"] == 6
    assert page["routing_requests_total{failure}"] == 2


def test_quantiles_are_those_of_the_last_1024_and_in_microseconds() -> None:
    counts = DancerCounts()
    for _ in range(5000):
        counts.routed(Tier.FAST, 9.0)
    for number in range(1, 1025):
        counts.routed(Tier.FAST, number / 1e6)
    page = told(counts)
    assert [page[f"latency_microseconds{{{rank}}}"] for rank in ("0.5", "0.95", "0.99")] == pytest.approx(
        [512, 973, 1014]
    )


def test_the_scorers_work_and_beliefs_are_told_and_an_abstention_is_no_belief() -> None:
    counts = DancerCounts()
    counts.scored(Scored(Tier.DEEP, 0.9, 0.1, 0.0002, 0.0001))
    counts.scored(Scored(None, 0.4, 0.6, 0.0004, 0.0003))
    page = told(counts)
    assert page["feature_engineering_duration_seconds_sum{1-10}"] == pytest.approx(0.0006)
    assert page["model_inference_duration_seconds_sum{fastgrnn}"] == pytest.approx(0.0004)
    assert page["inference_time_microseconds{}"] == pytest.approx(200)
    assert page["confidence_scores_count{powerful}"] == page["uncertainty_estimates_count{powerful}"] == 1
    assert "requests_total{}" not in page  # the request that it was for counts when it has ended


@pytest.mark.parametrize(
    ("size", "label"), [(0, "0"), (1, "1-10"), (10, "1-10"), (11, "11-50"), (51, "51-100"), (101, "100+")]
)
def test_candidates_count_by_how_many_came_at_once(size: int, label: str) -> None:
    counts = DancerCounts()
    counts.ranked(Ranked(True if size else None, 0.9, 0.05, size, 0.001, 0.002))
    page = told(counts)
    assert page["requests_total{}"] == 1
    assert page.get(f"candidates_processed_total{{{label}}}", 0) == size
    assert page.get("lightweight_routes_total{}", 0) == bool(size)
    assert page[f"feature_engineering_duration_seconds_count{{{label}}}"] == 1
    assert page["latency_microseconds{0.5}"] == pytest.approx(3000)


def test_the_gauge_shows_the_best_tier_and_trips_outlast_their_endpoints() -> None:
    counts = DancerCounts()
    rows = [
        BreakerRow("tier", "fast", BreakerState.OPEN, 1),
        BreakerRow("tier", "deep", BreakerState.HALF_OPEN, 0),
        BreakerRow("endpoint", "fast/a", BreakerState.OPEN, 4),
    ]
    assert told(counts, LiveRows(breakers=rows))["circuit_breaker_state{}"] == 1
    assert told(counts, LiveRows(breakers=rows[:1]))["circuit_breaker_state{}"] == 2
    counts.retire_trips(4)
    assert told(counts, LiveRows(breakers=rows[:2]))["circuit_breaker_trips_total{}"] == 4
