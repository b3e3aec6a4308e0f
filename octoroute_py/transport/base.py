"""The seam every upstream call goes through, and what can go wrong there.

    TransportError
    ├── ConnectFailed     refused, unreachable, DNS, TLS, or not connected within the connect limit; nothing was sent
    │   ├── NoSocket      this process may open no more: says nothing of the upstream
    │   └── NotPermitted  a registered endpoint leads where its rules permit nothing
    ├── Disconnected      FIN, RST or a short body after the request was sent
    ├── BadFraming        bytes that are no clean HTTP/1.1 answer, or a coding we did not ask for
    ├── TooLarge          a head, line or body above its cap
    └── TimedOut          the deadline given to this call passed; for `UpstreamAnswer.chunk` the call may be repeated

Two residents implement `Transport`: `wire` (the hot path) and `httpx` (proxies, HTTP/2, own CAs, probes of what the
file names).
One `Transport` object belongs to one endpoint: base URL, credential and extra headers are fixed when it is made.
"""

import errno
from typing import Protocol

import msgspec

MAX_HEAD_BYTES = 64 * 1024
"""Largest upstream response head."""
MAX_HEAD_FIELDS = 256
"""Most header fields in an upstream response."""
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Largest buffered upstream answer (contract §3)."""

Headers = list[tuple[bytes, bytes]]
"""Response headers in order, names lower-case."""


class TransportError(Exception):
    """An upstream call failed below HTTP semantics. Messages are for logs, never for clients."""


class ConnectFailed(TransportError):
    """No connection: refused, unreachable, DNS, TLS or the connect limit. Nothing was sent."""


class NoSocket(ConnectFailed):
    """The machine or the process is out of descriptors, ports or buffers; the upstream was never asked."""


class NotPermitted(ConnectFailed):
    """The endpoint was registered over the API and leads where such endpoints may not be; nobody was contacted."""


OUT_OF_SOCKETS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""The errors of the operating system that mean NoSocket."""


class Disconnected(TransportError):
    """The upstream ended the connection before its answer was whole."""


class BadFraming(TransportError):
    """The answer breaks HTTP/1.1 framing or uses a content coding; the connection is closed."""


class TooLarge(TransportError):
    """The answer is above a cap; the connection is closed."""


class TimedOut(TransportError):
    """The deadline passed before the upstream delivered."""


class UpstreamRequest(msgspec.Struct, frozen=True):
    """One call: `path` is appended to the endpoint's base URL (`/chat/completions`).

    `headers` are the few that vary by request (`accept`, `x-request-id`, allow-listed client headers); the transport
    adds host, credential, content-type, content-length, accept-encoding: identity, user-agent and the endpoint's own
    headers.
    """

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


class UpstreamAnswer(Protocol):
    """A response whose head has arrived. Not thread-safe; one reader."""

    @property
    def status(self) -> int:
        """HTTP status, 200-599 (1xx are skipped)."""
        ...

    @property
    def headers(self) -> Headers:
        """Response headers as sent, names lower-case."""
        ...

    async def read(self, *, deadline: float, max_bytes: int = MAX_BODY_BYTES) -> bytes:
        """The whole body. Raises TimedOut, TooLarge, Disconnected or BadFraming; the answer is then closed."""
        ...

    async def chunk(self, *, deadline: float) -> bytes:
        """The next bytes of the body as they arrived (several reads may be joined), b"" once it has ended cleanly.

        Raises TimedOut when nothing came by `deadline` (the answer stays usable, call again to go on waiting),
        Disconnected or BadFraming when it ended badly (bytes that came before are delivered first).
        """
        ...

    def close(self) -> None:
        """Done with it, idempotent, safe in `finally` and under cancellation, never blocks.

        A body that was read to its end gives its connection back; any other connection is closed at once.
        """
        ...

    def finish(self) -> None:
        """Like close, for an answer whose content is known to be complete (`[DONE]` seen) but whose framing may lag:
        the connection may wait up to a second for the end of the body, in the background, to be used again."""
        ...


class Transport(Protocol):
    """Sends requests to one endpoint."""

    async def send(self, request: UpstreamRequest, *, deadline: float, connect_s: float) -> UpstreamAnswer:
        """Send it and wait for the response head until `deadline` (event-loop time: `loop.time()`).

        A new connection may take at most `connect_s` (TCP and TLS together). Cancelling the caller closes the
        connection in use. Raises the TransportError tree.
        """
        ...

    async def aclose(self) -> None:
        """Close idle connections now and busy ones as they end."""
        ...
