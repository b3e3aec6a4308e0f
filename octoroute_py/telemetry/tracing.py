"""Spans on their way to a collector: a bounded queue that requests never wait for, emptied by a thread of its own.

Nothing of OpenTelemetry is imported before `start`, and `start` is not called where tracing is off.
"""

import enum
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from octoroute_py.config.schema import TracingConfig
from octoroute_py.telemetry.trace_counts import Dropped, TraceCounts

if TYPE_CHECKING:
    from octoroute_py.telemetry.otlp import Sending

MOST_WAITING: Final = 2048
"""Requests whose spans may wait for the collector; those of further ones are dropped."""

Attribute: TypeAlias = str | int | float | bool


class SpanKind(enum.Enum):
    """Who speaks to whom: a client to us, we to an upstream, or nobody."""

    SERVER = enum.auto()
    CLIENT = enum.auto()
    INTERNAL = enum.auto()


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One finished span; times are Unix nanoseconds, `parent_id` 0 makes it the first of its trace.

    `remote`: the parent is somebody else's. `events` are names with their times. `failed` is the status.
    """

    name: str
    kind: SpanKind
    trace_id: int
    span_id: int
    parent_id: int
    remote: bool = False
    state: str = ""
    started_ns: int
    ended_ns: int
    attributes: dict[str, Attribute]
    events: tuple[tuple[str, int], ...] = ()
    failed: bool = False


MakeSpans: TypeAlias = Callable[[], Sequence[Span]]
"""Works out the spans of a request, in the thread that sends them."""


class Tracing:
    """Takes the spans of finished requests. `start` it before the first one, `close` it after the last."""

    __slots__ = ("_config", "_counts", "_sending")

    def __init__(self, config: TracingConfig, counts: TraceCounts) -> None:
        self._config = config
        self._counts = counts
        self._sending: Sending | None = None

    def start(self) -> None:
        """Begin to send: takes a moment, as OpenTelemetry is imported. Raises ImportError where it is not installed."""
        from octoroute_py.telemetry.otlp import Sending

        if self._sending is None:
            self._sending = Sending(self._config, self._counts)

    def put(self, make: MakeSpans, count: int) -> None:
        """Hand over the `count` spans of a request; never waits. For the event loop's thread."""
        sending = self._sending
        if sending is None:
            return
        if sending.waiting >= MOST_WAITING:
            self._counts.dropped[Dropped.QUEUE_FULL] += count
        else:
            sending.put(make, count)

    async def close(self, *, within_s: float) -> None:
        """Send what waits, for at most so long, and end."""
        sending, self._sending = self._sending, None
        if sending is not None:
            await sending.close(within_s=within_s)
