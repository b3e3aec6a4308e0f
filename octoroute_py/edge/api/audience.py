"""Many who watch one thing: what is told is made once, and whoever does not keep up is let go."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from octoroute_py.core.clock import Wall
from octoroute_py.core.errors import Refused

MOST_WATCHERS: Final = 50
MOST_WAITING: Final = 8
"""How many events may wait for a watcher that takes none."""
PREPARE_WITHIN_S: Final = 1.0
"""How long the first to come may wait for figures that take a while."""
JUST_AFTER_S: Final = 0.02
"""A second is told about when it is over, and what ended in it has been counted."""
BUSY_RETRY_S: Final = 5.0

_log = structlog.stdlib.get_logger("octoroute.edge")


class Watcher:
    """One of them: `next` waits for an event; None means that there will be no more."""

    __slots__ = ("_ended", "_task", "_waiting", "_wake", "dropped")

    def __init__(self, task: asyncio.Task[object] | None) -> None:
        self._waiting: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._ended = False
        self._task = task
        self.dropped = False
        """Whether it was let go in the middle of something."""

    def tell(self, event: bytes) -> None:
        """Another event; a watcher for whom too many wait is dropped."""
        if len(self._waiting) >= MOST_WAITING:
            self.drop()
            return
        self._waiting.append(event)
        self._wake.set()

    def end(self) -> None:
        """There will be no more."""
        self._ended = True
        self._wake.set()

    def drop(self) -> None:
        """Let it go now, whatever it is waiting for; once."""
        self._ended = True
        if not self.dropped and self._task is not None:
            self._task.cancel()
        self.dropped = True

    async def next(self) -> bytes | None:
        """All that waits, as one piece."""
        while not self._waiting and not self._ended:
            self._wake.clear()
            await self._wake.wait()
        if self._ended:
            return None
        told = b"".join(self._waiting)
        self._waiting.clear()
        return told


class Audience:
    """All who watch. While there is anybody, `event` is asked for once a second, just after `wall` turned it.

    `prepare` is run before each, beside what goes on, and waited for before the first. `begin` is called when somebody
    watches again. `end` ends it for all.
    """

    def __init__(
        self,
        event: Callable[[], bytes],
        *,
        begin: Callable[[], None],
        prepare: Callable[[], Awaitable[None]],
        wall: Wall,
        most: int = MOST_WATCHERS,
    ) -> None:
        self._event = event
        self._begin = begin
        self._prepare = prepare
        self._wall = wall
        self._most = most
        self._watchers: set[Watcher] = set()
        self._telling: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._latest: bytes | None = None

    def __len__(self) -> int:
        return len(self._watchers)

    def join(self) -> Watcher:
        """Another one, whose task this is; `leave` whatever happens. Raises Refused (503) when there are too many."""
        if len(self._watchers) >= self._most:
            raise Refused(
                "Too many are watching already.", code="too_many_watchers", retry_after_s=BUSY_RETRY_S, final=True
            )
        watcher = Watcher(asyncio.current_task())
        self._watchers.add(watcher)
        if self._telling is None:
            self._begin()
            self._telling = asyncio.get_running_loop().create_task(self._tell(), name="live-feed")
        elif self._latest is not None:
            watcher.tell(self._latest)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """It watches no more; with the last one the telling ends."""
        self._watchers.discard(watcher)
        if not self._watchers:
            self._stop()

    def end(self) -> None:
        """The end for everybody."""
        for watcher in self._watchers:
            watcher.end()
        self._stop()

    def _stop(self) -> None:
        for task in (self._telling, self._preparing):
            if task is not None:
                task.cancel()
        self._telling = self._preparing = self._latest = None

    async def _tell(self) -> None:
        try:
            await self._prepared()
            while True:
                self._latest = self._event()
                for watcher in tuple(self._watchers):
                    watcher.tell(self._latest)
                await asyncio.sleep(1.0 - self._wall() % 1.0 + JUST_AFTER_S)
                if self._preparing is None or self._preparing.done():
                    self._preparing = asyncio.get_running_loop().create_task(self._try_to_prepare())
        except Exception as error:  # noqa: BLE001 - those who watch must not wait for what will not come
            _log.error("the live feed broke", exc_info=error)
            self._telling = None
            self.end()

    async def _prepared(self) -> None:
        """Wait for the first figures, but not for long: they may come later."""
        self._preparing = asyncio.get_running_loop().create_task(self._try_to_prepare())
        await asyncio.wait({self._preparing}, timeout=PREPARE_WITHIN_S)

    async def _try_to_prepare(self) -> None:
        try:
            await self._prepare()
        except Exception as error:  # noqa: BLE001 - the feed goes on without them
            _log.error("figures of the live feed could not be read", exc_info=error)
