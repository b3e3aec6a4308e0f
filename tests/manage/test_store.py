"""The database as management sees it: what fails is told to the operator, and to the client without its details."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from octoroute_py.core.errors import Refused
from octoroute_py.manage.store import Store
from octoroute_py.storage import audit
from octoroute_py.storage.db import Database
from octoroute_py.storage.errors import StorageError


def failing(folder: Path) -> Database:
    """A database that lacks a table."""
    database = Database.open("sqlite:///x.db", base_dir=folder)
    database.write(lambda connection: connection.exec_driver_sql("DROP TABLE audit"))
    return database


async def test_what_is_wrong_goes_to_the_log_and_the_client_may_try_again(tmp_path: Path) -> None:
    database = failing(tmp_path)
    with capture_logs() as logs:
        for use in (Store(database).read, Store(database).write):
            with pytest.raises(Refused) as caught:
                await use(lambda connection: audit.newest(connection, 1))
            assert (caught.value.status, caught.value.code) == (503, "storage_unavailable")
            assert caught.value.retry_after_s == 1.0
            assert "x.db" not in caught.value.client_message
    assert [(line["log_level"], "no such table: audit" in line["problem"]) for line in logs] == [("warning", True)] * 2
    database.close()


async def test_whoever_reports_otherwise_finds_the_cause_in_the_refusal(tmp_path: Path) -> None:
    database, told = failing(tmp_path), list[StorageError]()
    with capture_logs() as logs, pytest.raises(Refused) as caught:
        await Store(database, report=told.append).read(lambda connection: audit.newest(connection, 1))
    assert caught.value.__cause__ is told[0]
    assert logs == []
    database.close()


async def test_what_a_job_itself_raises_is_passed_on(tmp_path: Path) -> None:
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)
    for use in (Store(database).read, Store(database).write):
        with pytest.raises(ZeroDivisionError):
            await use(lambda connection: 1 // 0)
    database.close()


async def test_without_a_database_it_is_no_use_to_try_again() -> None:
    with pytest.raises(Refused, match=r"\[storage\]") as caught:
        await Store(None).read(lambda connection: None)
    assert (caught.value.code, caught.value.final) == ("storage_off", True)
