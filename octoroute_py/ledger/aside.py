"""Rows that the database does not take at the moment: in the spool, and when that is full too, in memory."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from octoroute_py.core.errors import Refused
from octoroute_py.ledger.posting import Waiting
from octoroute_py.storage.entries import JournalEntry
from octoroute_py.storage.errors import StorageError
from octoroute_py.storage.journal import Posting, Row
from octoroute_py.storage.spool import Spool

T = TypeVar("T")
Post = Callable[[Sequence[Row]], Awaitable[None]]
"""Puts rows into the database; raises StorageError."""

_log = structlog.stdlib.get_logger("octoroute.ledger")

CHUNK_ROWS = 256
HOLD_S = 0.05
"""Rows that come while the last ones are moved wait for so long."""
MEMORY_ROWS = 16_384
"""Rows that memory holds at most; what comes on top is lost."""


class Unkept(Refused):
    """A reservation could be kept nowhere; a request that has a budget must not be sent then."""

    def __init__(self) -> None:
        super().__init__(
            "what this request may cost cannot be written down now, and its budget could not be kept",
            code="overloaded",
            retry_after_s=1.0,
        )


class Aside:
    """Takes rows on the event loop and gives them back in their order.

    The spool is written in a thread of its own: the database's writer may be waiting for a lock.
    """

    def __init__(self, spool: Spool, *, memory_rows: int = MEMORY_ROWS) -> None:
        self.lost = 0
        """Rows that are gone: nothing took them, or nothing could have."""
        self._spool = spool
        self._memory_rows = memory_rows
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="storage-spool")
        self._coming: list[Waiting] = []
        self._memory: deque[JournalEntry] = deque()
        self._moved = 0
        """Where in the spool the rows begin that were not moved yet."""
        self._held = False
        self._writing: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Rows that are on their way to the spool."""
        return len(self._coming)

    @property
    def spooled(self) -> int:
        """Rows in the spool, those included that were moved since it was empty."""
        return self._spool.rows

    @property
    def remembered(self) -> int:
        """Rows that only memory holds."""
        return len(self._memory)

    # in

    def put(self, rows: Sequence[Waiting]) -> None:
        """Take rows; each ends when the spool has it, or memory, or nothing. Reservations then end with Unkept."""
        self._coming += rows
        self._write_soon()

    def drop(self, rows: Sequence[Posting], error: Exception | None) -> None:
        """Rows that neither a table nor the spool can hold: a defect of ours, which nobody shall wait for."""
        _log.error("a row fits no table", request_ids=[row.key[0] for row in rows], because=str(error))
        self._count_lost(len(rows))
        for row in rows:
            if isinstance(row, Waiting):
                row.end()

    def _write_soon(self) -> None:
        if self._coming and not self._held and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write_all(), name="journal-spool")

    async def _write_all(self) -> None:
        while self._coming and not self._held:
            batch = [waiting for waiting in self._coming if not waiting.kept]
            self._coming = []
            if batch and not await self._write(batch):
                for waiting in batch:
                    await self._write([waiting])

    async def _write(self, batch: list[Waiting]) -> bool:
        """Whether it is known now what becomes of the rows; not if one of several cannot be written at all."""
        rows = [waiting.row for waiting in batch]
        try:
            await self._in_thread(lambda spool: spool.append(rows))
        except StorageError as error:
            self._remember(batch, error)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a row is no reason to lose its neighbours
            if len(batch) > 1:
                return False
            self.drop(batch, error)
        else:
            for waiting in batch:
                waiting.end()
        return True

    def _remember(self, batch: Sequence[Waiting], error: StorageError) -> None:
        """Reservations are refused, what was spent is held in memory."""
        if not self._memory:
            _log.error("the spool takes no rows either, memory does", because=str(error))
        lost = 0
        for waiting in batch:
            if isinstance(waiting.row, JournalEntry):
                if len(self._memory) < self._memory_rows:
                    self._memory.append(waiting.row)
                else:
                    lost += 1
            elif waiting.future is not None and not waiting.future.done():
                waiting.future.set_exception(Unkept())
            waiting.end()
        self._count_lost(lost)

    def _count_lost(self, rows: int) -> None:
        if rows:
            self.lost += rows
            _log.error("rows of the journal are lost", rows=rows, so_far=self.lost)

    # out

    async def move(self, post: Post) -> int:
        """Move the spool's rows into the database and forget them; how many. Raises StorageError, and keeps them."""
        moved = 0
        while self._moved < self._spool.end:
            moved += await self._move_chunk(post)
        return moved

    async def empty(self, post: Post, resume: Callable[[Sequence[Waiting]], None]) -> int:
        """Move everything, and give what came in the last moment to `resume` at the one when nothing is left.

        From then on rows may go to the database again: they stand behind all that were here. Raises StorageError when
        the database does not take them, TimeoutError when it stopped to right before the end.
        """
        moved = 0
        try:
            while True:
                if self._moved < self._spool.end:
                    async with asyncio.timeout(HOLD_S if self._held else None):
                        moved += await self._move_chunk(post)
                elif self._memory:
                    moved += await self._move_remembered(post)
                elif not self._held:
                    # Rows come in all the time: the last ones wait here for a moment, so that there is an end.
                    self._held = True
                elif self._writing is not None and not self._writing.done():
                    await asyncio.wait([self._writing])
                else:
                    break
            coming, self._coming = self._coming, []
        finally:
            self._held = False
            self._write_soon()
        clearing = self.clear()
        resume(coming)
        await clearing
        return moved

    def clear(self) -> "asyncio.Future[None]":
        """Forget the spool's rows, before any that come from now on; wait for it or not."""
        self._moved = 0

        def clear(spool: Spool) -> None:
            with contextlib.suppress(StorageError):  # rows that stay are moved a second time some day, to no effect
                spool.clear()

        return asyncio.get_running_loop().run_in_executor(self._thread, clear, self._spool)

    async def close(self) -> None:
        """Write down what is here, memory included as far as there is room, and let go of the spool."""
        self._held = False
        self._write_soon()
        if self._writing is not None:
            await self._writing
        if self._memory:
            rows = list(self._memory)
            self._memory.clear()
            try:
                await self._in_thread(lambda spool: spool.append(rows))
            except StorageError:
                self._count_lost(len(rows))
        await self._in_thread(lambda spool: spool.close())
        self._thread.shutdown(wait=False)

    async def _move_chunk(self, post: Post) -> int:
        """Move the oldest rows of the spool that were not moved yet; how many."""
        start = self._moved
        batch = await self._in_thread(lambda spool: spool.read(start))
        await post(batch.rows)
        self._moved = batch.next
        if batch.damaged:
            _log.error("lines of the spool are damaged and were skipped", lines=batch.damaged)
            self._count_lost(batch.damaged)
        return len(batch.rows)

    async def _move_remembered(self, post: Post) -> int:
        rows = [self._memory[at] for at in range(min(CHUNK_ROWS, len(self._memory)))]
        await post(rows)
        for _ in rows:
            self._memory.popleft()
        return len(rows)

    async def _in_thread(self, work: Callable[[Spool], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._spool)
