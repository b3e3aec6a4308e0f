"""`GET /api/live`: the feed behind the page, server-sent events for whoever may look at everything.

It is no request of a client's: it is not among those in flight, and a gateway that shuts down does not wait for it.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
from starlette.types import Receive, Scope, Send

from octoroute_py.core.errors import GatewayError
from octoroute_py.core.words import Role
from octoroute_py.edge.api.audience import MOST_WATCHERS, Audience, Watcher
from octoroute_py.edge.api.live_events import LiveHistory, LiveTick
from octoroute_py.edge.api.live_view import LiveView, Readiness
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.guard import GUARD, Guarded
from octoroute_py.edge.operation import Operation
from octoroute_py.edge.wire_io import request_id_of, send_error
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.gateway.pulse import Pulse
from octoroute_py.manage.today import Today
from octoroute_py.telemetry.ledger_counts import KeepingRow

ASK_AGAIN_S: Final = 5.0
"""How long somebody watches whose key is no longer good."""
END_WITHIN_S: Final = 0.5
"""What a watcher gets to take the last event in."""

_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)

LIVE: Final = Operation(
    summary="What happens now, once a second, as server-sent events; the first one tells of the last five minutes",
    events={"history": LiveHistory, "tick": LiveTick},
)


class Connection(Protocol):
    """A client's connection, as this gateway's own server has it."""

    def watch(self, on_gone: Callable[[], None] | None, on_end: Callable[[], None] | None = None) -> None:
        """Be called when the client leaves, and when the gateway drains."""
        ...

    @property
    def transport(self) -> asyncio.Transport:
        """What it lies on."""
        ...


class Live:
    """The route, with all who watch. `today` is read while somebody does."""

    def __init__(
        self,
        gateway: Gateway,
        pulse: Pulse,
        *,
        today: Today,
        keeping: Callable[[], KeepingRow],
        readiness: Readiness,
        most: int = MOST_WATCHERS,
    ) -> None:
        self._monotonic = gateway.monotonic
        self._view = LiveView(gateway, pulse, money=lambda: today.money, keeping=keeping, readiness=readiness)
        self._audience = Audience(
            self._tick, begin=self._view.begin, prepare=today.refresh, wall=lambda: pulse.now_s, most=most
        )

    def add_to(self, table: Table) -> None:
        """Add it."""
        table.add("GET", "/api/live", self, role=Role.VIEWER, operation=LIVE)

    def end(self) -> None:
        """Nobody watches any more."""
        self._audience.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell until the client leaves, its key is no longer good, it falls behind, or the gateway ends."""
        headers = [*_HEADERS, (b"x-request-id", request_id_of(scope).encode())]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        if scope["method"] == "HEAD":
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        try:
            watcher = self._audience.join()
        except GatewayError as error:
            await send_error(scope, send, error)
            return
        sitting = _Sitting(watcher, scope, receive)
        try:
            sitting.begin()
            await send(start)
            await _send(send, _event("history", self._view.history()))
            await self._watch(watcher, scope, send)
            await send({"type": "http.response.body", "body": b""})
        except asyncio.CancelledError:
            if not sitting.was_dropped():
                raise
        finally:
            sitting.end()
            self._audience.leave(watcher)

    async def _watch(self, watcher: Watcher, scope: Scope, send: Send) -> None:
        asked_s = self._monotonic()
        while (told := await watcher.next()) is not None:
            now = self._monotonic()
            if now - asked_s >= ASK_AGAIN_S:
                asked_s = now
                if not _may_still(scope):
                    return
            await _send(send, told)

    def _tick(self) -> bytes:
        return _event("tick", self._view.tick())


class _Sitting:
    """One watcher at its connection: how it learns that it is over."""

    __slots__ = ("_connection", "_leaving", "_receive", "_timer", "_watcher")

    def __init__(self, watcher: Watcher, scope: Scope, receive: Receive) -> None:
        self._watcher = watcher
        self._connection: Connection | None = scope.get("extensions", {}).get("octoroute.connection")
        self._receive = receive
        self._leaving: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """From now on the watcher ends when its client leaves, and when the gateway drains."""
        if self._connection is not None:
            self._connection.watch(self._watcher.drop, self._last_words)
        else:
            self._leaving = asyncio.create_task(self._await_disconnect())

    def was_dropped(self) -> bool:
        """Whether a cancellation is the watcher's own; then the rest of what it was sent is thrown away."""
        task = asyncio.current_task()
        if not self._watcher.dropped or task is None:
            return False
        task.uncancel()
        if self._connection is not None:
            self._connection.transport.abort()
        return True

    def end(self) -> None:
        """It is over."""
        if self._connection is not None:
            self._connection.watch(None)
        if self._timer is not None:
            self._timer.cancel()
        if self._leaving is not None:
            self._leaving.cancel()

    def _last_words(self) -> None:
        self._watcher.end()
        self._timer = asyncio.get_running_loop().call_later(END_WITHIN_S, self._watcher.drop)

    async def _await_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._watcher.drop()


def _may_still(scope: Scope) -> bool:
    """Whether the key that was good at the start still is."""
    guard: Guarded = scope[GUARD]
    try:
        guard.admit(scope)
    except GatewayError:
        return False
    return True


def _event(name: str, data: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
