"""Rows are kept: in the database, else in the spool, else in memory; and back, in their order, each once."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from octoroute_py.core.words import Keeping
from octoroute_py.ledger.keeper import Keeper, Unkept
from octoroute_py.storage.db import Database
from octoroute_py.storage.entries import Intent, JournalEntry
from octoroute_py.storage.errors import Closed, Corrupt, Full, Locked, Overflow
from octoroute_py.storage.journal import Posting
from octoroute_py.storage.schema import journal
from octoroute_py.storage.spool import Spool
from octoroute_py.storage.writer import Job, Line
from tests.fakes.rows import an_entry, an_intent, open_intents
from tests.fakes.waiting import until

T = TypeVar("T")
LONG_S = 3600.0
LOCKED = Locked("x.db is locked by another process", location="x.db")


class Scripted:
    """A database that takes rows, refuses them with `error`, or says nothing until `tell`."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.silent = False
        self.refuses: Exception | None = None
        self.rows: list[Intent | JournalEntry] = []
        self.settles: list[bool] = []
        self.asked = 0
        self._untold: list[tuple[Line[Posting], Posting]] = []

    def append(self, line: Line[Posting], row: Posting) -> None:
        self.asked += 1
        if self.refuses is not None:
            raise self.refuses
        self._untold.append((line, row))
        if not self.silent:
            self.tell()

    def tell(self) -> None:
        for line, posting in self._untold:
            error = OverflowError("too large") if posting.row.started_ms >= 2**63 else self.error
            if error is None:
                self.rows.append(posting.row)
                self.settles.append(posting.settles)
            line.told([posting], error)
        self._untold.clear()

    @contextlib.contextmanager
    def read(self) -> Iterator[Any]:
        yield OneRow()

    def submit(self, job: Job[T]) -> Future[T]:
        future: Future[Any] = Future()
        if self.error is None:
            future.set_result(0)
        else:
            future.set_exception(self.error)
        return future

    def ids(self) -> list[str]:
        return [row.request_id for row in self.rows]


class OneRow:
    """A connection whose every query finds a row: somebody died."""

    def execute(self, query: object) -> "OneRow":
        return self

    def first(self) -> tuple[int]:
        return (0,)


class Stage:
    """A keeper between a scripted database and a real spool."""

    def __init__(self, folder: Path) -> None:
        self.database = Scripted()
        self.path = folder / "x.db.spool"
        self.keepers: list[Keeper] = []

    async def start(self, *, max_bytes: int = 10_000, **options: Any) -> Keeper:
        """Intents linger and rows wait for an hour unless told otherwise; a spool is moved at once."""
        timing = {"patience_s": LONG_S, "linger_s": LONG_S, "retry_s": 0.0, **options}
        keeper = Keeper(self.database, Spool(self.path, max_bytes=max_bytes), **timing)
        await keeper.start()
        self.keepers.append(keeper)
        return keeper


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.database.silent = False
    for keeper in made.keepers:
        await keeper.close(within_s=0.1)


async def becomes(keeper: Keeper, state: Keeping) -> None:
    async def there() -> bool:
        return keeper.state is state

    await until(there)


async def settle_down() -> None:
    """Let everything that is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_row_is_waited_for_until_it_is_committed(stage: Stage) -> None:
    keeper = await stage.start()
    stage.database.silent = True
    waits = [asyncio.create_task(keeper.keep(an_entry("a"))), asyncio.create_task(keeper.reserve(an_intent("b")))]
    await settle_down()
    keeper.keep_later(an_entry("c"))
    assert ([task.done() for task in waits], keeper.waiting) == ([False, False], 3)
    stage.database.tell()
    await asyncio.gather(*waits)
    assert (stage.database.ids(), keeper.waiting, keeper.state) == (["a", "b", "c"], 0, Keeping.OK)


async def test_a_request_that_ends_at_once_needs_no_intent(stage: Stage) -> None:
    keeper = await stage.start()
    keeper.intend(an_intent("a"))
    await keeper.keep(an_entry("a"))
    assert (stage.database.rows, stage.database.settles) == ([an_entry("a")], [False])


async def test_an_intent_can_be_taken_back_until_it_is_written(stage: Stage) -> None:
    keeper = await stage.start()
    entry = an_intent("a").entry
    keeper.intend(an_intent("a"))
    await keeper.reserve(an_intent("b"))
    assert [keeper.withdraw(request_id, entry) for request_id in ("a", "b", "c")] == [True, False, True]
    await keeper.close()
    assert stage.database.ids() == ["b"]


async def test_an_intent_is_written_before_long_and_its_row_settles_it(stage: Stage) -> None:
    keeper = await stage.start(linger_s=0.0)
    keeper.intend(an_intent("a"))
    await asyncio.sleep(0.002)
    await keeper.reserve(an_intent("b"))
    await keeper.keep(an_entry("c"))
    await keeper.keep(an_entry("b"))
    await keeper.keep(an_entry("a"))
    assert stage.database.ids() == ["a", "b", "c", "b", "a"]
    assert stage.database.settles == [False, False, False, True, True]


async def test_what_is_not_committed_in_time_goes_to_the_spool_and_later_to_the_database(stage: Stage) -> None:
    keeper = await stage.start(patience_s=0.001, retry_s=0.001)
    stage.database.silent = True
    await keeper.keep(an_entry("a"))
    assert keeper.state is Keeping.DEGRADED
    assert keeper.spooled == 1
    stage.database.silent = False
    stage.database.tell()
    await becomes(keeper, Keeping.OK)
    await keeper.keep(an_entry("b"))
    assert stage.database.ids()[-1] == "b"
    assert set(stage.database.ids()) == {"a", "b"}


async def test_while_the_database_fails_rows_go_to_the_spool_alone_and_come_back_in_order(stage: Stage) -> None:
    keeper = await stage.start(retry_s=LONG_S)
    stage.database.error = LOCKED
    await keeper.keep(an_entry("a"))
    asked = stage.database.asked
    await keeper.reserve(an_intent("b"))
    await keeper.keep(an_entry("b"))
    keeper.keep_later(an_entry("c"))
    assert stage.database.asked == asked
    await keeper.close()
    assert stage.database.rows == []
    stage.database.error = None
    again = await stage.start()
    assert stage.database.ids() == ["a", "b", "b", "c"]
    assert (again.state, again.spooled) == (Keeping.OK, 0)


async def test_rows_that_come_while_the_spool_is_emptied_are_not_left_behind(stage: Stage) -> None:
    keeper = await stage.start(retry_s=0.001, max_bytes=10**6)
    stage.database.error = LOCKED
    await asyncio.gather(*[keeper.keep(an_entry(f"a{number}")) for number in range(600)])
    stage.database.error = None
    number = 0
    while keeper.state is not Keeping.OK:
        await keeper.keep(an_entry(f"b{number}"))
        number += 1
    await keeper.keep(an_entry("c"))
    assert stage.database.ids() == [f"a{n}" for n in range(600)] + [f"b{n}" for n in range(number)] + ["c"]


async def test_a_state_is_told_once(stage: Stage) -> None:
    keeper = await stage.start()
    stage.database.error = LOCKED
    with capture_logs() as lines:
        await asyncio.gather(*[keeper.keep(an_entry(str(number))) for number in range(20)])
        await asyncio.sleep(0.01)
        stage.database.error = None
        await becomes(keeper, Keeping.OK)
    assert [line["log_level"] for line in lines] == ["warning", "info"]


async def test_a_writer_that_takes_no_more_rows_is_no_reason_to_lose_one(stage: Stage) -> None:
    keeper = await stage.start(retry_s=LONG_S)
    stage.database.refuses = Overflow("too many writes are waiting", location="x.db")
    await keeper.keep(an_entry("a"))
    assert (keeper.state, keeper.spooled) == (Keeping.DEGRADED, 1)


async def test_when_nothing_takes_rows_reservations_are_refused_and_memory_holds_what_was_spent(stage: Stage) -> None:
    keeper = await stage.start(max_bytes=10, retry_s=0.001)
    stage.database.error = Full("x.db: no space is left for it", location="x.db")
    await keeper.keep(an_entry("a"))
    with pytest.raises(Unkept) as refused:
        await keeper.reserve(an_intent("b"))
    assert refused.value.status == 503
    keeper.intend(an_intent("c"))
    await keeper.keep(an_entry("b", status=503))
    assert (keeper.state, keeper.unkept, keeper.spooled) == (Keeping.DEGRADED, 2, 0)
    stage.database.error = None
    await becomes(keeper, Keeping.OK)
    assert (stage.database.ids(), keeper.unkept, keeper.lost) == (["a", "b"], 0, 0)


async def test_memory_is_bounded_and_what_does_not_fit_is_counted(stage: Stage) -> None:
    keeper = await stage.start(max_bytes=10, retry_s=LONG_S, memory_rows=2)
    stage.database.error = LOCKED
    for id in "abcd":
        await keeper.keep(an_entry(id))
    assert (keeper.unkept, keeper.lost) == (2, 2)


async def test_a_database_that_is_found_damaged_is_left_alone_until_somebody_mends_it(stage: Stage) -> None:
    keeper = await stage.start(retry_s=0.0)
    stage.database.error = Corrupt("x.db is damaged", location="x.db")
    await keeper.keep(an_entry("a"))
    asked = stage.database.asked
    await keeper.keep(an_entry("b"))
    await asyncio.sleep(0.01)
    assert (keeper.state, stage.database.asked, keeper.spooled) == (Keeping.REFUSED, asked, 2)
    await keeper.close()
    stage.database.error = None
    await stage.start()
    assert stage.database.ids() == ["a", "b"]


async def test_damage_that_is_found_while_the_spool_is_emptied_ends_the_trying(stage: Stage) -> None:
    keeper = await stage.start(retry_s=0.001)
    stage.database.error = LOCKED
    await keeper.keep(an_entry("a"))
    stage.database.error = Corrupt("x.db is damaged", location="x.db")
    await becomes(keeper, Keeping.REFUSED)
    assert keeper.spooled == 1


@pytest.mark.parametrize("error", [None, LOCKED])
async def test_a_row_that_fits_no_table_is_counted_and_nobody_waits_for_it(
    stage: Stage, error: Exception | None
) -> None:
    keeper = await stage.start(retry_s=LONG_S)
    stage.database.error = error
    await keeper.keep(an_entry("a"))
    misfit = an_entry("x", started_ms=2**63) if error is None else an_entry("x", user_id="\ud800")
    await asyncio.gather(keeper.keep(misfit), keeper.keep(an_entry("b")))
    assert keeper.lost == 1
    assert stage.database.ids() == (["a", "b"] if error is None else [])
    assert keeper.spooled == (0 if error is None else 2)


async def test_a_client_that_leaves_while_its_row_is_kept_troubles_nobody(stage: Stage) -> None:
    keeper = await stage.start()
    stage.database.silent = True
    gone = asyncio.create_task(keeper.keep(an_entry("a")))
    await settle_down()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    stage.database.tell()
    await settle_down()
    assert (stage.database.ids(), keeper.waiting) == (["a"], 0)


async def test_a_start_that_cannot_bring_in_what_was_left_is_refused_and_loses_nothing(stage: Stage) -> None:
    spool = Spool(stage.path)
    spool.append([an_entry("a")])
    spool.close()
    stage.database.error = LOCKED
    spool = Spool(stage.path)
    keeper = Keeper(stage.database, spool)
    with pytest.raises(Locked):
        await keeper.start()
    assert spool.rows == 1
    await keeper.close()  # which lets go of the spool, or the next start could not have it
    stage.database.error = None
    await stage.start()
    assert stage.database.ids() == ["a"]


async def test_closing_keeps_what_was_taken(stage: Stage) -> None:
    keeper = await stage.start()
    stage.database.silent = True
    keeper.intend(an_intent("a"))
    keeper.keep_later(an_entry("b"))
    await keeper.close(within_s=0.01)
    await keeper.close()
    assert (keeper.state, stage.database.rows) == (Keeping.OFF, [])
    await keeper.keep(an_entry("too late"))
    stage.database.silent = False
    stage.database._untold.clear()
    await stage.start()
    assert sorted(stage.database.ids()) == ["a", "b"]


async def test_closing_does_not_wait_for_a_database_that_is_quick(stage: Stage) -> None:
    keeper = await stage.start()
    keeper.keep_later(an_entry("a"))
    await keeper.close()
    assert stage.database.ids() == ["a"]
    assert Spool(stage.path).rows == 0


async def test_a_gateway_that_keeps_nothing_waits_for_nothing() -> None:
    keeper = Keeper(None, None)
    await keeper.start()
    keeper.intend(an_intent("a"))
    await keeper.reserve(an_intent("b"))
    await keeper.keep(an_entry("a"))
    keeper.keep_later(an_entry("b"))
    assert (keeper.state, keeper.waiting, keeper.spooled, keeper.unkept) == (Keeping.OFF, 0, 0, 0)
    await keeper.close()


# with a real database


class Real:
    """A SQLite file with its spool; `crash` leaves both as a kill would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: list[tuple[Database, Spool]] = []

    def open(self, **options: Any) -> Keeper:
        database = Database.open("sqlite:///x.db", base_dir=self.folder, busy_wait_s=0.02)
        spool = Spool(self.folder / "x.db.spool")
        self.opened.append((database, spool))
        return Keeper(database, spool, **{"retry_s": 0.001, **options})

    def crash(self) -> None:
        """Nothing is written any more; what is on disk stays."""
        database, spool = self.opened.pop()
        spool.close()
        database.close()

    def spool(self) -> Spool:
        return self.opened[-1][1]

    def kept(self) -> list[tuple[str, int, str | None]]:
        columns = (journal.c.request_id, journal.c.cost_uusd, journal.c.error_code)
        with self.opened[-1][0].read() as connection:
            assert open_intents(connection) == []
            rows = connection.execute(select(*columns).order_by(journal.c.id))
            return [(id, cost, code) for id, cost, code in rows]


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[Real]:
    made = Real(tmp_path)
    yield made
    for database, _ in made.opened:
        database.close()


async def test_a_database_that_another_process_holds_costs_no_row(real: Real) -> None:
    keeper = real.open(patience_s=0.01)
    await keeper.start()
    await keeper.reserve(an_intent("a"))
    other = sqlite3.connect(real.folder / "x.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    await asyncio.gather(*[keeper.keep(an_entry(id)) for id in "abc"])
    assert keeper.state is Keeping.DEGRADED
    await keeper.reserve(an_intent("d"))
    await keeper.keep(an_entry("d"))
    other.execute("COMMIT")
    other.close()
    await becomes(keeper, Keeping.OK)
    await keeper.keep(an_entry("e"))
    assert [id for id, _, _ in real.kept()] == ["a", "b", "c", "d", "e"]
    await keeper.close()


async def test_a_lock_of_another_process_delays_no_start_that_has_nothing_to_write(real: Real) -> None:
    keeper = real.open()
    await keeper.start()
    await keeper.close()
    other = sqlite3.connect(real.folder / "x.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    again = real.open()
    await again.start()
    await again.keep(an_entry("a"))
    assert again.spooled == 1
    other.close()
    await becomes(again, Keeping.OK)
    await again.close()


async def test_a_database_that_is_full_costs_no_row_and_takes_them_when_there_is_room(real: Real) -> None:
    keeper = real.open(patience_s=0.5)
    await keeper.start()
    database, _ = real.opened[-1]

    def pages(count: str) -> Callable[[Any], None]:
        return lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {count}")

    await keeper.keep(an_entry("a"))
    database._writer._direct._cursor.execute("PRAGMA max_page_count = 1")  # type: ignore[union-attr]
    big = [an_entry(str(number), attempts="x" * 3000) for number in range(100)]
    await asyncio.gather(*[keeper.keep(entry) for entry in big])
    assert (keeper.state, keeper.spooled > 0) == (Keeping.DEGRADED, True)
    database._writer._direct._cursor.execute("PRAGMA max_page_count = 1000000")  # type: ignore[union-attr]
    await becomes(keeper, Keeping.OK)
    assert [id for id, _, _ in real.kept()] == ["a", *map(str, range(100))]
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    await keeper.close()


@pytest.mark.parametrize("moved", [0, 2, 5, 7])
async def test_wherever_a_process_dies_each_row_is_there_once_after_the_next_start(real: Real, moved: int) -> None:
    """The spool was moved to the database up to some row, and not cleared; a request was never finished."""
    rows: Sequence[Intent | JournalEntry] = [
        an_intent("a", reserved_uusd=7),
        an_entry("a", cost_uusd=5),
        an_intent("b", reserved_uusd=70),
        an_intent("c", reserved_uusd=700),
        an_entry("b", cost_uusd=50),
        an_entry("d", cost_uusd=1),
        an_intent("e", reserved_uusd=9),
    ]
    keeper = real.open()
    await keeper.start()
    await keeper._post(rows[:moved])
    real.spool().append(rows)
    await keeper._post([an_entry("e", cost_uusd=8)] if moved == len(rows) else [])
    real.crash()
    again = real.open()
    await again.start()
    kept = real.kept()
    expected = {("a", 5, None), ("b", 50, None), ("c", 700, "interrupted"), ("d", 1, None)}
    expected |= {("e", 8, None)} if moved == len(rows) else {("e", 9, "interrupted")}
    assert (len(kept), set(kept)) == (5, expected)
    await again.close()


async def test_a_database_that_was_closed_too_early_is_no_reason_to_lose_a_row(real: Real) -> None:
    keeper = real.open(retry_s=LONG_S)
    await keeper.start()
    real.opened[-1][0].close()
    await keeper.keep(an_entry("a"))
    with pytest.raises(Closed):
        real.opened[-1][0].submit(lambda connection: None)
    assert keeper.spooled == 1
    await keeper.close()
