"""The journal page by page: newest first, each row once, judge calls left out."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from octoroute_py.core.ending import Ended, ended
from octoroute_py.storage.db import Database
from octoroute_py.storage.entries import JournalEntry
from octoroute_py.storage.history import EVERYTHING, Filter, Place, Record, page
from tests.fakes.journal_rows import calls, entry, keep, varied

ROWS = varied(random.Random(11), 400, over_s=500)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    one = Database.open("sqlite:///x.db", base_dir=tmp_path_factory.mktemp("history"))
    keep(one, ROWS)
    yield one
    one.close()


def pages(
    database: Database, *, limit: int, workspaces: tuple[str, ...] | None = None, only: Filter = EVERYTHING
) -> list[Record]:
    """All pages one after the other."""
    found: list[Record] = []
    before: Place | None = None
    while True:
        with database.read() as connection:
            one = page(connection, limit=limit, before=before, workspaces=workspaces, only=only)
        found += one.records
        if one.next is None:
            return found
        before = one.next


def word(row: JournalEntry) -> Ended:
    return ended(row.status, failed=row.error_code is not None)


@pytest.mark.parametrize("how", [None, *Ended])
@pytest.mark.parametrize("workspaces", [None, ("red",), ("red", "blue"), ("nobody",)])
def test_the_pages_hold_every_request_once_newest_first(
    database: Database, how: Ended | None, workspaces: tuple[str, ...] | None
) -> None:
    wanted = {
        row.request_id
        for row in calls(ROWS)
        if (workspaces is None or row.workspace in workspaces) and how in (None, word(row))
    }
    records = pages(database, limit=17, workspaces=workspaces, only=Filter(how=how))
    assert sorted(record.request_id for record in records) == sorted(wanted)
    assert [record.place for record in records] == sorted((record.place for record in records), reverse=True)


def test_a_record_tells_what_the_row_holds(database: Database) -> None:
    rows = {row.request_id: row for row in ROWS}
    with database.read() as connection:
        for record in page(connection, limit=400).records:
            row = rows[record.request_id]
            assert all(getattr(record, name) == getattr(row, name) for name in Record.__struct_fields__ if name != "id")


def test_rows_of_the_same_millisecond_are_told_apart(tmp_path: Path) -> None:
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)
    keep(database, [entry(number) for number in range(10)])
    assert [record.request_id for record in pages(database, limit=3)] == [f"r{number}" for number in range(9, -1, -1)]
    database.close()


@pytest.mark.parametrize(
    ("status", "failed", "expected"),
    [
        (200, False, Ended.SUCCESS),
        (200, True, Ended.ERROR),  # a stream that broke
        (499, False, Ended.CANCELLED),
        (499, True, Ended.CANCELLED),
        (429, True, Ended.RATE_LIMITED),
        (504, True, Ended.TIMEOUT),
        (500, True, Ended.ERROR),
        (400, True, Ended.ERROR),
    ],
)
def test_every_ending_has_a_word(status: int, failed: bool, expected: Ended) -> None:
    assert ended(status, failed=failed) is expected
