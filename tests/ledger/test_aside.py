"""What happens at the moment when the database has all rows and takes them again; the rest is told in test_keeper."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from octoroute_py.ledger.aside import Aside
from octoroute_py.ledger.posting import Waiting
from octoroute_py.storage.entries import Intent, JournalEntry
from octoroute_py.storage.spool import Spool
from tests.fakes.rows import an_entry

Row = Intent | JournalEntry


class Gated(Spool):
    """A spool that writes when it may."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.may_write = threading.Event()
        self.may_write.set()

    def append(self, rows: Sequence[Row]) -> None:
        assert self.may_write.wait(10)
        super().append(rows)


def put(aside: Aside, id: str) -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    aside.put([Waiting(an_entry(id), settles=False, future=future)])
    return future


class Database:
    """Takes rows; while it takes the first ones, `b` is on its way to the spool until the aside waits for its end."""

    def __init__(self, aside: Aside, spool: Gated) -> None:
        self.aside, self.spool = aside, spool
        self.ids: list[str] = []
        self.stuck = asyncio.Event()
        self.stuck.set()
        self.late: list[asyncio.Future[None]] = []

    async def post(self, rows: Sequence[Row]) -> None:
        if not self.ids:
            self.spool.may_write.clear()
            self.late.append(put(self.aside, "b"))
            await asyncio.sleep(0)  # from here on the spool is at it
            self.moment = asyncio.create_task(self.last_moment())
        else:
            await self.stuck.wait()
        self.ids += [row.request_id for row in rows]

    async def last_moment(self) -> None:
        while not self.aside._held:  # noqa: ASYNC110 - there is no event for what lasts a moment
            await asyncio.sleep(0)
        self.late.append(put(self.aside, "c"))
        self.spool.may_write.set()


async def test_rows_of_the_last_moment_go_on_to_the_database_behind_all_others(tmp_path: Path) -> None:
    spool = Gated(tmp_path / "x.spool")
    aside = Aside(spool)
    await put(aside, "a")
    database = Database(aside, spool)
    resumed: list[Waiting] = []
    assert await aside.empty(database.post, resumed.extend) == 2
    assert (database.ids, [waiting.row.request_id for waiting in resumed]) == (["a", "b"], ["c"])
    assert [future.done() for future in database.late] == [True, False]
    assert aside.spooled == 0
    await aside.close()


async def test_a_database_that_stops_again_right_before_the_end_holds_nobody_up(tmp_path: Path) -> None:
    spool = Gated(tmp_path / "x.spool")
    aside = Aside(spool)
    await put(aside, "a")
    database = Database(aside, spool)
    database.stuck.clear()
    with pytest.raises(TimeoutError):
        await aside.empty(database.post, lambda rows: None)
    await asyncio.gather(*database.late)
    assert (database.ids, aside.spooled) == (["a"], 3)
    database.stuck.set()
    assert await aside.empty(database.post, lambda rows: None) == 2
    assert database.ids == ["a", "b", "c"]
    await aside.close()
