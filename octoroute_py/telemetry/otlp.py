"""The sending of spans by OpenTelemetry's own exporter (OTLP over HTTP) and batch processor; imported only if used.

The processor's queue holds one item a request, which its thread turns into spans: the event loop pays for a small
object, and a queue that is full loses whole requests, never parts of a tree.
"""

import asyncio
import logging
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags, TraceState
from opentelemetry.trace import SpanKind as OtelKind
from opentelemetry.trace.status import Status, StatusCode

from octoroute_py import __version__
from octoroute_py.config.schema import TracingConfig
from octoroute_py.telemetry.trace_counts import Dropped, TraceCounts
from octoroute_py.telemetry.tracing import MOST_WAITING, MakeSpans, Span, SpanKind

_DELAY_MS: Final = 1000.0
_BATCH: Final = 64
"""Requests in one message to the collector: encoding them holds up other threads, so they are few."""
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_KINDS: Final = {
    SpanKind.SERVER: OtelKind.SERVER,
    SpanKind.CLIENT: OtelKind.CLIENT,
    SpanKind.INTERNAL: OtelKind.INTERNAL,
}
_OK: Final = Status(StatusCode.UNSET)
_FAILED: Final = Status(StatusCode.ERROR)
_ANY: Final = SpanContext(1, 1, is_remote=False, trace_flags=_SAMPLED)

_log = structlog.stdlib.get_logger("octoroute.telemetry")


class _Request(ReadableSpan):
    """The spans of one request before they are worked out; the processor sees something sampled."""

    def __init__(self, make: MakeSpans, count: int) -> None:
        self._context = _ANY
        self.make = make
        self.count = count


class _Collector(SpanExporter):
    """Turns requests into spans, sends them, counts them, and says in one line when that begins or ends to fail."""

    def __init__(self, config: TracingConfig, counts: TraceCounts) -> None:
        self._exporter = OTLPSpanExporter(
            endpoint=config.otlp_endpoint,
            headers={name: value.reveal() for name, value in config.headers},
            timeout=config.timeout_seconds,
        )
        self._counts = counts
        self._resource = Resource(
            {
                "service.name": config.service_name,
                "service.version": __version__,
                "service.instance.id": secrets.token_hex(8),
                "telemetry.sdk.language": "python",
                "telemetry.sdk.name": "opentelemetry",
            }
        )
        self._scope = InstrumentationScope("octoroute", __version__)
        self._failing = False
        self.taken = 0
        self.ended = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send the spans of these requests; what cannot be sent is lost and counted."""
        requests = [each for each in spans if isinstance(each, _Request)]
        made = [] if self.ended else [span for request in requests for span in self._made(request)]
        sent = bool(made) and self._exporter.export(made) is SpanExportResult.SUCCESS
        self.taken += len(requests)
        if sent:
            self._counts.exported += len(made)
        else:
            lost = sum(request.count for request in requests) if self.ended else len(made)
            self._counts.dropped[Dropped.EXPORT_FAILED] += lost
        if made and not self.ended:
            self._tell(failing=not sent)
        return SpanExportResult.SUCCESS if sent else SpanExportResult.FAILURE

    def cut(self) -> None:
        """Send nothing any longer; what is being tried again is given up."""
        self.ended = True
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def shutdown(self) -> None:
        """The processor has ended."""
        if not self.ended:
            self.cut()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing waits here."""
        return True

    def _made(self, request: _Request) -> list[ReadableSpan]:
        try:
            return [_readable(span, self._resource, self._scope) for span in request.make()]
        except Exception as error:  # noqa: BLE001 - one request that cannot be told must not lose the others
            self._counts.dropped[Dropped.BROKEN] += request.count
            _log.error("the spans of a request could not be made", exc_info=error)
            return []

    def _tell(self, *, failing: bool) -> None:
        if failing and not self._failing:
            _log.warning("spans are lost: the collector does not take them")
        elif self._failing and not failing:
            _log.info("the collector takes spans again")
        self._failing = failing


class Sending:
    """A running exporter; `put` is for one thread, the event loop's."""

    def __init__(self, config: TracingConfig, counts: TraceCounts) -> None:
        self._quiet = _Quiet()
        self._collector = _Collector(config, counts)
        self._processor = BatchSpanProcessor(
            self._collector,
            max_queue_size=MOST_WAITING,
            schedule_delay_millis=_DELAY_MS,
            max_export_batch_size=_BATCH,
            export_timeout_millis=config.timeout_seconds * 1000.0,
        )
        self._put = 0

    @property
    def waiting(self) -> int:
        """Requests whose spans were put and not yet sent or lost."""
        return self._put - self._collector.taken

    def put(self, make: MakeSpans, count: int) -> None:
        """Queue the spans of a request."""
        self._put += 1
        self._processor.on_end(_Request(make, count))

    async def close(self, *, within_s: float) -> None:
        """Send what waits; what has not gone by then is lost, and nobody waits for the collector any longer."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def end() -> None:
            self._processor.shutdown()  # type: ignore[no-untyped-call]
            with suppress(RuntimeError):  # the loop has closed: nobody waits any longer
                loop.call_soon_threadsafe(ended.set)

        # Not one of the loop's own threads: its end would wait for those.
        threading.Thread(target=end, name="spans-end", daemon=True).start()
        try:
            async with asyncio.timeout(within_s):
                await ended.wait()
        except TimeoutError:
            self._collector.cut()
            _log.warning("spans were not sent in time and are lost", requests=self.waiting)
        else:
            self._quiet.end()


class _Quiet:
    """Keeps OpenTelemetry's own loggers silent: they repeat a collector's failure with every batch, in many words."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("opentelemetry")
        self._handler = logging.NullHandler()
        self._propagate = self._logger.propagate
        self._logger.addHandler(self._handler)
        self._logger.propagate = False

    def end(self) -> None:
        self._logger.removeHandler(self._handler)
        self._logger.propagate = self._propagate


def _readable(span: Span, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    state = TraceState.from_header([span.state]) if span.state else None
    parent = None
    if span.parent_id:
        parent = SpanContext(span.trace_id, span.parent_id, is_remote=span.remote, trace_flags=_SAMPLED)
    return ReadableSpan(
        span.name,
        context=SpanContext(span.trace_id, span.span_id, is_remote=False, trace_flags=_SAMPLED, trace_state=state),
        parent=parent,
        resource=resource,
        attributes=span.attributes,
        events=[Event(name, timestamp=at_ns) for name, at_ns in span.events],
        kind=_KINDS[span.kind],
        status=_FAILED if span.failed else _OK,
        start_time=span.started_ns,
        end_time=span.ended_ns,
        instrumentation_scope=scope,
    )
