"""An OTLP collector over HTTP in a thread of its own: it decodes what exporters send and keeps the spans.

    with Collector() as collector:
        ...                                # point [tracing] at collector.url
        spans = await collector.wait(3)

`status` is what it answers, `silent` lets it take requests and say nothing.
"""

import http.server
import threading
from types import TracebackType
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.fakes.waiting import until


class Event(NamedTuple):
    name: str
    at_ns: int


class Seen(NamedTuple):
    """One span as it arrived; ids in hex, `kind` and `status` by OTLP's names without their prefix."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    flags: int
    started_ns: int
    ended_ns: int
    attributes: dict[str, object]
    events: list[Event]
    status: str
    resource: dict[str, object]

    def within(self, other: "Seen") -> bool:
        """Whether its time lies inside the other's."""
        return other.started_ns <= self.started_ns <= self.ended_ns <= other.ended_ns


class Collector:
    """The server; see the module's first lines. `headers` are those of the last request, `posts` counts all."""

    def __init__(self) -> None:
        self.status = 200
        self.silent = threading.Event()
        self.posts = 0
        self.paths: set[str] = set()
        self.headers: dict[str, str] = {}
        self.spans: list[Seen] = []
        self._end = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        """What `otlp_endpoint` is to be."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "Collector":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Keep what a request brings; the status of its answer."""
        self.posts += 1
        self.paths.add(path)
        self.headers = headers
        if self.silent.is_set():
            self._end.wait(30.0)
        if self.status == 200:
            self.spans.extend(_spans(body))
        return self.status

    async def wait(self, count: int, timeout_s: float = 10.0) -> list[Seen]:
        """All spans, once there are at least so many."""

        async def there() -> bool:
            return len(self.spans) >= count

        await until(there, timeout_s)
        return self.spans

    def named(self, name: str) -> list[Seen]:
        """The spans of this name."""
        return [span for span in self.spans if span.name == name]


def _handler(collector: Collector) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = collector.take(self.path, {name.lower(): text for name, text in self.headers.items()}, body)
            try:
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()
            except OSError:  # whoever asked has gone
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _spans(body: bytes) -> list[Seen]:
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    return [
        _seen(span, {each.key: _plain(each.value) for each in of.resource.attributes})
        for of in request.resource_spans
        for scope in of.scope_spans
        for span in scope.spans
    ]


def _seen(span: trace_pb2.Span, resource: dict[str, object]) -> Seen:
    return Seen(
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        state=span.trace_state,
        flags=span.flags,
        started_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        attributes={each.key: _plain(each.value) for each in span.attributes},
        events=[Event(each.name, each.time_unix_nano) for each in span.events],
        status=trace_pb2.Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        resource=resource,
    )


def _plain(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)
