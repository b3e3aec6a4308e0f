"""One upstream socket: strict HTTP/1.1 framing of the answer, deadlines and back-pressure. `wire` pools these."""

import asyncio
from collections.abc import Callable
from typing import Final, cast

import httptools

from octoroute_py.transport.base import (
    MAX_HEAD_BYTES,
    BadFraming,
    Disconnected,
    Headers,
    TimedOut,
    TooLarge,
    TransportError,
)
from octoroute_py.transport.framing import framing_error, runs_until_eof

# States in the order an exchange walks through them; comparisons rely on it.
IDLE: Final = 0
HEAD: Final = 1
BODY: Final = 2
DONE: Final = 3
DEAD: Final = 4

_PAUSE_ABOVE_BYTES = 256 * 1024
_JOIN_UP_TO_BYTES = 128 * 1024
# A request up to this size fits any socket buffer, so it is out when its answer is in.
_LARGE_BYTES = 8 * 1024
_VERSION_BYTES = len(b"HTTP/1.1 ")
_LINGER_BYTES = 256 * 1024
# The stock and the uvloop clock both count timers in milliseconds and may fire that much early.
TIMER_SLACK_S = 0.001


class Connection(asyncio.Protocol):
    """A socket that carries one exchange at a time.

    `start` writes a request; `wait_for` gives a future for the next step. `status` is 0 until the final response head
    is in. `error` says why the exchange cannot go on; bytes that came before it stay readable.
    """

    __slots__ = (
        "_create_future",
        "_deadline",
        "_fed",
        "_is_11",
        "_large",
        "_limit",
        "_linger",
        "_lost",
        "_on_lost",
        "_parser",
        "_paused",
        "_quiet",
        "_streaming",
        "_timer",
        "_timer_at",
        "_transport",
        "_until_eof",
        "_waiter",
        "_want",
        "buffered_bytes",
        "chunks",
        "error",
        "headers",
        "idle_since",
        "keep_alive",
        "loop",
        "made_at",
        "state",
        "status",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, on_lost: "Callable[[Connection], None]") -> None:
        self.loop = loop
        self._create_future = loop.create_future
        self._is_11 = False
        self._large = False
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._deadline = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._want = HEAD
        self._streaming = False
        self._linger: Callable[[Connection], None] | None = None
        self._lost = False
        self._paused = False
        self._until_eof = False
        self._fed = 0
        self._quiet = 0
        self._limit = 0
        self.made_at = loop.time()
        self.idle_since = 0.0
        self.state: int = IDLE
        self.status = 0
        self.headers: Headers = []
        self.chunks: list[bytes] = []
        self.buffered_bytes = 0
        self.keep_alive = False
        self.error: TransportError | None = None

    # What the pool and the answer call.

    def start(self, head: bytes, body: bytes, deadline: float) -> asyncio.Future[None]:
        """Send a request; the future ends when the response head is in or the exchange failed, or with TimedOut."""
        transport = self._transport
        if transport is None:
            raise Disconnected("the connection was never made")
        self.state = HEAD
        self.status = self._fed = self._quiet = self.buffered_bytes = 0
        self.headers = []
        self.chunks = []
        self._streaming = self._until_eof = False
        self._large = len(body) > _LARGE_BYTES
        if len(body) <= _JOIN_UP_TO_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        self._want = BODY
        return self._wait(deadline)

    def wait_for_data(self, deadline: float) -> asyncio.Future[None]:
        """A future that ends when body bytes are there or the exchange has ended, or with TimedOut at `deadline`."""
        self._want = DONE
        self._streaming = True
        return self._wait(deadline)

    def wait_for_end(self, deadline: float, max_bytes: int) -> asyncio.Future[None]:
        """A future for the whole body, of at most `max_bytes`."""
        self._limit = max_bytes
        self._want = DONE
        self._streaming = False
        if self._paused:
            self._resume()
        return self._wait(deadline)

    def take(self) -> bytes:
        """The body bytes that have come since the last call."""
        chunks = self.chunks
        if len(chunks) == 1:
            data = chunks[0]
            chunks.clear()
        else:
            data = b"".join(chunks)
            self.chunks = []
        self.buffered_bytes = 0
        if self._paused:
            self._resume()
        return data

    @property
    def untouched(self) -> bool:
        """True when the exchange failed before the upstream said a single byte."""
        return self._fed == 0 and isinstance(self.error, Disconnected)

    @property
    def reusable(self) -> bool:
        """True when the exchange ended cleanly and the socket may carry another."""
        return self.state == DONE and self.keep_alive and not self._lost and not (self._large and self._unsent())

    @property
    def usable(self) -> bool:
        """True when an idle socket still looks open."""
        return self.state == IDLE and self._transport is not None and not self._transport.is_closing()

    @property
    def lingering(self) -> bool:
        """True while only the end of a body nobody reads is awaited."""
        return self._linger is not None

    def rest(self, now: float) -> None:
        """Wait for the next exchange; any byte that comes meanwhile ends the connection."""
        self.state = IDLE
        self.idle_since = now
        self._waiter = None

    def linger(self, seconds: float, on_end: "Callable[[Connection], None]") -> None:
        """Wait in the background for the end of the body, throwing away a bounded rest, then call `on_end`."""
        self.take()
        self._linger = on_end
        self._limit = _LINGER_BYTES
        self._want = DONE
        self._streaming = False
        self._arm(self.loop.time() + seconds)

    def close(self) -> None:
        """Close politely; what is unsent is still sent."""
        self._stop()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._stop()
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        state = self.state
        if state == HEAD:
            if not self._fed:
                self._is_11 = data.startswith(b"HTTP/1.1 ")
                if not self._is_11 and not data.startswith(b"HTTP/1.0 ") and len(data) >= _VERSION_BYTES:
                    self._fed = len(data)
                    self._fail(BadFraming("the answer does not start as HTTP/1.0 or 1.1"))
                    return
            self._fed += len(data)
        elif state == BODY:
            self._quiet += len(data)
        else:
            if state != DEAD:
                self._fail(BadFraming("bytes after the end of the answer" if state == DONE else "unsolicited bytes"))
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._fail(framing_error(exc))
            return
        if self._fed > MAX_HEAD_BYTES and state == HEAD and self._head_too_large():
            self._fail(TooLarge("response head above its cap"))
        elif self._quiet > MAX_HEAD_BYTES and self.state == BODY:
            self._fail(TooLarge("chunk extensions or trailers above the cap of a head"))
        elif self.buffered_bytes > _PAUSE_ABOVE_BYTES:
            self._hold_back()
        waiter = self._waiter
        if waiter is not None:
            if self.state >= self._want or (self._streaming and self.chunks):
                self._waiter = None
                if not waiter.done():
                    waiter.set_result(None)
        elif self._linger is not None:
            self._lingered()

    def eof_received(self) -> bool:
        self._ended(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        was_idle = self.state == IDLE
        self._ended(exc)
        self._lost = True
        self._linger = None
        if was_idle:
            self.state = DEAD
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._on_lost(self)

    # httptools callbacks

    def on_message_begin(self) -> None:
        if self.state != HEAD:
            raise BadFraming("a second answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.state == HEAD:  # trailers are read past
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        status = parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:
                raise BadFraming("status nobody asked for")
            return
        version = "1.1" if self._is_11 else parser.get_http_version()
        self._until_eof = runs_until_eof(status, version, self.headers)
        self.status = status
        self.state = BODY

    def on_body(self, body: bytes) -> None:
        self.chunks.append(body)
        self.buffered_bytes += len(body)
        self._quiet = 0

    def on_message_complete(self) -> None:
        if self.state == BODY:
            self.state = DONE
            self.keep_alive = self._parser.should_keep_alive()
        else:
            self.headers = []  # of an interim answer
            self._is_11 = False

    # inner works

    def _wait(self, deadline: float) -> asyncio.Future[None]:
        waiter = self._waiter = self._create_future()
        self._deadline = deadline
        if self._timer is None or self._timer_at > deadline:
            self._arm(deadline)
        return waiter

    def _arm(self, deadline: float) -> None:
        """Have the timer look no later than `deadline`; a later look is left to the timer itself."""
        self._deadline = deadline
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self.loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        waiter = self._waiter
        if waiter is None and self._linger is None:
            return
        if self._deadline - self.loop.time() > TIMER_SLACK_S:
            self._arm(self._deadline)
        elif self._linger is not None:
            self.abort()
        elif waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_exception(TimedOut("the upstream did not deliver in time"))

    def _unsent(self) -> bool:
        """True when the upstream answered before it had the whole request."""
        return self._transport is None or self._transport.get_write_buffer_size() > 0

    def _fail(self, error: TransportError) -> None:
        if self.error is None:
            self.error = error
        self.abort()
        self._wake()

    def _stop(self) -> None:
        self.state = DEAD
        self._linger = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _ended(self, exc: Exception | None) -> None:
        """The upstream sends no more: whole if only the end of the connection could end the body, cut off otherwise."""
        self.keep_alive = False
        if self.state == BODY and self._until_eof and exc is None:
            self.state = DONE
            self._wake()
            if self._linger is not None:
                self._lingered()
        elif self.state in (HEAD, BODY):
            how = "closed" if exc is None else f"broke ({type(exc).__name__})"
            self._fail(Disconnected(f"the upstream's connection {how} before the answer was whole"))

    def _head_too_large(self) -> bool:
        return self.state == HEAD or sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES

    def _hold_back(self) -> None:
        """A reader of the whole body gets it up to its limit; any other has to take what is there first."""
        if self._want == DONE and not self._streaming:
            if self.buffered_bytes > self._limit:
                self._fail(TooLarge("response body above its cap"))
        elif not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        self._paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _lingered(self) -> None:
        self.chunks = []  # buffered_bytes goes on counting towards the linger limit
        if self.state == DONE and self._linger is not None:
            on_end, self._linger = self._linger, None
            on_end(self)
