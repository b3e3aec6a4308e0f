"""Every metric of the gateway on one recorder, in four families (contract §6).

Counting happens on the event loop only, into plain numbers: a prometheus-client child costs 0.3-0.7 µs a call, a
dict or list item a fraction of that. The numbers become prometheus-client families when somebody scrapes, which may
happen in another thread.

Labels come from enums and from what is configured: `allotment` says for how much of it there is room on a page.
"""

import time
from collections.abc import Callable, Iterable, Iterator

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from octoroute_py.core.usage import Usage
from octoroute_py.core.words import Reason, Strategy, Tier
from octoroute_py.telemetry.allotment import allot
from octoroute_py.telemetry.dancer_counts import DancerCounts
from octoroute_py.telemetry.genai_counts import GenAiCounts
from octoroute_py.telemetry.labels import (
    JUDGE_RESULTS,
    OTHER,
    BackgroundFailure,
    HealthFailure,
    RecordingFailure,
    ReloadOutcome,
    status_class,
)
from octoroute_py.telemetry.ledger_counts import LedgerCounts
from octoroute_py.telemetry.live_rows import BreakerRow, LiveRows
from octoroute_py.telemetry.model_counts import ModelCounts
from octoroute_py.telemetry.octoroute_counts import OctorouteCounts
from octoroute_py.telemetry.registry_gauges import registry_gauges
from octoroute_py.telemetry.request_counts import RequestCounts, Tenants
from octoroute_py.telemetry.rule_counts import RuleCounts
from octoroute_py.telemetry.samples import Percentiles, Window
from octoroute_py.telemetry.served import Known, plain
from octoroute_py.telemetry.trace_counts import TraceCounts

__all__ = ["CONTENT_TYPE", "FAMILIES", "BreakerRow", "Counters", "LiveRows", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of `Metrics.render`."""

FAMILIES = ("octoroute", "tiny_dancer", "model_router", "gen_ai")
"""What `?family=` may ask for: prefixes of metric names."""

_WINDOW = 1024


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


class Metrics:
    """What happened, in numbers. Counting methods are for the event loop's thread; reading is safe from any.

    `live` is called at every scrape, in the thread that renders: it must only read. No method raises on any value of
    its argument types; a duration that is negative or no number counts as a recording failure.
    """

    def __init__(self, endpoint_ids: Iterable[str] = (), *, live: Callable[[], LiveRows] = LiveRows) -> None:
        self._live = live
        self._own = OctorouteCounts()
        self._tenants = Tenants()
        self.ledger = LedgerCounts()
        self.rules = RuleCounts()
        self.dancer = DancerCounts()
        self.requests = RequestCounts(self._tenants)
        self.models = ModelCounts(self._tenants.default)
        self.gen_ai = GenAiCounts()
        self.traces = TraceCounts()
        self._finished = 0
        self._failed = 0
        self._window = Window(_WINDOW)
        self._room = allot({})
        self._known = Known()
        self.bind(endpoint_ids)

    def bind(self, endpoint_ids: Iterable[str]) -> None:
        """Take these endpoints as the known ones, of which nothing but the id is known."""
        self.know(msgspec.structs.replace(self._known, endpoints=plain(endpoint_ids)))

    def know(self, known: Known) -> None:
        """Take these names as all there are: counts of those that stay go on, series of the others end."""
        self._known = known
        endpoints, models = known.endpoints, len({each.model for each in known.endpoints})
        room = self._room = allot(
            {
                "endpoints": len(endpoints),
                "endpoint_latencies": len(endpoints),
                "models": models,
                "rules": len(known.rules),
                "scores": models,
                "canaries": len(known.canaries),
                "gen_ai": models,
                "budgets": len(known.workspaces),
            }
        )
        self._own.bind(each.endpoint_id for each in endpoints[: room["endpoints"]])
        self._tenants.bind(known.workspaces)
        self.rules.bind(known.rules[: room["rules"]])
        self.models.bind(
            endpoints, models=room["models"], latencies=room["endpoint_latencies"], agent_types=known.agent_types
        )
        self.requests.bind_canaries(known.canaries[: room["canaries"]])
        self.gen_ai.bind(endpoints, most=room["gen_ai"])

    def tenant(self, workspace: str) -> str:
        """The label of a workspace."""
        return self._tenants.of(workspace)

    # Counting

    def request_routed(self, tier: Tier, strategy: Strategy, reason: Reason) -> None:
        """A tier was chosen for a request."""
        self._own.requests[tier, strategy] += 1
        self._own.decisions[strategy, reason] += 1

    def refused(self, code: str) -> None:
        """A request was turned away at the door with this error code; other codes than Refusal's are not counted."""
        if code in self._own.refused:
            self._own.refused[code] += 1

    def routing_duration(self, strategy: Strategy, ms: float) -> None:
        """Choosing the tier took so many milliseconds."""
        if not self._own.routing_ms[strategy].observe(ms):
            self.recording_failed(RecordingFailure.ROUTING_DURATION)

    def model_invoked(self, tier: Tier) -> None:
        """An upstream of this tier answered a client's request well; judge calls do not count."""
        self._own.invocations[tier] += 1

    def finished(self, tier: Tier | None, status: int, seconds: float) -> None:
        """A request ended with this status, so long after it came; `tier` None if none was ever chosen."""
        self._finished += 1
        if status >= 500:
            self._failed += 1
        if not self._own.durations[tier][status_class(status)].observe(seconds):
            self.recording_failed(RecordingFailure.REQUEST)
        elif tier is not None:
            self._window.add(seconds)

    def first_event(self, tier: Tier, seconds: float) -> None:
        """The first event of a stream left for the client, so long after the request came."""
        if not self._own.first_events[tier].observe(seconds):
            self.recording_failed(RecordingFailure.REQUEST)

    def upstream(self, endpoint_id: str, status: int | None) -> None:
        """An endpoint answered an attempt with this status, None if it gave no answer."""
        row = self._own.of(endpoint_id)
        row.upstream[-1 if status is None else status_class(status)] += 1

    def retry(self, tier: Tier) -> None:
        """A request was tried again in the same tier."""
        self._own.retries[tier] += 1

    def fallback(self, from_tier: Tier, to_tier: Tier) -> None:
        """A request went on in another tier."""
        if from_tier is not to_tier:
            self._own.fallbacks[from_tier, to_tier] += 1

    def tokens(self, endpoint_id: str, usage: Usage) -> None:
        """An endpoint reported these token counts for one answer."""
        counts = self._own.of(endpoint_id).tokens
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
            self._own.of(endpoint_id).cost_uusd += cost_uusd

    def baseline(self, baseline_uusd: int) -> None:
        """An answer would have cost so many micro-USD at the deep tier's baseline."""
        if baseline_uusd > 0:
            self._own.baseline_uusd += baseline_uusd

    def mid_stream_failure(self, endpoint_id: str) -> None:
        """A stream broke after its first event had left for the client."""
        self._own.of(endpoint_id).mid_stream += 1

    def health_tracking_failure(self, endpoint_id: str, failure: HealthFailure) -> None:
        """The health of an endpoint could not be tracked."""
        self._own.of(endpoint_id).health[failure] += 1

    def health_task_failure(self, failure: BackgroundFailure) -> None:
        """The background task that probes endpoints broke and is started again."""
        self._own.background_failures[failure] += 1

    def clock_error(self) -> None:
        """A clock gave a time that cannot be."""
        self._own.clock_errors += 1

    def recording_failed(self, operation: RecordingFailure) -> None:
        """Something could not be recorded."""
        self._own.recording_failures[operation] += 1

    def reloaded(self, outcome: ReloadOutcome) -> None:
        """The configuration was read again."""
        self._own.reloads[outcome] += 1

    def judged(self, endpoint_id: str, result: str, *, usage: Usage | None, cost_uusd: int) -> None:
        """A question to the judge ended so; the endpoint is the one that was asked last."""
        judge = self._own.judge
        judge.calls[result if result in JUDGE_RESULTS else OTHER] += 1
        judge.cost_uusd += max(0, cost_uusd)
        if usage is not None:
            self.tokens(endpoint_id, usage)
            for place, count in enumerate((usage.prompt, usage.completion, usage.cached)):
                judge.tokens[place] += max(0, count)

    def in_flight_inc(self) -> None:
        """A request came in."""
        self._own.in_flight += 1

    def in_flight_dec(self) -> None:
        """A request left."""
        self._own.in_flight -= 1

    # Reading

    def percentiles(self) -> Percentiles | None:
        """Exact p50, p95 and p99 of the last 1,024 routed requests, None before the first."""
        return self._window.percentiles()

    def counters(self) -> Counters:
        """Totals since the start; tokens are those of the endpoints now configured, and `other`."""
        rows = (*self._own.endpoints.values(), self._own.other)
        return Counters(
            requests=self._finished,
            failed=self._failed,
            in_flight=self._own.in_flight,
            prompt_tokens=sum(row.tokens[0] for row in rows),
            completion_tokens=sum(row.tokens[1] for row in rows),
            recording_failures=sum(self._own.recording_failures.values()),
            health_tracking_failures=sum(sum(row.health.values()) for row in rows),
            background_task_failures=sum(self._own.background_failures.values()),
        )

    def render(self, family: str | None = None) -> bytes:
        """All metrics, or those of one family, in Prometheus's text format 0.0.4; call it off the event loop.

        Raises ValueError for a family that is none of FAMILIES.
        """
        if family is not None and family not in FAMILIES:
            raise ValueError(f"family must be one of {', '.join(FAMILIES)}")
        prefix = "" if family is None else f"{family}_"
        pages = []
        for metric in self.collect():
            if metric.name.startswith(prefix):
                pages.append(_written(metric))
                time.sleep(0)  # whoever waits for Python's lock has it now, not when the whole page is done
        return b"".join(pages)

    def collect(self) -> Iterator[Metric]:
        """All families with their series, in an order that never changes."""
        live = self._live()
        yield from self._own.collect(live)
        yield from self.ledger.collect(live.keeping)
        yield from self.traces.collect()
        yield from self.dancer.collect(live)
        yield from self.requests.collect(live)
        yield from self.models.collect(live)
        yield from self.rules.collect()
        yield from registry_gauges(live, scores=self._room["scores"], budgets=self._room["budgets"])
        yield from self.gen_ai.collect()


def _written(metric: Metric) -> bytes:
    registry = CollectorRegistry()
    registry.register(_One(metric))
    return generate_latest(registry)


class _One:
    """A family alone, as prometheus-client collects it."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric
