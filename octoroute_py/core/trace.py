"""Where a request stands in a distributed trace: the ids that go out with it, known before anything has happened."""

import random
from typing import Final

import msgspec

_SPAN_BITS: Final = 64


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One request's place in a trace.

    `span_id` is its own span, `parent_id` that of whoever sent it (0: it begins the trace), `routing_id` that of the
    choice of its tier. Only what is `sampled` makes spans; the ids go out with its attempts in any case. `state` is the
    caller's tracestate, passed on as it came.
    """

    trace_id: int
    span_id: int
    parent_id: int = 0
    routing_id: int
    sampled: bool
    state: str = ""

    @property
    def hex_id(self) -> str:
        """The trace's id as 32 hex digits."""
        return f"{self.trace_id:032x}"

    def headers(self, span_id: int) -> tuple[tuple[bytes, bytes], ...]:
        """The W3C header fields of a request that is sent within the span `span_id`."""
        parent = b"00-%032x-%016x-%02x" % (self.trace_id, span_id, self.sampled)
        if not self.state:
            return ((b"traceparent", parent),)
        return ((b"traceparent", parent), (b"tracestate", self.state.encode("ascii")))


class Step(msgspec.Struct, frozen=True):
    """A part of choosing a tier that was timed; monotonic seconds."""

    name: str
    started_s: float
    ended_s: float
    span_id: int


class Trail:
    """What is noted of a traced request on its way, beside what is noted of every request.

    `route` is the path it came by, `model` what it asked for, `routing_started_s` (monotonic) when its tier began to be
    chosen, `steps` what was timed of that, in order.
    """

    __slots__ = ("model", "route", "routing_started_s", "steps", "trace")

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.route = ""
        self.model = ""
        self.routing_started_s: float | None = None
        self.steps: list[Step] = []

    def routing_begins(self, now: float, *, model: str) -> None:
        """From now on its tier is being chosen."""
        self.routing_started_s, self.model = now, model

    def step(self, name: str, started_s: float, ended_s: float) -> None:
        """A part of that is done."""
        self.steps.append(Step(name, started_s, ended_s, new_span_id()))


def new_span_id() -> int:
    """A fresh id of a span, never 0."""
    return random.getrandbits(_SPAN_BITS) or 1
