"""Keeps rows so that nothing is lost, on the event loop's side: in the database, else in the spool, else in memory.

A row goes to the database's writer. What is not committed within 50 ms goes to the spool as well, and while the
database does not take rows, to the spool alone; a task looks four times a second whether it takes them again, and then
moves the spool's rows there, in their order. Only when the spool is full too do rows wait in memory, where a kill would
take them.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence

import structlog

from octoroute_py.core.words import Keeping
from octoroute_py.ledger.aside import MEMORY_ROWS, Aside, Unkept
from octoroute_py.ledger.posting import JournalLine, Rows, Waiting, is_final, post
from octoroute_py.storage.entries import Intent, JournalEntry
from octoroute_py.storage.errors import StorageError, StorageFailed, StorageRefused
from octoroute_py.storage.journal import Key, Poster, Posting, Row, has_intents, settle_dead
from octoroute_py.storage.spool import Spool

__all__ = ["Keeper", "Unkept"]

_log = structlog.stdlib.get_logger("octoroute.ledger")

PATIENCE_S = 0.05
"""A row that is not committed after so long goes to the spool."""
LINGER_S = 0.02
"""An intent nobody waits for is held back so long: a request that ends sooner needs none in the database."""
RETRY_S = 0.25


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
        self._database = database
        self._aside = None if spool is None else Aside(spool, memory_rows=memory_rows)
        self._patience_s = patience_s
        self._linger_s = linger_s
        self._retry_s = retry_s
        self._poster = Poster()
        self._line = JournalLine(self._poster, self._on_told)
        self._pending: deque[Waiting] = deque()
        self._lingering: dict[Key, Intent] = {}
        self._intended: set[Key] = set()
        self._looking: asyncio.TimerHandle | None = None
        self._flushing: asyncio.TimerHandle | None = None
        self._recovering: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Rows that are on their way to the database or the spool."""
        return len(self._pending) + (0 if self._aside is None else self._aside.waiting)

    @property
    def spooled(self) -> int:
        """Rows in the spool, those that were just moved to the database included."""
        return 0 if self._aside is None else self._aside.spooled

    @property
    def unkept(self) -> int:
        """Rows that only memory holds."""
        return 0 if self._aside is None else self._aside.remembered

    @property
    def lost(self) -> int:
        """Rows that are gone: nothing took them, or nothing could have."""
        return 0 if self._aside is None else self._aside.lost

    # life

    async def start(self) -> None:
        """Bring in what the last process left: the spool's rows, then its unfinished requests as interrupted.

        Raises StorageError when the database does not take them. Then what was spent is not known, and a gateway that
        went on could hold no budget: it is better not to start.
        """
        if self._database is None or self._aside is None:
            return
        found = await self._aside.move(self._post)
        settled = 0
        if await asyncio.to_thread(_somebody_died, self._database):  # else a lock of others delays no start
            settled = await asyncio.wrap_future(self._database.submit(settle_dead))
        await self._aside.clear()
        if found or settled:
            _log.info("what the last run left behind is in the journal", spooled=found, interrupted=settled)
        self.state = Keeping.OK

    async def close(self, *, within_s: float = 5.0) -> None:
        """Wait for the rows that were taken, then give the spool the rest; takes no more. Idempotent."""
        aside = self._aside
        if aside is None:
            return
        self._flush()
        if self._pending:
            last = self._pending[-1]
            last.future = last.future or asyncio.get_running_loop().create_future()
            await asyncio.wait([last.future], timeout=within_s)
        self.state = Keeping.OFF
        if self._looking is not None:
            self._looking.cancel()
        if self._recovering is not None:
            self._recovering.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._recovering
        self._spill()
        self._aside = None
        await aside.close()

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
        waiting = Waiting(row, settles=settles, future=future)
        if self.state is Keeping.OK:
            self._send(waiting)
        elif self._aside is not None:
            self._aside.put([waiting])

    def _send(self, waiting: Waiting) -> None:
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
                if isinstance(row, Waiting):
                    row.end()
        elif is_final(error):
            self._refuse(error)
        elif isinstance(error, StorageFailed | StorageRefused):
            self._degrade(str(error))
        elif self._aside is not None:
            self._aside.drop(rows, error)
        pending = self._pending
        while pending and pending[0].kept:
            pending.popleft()

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
        left = [waiting for waiting in self._pending if not waiting.kept]
        self._pending.clear()
        if self._aside is not None:
            self._aside.put(left)

    async def _recover(self) -> None:
        while self.state is Keeping.DEGRADED and self._aside is not None:
            await asyncio.sleep(self._retry_s)
            try:
                moved = await self._aside.empty(self._post, self._resume)
            except StorageError as error:
                if is_final(error):
                    self._refuse(error)
            except TimeoutError:
                continue
            except Exception:  # noqa: BLE001 - a worker loop outlives its bugs and reports them
                _log.error("bringing rows back to the database broke and is tried again", exc_info=True)
            else:
                _log.info("the database takes rows again", moved=moved)
                return

    def _resume(self, held: Sequence[Waiting]) -> None:
        self.state = Keeping.OK
        for waiting in held:
            self._take(waiting.row, settles=waiting.settles, future=waiting.future)

    async def _post(self, rows: Sequence[Row]) -> None:
        if self._database is not None and self._aside is not None:
            await post(self._database, rows, poster=self._poster, misfit=self._aside.drop)


def _somebody_died(database: Rows) -> bool:
    with database.read() as connection:
        return has_intents(connection)
