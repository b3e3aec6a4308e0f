"""Upstreams without sockets: what they say and how long they take is scripted, and time passes only when it is waited.

    clock = Clock()
    transport = ScriptedTransport(clock, Reply(parts=[b"{}"]), ConnectFailed("refused"))

Each send takes the next turn, the last one again and again. A turn may be an exception to raise.
"""

import asyncio
from collections.abc import Sequence

from octoroute_py.transport.base import MAX_BODY_BYTES, Headers, TimedOut, UpstreamRequest

JSON: Headers = [(b"content-type", b"application/json")]
SSE: Headers = [(b"content-type", b"text/event-stream")]


class Clock:
    """A monotonic clock that moves when somebody waits by it; `slept` are the waits of its own `sleep`.

    Every wait ends `early_s` before its time, as timers of a real event loop may.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.early_s = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let the time pass at once, and other tasks run."""
        self.slept.append(seconds)
        self.now += max(0.0, seconds - self.early_s)
        await asyncio.sleep(0)


class Quiet:
    """So many seconds without a byte."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


Part = bytes | Quiet | Exception


def repeated(*parts: Part, times: int = 100) -> list[Part]:
    """These parts again and again."""
    return [*parts] * times


class Reply:
    """An answer: its head after `delay_s`, then its parts; an exception among them is raised where it stands."""

    def __init__(
        self,
        status: int = 200,
        *parts: Part,
        headers: Headers = JSON,
        delay_s: float = 0.0,
    ) -> None:
        self.status = status
        self.parts = parts
        self.headers = headers
        self.delay_s = delay_s


class Never:
    """No answer until the caller gives up or is cancelled; `waiting` is set while it waits.

    Its time is real: only a cancellation ends it.
    """

    def __init__(self) -> None:
        self.waiting = asyncio.Event()


Turn = Reply | Never | Exception


class ScriptedAnswer:
    """See `UpstreamAnswer`; `ending` tells how it was let go: None, "closed" or "finished"."""

    def __init__(self, clock: Clock, reply: Reply) -> None:
        self._clock = clock
        self._parts = list(reply.parts)
        self.status = reply.status
        self.headers = reply.headers
        self.ending: str | None = None

    async def read(self, *, deadline: float, max_bytes: int = MAX_BODY_BYTES) -> bytes:
        body = b""
        while data := await self.chunk(deadline=deadline):
            body += data
        return body

    async def chunk(self, *, deadline: float) -> bytes:
        while self._parts:
            part = self._parts.pop(0)
            if isinstance(part, bytes):
                return part
            if isinstance(part, Exception):
                raise part
            until = self._clock.now + part.seconds
            if until > deadline:
                self._clock.now = max(self._clock.now, deadline - self._clock.early_s)
                self._parts.insert(0, Quiet(until - self._clock.now))
                raise TimedOut("nothing came")
            self._clock.now = until
        return b""

    def close(self) -> None:
        self.ending = self.ending or "closed"

    def finish(self) -> None:
        self.ending = self.ending or "finished"


class ScriptedTransport:
    """See `Transport`; `sends` are the clock times of the `requests`, `deadlines` until when they might take."""

    def __init__(self, clock: Clock, *turns: Turn) -> None:
        self._clock = clock
        self._turns = list(turns)
        self.sends: list[float] = []
        self.requests: list[UpstreamRequest] = []
        self.deadlines: list[float] = []
        self.answers: list[ScriptedAnswer] = []
        self.closed = False

    async def send(self, request: UpstreamRequest, *, deadline: float, connect_s: float) -> ScriptedAnswer:
        self.sends.append(self._clock.now)
        self.requests.append(request)
        self.deadlines.append(deadline)
        turn = self._turns.pop(0) if len(self._turns) > 1 else self._turns[0]
        await asyncio.sleep(0)
        if isinstance(turn, Exception):
            raise turn
        if isinstance(turn, Never):
            turn.waiting.set()
            await asyncio.Event().wait()
            raise AssertionError("nobody sets that event")
        if self._clock.now + turn.delay_s > deadline:
            self._clock.now = deadline
            raise TimedOut("no head came")
        self._clock.now += turn.delay_s
        self.answers.append(ScriptedAnswer(self._clock, turn))
        return self.answers[-1]

    async def aclose(self) -> None:
        self.closed = True


def script(clock: Clock, turns: Sequence[Turn] | Turn) -> ScriptedTransport:
    """A transport of these turns."""
    return ScriptedTransport(clock, *(turns if isinstance(turns, Sequence) else (turns,)))
