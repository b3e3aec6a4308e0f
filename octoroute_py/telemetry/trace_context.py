"""W3C trace context as it comes in (https://www.w3.org/TR/trace-context/), and whether to record what it is part of."""

import random
import re
from collections.abc import Iterable
from typing import Final

from octoroute_py.core.trace import Trace, new_span_id

LONGEST_STATE: Final = 512
"""Characters of a tracestate that are passed on; a longer one is not."""
_MOST_MEMBERS: Final = 32
_LOWER: Final = (1 << 64) - 1

_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_KEY: Final = r"[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13}"
_VALUE: Final = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER: Final = re.compile(rf"({_KEY})=({_VALUE})")


def parse_parent(value: bytes) -> tuple[int, int, bool] | None:
    """Trace id, span id and the sampled flag of a traceparent; None for one that does not count.

    Of a version above 00 only the four fields are read that every version has.
    """
    match = _PARENT.fullmatch(value)
    if match is None or match[1] == b"ff" or (match[1] == b"00" and match[5] is not None):
        return None
    trace_id, span_id = int(match[2], 16), int(match[3], 16)
    return (trace_id, span_id, bool(int(match[4], 16) & 1)) if trace_id and span_id else None


def parse_state(values: Iterable[bytes]) -> str:
    """The tracestate of all its header fields together, "" for one that is none or too long."""
    members: dict[str, str] = {}
    for part in b",".join(values).decode("latin-1").split(","):
        member = part.strip(" \t")
        if not member:
            continue
        match = _MEMBER.fullmatch(member)
        if match is None or match[1] in members:
            return ""
        members[match[1]] = member
    state = ",".join(members.values())
    return state if len(members) <= _MOST_MEMBERS and len(state) <= LONGEST_STATE else ""


class Sampler:
    """Opens the trace of each request: the caller's where it has one and its word on sampling, else a new one.

    Of new traces a share of `ratio` is sampled, by the lower half of their id as other tracers do: whoever else
    decides by the same ratio decides the same.
    """

    __slots__ = ("_below",)

    def __init__(self, ratio: float) -> None:
        self._below = round(ratio * (_LOWER + 1))

    def open(self, headers: Iterable[tuple[bytes, bytes]]) -> Trace:
        """The trace of a request with these headers (names lower-case)."""
        parents: list[bytes] = []
        states: list[bytes] = []
        for name, value in headers:
            if name == b"traceparent":
                parents.append(value)
            elif name == b"tracestate":
                states.append(value)
        parent = parse_parent(parents[0]) if len(parents) == 1 else None
        if parent is None:
            trace_id = random.getrandbits(128) or 1
            sampled = trace_id & _LOWER < self._below
            return Trace(trace_id=trace_id, span_id=new_span_id(), routing_id=new_span_id(), sampled=sampled)
        return Trace(
            trace_id=parent[0],
            span_id=new_span_id(),
            parent_id=parent[1],
            routing_id=new_span_id(),
            sampled=parent[2],
            state=parse_state(states) if states else "",
        )
