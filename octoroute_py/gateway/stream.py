"""The relay of a committed stream: whole events forwarded byte for byte, usage sniffed, silence and cuts noticed.

It is pulled by the edge, so a slow client slows the upstream down by itself (back-pressure), and time the client takes
never counts as the upstream's silence.
"""

from collections.abc import Callable

from octoroute_py.core.clock import Monotonic
from octoroute_py.gateway.failures import error_event, stream_error
from octoroute_py.gateway.timers import COMMENTS_STRETCH, EARLY_WAKE_S, KEEP_ALIVE_COMMENT_S
from octoroute_py.transport.base import TimedOut, TransportError, UpstreamAnswer
from octoroute_py.transport.faults import Fault, FaultKind
from octoroute_py.transport.stream_scan import StreamScan

KEEP_ALIVE_COMMENT = b": keep-alive\n\n"


class Relay:
    """One committed stream on its way to the client.

    `clean` takes out of a fault what the upstream wrote but no client may see. `silence_s` bounds the pause between
    data events, `deadline_s` (monotonic) the whole call. `on_end(fault)` is called exactly once: with the fault when
    the stream broke, with None when it is complete or was closed before its end.
    """

    __slots__ = (
        "_answer",
        "_clean",
        "_deadline_s",
        "_events",
        "_given_s",
        "_last_byte_s",
        "_last_event_s",
        "_now",
        "_on_end",
        "_pending",
        "_scan",
        "_silence_s",
        "broken",
        "ended",
    )

    def __init__(
        self,
        answer: UpstreamAnswer,
        scan: StreamScan,
        first: bytes,
        *,
        now: Monotonic,
        clean: Callable[[Fault], Fault],
        silence_s: float,
        deadline_s: float,
        on_end: Callable[[Fault | None], None],
    ) -> None:
        self._now = now
        self._clean = clean
        self._answer = answer
        self._scan = scan
        self._pending = first
        self._silence_s = silence_s
        self._deadline_s = deadline_s
        self._on_end = on_end
        self._events = scan.events
        self._last_byte_s = self._last_event_s = self._given_s = self._now()
        self.broken = False
        self.ended = False
        if scan.done and scan.fault is None:
            self._end(None)

    async def next(self) -> bytes:
        """The next bytes for the client, whole events only; b"" when the stream is over.

        `ended` may already be true when the last bytes are given. A stream that breaks gives its error event last, and
        `broken` is then true: the connection to the client must not be used again.
        """
        if self._pending:
            out, self._pending = self._pending, b""
            return out
        if self.ended:
            return b""
        scan = self._scan
        comment_at = self._resume() + KEEP_ALIVE_COMMENT_S
        while True:
            if scan.fault is not None:
                return self._break(scan.fault)
            try:
                chunk = await self._answer.chunk(deadline=min(comment_at, self._stalled_at(), self._deadline_s))
            except TimedOut:
                out = self._overdue()
            except TransportError:
                out = self._cut()
            else:
                out = self._take(chunk) if chunk else self._cut()
            if out or self.ended:
                self._given_s = self._now()
                return out

    def _resume(self) -> float:
        """The client is back for more: leave the time it took out of the upstream's silence; the time now."""
        now = self._now()
        away_s = now - self._given_s
        self._last_byte_s += away_s
        self._last_event_s += away_s
        return now

    def _take(self, chunk: bytes) -> bytes:
        scan = self._scan
        out = scan.feed(chunk)
        self._last_byte_s = now = self._now()
        if scan.events != self._events:
            self._events = scan.events
            self._last_event_s = now
        if scan.done and scan.fault is None:
            self._end(None)
        return out

    def _stalled_at(self) -> float:
        """When the upstream has been silent for too long, as far as is known now."""
        silence_s = self._silence_s
        return min(self._last_byte_s + silence_s, self._last_event_s + COMMENTS_STRETCH * silence_s)

    def _overdue(self) -> bytes:
        """Waiting is no longer quiet: the deadline has come, the upstream has stalled, or a comment is due."""
        now = self._now() + EARLY_WAKE_S
        if self._scan.complete and now >= min(self._deadline_s, self._stalled_at()):
            return self._end(None)  # every choice had finished: only [DONE] or the usage never came
        if now >= self._deadline_s:
            return self._break(Fault(kind=FaultKind.TIMEOUT))
        if now >= self._stalled_at():
            return self._break(Fault(kind=FaultKind.STALLED))
        return KEEP_ALIVE_COMMENT

    def _cut(self) -> bytes:
        """The upstream's bytes ended: whole by its finish reasons, or truncated."""
        out = self._scan.end()
        if self._scan.fault is not None:
            return out + self._break(self._scan.fault)
        if self._scan.complete:
            return out + self._end(None)
        return out + self._break(Fault(kind=FaultKind.TRUNCATED))

    def _break(self, fault: Fault) -> bytes:
        self.broken = True
        self._end(fault)
        return error_event(stream_error(self._clean(fault)))

    def _end(self, fault: Fault | None) -> bytes:
        self.ended = True
        if fault is None and self._scan.done:
            self._answer.finish()
        else:
            self._answer.close()
        self._on_end(fault)
        return b""

    def close(self) -> None:
        """Let go of the upstream; idempotent. A stream that had not ended is cut off there without a verdict."""
        if not self.ended:
            self.ended = True
            self._answer.close()
            self._on_end(None)
