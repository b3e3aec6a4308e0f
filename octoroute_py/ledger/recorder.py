"""Writes down how a request ended: once, everywhere, and without ever troubling the request."""

from collections.abc import Callable, Sequence

from octoroute_py.core.ending import ended
from octoroute_py.core.words import Surface
from octoroute_py.ledger.outcome import Attempt, Outcome
from octoroute_py.telemetry.access import AccessLog
from octoroute_py.telemetry.labels import RecordingFailure
from octoroute_py.telemetry.metrics import Metrics
from octoroute_py.telemetry.semconv import operation_of


class Recorder:
    """Turns an outcome into metrics and an access line.

    All metrics of a client's request come from here, attempts included; the pipeline itself only moves the in-flight
    gauge, and a judge's caller reports the judge's upstream calls. Each of `told` hears of it before it is recorded.
    """

    __slots__ = ("_access_log", "_metrics", "_told")

    def __init__(
        self, metrics: Metrics, access_log: AccessLog, *, told: Sequence[Callable[[Outcome], None]] = ()
    ) -> None:
        self._metrics = metrics
        self._access_log = access_log
        self._told = tuple(told)

    def record(self, outcome: Outcome) -> None:
        """Record a finished request; never raises, what fails is counted."""
        for tell in self._told:
            try:
                tell(outcome)
            except Exception:  # noqa: BLE001 - a request must not fail because of who else wanted to know
                self._metrics.recording_failed(RecordingFailure.OUTCOME)
        try:
            self._count(outcome)
        except Exception:  # noqa: BLE001 - a request must not fail because it could not be counted
            self._metrics.recording_failed(RecordingFailure.OUTCOME)
        try:
            self._write(outcome)
        except Exception:  # noqa: BLE001 - nor because its line could not be written
            self._metrics.recording_failed(RecordingFailure.ACCESS_LINE)

    def _count(self, outcome: Outcome) -> None:
        metrics = self._metrics
        tier, strategy, reason = outcome.tier, outcome.strategy, outcome.reason
        metrics.finished(tier, outcome.status, outcome.duration_s)
        if tier is not None and strategy is not None and reason is not None:
            metrics.request_routed(tier, strategy, reason)
        if outcome.rule_id is not None:
            metrics.rules.decided(outcome.rule_id)
        if strategy is not None and outcome.routing_s is not None:
            metrics.routing_duration(strategy, outcome.routing_s * 1000.0)
        self._count_attempts(outcome)
        metrics.baseline(outcome.baseline_uusd)
        if isinstance(outcome.surface, Surface):
            self._count_families(outcome, outcome.surface)
        if tier is not None:
            if outcome.first_event_s is not None:
                metrics.first_event(tier, outcome.first_event_s)
            if outcome.error_code is None and 200 <= outcome.status < 300:
                metrics.model_invoked(tier)
        if outcome.endpoint_id is not None:
            if outcome.usage is not None:
                metrics.tokens(outcome.endpoint_id, outcome.usage)
            if outcome.broken_stream:
                metrics.mid_stream_failure(outcome.endpoint_id)

    def _count_attempts(self, outcome: Outcome) -> None:
        metrics = self._metrics
        # The first attempt may already be in another tier than the router chose, when nobody there could be tried.
        before, sent = outcome.decided_tier, False
        for attempt in outcome.attempts:
            if attempt.status is not None or attempt.fault is not None:  # else the client left before an answer came
                metrics.upstream(attempt.endpoint_id, attempt.status)
            metrics.cost(attempt.endpoint_id, attempt.cost_uusd)
            if before is not None and before is not attempt.tier:
                metrics.fallback(before, attempt.tier)
            elif sent:
                metrics.retry(attempt.tier)
            before, sent = attempt.tier, True

    def _count_families(self, outcome: Outcome, surface: Surface) -> None:
        """The same request in the words of the other families."""
        metrics, status, error = self._metrics, outcome.status, outcome.error_code
        tenant, operation = metrics.tenant(outcome.workspace), operation_of(surface)
        metrics.requests.ended(surface, status, tenant=tenant, seconds=outcome.duration_s, error=error)
        if error is not None and (status >= 500 or outcome.broken_stream):
            metrics.dancer.failed(error)
        elif outcome.tier is not None:
            metrics.dancer.routed(outcome.tier, outcome.routing_s)
        for attempt in outcome.attempts:
            seconds = attempt.ended_s - attempt.started_s
            metrics.models.attempted(attempt.endpoint_id, tenant=tenant, seconds=seconds, cost_uusd=attempt.cost_uusd)
            metrics.gen_ai.attempted(attempt.endpoint_id, operation, seconds)
        if outcome.endpoint_id is not None:
            metrics.models.ended(
                outcome.endpoint_id,
                agent_type=outcome.agent_type,
                tenant=tenant,
                usage=outcome.usage,
                seconds=outcome.duration_s,
            )
            if outcome.usage is not None:
                metrics.gen_ai.used(outcome.endpoint_id, operation, outcome.usage)
        if outcome.first_event_s is not None:
            metrics.gen_ai.first_token(operation, outcome.first_event_s)
        if outcome.arms is not None:
            metrics.requests.decided(outcome.arms, ended(status, failed=error is not None))

    def _write(self, outcome: Outcome) -> None:
        usage = outcome.usage
        self._access_log.write(
            request_id=outcome.request_id,
            surface=outcome.surface,
            status=outcome.status,
            duration_s=outcome.duration_s,
            tier=outcome.tier,
            strategy=outcome.strategy,
            reason=outcome.reason,
            endpoint_id=outcome.endpoint_id,
            attempts=len(outcome.attempts),
            failed=_failed(outcome.attempts),
            stream=outcome.stream,
            first_event_s=outcome.first_event_s,
            prompt_tokens=None if usage is None else usage.prompt,
            completion_tokens=None if usage is None else usage.completion,
            principal=outcome.principal,
            error_code=outcome.error_code,
            trace_id=None if outcome.trail is None else outcome.trail.trace.hex_id,
        )


def _failed(attempts: tuple[Attempt, ...]) -> str | None:
    """The faults of the attempts that failed, in the order of sending."""
    failed: str | None = None
    for attempt in attempts:
        if attempt.fault is not None:
            failed = attempt.fault if failed is None else f"{failed},{attempt.fault}"
    return failed
