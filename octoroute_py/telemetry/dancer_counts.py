"""`tiny_dancer_*`: every routing decision in Tiny Dancer's words, and the work of the networks behind some of them.

Light is the fast tier, powerful the deep one; balanced lies between and is neither. Requests of clients count with the
tier that they went to, requests to the candidate router with its leading decision.
"""

import math
from collections.abc import Iterator

import msgspec
from prometheus_client.core import Metric

from octoroute_py.core.words import BreakerState, Tier
from octoroute_py.telemetry.families import by_one_label, counter, gauge, histogram
from octoroute_py.telemetry.labels import DANCER_ERRORS, OTHER
from octoroute_py.telemetry.live_rows import LiveRows
from octoroute_py.telemetry.samples import Histogram, Window

LIGHTWEIGHT, BALANCED, POWERFUL = "lightweight", "balanced", "powerful"
ROUTES = (LIGHTWEIGHT, BALANCED, POWERFUL)
ROUTE_OF = {Tier.FAST: LIGHTWEIGHT, Tier.BALANCED: BALANCED, Tier.DEEP: POWERFUL}
SCORER, CANDIDATES = "fastgrnn", "fastgrnn_candidates"
"""The two networks: the one that scores prompts, and the one that ranks candidates."""

_BATCHES = ("0", "1-10", "11-50", "51-100", "100+")
_LATENCY_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
_WORK_S = (0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01)
_CONFIDENCE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)
_UNCERTAINTY = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
_STATE = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}
_WINDOW = 1024


class Scored(msgspec.Struct, frozen=True):
    """What the scorer did for one prompt: seconds, its probabilities, and the tier it led to (None: it abstained)."""

    tier: Tier | None
    confidence: float | None
    uncertainty: float
    feature_s: float
    inference_s: float


class Ranked(msgspec.Struct, frozen=True):
    """What the candidate router did for one request; `lightweight` None where it had no candidate to decide about."""

    lightweight: bool | None
    confidence: float
    uncertainty: float
    candidates: int
    feature_s: float
    inference_s: float


class Figures(msgspec.Struct, frozen=True):
    """The nine figures of Tiny Dancer's admin API, as /info and the page both tell them.

    A request is `total_requests` whether it was answered or not; `lightweight_routes` and `powerful_routes` are those
    that were answered. Times are microseconds over the last 1,024, None before the first: the mean of a network's
    inference, and exact percentiles of the time that routing took.
    """

    total_requests: int
    lightweight_routes: int
    powerful_routes: int
    avg_inference_time_us: float | None
    p50_latency_us: float | None
    p95_latency_us: float | None
    p99_latency_us: float | None
    error_count: int
    circuit_breaker_trips: int


class DancerCounts:
    """For the event loop's thread to count in, and for any to read."""

    __slots__ = (
        "_by_route",
        "_candidates",
        "_confidence",
        "_errors",
        "_feature_s",
        "_inference",
        "_inference_s",
        "_latency",
        "_latency_s",
        "_requests",
        "_retired_trips",
        "_uncertainty",
    )

    def __init__(self) -> None:
        self._requests = [0, 0]
        self._by_route = dict.fromkeys(ROUTES, 0)
        self._errors = dict.fromkeys((*DANCER_ERRORS, OTHER), 0)
        self._candidates = [0] * len(_BATCHES)
        self._latency = Window(_WINDOW)
        self._inference = Window(_WINDOW)
        self._latency_s = Histogram(_LATENCY_S)
        self._feature_s = [Histogram(_WORK_S) for _ in _BATCHES]
        self._inference_s = {name: Histogram(_WORK_S) for name in (SCORER, CANDIDATES)}
        self._confidence = {route: Histogram(_CONFIDENCE) for route in ROUTES}
        self._uncertainty = {route: Histogram(_UNCERTAINTY) for route in ROUTES}
        self._retired_trips = 0

    def routed(self, tier: Tier, seconds: float | None) -> None:
        """A client's request was answered, from this tier; choosing it took so long."""
        self._requests[0] += 1
        self._by_route[ROUTE_OF[tier]] += 1
        if seconds is not None and self._latency_s.observe(seconds):
            self._latency.add(seconds)

    def failed(self, error: str) -> None:
        """A request that was let in was not answered, for a reason of ours or of an upstream's."""
        self._requests[1] += 1
        self._errors[error if error in self._errors else OTHER] += 1

    def scored(self, scored: Scored) -> None:
        """The scorer looked at a prompt."""
        self._worked(1, SCORER, scored.feature_s, scored.inference_s)
        if scored.tier is not None and scored.confidence is not None:
            self._believed(ROUTE_OF[scored.tier], scored.confidence, scored.uncertainty)

    def ranked(self, ranked: Ranked) -> None:
        """The candidate router answered."""
        self._requests[0] += 1
        self._candidates[_batch(ranked.candidates)] += ranked.candidates
        total_s = ranked.feature_s + ranked.inference_s
        if self._latency_s.observe(total_s):
            self._latency.add(total_s)
        self._worked(ranked.candidates, CANDIDATES, ranked.feature_s, ranked.inference_s)
        if ranked.lightweight is not None:
            route = LIGHTWEIGHT if ranked.lightweight else POWERFUL
            self._by_route[route] += 1
            self._believed(route, ranked.confidence, ranked.uncertainty)

    def retire_trips(self, trips: int) -> None:
        """Endpoints are gone whose breakers had opened so often."""
        self._retired_trips += trips

    def _worked(self, size: int, network: str, feature_s: float, inference_s: float) -> None:
        self._feature_s[_batch(size)].observe(feature_s)
        if self._inference_s[network].observe(inference_s):
            self._inference.add(inference_s)

    def _believed(self, route: str, confidence: float, uncertainty: float) -> None:
        self._confidence[route].observe(confidence)
        self._uncertainty[route].observe(uncertainty)

    def collect(self, live: LiveRows) -> Iterator[Metric]:
        """The families, in an order that never changes."""
        yield from self._page_families(live)
        yield from self._module_families(live)

    def figures(self, trips: int) -> Figures:
        """The figures, when the breakers of the endpoints that are there now have opened so often."""
        found = self._latency.percentiles()
        return Figures(
            total_requests=sum(self._requests),
            lightweight_routes=self._by_route[LIGHTWEIGHT],
            powerful_routes=self._by_route[POWERFUL],
            avg_inference_time_us=_us(self._inference.mean()),
            p50_latency_us=None if found is None else _us(found.p50_s),
            p95_latency_us=None if found is None else _us(found.p95_s),
            p99_latency_us=None if found is None else _us(found.p99_s),
            error_count=self._requests[1],
            circuit_breaker_trips=self._retired_trips + trips,
        )

    def _page_families(self, live: LiveRows) -> Iterator[Metric]:
        told = self.figures(sum(row.trips for row in live.breakers if row.scope == "endpoint"))
        light, powerful = told.lightweight_routes, told.powerful_routes
        yield counter("tiny_dancer_requests_total", "Requests that were routed", (), [((), told.total_requests)])
        yield counter(
            "tiny_dancer_lightweight_routes_total", "Requests routed to the lightweight model", (), [((), light)]
        )
        yield counter(
            "tiny_dancer_powerful_routes_total", "Requests routed to the powerful model", (), [((), powerful)]
        )
        yield gauge(
            "tiny_dancer_inference_time_microseconds",
            "Mean time of a network's inference over its last 1,024",
            (),
            [((), _number(told.avg_inference_time_us))],
        )
        ranks = (("0.5", told.p50_latency_us), ("0.95", told.p95_latency_us), ("0.99", told.p99_latency_us))
        yield gauge(
            "tiny_dancer_latency_microseconds",
            "Exact quantiles of the time that routing took, over the last 1,024 requests",
            ("quantile",),
            (((name,), _number(us)) for name, us in ranks),
        )
        yield counter("tiny_dancer_errors_total", "Requests that failed", (), [((), told.error_count)])
        yield counter(
            "tiny_dancer_circuit_breaker_trips_total",
            "Times that a breaker opened",
            (),
            [((), told.circuit_breaker_trips)],
        )
        yield gauge("tiny_dancer_uptime_seconds", "Time since the start", (), [((), live.uptime_s)])

    def _module_families(self, live: LiveRows) -> Iterator[Metric]:
        yield counter(
            "tiny_dancer_routing_requests_total",
            "Requests that were routed, by how they ended",
            ("status",),
            by_one_label(zip(("success", "failure"), self._requests, strict=True)),
        )
        yield histogram(
            "tiny_dancer_routing_latency_seconds",
            "Time that routing took",
            ("operation",),
            [(("total",), self._latency_s)],
        )
        yield histogram(
            "tiny_dancer_feature_engineering_duration_seconds",
            "Time from a prompt, or from candidates, to the network's input",
            ("batch_size",),
            (((name,), samples) for name, samples in zip(_BATCHES, self._feature_s, strict=True)),
        )
        yield histogram(
            "tiny_dancer_model_inference_duration_seconds",
            "Time of a network's inference",
            ("model_type",),
            (((name,), samples) for name, samples in self._inference_s.items()),
        )
        state = _STATE[BreakerState.best(row.state for row in live.breakers if row.scope == "tier")]
        yield gauge(
            "tiny_dancer_circuit_breaker_state",
            "State of the best tier's breaker: 0 closed, 1 half open, 2 open",
            (),
            [((), state)],
        )
        yield from self._belief_families()

    def _belief_families(self) -> Iterator[Metric]:
        yield counter(
            "tiny_dancer_routing_decisions_total",
            "Requests by the kind of model they were routed to",
            ("model_type",),
            by_one_label(self._by_route.items()),
        )
        yield counter(
            "tiny_dancer_errors_by_type_total",
            "Requests that failed, by error code",
            ("error_type",),
            by_one_label(self._errors.items()),
        )
        yield counter(
            "tiny_dancer_candidates_processed_total",
            "Candidates that were ranked, by how many came at once",
            ("batch_size_range",),
            by_one_label(zip(_BATCHES, self._candidates, strict=True)),
        )
        yield histogram(
            "tiny_dancer_confidence_scores",
            "A network's confidence in its decision",
            ("decision_type",),
            (((route,), samples) for route, samples in self._confidence.items()),
        )
        yield histogram(
            "tiny_dancer_uncertainty_estimates",
            "A network's uncertainty about its decision",
            ("decision_type",),
            (((route,), samples) for route, samples in self._uncertainty.items()),
        )


def _us(seconds: float) -> float | None:
    return None if math.isnan(seconds) else round(seconds * 1e6, 3)


def _number(us: float | None) -> float:
    return math.nan if us is None else us


def _batch(size: int) -> int:
    """Where such a size counts."""
    return 0 if size <= 0 else 1 if size <= 10 else 2 if size <= 50 else 3 if size <= 100 else 4
