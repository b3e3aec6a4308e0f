"""What the ledger needs done again and again: rows added up, old rows deleted. It runs beside the gateway.

upkeep = Upkeep(database, storage=lambda: config.storage, wall=clock.wall)
task = asyncio.create_task(upkeep.run())        # until cancelled
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from octoroute_py.config.schema import StorageConfig
from octoroute_py.core import clock
from octoroute_py.core.clock import Monotonic, Wall
from octoroute_py.storage import retention
from octoroute_py.storage.db import Database
from octoroute_py.storage.errors import StorageError
from octoroute_py.storage.rollups import ROWS_AT_ONCE, RollUp
from octoroute_py.storage.writer import Job

ROLL_EVERY_S = 10.0
CLEAR_EVERY_S = 600.0
_DAY_S = 86_400
_WRITES_ALONE = 256
"""As many rows as a commit takes: a job of this size has one of its own, so that answers wait for one job at most."""

_log = structlog.stdlib.get_logger("octoroute.manage")


class Upkeep:
    """Rolls up every 10 s and deletes what is too old every 10 minutes, in jobs of a few milliseconds.

    `storage` tells how long rows are kept, `wall` is the clock of the journal's rows. What fails is logged once and
    tried again the next time; `failing` says whether it failed last time.
    """

    def __init__(
        self,
        database: Database,
        *,
        storage: Callable[[], StorageConfig],
        wall: Wall,
        monotonic: Monotonic = clock.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._storage = storage
        self._wall = wall
        self._monotonic = monotonic
        self._sleep = sleep
        self._roll_up = RollUp()
        self._clear_at = monotonic() + ROLL_EVERY_S  # soon after the start, but not while everything else starts
        self.failing = False

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self.work()
            await self._sleep(ROLL_EVERY_S)

    async def work(self) -> None:
        """Add up what is there, and delete what is too old if that is due."""
        try:
            await self.roll_up()
            if self._monotonic() >= self._clear_at:
                self._clear_at = self._monotonic() + CLEAR_EVERY_S
                await self.clear()
        except StorageError as error:
            self._failed(str(error))
        except Exception:  # noqa: BLE001 - a worker loop outlives its bugs and reports them
            self._failed("an error of the gateway's own", exc_info=True)
        else:
            if self.failing:
                _log.info("the ledger is added up again")
            self.failing = False

    async def roll_up(self) -> int:
        """Add every journal row there is to the sums; how many were new. Raises StorageError."""
        return await self._repeat(self._roll_up)

    async def clear(self) -> int:
        """Delete what is older than the configuration says; how many rows. Raises StorageError."""
        storage, now_s = self._storage(), self._wall()
        before_ms = int((now_s - storage.journal_days * _DAY_S) * 1000)
        total = await self._repeat(lambda connection: retention.delete_journal(connection, before_ms=before_ms))
        for expiry in retention.expiries(rollup_days=storage.rollup_days):
            total += await self._clear_sums(expiry, now_s)
        return total

    async def _clear_sums(self, expiry: retention.Expiry, now_s: float) -> int:
        return await self._repeat(lambda connection: retention.delete_sums(connection, expiry, now_s=now_s))

    async def _repeat(self, job: Job[int]) -> int:
        """Have a job written until it finds less to do than it may; rows that come meanwhile wait for the next time."""
        total = 0
        while True:
            count = await asyncio.wrap_future(self._database.submit(job, rows=_WRITES_ALONE))
            total += count
            if count < ROWS_AT_ONCE:
                return total

    def _failed(self, because: str, *, exc_info: bool = False) -> None:
        if not self.failing:
            _log.error("the ledger could not be added up, it is tried again", because=because, exc_info=exc_info)
        self.failing = True
