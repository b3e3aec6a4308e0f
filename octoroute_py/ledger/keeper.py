"""Keeps rows so that nothing is lost, on the event loop's side: in the database, else in the spool, else in memory.

A row goes to the database's writer. What is not committed within 50 ms goes to the spool as well, and while the
database does not take rows, to the spool alone; a task looks four times a second whether it takes them again, and then
moves the spool's rows there, in their order. Only when the spool is full too do rows wait in memory, where a kill would
take them.
"""

import asyncio
import contextlib
import enum
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import structlog

from octoroute_py.core.errors import Refused
from octoroute_py.storage.engine import Direct
from octoroute_py.storage.entries import Intent, JournalEntry
from octoroute_py.storage.errors import CannotOpen, StorageError, StorageFailed, StorageRefused
from octoroute_py.storage.journal import Key, Poster, Posting, has_intents, settle_dead
from octoroute_py.storage.spool import Spool
from octoroute_py.storage.writer import Job, Line

T = TypeVar("T")
Row = Intent | JournalEntry

_log = structlog.stdlib.get_logger("octoroute")

PATIENCE_S = 0.05
"""A row that is not committed after so long goes to the spool."""
LINGER_S = 0.02
"""An intent nobody waits for is held back so long: a request that ends sooner needs none in the database."""
RETRY_S = 0.25
CHUNK_ROWS = 256
MEMORY_ROWS = 16_384
"""Rows that neither the database nor the spool takes; what comes on top is lost."""


class Keeping(enum.StrEnum):
    """How rows are kept: in the database; in the spool for now; in the spool until somebody mends the database; not."""

    OK = "ok"
    DEGRADED = "degraded"
    REFUSED = "refused"
    OFF = "off"


class Rows(Protocol):
    """What a keeper needs of `storage.db.Database`."""

    def append(self, line: Line[Posting], row: Posting, /) -> None:
        """Queue a row of the journal. Raises StorageError."""
        ...

    def read(self) -> AbstractContextManager[Any]:
        """One state of the database. Raises StorageError."""
        ...

    def submit(self, job: Job[T], /) -> Future[T]:
        """Queue a write. Raises StorageError."""
        ...


class Unkept(Refused):
    """A reservation could be kept nowhere; a request that has a budget must not be sent then."""

    def __init__(self) -> None:
        super().__init__(
            "what this request may cost cannot be written down now, and its budget could not be kept",
            code="overloaded",
            retry_after_s=1.0,
        )


class _Waiting(Posting):
    """A row of which it is not yet known where it is kept; `future` ends when it is."""

    __slots__ = ("due_s", "future", "kept")

    def __init__(self, row: Row, *, settles: bool, future: asyncio.Future[None] | None) -> None:
        super().__init__(row, settles=settles)
        self.due_s = 0.0
        self.future = future
        self.kept = False


class _Line:
    """Rows of the journal for the writer; passes on to the event loop what became of them, once a group."""

    __slots__ = ("_loop", "_poster", "_told")

    def __init__(self, poster: Poster, told: Callable[[Sequence[Posting], Exception | None], None]) -> None:
        self._poster = poster
        self._told = told
        self._loop = asyncio.get_running_loop()

    def write(self, connection: Direct, rows: Sequence[Posting]) -> None:
        """See `writer.Line`."""
        self._poster.post(connection, rows)

    def told(self, rows: Sequence[Posting], error: Exception | None) -> None:
        """See `writer.Line`."""
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._told, rows, error)


class Keeper:
    """Takes intents and journal rows on the event loop it is made in; `start` first, `close` last.

    Without a database nothing is kept and nothing waits. The keeper closes the spool; the database is its owner's.
    """

    def __init__(
        self,
        database: Rows | None,
        spool: Spool | None,
        *,
        patience_s: float = PATIENCE_S,
        linger_s: float = LINGER_S,
        retry_s: float = RETRY_S,
        memory_rows: int = MEMORY_ROWS,
    ) -> None:
        self.state = Keeping.OFF
        self.lost = 0
        """Rows that are gone: nothing took them, or nothing could have."""
        self._database = database
        self._spool = spool
        self._patience_s = patience_s
        self._linger_s = linger_s
        self._retry_s = retry_s
        self._memory_rows = memory_rows
        self._poster = Poster()
        self._line = _Line(self._poster, self._on_told)
        self._spool_thread = ThreadPoolExecutor(1, thread_name_prefix="storage-spool")
        self._pending: deque[_Waiting] = deque()
        self._lingering: dict[Key, Intent] = {}
        self._intended: set[Key] = set()
        self._to_spool: list[_Waiting] = []
        self._memory: deque[JournalEntry] = deque()
        self._drained = 0
        self._held = False
        self._looking: asyncio.TimerHandle | None = None
        self._flushing: asyncio.TimerHandle | None = None
        self._spooling: asyncio.Task[None] | None = None
        self._recovering: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Rows that are on their way to the database or the spool."""
        return len(self._pending) + len(self._to_spool)

    @property
    def spooled(self) -> int:
        """Rows in the spool, those that were just moved to the database included."""
        return 0 if self._spool is None else self._spool.rows

    @property
    def unkept(self) -> int:
        """Rows that only memory holds."""
        return len(self._memory)

    # life

    async def start(self) -> None:
        """Bring in what the last process left: the spool's rows, then its unfinished requests as interrupted.

        Raises StorageError when the database does not take them. Then what was spent is not known, and a gateway that
        went on could hold no budget: it is better not to start.
        """
        if self._database is None or self._spool is None:
            return
        found = self._spool.rows
        while self._drained < self._spool.end:
            await self._move_chunk()
        settled = 0
        if await asyncio.to_thread(self._somebody_died, self._database):  # else a lock of others delays no start
            settled = await asyncio.wrap_future(self._database.submit(settle_dead))
        await self._clear_spool()
        if found or settled:
            _log.info("what the last run left behind is in the journal", spooled=found, interrupted=settled)
        self.state = Keeping.OK

    @staticmethod
    def _somebody_died(database: Rows) -> bool:
        with database.read() as connection:
            return has_intents(connection)

    async def close(self, *, within_s: float = 5.0) -> None:
        """Wait for the rows that were taken, the spool's turn included; takes no more. Idempotent."""
        if self.state is Keeping.OFF or self._spool is None:
            return
        self._flush()
        await self._cancel(self._recovering)
        if self._pending:
            last = self._pending[-1]
            last.future = last.future or asyncio.get_running_loop().create_future()
            await asyncio.wait([last.future], timeout=within_s)
        self._spill()
        if self._spooling is not None:
            await self._spooling
        if self._memory:
            with contextlib.suppress(StorageError):
                await self._in_spool_thread(lambda spool: spool.append(list(self._memory)))
                self._memory.clear()
            self._count_lost(len(self._memory))
        self.state = Keeping.OFF
        await self._in_spool_thread(lambda spool: spool.close())
        self._spool_thread.shutdown(wait=False)

    async def _cancel(self, task: asyncio.Task[None] | None) -> None:
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    # taking rows

    def intend(self, intent: Intent) -> None:
        """A request is about to be sent; nobody waits until that is kept."""
        if self.state is Keeping.OFF:
            return
        key = (intent.request_id, intent.entry)
        self._intended.add(key)
        self._lingering[key] = intent
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(self._linger_s, self._flush)

    async def reserve(self, intent: Intent) -> None:
        """The same, and its price is reserved: returns when a kill would not take that. Raises Unkept."""
        if self.state is Keeping.OFF:
            return
        self._intended.add((intent.request_id, intent.entry))
        future = asyncio.get_running_loop().create_future()
        self._take(intent, settles=False, future=future)
        await future

    async def keep(self, entry: JournalEntry) -> None:
        """A request has ended; returns when its row is kept. Never raises; when nothing takes it, memory holds it."""
        if self.state is Keeping.OFF:
            return
        future = asyncio.get_running_loop().create_future()
        self._take_entry(entry, future)
        await future

    def keep_later(self, entry: JournalEntry) -> None:
        """The same for a request whose client does not wait for it."""
        if self.state is not Keeping.OFF:
            self._take_entry(entry, None)

    def withdraw(self, request_id: str, entry: int) -> bool:
        """Take back what was intended, if nobody has written it down; whether the request can do without a row."""
        key = (request_id, entry)
        if key not in self._intended:
            return True
        if self._lingering.pop(key, None) is None:
            return False
        self._intended.remove(key)
        return True

    def _take_entry(self, entry: JournalEntry, future: asyncio.Future[None] | None) -> None:
        key = (entry.request_id, entry.entry)
        settles = key in self._intended
        if settles:
            self._intended.remove(key)
            settles = self._lingering.pop(key, None) is None
        self._take(entry, settles=settles, future=future)

    def _flush(self) -> None:
        """Send the intents that were held back on their way."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        for intent in self._lingering.values():
            self._take(intent, settles=False, future=None)
        self._lingering.clear()

    def _take(self, row: Row, *, settles: bool, future: asyncio.Future[None] | None) -> None:
        waiting = _Waiting(row, settles=settles, future=future)
        if self.state is Keeping.OK:
            self._send(waiting)
        else:
            self._to_spool.append(waiting)
            self._spool_soon()

    def _send(self, waiting: _Waiting) -> None:
        """Give a row to the database, and the database 50 ms."""
        if self._database is None:
            return
        loop = asyncio.get_running_loop()
        waiting.due_s = loop.time() + self._patience_s
        self._pending.append(waiting)
        try:
            self._database.append(self._line, waiting)
        except StorageError as error:  # the writer's queue is full
            self._degrade(str(error))
            return
        if self._looking is None:
            self._looking = loop.call_at(waiting.due_s, self._look)

    # what became of them

    def _on_told(self, rows: Sequence[Posting], error: Exception | None) -> None:
        if error is None:
            for row in rows:
                self._kept(row)
        elif _is_final(error):
            self._refuse(error)
        elif isinstance(error, StorageFailed | StorageRefused):
            self._degrade(str(error))
        else:
            self._drop_misfits(rows, error)
        pending = self._pending
        while pending and pending[0].kept:
            pending.popleft()

    def _kept(self, row: Posting) -> None:
        if isinstance(row, _Waiting):
            row.kept = True
            if row.future is not None and not row.future.done():
                row.future.set_result(None)

    def _drop_misfits(self, rows: Sequence[Posting], error: Exception) -> None:
        """No database takes such a row: a defect of ours, which nobody shall wait for."""
        self._count_lost(len(rows))
        _log.error("a row fits no table", request_ids=[row.key[0] for row in rows], because=str(error))
        for row in rows:
            self._kept(row)

    def _look(self) -> None:
        """The oldest row that waits may be due."""
        self._looking = None
        if self._pending:
            # When the loop itself was late, the word that the row is kept may stand in its queue: that goes first.
            asyncio.get_running_loop().call_soon(self._judge)

    def _judge(self) -> None:
        if not self._pending or self._looking is not None:
            return
        loop = asyncio.get_running_loop()
        due_s = self._pending[0].due_s
        if due_s <= loop.time():
            self._degrade(f"no commit in {self._patience_s * 1000:.0f} ms")
        else:
            self._looking = loop.call_at(due_s, self._look)

    # without the database

    def _degrade(self, because: str) -> None:
        """The spool takes what comes until the database takes rows again."""
        if self.state is Keeping.OK:
            self.state = Keeping.DEGRADED
            _log.warning("the database takes no rows, the spool does", because=because)
            self._recovering = asyncio.create_task(self._recover(), name="journal-recovery")
        self._spill()

    def _refuse(self, error: Exception) -> None:
        if self.state is not Keeping.REFUSED:
            self.state = Keeping.REFUSED
            _log.error("the database can no longer be used, the spool takes the rows", because=str(error))
        self._spill()

    def _spill(self) -> None:
        """Give the spool what the database has not taken."""
        self._to_spool += [waiting for waiting in self._pending if not waiting.kept]
        self._pending.clear()
        self._spool_soon()

    def _spool_soon(self) -> None:
        if self._to_spool and not self._held and (self._spooling is None or self._spooling.done()):
            self._spooling = asyncio.create_task(self._spool_all(), name="journal-spool")

    async def _spool_all(self) -> None:
        while self._to_spool and not self._held:
            batch = [waiting for waiting in self._to_spool if not waiting.kept]
            self._to_spool = []
            if batch and not await self._spool_together(batch):
                for waiting in batch:
                    await self._spool_together([waiting])

    async def _spool_together(self, batch: list[_Waiting]) -> bool:
        """Whether it is known now what becomes of the rows; not if one of several cannot be written at all."""
        rows = [waiting.row for waiting in batch]
        try:
            await self._in_spool_thread(lambda spool: spool.append(rows))
        except StorageError as error:
            self._remember(batch, error)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a row is no reason to lose its neighbours
            if len(batch) > 1:
                return False
            self._drop_misfits(batch, error)
        else:
            for waiting in batch:
                self._kept(waiting)
        return True

    def _remember(self, batch: Sequence[_Waiting], error: StorageError) -> None:
        """Neither takes them: reservations are refused, what was spent is held in memory."""
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
            self._kept(waiting)
        self._count_lost(lost)

    def _count_lost(self, rows: int) -> None:
        if rows:
            self.lost += rows
            _log.error("rows of the journal are lost", rows=rows, so_far=self.lost)

    # back to the database

    async def _recover(self) -> None:
        while self.state is Keeping.DEGRADED:
            await asyncio.sleep(self._retry_s)
            try:
                await self._drain()
            except StorageError as error:
                if _is_final(error):
                    self._refuse(error)
            except Exception:  # noqa: BLE001 - a worker loop outlives its bugs and reports them
                _log.error("bringing rows back to the database broke and is tried again", exc_info=True)
            else:
                return

    async def _drain(self) -> None:
        """Move everything to the database, and then trust it again. Raises StorageError when it does not take it."""
        moved = 0
        try:
            while True:
                if self._drained < self._owned_spool.end:
                    moved += await self._move_chunk()
                elif self._memory:
                    moved += await self._move_remembered()
                elif not self._held:
                    # Rows come in all the time: the last ones wait here for a moment, so that there is an end.
                    self._held = True
                elif self._spooling is not None and not self._spooling.done():
                    await asyncio.wait([self._spooling])
                else:
                    break
            self.state = Keeping.OK
            held, self._to_spool = self._to_spool, []
        finally:
            self._held = False
            self._spool_soon()
        _log.info("the database takes rows again", moved=moved)
        for waiting in held:
            self._send(waiting)
        await self._clear_spool()

    async def _move_remembered(self) -> int:
        rows = [self._memory[at] for at in range(min(CHUNK_ROWS, len(self._memory)))]
        await self._post(rows)
        for _ in rows:
            self._memory.popleft()
        return len(rows)

    async def _move_chunk(self) -> int:
        """Move the oldest rows of the spool that were not moved yet; how many."""
        start = self._drained
        batch = await self._in_spool_thread(lambda spool: spool.read(start))
        await self._post(batch.rows)
        self._drained = batch.next
        if batch.damaged:
            self.lost += batch.damaged
            _log.error("lines of the spool are damaged and were skipped", lines=batch.damaged, so_far=self.lost)
        return len(batch.rows)

    async def _post(self, rows: Sequence[Row]) -> None:
        """Put rows into the database and wait for it. Raises StorageError when it does not take them now."""
        if self._database is None or not rows:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left = len(rows)

        def told(postings: Sequence[Posting], error: Exception | None) -> None:
            nonlocal left
            left -= len(postings)
            if isinstance(error, StorageFailed | StorageRefused):
                if not done.done():
                    done.set_exception(error)
                return
            if error is not None:
                self._drop_misfits(postings, error)
            if not left and not done.done():
                done.set_result(None)

        line = _Line(self._poster, told)
        try:
            for row in rows:
                self._database.append(line, Posting(row, settles=True))
        except StorageError:
            done.cancel()
            raise
        await done

    async def _clear_spool(self) -> None:
        self._drained = 0
        with contextlib.suppress(StorageError):  # rows that stay are moved a second time some day, to no effect
            await self._in_spool_thread(lambda spool: spool.clear())

    @property
    def _owned_spool(self) -> Spool:
        if self._spool is None:
            raise RuntimeError("a keeper without a spool keeps nothing")
        return self._spool

    async def _in_spool_thread(self, work: Callable[[Spool], T]) -> T:
        """The spool has a thread of its own: the database's writer may be waiting for a lock."""
        return await asyncio.get_running_loop().run_in_executor(self._spool_thread, work, self._owned_spool)


def _is_final(error: Exception) -> bool:
    """Whether somebody has to mend the database; a file that cannot be opened now may be opened later."""
    return isinstance(error, StorageRefused) and not isinstance(error, CannotOpen)
