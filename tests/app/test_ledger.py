"""What the ledger knows of everybody's spending comes from the journal, also for those whom nobody counted."""

from pathlib import Path

from sqlalchemy import text
from structlog.testing import capture_logs

from octoroute_py.admission.claims import Claim, Subject
from octoroute_py.app.ledger import Ledger
from octoroute_py.config.schema import StorageConfig
from octoroute_py.core.allowance import Budgets
from octoroute_py.storage.db import Database
from octoroute_py.telemetry.metrics import Metrics
from tests.fakes.journal_rows import keep
from tests.fakes.rows import an_entry


async def test_a_budget_for_somebody_who_was_left_uncounted_begins_with_what_they_have_spent(tmp_path: Path) -> None:
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)
    ledger = Ledger(StorageConfig(), database, metrics=Metrics())
    await ledger.start()
    now_s = ledger.wall()
    at_ms = int(now_s * 1000)
    keep(database, [an_entry(name, started_ms=at_ms, workspace=name, cost_uusd=70) for name in ("late", "other")])
    ledger.book.uncounted = 1  # as after 20,000 names that nobody limits
    budgets = Budgets(daily_uusd=100)
    ledger.book.reserve((Claim(Subject.WORKSPACE, "late", budgets=budgets),), est_uusd=10, at_s=now_s)
    await ledger.close()
    day = ledger.book.status(Subject.WORKSPACE, "late", budgets, at_s=now_s)[0]
    assert (day.spent_uusd, day.reserved_uusd, day.remaining_uusd) == (70, 10, 20)
    database.close()


async def test_a_budget_that_was_reached_and_not_kept_is_told_in_the_log(tmp_path: Path) -> None:
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)
    ledger = Ledger(StorageConfig(), database, metrics=Metrics())
    await ledger.start()
    database.write(lambda connection: connection.execute(text("DROP TABLE audit")) and None)
    claim = Claim(Subject.WORKSPACE, "team", budgets=Budgets(daily_uusd=100))
    with capture_logs() as lines:
        ledger.book.spend((claim,), cost_uusd=85, at_s=ledger.wall())
        await ledger.close()
        database.close()
    said = [line["event"] for line in lines]
    assert said == ["budget reached", "that a budget was reached could not be kept"]
