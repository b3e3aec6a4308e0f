"""The journal page by page: newest first, each row once, judge calls left out."""

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from octoroute_py.core.ending import Ended, ended
from octoroute_py.storage import history
from octoroute_py.storage.db import Database
from octoroute_py.storage.entries import JournalEntry
from octoroute_py.storage.history import EVERYTHING, Filter, Kind, Place, Record, named, page
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


def meant(row: JournalEntry, only: Filter) -> bool:
    """Whether a row is asked for, in plain Python."""
    names = ("tier", "decided_tier", "strategy", "reason", "endpoint", "agent_type", "rule")
    how, failed = only.how, row.error_code is not None
    if isinstance(how, Kind):
        is_so = failed and row.status != 499 if how is Kind.FAILED else str(row.status)[0] == how[0]
    else:
        is_so = how in (None, word(row))
    return (
        is_so
        and all(getattr(only, name) in (None, getattr(row, name)) for name in names)
        and (only.since_ms is None or row.started_ms >= only.since_ms)
        and (only.until_ms is None or row.started_ms < only.until_ms)
        and (only.request_id is None or row.request_id.startswith(only.request_id))
    )


def drawn(rng: random.Random) -> Filter:
    some = rng.choice(ROWS)
    fields = {name: getattr(some, name) for name in ("tier", "endpoint", "agent_type", "reason", "strategy")}
    chosen = {name: value for name, value in fields.items() if rng.random() < 0.25}
    times = sorted(rng.choice(ROWS).started_ms for _ in range(2))
    return Filter(
        how=rng.choice((None, None, *Ended, *Kind)),
        since_ms=times[0] if rng.random() < 0.3 else None,
        until_ms=times[1] if rng.random() < 0.3 else None,
        decided_tier="fast" if rng.random() < 0.1 else None,
        rule="nobody" if rng.random() < 0.05 else None,
        request_id=some.request_id[: rng.randrange(1, 4)] if rng.random() < 0.3 else None,
        **chosen,
    )


@pytest.mark.parametrize("looked_at", [7, 100, 20_000])
@pytest.mark.parametrize("workspaces", [None, ("red",), ("red", "blue")])
def test_a_search_finds_each_once_newest_first_however_few_rows_it_may_look_at(
    database: Database, workspaces: tuple[str, ...] | None, looked_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "LOOKED_AT", looked_at)
    rng = random.Random(looked_at)
    for _ in range(60 if looked_at > 7 else 15):
        only = drawn(rng)
        wanted = [
            row.request_id
            for row in calls(ROWS)
            if meant(row, only) and (workspaces is None or row.workspace in workspaces)
        ]
        found = pages(database, limit=rng.choice((3, 50)), workspaces=workspaces, only=only)
        assert sorted(row.request_id for row in found) == sorted(wanted), only
        assert [row.place for row in found] == sorted((row.place for row in found), reverse=True)


@pytest.mark.parametrize("text", ["%", "_", "r_", "\\", "'", "", "r1'--"])
def test_nothing_that_is_searched_for_is_a_pattern(database: Database, text: str) -> None:
    wanted = {row.request_id for row in calls(ROWS) if row.request_id.startswith(text)}
    assert {row.request_id for row in pages(database, limit=100, only=Filter(request_id=text))} == wanted
    assert pages(database, limit=100, only=Filter(rule=text)) == []


def test_a_search_looks_at_no_more_rows_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "LOOKED_AT", 50)
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)
    keep(database, [entry(number, ago_s=number) for number in range(300)])
    with database.read() as connection:
        steps = 0

        def step() -> int:
            nonlocal steps
            steps += 1
            return 0

        driver = connection.connection.driver_connection
        assert driver is not None
        page(connection, limit=10, only=Filter(rule="nobody"))  # what is prepared once
        driver.set_progress_handler(step, 10)
        none = page(connection, limit=10, only=Filter(rule="nobody"))
        driver.set_progress_handler(None, 0)
    database.close()
    assert none.records == []
    assert none.next is not None
    assert none.next.started_ms == entry(ago_s=49).started_ms
    assert steps < 200, "a look at all rows takes 500"


def test_requests_of_one_id_are_found_in_any_age(tmp_path: Path) -> None:
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)
    same = [
        msgspec.structs.replace(entry(1, ago_s=ago), entry=number, surface=surface)
        for number, (ago, surface) in enumerate([(500, "chat"), (9, "chat"), (5, "judge")])
    ]
    keep(database, [*same, *(entry(number) for number in range(2, 40))])
    with database.read() as connection:
        assert [row.entry for row in named(connection, "r1")] == [1, 0]
        assert named(connection, "r") == named(connection, "r%") == []
    database.close()


def test_what_others_send_under_an_id_pushes_out_nobodys_own_request(tmp_path: Path) -> None:
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)
    mine = entry(1, ago_s=900, key_id="mine", workspace="red")
    others = [entry(1, ago_s=ago, entry=1 + ago, key_id="other", workspace="blue") for ago in range(history.MOST_NAMED)]
    keep(database, [mine, *others])
    with database.read() as connection:
        assert len(named(connection, "r1")) == history.MOST_NAMED
        assert [row.key_id for row in named(connection, "r1", key_id="mine")] == ["mine"]
        assert [row.key_id for row in named(connection, "r1", workspaces=("red",))] == ["mine"]
        assert named(connection, "r1", workspaces=("blue",), key_id="mine") == []
    database.close()
