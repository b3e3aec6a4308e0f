"""The `octoroute_*` counts: plain numbers, and the families they become at a scrape.

Every series of a known tier, strategy or endpoint is shown from the start, so nothing that clients send can add one;
endpoints beyond what the page has room for, and unknown ones, count as `other`.
"""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from octoroute_py.core.money import usd
from octoroute_py.core.words import TIERS, BreakerState, Reason, Strategy
from octoroute_py.telemetry.families import by_one_label, counter, gauge, histogram
from octoroute_py.telemetry.labels import (
    JUDGE_RESULTS,
    NO_TIER,
    OTHER,
    STATUS_CLASSES,
    UPSTREAM_CLASSES,
    BackgroundFailure,
    HealthFailure,
    RecordingFailure,
    Refusal,
    ReloadOutcome,
)
from octoroute_py.telemetry.live_rows import LiveRows
from octoroute_py.telemetry.samples import Histogram

TOKEN_KINDS = ("prompt", "completion", "cached")

_ROUTING_MS = (0.1, 0.5, 1.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0)
_REQUEST_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_FIRST_EVENT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 45.0, 120.0)
_REDIRECTS = STATUS_CLASSES.index("3xx")


class EndpointCounts:
    """The counters of one endpoint."""

    __slots__ = ("cost_uusd", "health", "mid_stream", "tokens", "upstream")

    def __init__(self) -> None:
        self.upstream = [0] * len(UPSTREAM_CLASSES)
        self.tokens = [0] * len(TOKEN_KINDS)
        self.health = dict.fromkeys(HealthFailure, 0)
        self.mid_stream = 0
        self.cost_uusd = 0

    def touched(self) -> bool:
        """Whether anything was counted."""
        counts = (*self.upstream, *self.tokens, *self.health.values(), self.mid_stream, self.cost_uusd)
        return any(count > 0 for count in counts)


class JudgeCounts:
    """What the gateway's own questions came to; they are part of what their endpoints count, too."""

    __slots__ = ("calls", "cost_uusd", "tokens")

    def __init__(self) -> None:
        self.calls = dict.fromkeys(JUDGE_RESULTS, 0)
        self.tokens = [0] * len(TOKEN_KINDS)
        self.cost_uusd = 0


class OctorouteCounts:
    """The numbers, for `Metrics` to count in and for a scrape to read."""

    __slots__ = (
        "background_failures",
        "baseline_uusd",
        "clock_errors",
        "decisions",
        "durations",
        "endpoints",
        "fallbacks",
        "first_events",
        "in_flight",
        "invocations",
        "judge",
        "other",
        "recording_failures",
        "refused",
        "reloads",
        "requests",
        "retries",
        "routing_ms",
    )

    def __init__(self) -> None:
        self.requests = {(tier, strategy): 0 for tier in TIERS for strategy in Strategy}
        self.decisions = {(strategy, reason): 0 for strategy in Strategy for reason in Reason}
        self.routing_ms = {strategy: Histogram(_ROUTING_MS) for strategy in Strategy}
        self.invocations = dict.fromkeys(TIERS, 0)
        self.durations = {tier: [Histogram(_REQUEST_S) for _ in STATUS_CLASSES] for tier in (*TIERS, None)}
        self.first_events = {tier: Histogram(_FIRST_EVENT_S) for tier in TIERS}
        self.retries = dict.fromkeys(TIERS, 0)
        self.fallbacks = {(start, end): 0 for start in TIERS for end in TIERS if start is not end}
        self.recording_failures = dict.fromkeys(RecordingFailure, 0)
        self.background_failures = dict.fromkeys(BackgroundFailure, 0)
        self.refused = dict.fromkeys((reason.value for reason in Refusal), 0)
        self.reloads = dict.fromkeys(ReloadOutcome, 0)
        self.judge = JudgeCounts()
        self.baseline_uusd = 0
        self.clock_errors = 0
        self.in_flight = 0
        self.other = EndpointCounts()
        self.endpoints: dict[str, EndpointCounts] = {}

    def bind(self, endpoint_ids: Iterable[str]) -> None:
        """Take these endpoints as the known ones: counts of those that stay go on, series of the others end."""
        self.endpoints = {each: self.endpoints.get(each) or EndpointCounts() for each in endpoint_ids}

    def of(self, endpoint_id: str) -> EndpointCounts:
        """Where an endpoint counts."""
        return self.endpoints.get(endpoint_id, self.other)

    def rows(self) -> list[tuple[str, EndpointCounts]]:
        """The known endpoints, and `other` once it counts something."""
        rows = list(self.endpoints.items())
        return [*rows, (OTHER, self.other)] if self.other.touched() else rows

    def collect(self, live: LiveRows) -> Iterator[Metric]:
        """The families, in an order that never changes."""
        yield from self._request_families()
        yield from self._attempt_families()
        yield from self._endpoint_families()
        yield from self._live_families(live)
        yield from self._judge_families()
        yield from self._failure_families()

    def _request_families(self) -> Iterator[Metric]:
        yield counter("octoroute_requests_total", "Routed requests", ("tier", "strategy"), self.requests.items())
        yield counter("octoroute_decisions_total", "Routing decisions", ("strategy", "reason"), self.decisions.items())
        yield counter(
            "octoroute_refused_requests_total",
            "Requests turned away at the door for their key",
            ("reason",),
            by_one_label(self.refused.items()),
        )
        yield histogram(
            "octoroute_routing_duration_ms",
            "Time to choose the tier, in milliseconds",
            ("strategy",),
            (((strategy,), samples) for strategy, samples in self.routing_ms.items()),
        )
        yield histogram(
            "octoroute_request_duration_seconds",
            "Time from a request's arrival to its end",
            ("tier", "status_class"),
            (
                ((tier or NO_TIER, label), samples)
                for tier, histograms in self.durations.items()
                for place, (label, samples) in enumerate(zip(STATUS_CLASSES, histograms, strict=True))
                if place != _REDIRECTS or samples.touched  # an upstream's 3xx is never passed on
            ),
        )
        yield histogram(
            "octoroute_time_to_first_event_seconds",
            "Time from a request's arrival to the first event of its stream",
            ("tier",),
            (((tier,), samples) for tier, samples in self.first_events.items()),
        )
        yield gauge("octoroute_in_flight_requests", "Requests being served", (), [((), self.in_flight)])

    def _attempt_families(self) -> Iterator[Metric]:
        yield counter(
            "octoroute_model_invocations_total",
            "Requests answered well by a tier, judge calls excluded",
            ("tier",),
            by_one_label(self.invocations.items()),
        )
        yield counter(
            "octoroute_retries_total",
            "Further attempts in the same tier",
            ("tier",),
            by_one_label(self.retries.items()),
        )
        yield counter(
            "octoroute_tier_fallbacks_total",
            "Requests that went on in another tier",
            ("from_tier", "to_tier"),
            self.fallbacks.items(),
        )
        yield counter(
            "octoroute_baseline_usd_total",
            "What whole answers would have cost at the deep tier's baseline, in USD",
            (),
            [((), usd(self.baseline_uusd))],
        )

    def _endpoint_families(self) -> Iterator[Metric]:
        rows = self.rows()
        yield counter(
            "octoroute_upstream_requests_total",
            "Attempts by the class of the upstream's answer",
            ("endpoint", "status_class"),
            (
                ((name, label), count)
                for name, row in rows
                for label, count in zip(UPSTREAM_CLASSES, row.upstream, strict=True)
            ),
        )
        yield counter(
            "octoroute_tokens_total",
            "Tokens as counted by the upstream; cached ones are part of the prompt's",
            ("endpoint", "kind"),
            (((name, kind), count) for name, row in rows for kind, count in zip(TOKEN_KINDS, row.tokens, strict=True)),
        )
        yield counter(
            "octoroute_cost_usd_total",
            "What the attempts cost, in USD",
            ("endpoint",),
            (((name,), usd(row.cost_uusd)) for name, row in rows),
        )
        yield counter(
            "octoroute_mid_stream_failures_total",
            "Streams that broke after their first event",
            ("endpoint",),
            (((name,), row.mid_stream) for name, row in rows),
        )
        yield counter(
            "octoroute_health_tracking_failures_total",
            "Failures to track an endpoint's health",
            ("endpoint", "error_type"),
            (((name, failure), count) for name, row in rows for failure, count in row.health.items()),
        )

    def _live_families(self, live: LiveRows) -> Iterator[Metric]:
        known = self.endpoints
        available = GaugeMetricFamily(
            "octoroute_endpoint_available", "Whether the endpoint may be picked now", labels=("endpoint",)
        )
        for endpoint_id, is_available in dict(live.available).items():
            if endpoint_id in known:
                available.add_metric((endpoint_id,), float(is_available))
        yield available
        state = GaugeMetricFamily(
            "octoroute_breaker_state", "1 for the state that the breaker is in", labels=("scope", "id", "state")
        )
        trips = CounterMetricFamily(
            "octoroute_breaker_trips_total", "Times that the breaker opened", labels=("scope", "id")
        )
        for row in {(row.scope, row.id): row for row in live.breakers}.values():
            if row.id in known or row.scope != "endpoint":
                for each in BreakerState:
                    state.add_metric((row.scope, row.id, each.value), float(row.state is each))
                trips.add_metric((row.scope, row.id), row.trips)
        yield state
        yield trips
        yield gauge(
            "octoroute_drained_endpoints", "Endpoints an operator has taken out of service", (), [((), live.drained)]
        )

    def _judge_families(self) -> Iterator[Metric]:
        judge = self.judge
        yield counter(
            "octoroute_judge_calls_total",
            "Questions to the judge that were sent to somebody, by how they ended",
            ("result",),
            by_one_label(judge.calls.items()),
        )
        yield counter(
            "octoroute_judge_tokens_total",
            "Tokens of the judge's answers, which their endpoints count, too",
            ("kind",),
            (((kind,), count) for kind, count in zip(TOKEN_KINDS, judge.tokens, strict=True)),
        )
        yield counter(
            "octoroute_judge_cost_usd_total", "What the judge's attempts cost, in USD", (), [((), usd(judge.cost_uusd))]
        )

    def _failure_families(self) -> Iterator[Metric]:
        yield counter(
            "octoroute_metrics_recording_failures_total",
            "Recordings that failed",
            ("operation",),
            by_one_label(self.recording_failures.items()),
        )
        yield counter(
            "octoroute_background_health_task_failures_total",
            "Breakdowns of the task that probes endpoints",
            ("failure_type",),
            by_one_label(self.background_failures.items()),
        )
        yield counter("octoroute_clock_errors_total", "Times that cannot be", (), [((), self.clock_errors)])
        yield counter(
            "octoroute_config_reloads_total",
            "Reloads of the configuration by what came of them",
            ("outcome",),
            by_one_label(self.reloads.items()),
        )
