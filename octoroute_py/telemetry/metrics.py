"""Every metric of the gateway, in one file (contract §6).

Counting happens on the event loop only, into plain numbers: a prometheus-client child costs 0.3-0.7 µs a call, a
dict or list item a fraction of that. The numbers become prometheus-client families when somebody scrapes, which may
happen in another thread.

Labels come from enums and from the configuration. Every series of a known tier, strategy or endpoint is shown from the
start, so nothing that clients send can add one; endpoints beyond `MAX_ENDPOINTS`, and unknown ones, count as `other`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from octoroute_py.core.money import usd
from octoroute_py.core.usage import Usage
from octoroute_py.core.words import TIERS, BreakerState, Reason, Strategy, Tier
from octoroute_py.telemetry.families import by_one_label, counter, histogram
from octoroute_py.telemetry.labels import (
    NO_TIER,
    OTHER,
    STATUS_CLASSES,
    UPSTREAM_CLASSES,
    BackgroundFailure,
    HealthFailure,
    RecordingFailure,
    Refusal,
    status_class,
)
from octoroute_py.telemetry.ledger_counts import KeepingRow, LedgerCounts
from octoroute_py.telemetry.rule_counts import RuleCounts
from octoroute_py.telemetry.samples import Histogram, Percentiles, Window
from octoroute_py.telemetry.trace_counts import TraceCounts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of `Metrics.render`."""

FAMILIES = ("octoroute", "tiny_dancer", "model_router")
"""What `?family=` may ask for: prefixes of metric names."""

MAX_ENDPOINTS = 80
"""Endpoints with labels of their own; at 19 series each the page stays below 2,000."""
MAX_MODELS = 2000
"""Models with a health score of their own."""

_ROUTING_MS = (0.1, 0.5, 1.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0)
_REQUEST_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_FIRST_EVENT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 45.0, 120.0)
_TOKEN_KINDS = ("prompt", "completion", "cached")
_WINDOW = 1024


class BreakerRow(msgspec.Struct, frozen=True):
    """A breaker as it stands; `scope` is `endpoint`, `tier` or `judge`, `id` is that one's, `trips` are all so far."""

    scope: str
    id: str
    state: BreakerState
    trips: int


class LiveRows(msgspec.Struct, frozen=True):
    """What is read at scrape time instead of being counted: breakers, (endpoint id, available) pairs, the journal.

    `health` are the scores (0 to 100) of models that have one, by id.
    """

    breakers: Sequence[BreakerRow] = ()
    available: Sequence[tuple[str, bool]] = ()
    health: Sequence[tuple[str, float]] = ()
    keeping: KeepingRow = KeepingRow()


class Counters(msgspec.Struct, frozen=True):
    """Totals since the start, for `/info` and `/health`; `failed` are answers of 500 and above."""

    requests: int
    failed: int
    in_flight: int
    prompt_tokens: int
    completion_tokens: int
    recording_failures: int
    health_tracking_failures: int
    background_task_failures: int


class Routing(msgspec.Struct, frozen=True):
    """How requests were routed: how many to each tier, and the time it took to choose.

    `mean_s` is over all of them (None before the first), `percentiles` are those of the last 1,024.
    """

    by_tier: dict[Tier, int]
    mean_s: float | None
    percentiles: Percentiles | None


class _EndpointCounts:
    """The counters of one endpoint."""

    __slots__ = ("cost_uusd", "health", "mid_stream", "tokens", "upstream")

    def __init__(self) -> None:
        self.upstream = [0] * len(UPSTREAM_CLASSES)
        self.tokens = [0] * len(_TOKEN_KINDS)
        self.health = dict.fromkeys(HealthFailure, 0)
        self.mid_stream = 0
        self.cost_uusd = 0

    def touched(self) -> bool:
        counts = (*self.upstream, *self.tokens, *self.health.values(), self.mid_stream, self.cost_uusd)
        return any(count > 0 for count in counts)


class Metrics:
    """What happened, in numbers. Counting methods are for the event loop's thread; reading is safe from any.

    `live` is called at every scrape, in the thread that renders: it must only read. No method raises on any value of
    its argument types; a duration that is negative or no number counts as a recording failure.
    """

    def __init__(self, endpoint_ids: Iterable[str] = (), *, live: Callable[[], LiveRows] = LiveRows) -> None:
        self._live = live
        self._requests = {(tier, strategy): 0 for tier in TIERS for strategy in Strategy}
        self._decisions = {(strategy, reason): 0 for strategy in Strategy for reason in Reason}
        self._routing_ms = {strategy: Histogram(_ROUTING_MS) for strategy in Strategy}
        self._invocations = dict.fromkeys(TIERS, 0)
        self._durations = {tier: [Histogram(_REQUEST_S) for _ in STATUS_CLASSES] for tier in (*TIERS, None)}
        self._first_events = {tier: Histogram(_FIRST_EVENT_S) for tier in TIERS}
        self._retries = dict.fromkeys(TIERS, 0)
        self._fallbacks = {(start, end): 0 for start in TIERS for end in TIERS if start is not end}
        self._recording_failures = dict.fromkeys(RecordingFailure, 0)
        self._background_failures = dict.fromkeys(BackgroundFailure, 0)
        self._refused = dict.fromkeys((reason.value for reason in Refusal), 0)
        self.ledger = LedgerCounts()
        self.rules = RuleCounts()
        self.traces = TraceCounts()
        self._clock_errors = 0
        self._in_flight = 0
        self._finished = 0
        self._failed = 0
        self._window = Window(_WINDOW)
        self._routing_window = Window(_WINDOW)
        self._other = _EndpointCounts()
        self._endpoints: dict[str, _EndpointCounts] = {}
        self.bind(endpoint_ids)

    def bind(self, endpoint_ids: Iterable[str]) -> None:
        """Take these endpoints as the known ones: counts of those that stay go on, series of the others end."""
        bound: dict[str, _EndpointCounts] = {}
        for endpoint_id in endpoint_ids:
            if len(bound) == MAX_ENDPOINTS:
                break
            bound[endpoint_id] = self._endpoints.get(endpoint_id) or _EndpointCounts()
        self._endpoints = bound

    # Counting

    def request_routed(self, tier: Tier, strategy: Strategy, reason: Reason) -> None:
        """A tier was chosen for a request."""
        self._requests[tier, strategy] += 1
        self._decisions[strategy, reason] += 1

    def refused(self, code: str) -> None:
        """A request was turned away at the door with this error code; other codes than Refusal's are not counted."""
        if code in self._refused:
            self._refused[code] += 1

    def routing_duration(self, strategy: Strategy, ms: float) -> None:
        """Choosing the tier took so many milliseconds."""
        if self._routing_ms[strategy].observe(ms):
            self._routing_window.add(ms / 1000.0)
        else:
            self.recording_failed(RecordingFailure.ROUTING_DURATION)

    def model_invoked(self, tier: Tier) -> None:
        """An upstream of this tier answered a client's request well; judge calls do not count."""
        self._invocations[tier] += 1

    def finished(self, tier: Tier | None, status: int, seconds: float) -> None:
        """A request ended with this status, so long after it came; `tier` None if none was ever chosen."""
        self._finished += 1
        if status >= 500:
            self._failed += 1
        if not self._durations[tier][status_class(status)].observe(seconds):
            self.recording_failed(RecordingFailure.REQUEST)
        elif tier is not None:
            self._window.add(seconds)

    def first_event(self, tier: Tier, seconds: float) -> None:
        """The first event of a stream left for the client, so long after the request came."""
        if not self._first_events[tier].observe(seconds):
            self.recording_failed(RecordingFailure.REQUEST)

    def upstream(self, endpoint_id: str, status: int | None) -> None:
        """An endpoint answered an attempt with this status, None if it gave no answer."""
        row = self._endpoints.get(endpoint_id, self._other)
        row.upstream[-1 if status is None else status_class(status)] += 1

    def retry(self, tier: Tier) -> None:
        """A request was tried again in the same tier."""
        self._retries[tier] += 1

    def fallback(self, from_tier: Tier, to_tier: Tier) -> None:
        """A request went on in another tier."""
        if from_tier is not to_tier:
            self._fallbacks[from_tier, to_tier] += 1

    def tokens(self, endpoint_id: str, usage: Usage) -> None:
        """An endpoint reported these token counts for one answer."""
        counts = self._endpoints.get(endpoint_id, self._other).tokens
        # A counter never falls, whatever an upstream reports.
        if usage.prompt > 0:
            counts[0] += usage.prompt
        if usage.completion > 0:
            counts[1] += usage.completion
        if usage.cached > 0:
            counts[2] += usage.cached

    def cost(self, endpoint_id: str, cost_uusd: int) -> None:
        """An attempt at this endpoint cost so many micro-USD."""
        if cost_uusd > 0:
            self._endpoints.get(endpoint_id, self._other).cost_uusd += cost_uusd

    def mid_stream_failure(self, endpoint_id: str) -> None:
        """A stream broke after its first event had left for the client."""
        self._endpoints.get(endpoint_id, self._other).mid_stream += 1

    def health_tracking_failure(self, endpoint_id: str, failure: HealthFailure) -> None:
        """The health of an endpoint could not be tracked."""
        self._endpoints.get(endpoint_id, self._other).health[failure] += 1

    def health_task_failure(self, failure: BackgroundFailure) -> None:
        """The background task that probes endpoints broke and is started again."""
        self._background_failures[failure] += 1

    def clock_error(self) -> None:
        """A clock gave a time that cannot be."""
        self._clock_errors += 1

    def recording_failed(self, operation: RecordingFailure) -> None:
        """Something could not be recorded."""
        self._recording_failures[operation] += 1

    def in_flight_inc(self) -> None:
        """A request came in."""
        self._in_flight += 1

    def in_flight_dec(self) -> None:
        """A request left."""
        self._in_flight -= 1

    # Reading

    def percentiles(self) -> Percentiles | None:
        """Exact p50, p95 and p99 of the last 1,024 routed requests, None before the first."""
        return self._window.percentiles()

    def routing(self) -> Routing:
        """How requests were routed since the start."""
        by_tier = dict.fromkeys(TIERS, 0)
        for (tier, _), count in self._requests.items():
            by_tier[tier] += count
        timed = [histogram.cumulative() for histogram in self._routing_ms.values()]
        times = sum(rows[-1][1] for rows, _ in timed)
        mean_s = sum(total_ms for _, total_ms in timed) / times / 1000.0 if times else None
        return Routing(by_tier, mean_s, self._routing_window.percentiles())

    def counters(self) -> Counters:
        """Totals since the start; tokens are those of the endpoints now configured, and `other`."""
        rows = (*self._endpoints.values(), self._other)
        return Counters(
            requests=self._finished,
            failed=self._failed,
            in_flight=self._in_flight,
            prompt_tokens=sum(row.tokens[0] for row in rows),
            completion_tokens=sum(row.tokens[1] for row in rows),
            recording_failures=sum(self._recording_failures.values()),
            health_tracking_failures=sum(sum(row.health.values()) for row in rows),
            background_task_failures=sum(self._background_failures.values()),
        )

    def render(self, family: str | None = None) -> bytes:
        """All metrics, or those of one family, in Prometheus's text format 0.0.4; call it off the event loop.

        Raises ValueError for a family that is none of FAMILIES.
        """
        if family is not None and family not in FAMILIES:
            raise ValueError(f"family must be one of {', '.join(FAMILIES)}")
        registry = CollectorRegistry()
        registry.register(_Page(self, "" if family is None else f"{family}_"))
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """All families with their series, in an order that never changes."""
        yield from self._request_families()
        yield from self._attempt_families()
        yield from self._endpoint_families()
        live = self._live()
        yield from self._live_families(live)
        yield from self.ledger.collect(live.keeping)
        yield from self._failure_families()
        yield from self.traces.collect()
        yield from self.rules.collect()
        score = GaugeMetricFamily(
            "model_router_model_health_score", "How a model was reported to be, 0 to 100", labels=("model_id",)
        )
        for model_id, points in sorted(dict(live.health).items())[:MAX_MODELS]:
            score.add_metric((model_id,), points)
        yield score

    def _request_families(self) -> Iterator[Metric]:
        yield counter("octoroute_requests_total", "Routed requests", ("tier", "strategy"), self._requests.items())
        yield counter("octoroute_decisions_total", "Routing decisions", ("strategy", "reason"), self._decisions.items())
        yield counter(
            "octoroute_refused_requests_total",
            "Requests turned away at the door for their key",
            ("reason",),
            by_one_label(self._refused.items()),
        )
        yield histogram(
            "octoroute_routing_duration_ms",
            "Time to choose the tier, in milliseconds",
            ("strategy",),
            (((strategy,), samples) for strategy, samples in self._routing_ms.items()),
        )
        yield histogram(
            "octoroute_request_duration_seconds",
            "Time from a request's arrival to its end",
            ("tier", "status_class"),
            (
                ((tier or NO_TIER, label), samples)
                for tier, histograms in self._durations.items()
                for label, samples in zip(STATUS_CLASSES, histograms, strict=True)
            ),
        )
        yield histogram(
            "octoroute_time_to_first_event_seconds",
            "Time from a request's arrival to the first event of its stream",
            ("tier",),
            (((tier,), samples) for tier, samples in self._first_events.items()),
        )
        in_flight = GaugeMetricFamily("octoroute_in_flight_requests", "Requests being served", labels=())
        in_flight.add_metric((), self._in_flight)
        yield in_flight

    def _attempt_families(self) -> Iterator[Metric]:
        yield counter(
            "octoroute_model_invocations_total",
            "Requests answered well by a tier, judge calls excluded",
            ("tier",),
            by_one_label(self._invocations.items()),
        )
        yield counter(
            "octoroute_retries_total",
            "Further attempts in the same tier",
            ("tier",),
            by_one_label(self._retries.items()),
        )
        yield counter(
            "octoroute_tier_fallbacks_total",
            "Requests that went on in another tier",
            ("from_tier", "to_tier"),
            self._fallbacks.items(),
        )

    def _endpoint_families(self) -> Iterator[Metric]:
        rows = list(self._endpoints.items())
        if self._other.touched():
            rows.append((OTHER, self._other))
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
            (((name, kind), count) for name, row in rows for kind, count in zip(_TOKEN_KINDS, row.tokens, strict=True)),
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
        known = self._endpoints
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

    def _failure_families(self) -> Iterator[Metric]:
        yield counter(
            "octoroute_metrics_recording_failures_total",
            "Recordings that failed",
            ("operation",),
            by_one_label(self._recording_failures.items()),
        )
        yield counter(
            "octoroute_background_health_task_failures_total",
            "Breakdowns of the task that probes endpoints",
            ("failure_type",),
            by_one_label(self._background_failures.items()),
        )
        yield counter("octoroute_clock_errors_total", "Times that cannot be", (), [((), self._clock_errors)])


class _Page:
    """The families whose names start with a prefix, as prometheus-client collects them."""

    def __init__(self, metrics: Metrics, prefix: str) -> None:
        self._metrics = metrics
        self._prefix = prefix

    def collect(self) -> Iterator[Metric]:
        return (metric for metric in self._metrics.collect() if metric.name.startswith(self._prefix))
