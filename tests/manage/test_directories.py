"""The directory in force follows the database, and outlives its troubles."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from octoroute_py.admission.keyring import NONE_ISSUED, IssuedKeys
from octoroute_py.manage.directories import follow_directory
from octoroute_py.storage.db import Database
from octoroute_py.storage.errors import StorageError
from tests.fakes.keeping import Office


@pytest_asyncio.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    one = Office(tmp_path)
    yield one
    one.close()


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_what_is_there_at_the_start_is_in_force_at_once(office: Office) -> None:
    made = await office.issue()
    later = follow_directory(office.database, on_change=lambda issued: None)
    assert [key.id for key in later.current.directory.keys] == [made.row.id]
    later.close()


async def test_a_change_of_another_process_is_taken_over_once(office: Office, tmp_path: Path) -> None:
    elsewhere = Database.open("sqlite:///office.db", base_dir=tmp_path)
    seen: list[IssuedKeys] = []
    there = follow_directory(elsewhere, on_change=seen.append)
    await there.refresh()
    assert seen == []
    made = await office.issue()
    await there.refresh()
    await there.refresh()
    assert [[key.id for key in issued.directory.keys] for issued in seen] == [[made.row.id]]
    assert there.current is seen[0]
    there.close()
    elsewhere.close()


async def test_looking_for_changes_goes_on_until_it_is_cancelled(office: Office, tmp_path: Path) -> None:
    changed = asyncio.Event()
    there = follow_directory(office.database, on_change=lambda issued: changed.set())
    following = asyncio.create_task(there.run(every_s=0.001))
    await office.issue()
    await asyncio.wait_for(changed.wait(), 10)
    await ended(following)
    there.close()


def rename(office: Office, old: str, new: str) -> None:
    office.database.write(lambda connection: connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}"))


async def test_a_database_that_cannot_be_read_leaves_all_in_force_and_says_so_once_and_when_it_is_back(
    office: Office,
) -> None:
    made = await office.issue()
    rename(office, "directory_version", "away")
    with capture_logs() as logs:
        for _ in range(3):
            await office.directories.refresh()
        assert [key.id for key in office.directories.current.directory.keys] == [made.row.id]
        with pytest.raises(StorageError):
            follow_directory(office.database, on_change=office.seen.append)
        rename(office, "away", "directory_version")
        await office.keys.revoke(made.row.id, actor="ops")
        await office.directories.refresh()
    assert office.directories.current.directory.keys[0].revoked
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("error", "keys and workspaces cannot be read, those known last stay in force"),
        ("info", "keys and workspaces can be read again"),
    ]


async def test_a_change_that_cannot_be_taken_over_is_tried_again_and_told_once(office: Office) -> None:
    tried = 0
    taken = asyncio.Event()

    def breaks_at_first(issued: IssuedKeys) -> None:
        nonlocal tried
        tried += 1
        if tried <= 3:
            raise ZeroDivisionError
        taken.set()

    there = follow_directory(office.database, on_change=breaks_at_first)
    with capture_logs() as logs:
        following = asyncio.create_task(there.run(every_s=0.001))
        made = await office.issue()
        await asyncio.wait_for(taken.wait(), 10)
        await ended(following)
    assert [key.id for key in there.current.directory.keys] == [made.row.id]
    assert [line["log_level"] for line in logs] == ["error"]
    there.close()


async def test_without_a_database_it_stays_empty() -> None:
    there = follow_directory(None, on_change=lambda issued: None)
    await there.refresh()
    assert there.current is NONE_ISSUED
    there.close()
