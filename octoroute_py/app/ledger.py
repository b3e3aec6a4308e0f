"""What keeps and what limits, as one part of the application: made with it, started before its first request."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Final

import msgspec
import structlog

from octoroute_py.admission.budget import LOOK_BACK_DAYS, BudgetBook, BudgetEvent
from octoroute_py.admission.claims import Subject
from octoroute_py.admission.limits import Limiter
from octoroute_py.admission.periods import BelievedClock, Period
from octoroute_py.config.schema import StorageConfig, Synchronous
from octoroute_py.core import clock
from octoroute_py.core.allowance import Budgets, WorkspacePolicy
from octoroute_py.core.clock import iso
from octoroute_py.core.errors import ConfigError
from octoroute_py.core.money import usd
from octoroute_py.gateway.accounts import Accounts
from octoroute_py.ledger.keeper import Keeper
from octoroute_py.ledger.outcome import Outcome
from octoroute_py.manage.audit import BUDGET_REACHED, Reached
from octoroute_py.manage.upkeep import Upkeep
from octoroute_py.storage import audit
from octoroute_py.storage.analytics import DaySpend, latest_start_ms, spend_by_day
from octoroute_py.storage.audit import AuditRow
from octoroute_py.storage.db import Database
from octoroute_py.storage.errors import StorageError
from octoroute_py.storage.spool import Spool, spool_path
from octoroute_py.storage.transaction import Transaction
from octoroute_py.telemetry.ledger_counts import KeepingRow
from octoroute_py.telemetry.live_rows import BudgetRow
from octoroute_py.telemetry.metrics import Metrics

_log = structlog.stdlib.get_logger("octoroute.app")

CLOSE_WITHIN_S: Final = 5.0
"""How long the end waits for rows that are still on their way."""
_GATEWAY: Final = "gateway"
_DAY_MS: Final = 86_400_000
_BUDGET: Final = {Period.DAY: "daily", Period.WEEK: "weekly", Period.MONTH: "monthly"}
"""What the API calls the budget of a period."""
_COLUMNS: Final = {Subject.KEY: "key_id", Subject.WORKSPACE: "workspace", Subject.AGENT_TYPE: "agent_type"}


class Ledger:
    """Limits, budgets and the journal. `start` it before the first request, `close` it after the last.

    Raises ConfigError when another gateway keeps its rows in this database, StorageError when it cannot be read.
    """

    def __init__(self, storage: StorageConfig, database: Database | None, *, metrics: Metrics) -> None:
        self._database = database
        self._metrics = metrics
        seen_s = 0.0 if database is None else _latest_start_s(database)
        self._spool = _open_spool(storage, database)
        self._keeper = Keeper(database, self._spool)
        self.wall = BelievedClock(clock.wall, clock.monotonic, seen_s=seen_s, on_error=metrics.clock_error).read
        """The clock that periods and rows go by; it never goes back."""
        self.book = BudgetBook(on_event=self._budget_reached, on_gap=None if database is None else self._gap)
        self._making_up: set[asyncio.Task[None]] = set()
        self.accounts = Accounts(
            limiter=Limiter(),
            book=self.book,
            keeper=None if database is None else self._keeper,
            wall=self.wall,
            counts=metrics.ledger,
        )

    def keeping(self) -> KeepingRow:
        """How the journal is doing."""
        keeper = self._keeper
        return KeepingRow(
            keeper.state, waiting=keeper.waiting, spooled=keeper.spooled, unkept=keeper.unkept, lost=keeper.lost
        )

    def judged(self, outcome: Outcome) -> None:
        """A question to a judge has ended: the gateway's own expense."""
        duration_ms = int(outcome.duration_s * 1000.0)
        started_ms = int(self.wall() * 1000.0) - duration_ms
        self.accounts.keep_later(msgspec.structs.replace(outcome, started_ms=started_ms))

    def standing(self, subject: Subject, id_: str, budgets: Budgets) -> dict[str, object]:
        """How the day, the week and the month of a key or a workspace stand, in USD, as the API tells it."""
        rows = self.book.status(subject, id_, budgets, at_s=self.wall())
        return {
            _BUDGET[row.period]: {
                "limit": usd(row.limit_uusd),
                "spent": usd(row.spent_uusd),
                "reserved": usd(row.reserved_uusd),
                "remaining": usd(row.remaining_uusd),
                "endsAt": iso(int(row.ends_s * 1000.0)),
            }
            for row in rows
        }

    def budgets(self, policies: Mapping[str, WorkspacePolicy]) -> list[BudgetRow]:
        """How workspaces with a budget stand; safe from any thread."""
        at_s = clock.wall()
        rows = []
        for workspace, policy in sorted(policies.items()):
            standing = self.book.status(Subject.WORKSPACE, workspace, policy.budgets, at_s=at_s)
            shares = [each.spent_uusd / each.limit_uusd for each in standing if each.limit_uusd]
            if shares:
                rows.append(BudgetRow(workspace, max(shares), usd(standing[0].spent_uusd)))
        return rows

    async def start(self) -> None:
        """Bring in what the last run left behind, and learn from the journal what everybody has spent.

        Raises ConfigError when the database does not let us.
        """
        try:
            await self._keeper.start()
            if self._database is not None:
                spent, reached = await asyncio.to_thread(_read_spend, self._database, self._since_day())
                self.book.load(spent)
                for row in reached:
                    _remember(self.book, row)
        except StorageError as error:
            raise ConfigError(f"storage: {error}") from None

    def _gap(self, subject: Subject, name: str) -> None:
        """Somebody has a budget now whose spending may not have been counted: the journal knows it soon."""
        task = asyncio.create_task(self._make_up(subject, name), name="budget-made-up")
        self._making_up.add(task)
        task.add_done_callback(self._making_up.discard)

    async def _make_up(self, subject: Subject, name: str) -> None:
        database = self._database
        if database is None:
            return
        try:
            spent = await asyncio.to_thread(_read_spend_of, database, self._since_day(), of=(_COLUMNS[subject], name))
        except StorageError as error:
            _log.error("what was spent before there was a budget is not known", id=name, because=str(error))
            return
        self.book.make_up(subject, name, [(row.day, row.cost_uusd) for row in spent])

    def _since_day(self) -> int:
        """How far back a budget looks."""
        return int(self.wall() * 1000.0) // _DAY_MS - LOOK_BACK_DAYS

    async def upkeep(self, storage: Callable[[], StorageConfig]) -> None:
        """Add rows up and delete old ones, until cancelled."""
        if self._database is not None:
            await Upkeep(self._database, storage=storage, wall=self.wall).run()

    def let_go(self) -> None:
        """Close what was opened, before `start`: nothing is on its way yet."""
        if self._spool is not None:
            self._spool.close()

    async def close(self) -> None:
        """Write what is still on its way; after a start that failed, let go of what was opened."""
        await asyncio.gather(*self._making_up, return_exceptions=True)
        await self._keeper.close(within_s=CLOSE_WITHIN_S)

    def _budget_reached(self, event: BudgetEvent) -> None:
        """A budget came to 80 or 100 percent: said in the log, counted, and kept where operators read of changes."""
        self._metrics.ledger.budget_reached(event.subject.value, event.level)
        told = Reached(
            subject=event.subject,
            period=event.period,
            starts_s=event.starts_s,
            level=event.level,
            limit_uusd=event.limit_uusd,
            spent_uusd=event.spent_uusd,
        )
        details: dict[str, object] = msgspec.to_builtins(told)
        _log.warning("budget reached", id=event.id, **msgspec.structs.asdict(told))
        if self._database is not None:
            at_ms = int(self.wall() * 1000.0)

            def note(connection: Transaction) -> None:
                audit.append(
                    connection, at_ms=at_ms, actor=_GATEWAY, action=BUDGET_REACHED, subject=event.id, details=details
                )

            try:
                self._database.submit(note).add_done_callback(_tell_if_lost)
            except StorageError as error:
                _tell_lost(error)


def _tell_if_lost(noted: Future[None]) -> None:
    error = noted.exception()
    if error is not None:
        _tell_lost(error)


def _tell_lost(error: BaseException) -> None:
    """The next start will tell it again."""
    _log.warning("that a budget was reached could not be kept", because=str(error))


def _open_spool(storage: StorageConfig, database: Database | None) -> Spool | None:
    if database is None:
        return None
    path = spool_path(database.location)
    try:
        return Spool(Path(path), durable=storage.synchronous is Synchronous.FULL)
    except StorageError as error:
        raise ConfigError(f"storage: {error}") from None


def _latest_start_s(database: Database) -> float:
    with database.read() as connection:
        return latest_start_ms(connection) / 1000.0


def _read_spend(database: Database, since_day: int) -> tuple[list[DaySpend], list[AuditRow]]:
    with database.read() as connection:
        spent = spend_by_day(connection, since_day=since_day)
        return spent, audit.since(connection, BUDGET_REACHED, at_ms=since_day * _DAY_MS)


def _read_spend_of(database: Database, since_day: int, *, of: tuple[str, str]) -> list[DaySpend]:
    with database.read() as connection:
        return spend_by_day(connection, since_day=since_day, of=of)


def _remember(book: BudgetBook, row: AuditRow) -> None:
    try:
        told = msgspec.json.decode(row.details, type=Reached)
    except msgspec.MsgspecError:
        return  # whoever wrote it, it keeps nothing from being told
    book.remember(
        BudgetEvent(told.subject, row.subject, told.period, told.starts_s, told.level, told.limit_uusd, told.spent_uusd)
    )
