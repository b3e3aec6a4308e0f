"""Verdicts are kept for those who may see the request, and trouble with the database is told as such."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from octoroute_py.admission.principal import Principal
from octoroute_py.core.allowance import Grant
from octoroute_py.core.errors import NotFound, Refused
from octoroute_py.core.verdict import Verdict
from octoroute_py.core.words import Role
from octoroute_py.manage.feedback import Feedback
from octoroute_py.manage.store import Store
from octoroute_py.storage.db import Database
from tests.fakes.rows import write

ANN = Principal("ann", Role.OPERATOR, "k-ann")
BOUND = Principal("bob", Role.OPERATOR, "k-bob", Grant(workspaces=("b",)))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = Database.open("sqlite:///x.db", base_dir=tmp_path)
    yield one
    one.close()


def book(database: Database | None, *changes: dict[str, Any], behind: bool = False) -> Feedback:
    """The feedback of a database in which these rows are."""
    if database is not None and changes:
        database.write(lambda connection: write(connection, *changes))
    return Feedback(Store(database), wall=lambda: 1_700_000_000.0429, behind=lambda: behind)


async def test_what_was_given_is_told(database: Database) -> None:
    feedback = book(database, {})
    await feedback.give("r-1", Verdict(rating=5), by=ANN)
    told = await feedback.told("r-1", by=ANN)
    assert (told.verdict, told.by, told.at_ms) == (Verdict(rating=5), "k-ann", 1_700_000_000_042)


async def test_a_request_of_another_workspace_is_as_unknown_as_none(database: Database) -> None:
    feedback = book(database, {"workspace": "a"})
    for request_id in ("r-1", "r-2"):
        with pytest.raises(NotFound) as given:
            await feedback.give(request_id, Verdict(rating=1), by=BOUND)
        with pytest.raises(NotFound) as told:
            await feedback.told(request_id, by=BOUND)
        assert given.value.client_message == told.value.client_message == "There is no such request."
    with pytest.raises(NotFound, match="Nobody"):
        await feedback.told("r-1", by=ANN)


@pytest.mark.parametrize("request_id", ["", "a\0b", "a b", "\ud800", "x" * 129])
async def test_an_id_that_no_request_can_have_is_unknown_whatever_waits(database: Database, request_id: str) -> None:
    feedback = book(database, behind=True)
    with pytest.raises(NotFound):
        await feedback.give(request_id, Verdict(rating=1), by=ANN)
    with pytest.raises(NotFound):
        await feedback.told(request_id, by=ANN)


async def test_while_rows_wait_an_unknown_request_may_yet_turn_up(database: Database) -> None:
    feedback = book(database, behind=True)
    with pytest.raises(Refused) as caught:
        await feedback.give("r-1", Verdict(rating=1), by=ANN)
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (503, "storage_behind", 1.0)


async def test_without_storage_everything_says_so() -> None:
    feedback = book(None)
    with pytest.raises(Refused) as caught:
        await feedback.give("r-1", Verdict(rating=1), by=ANN)
    assert (caught.value.status, caught.value.code) == (503, "storage_off")
    assert not await feedback.answered("r-1", "default")


async def test_a_database_that_cannot_be_used_says_nothing_was_answered(database: Database) -> None:
    feedback = book(database, {"request_type": "chat"})
    assert await feedback.answered("r-1", "default")
    assert not await feedback.answered("r-1", "other")
    with database.read() as connection:
        connection.exec_driver_sql("ALTER TABLE journal RENAME TO gone")
        connection.commit()
    assert not await feedback.answered("r-1", "default")
    with pytest.raises(Refused) as caught:
        await feedback.give("r-1", Verdict(rating=1), by=ANN)
    assert caught.value.code == "storage_unavailable"
