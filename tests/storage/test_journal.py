"""Rows that are put into the journal once, the intents they settle, and what is found again."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from octoroute_py.storage import journal
from octoroute_py.storage.engine import Direct, Source, connect
from octoroute_py.storage.entries import Intent, JournalEntry
from octoroute_py.storage.journal import Poster, Posting
from octoroute_py.storage.migrate import upgrade
from octoroute_py.storage.schema import intents
from octoroute_py.storage.schema import journal as journal_table
from tests.fakes.rows import an_entry, an_intent, open_intents


class Books:
    """A database with its tables, and the connection that posts."""

    def __init__(self, folder: Path) -> None:
        self.source: Source = connect("sqlite:///x.db", base_dir=folder)
        upgrade(self.source)
        self.direct: Direct = self.source.direct()
        self.poster = Poster()

    def post(self, *rows: Intent | JournalEntry, settles: bool = True) -> None:
        self.poster.post(self.direct, [Posting(row, settles=settles) for row in rows])

    def entries(self) -> list[JournalEntry]:
        columns = [journal_table.c[name] for name in JournalEntry.__struct_fields__]
        with self.source.read() as connection:
            return [JournalEntry(*row) for row in connection.execute(select(*columns).order_by(journal_table.c.id))]

    def open(self) -> list[Intent]:
        with self.source.read() as connection:
            return open_intents(connection)


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    made = Books(tmp_path)
    yield made
    made.direct.close()
    made.source.engine.dispose()


def test_a_row_comes_back_as_it_went_in(books: Books) -> None:
    full = an_entry(
        "a", first_event_us=5, user_id="ünï", confidence=0.1 + 0.2, error_code="x", attempts="[]", stream=True
    )
    sparse = an_entry("b", entry=2**63 - 1)
    books.post(full, sparse)
    assert books.entries() == [full, sparse]


def test_a_row_that_is_given_twice_is_there_once_as_it_was_first(books: Books) -> None:
    books.post(an_entry("a", cost_uusd=5))
    books.post(an_entry("a", cost_uusd=7), an_entry("a", entry=1, cost_uusd=9))
    books.post(an_entry("b"), an_entry("b"))
    assert [(entry.request_id, entry.entry, entry.cost_uusd) for entry in books.entries()][:2] == [
        ("a", 0, 5),
        ("a", 1, 9),
    ]
    assert len(books.entries()) == 3


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 13, 100, 256])
def test_groups_of_any_size_are_there_whole_and_in_order(books: Books, count: int) -> None:
    rows = [an_entry(str(number)) for number in range(count)]
    books.post(*[an_intent(str(number)) for number in range(count)])
    assert len(books.open()) == count
    books.post(*rows)
    assert books.entries() == rows
    assert books.open() == []


def test_a_journal_row_takes_its_own_intent_and_no_other(books: Books) -> None:
    other = [an_intent("a", entry=1), an_intent("b")]
    books.post(an_intent("a"), *other)
    books.post(an_entry("a"))
    assert books.open() == other


def test_an_intent_that_ends_in_the_same_group_is_never_written(books: Books) -> None:
    books.post(an_intent("a"), an_intent("b"), an_entry("a"), settles=False)
    assert [intent.request_id for intent in books.open()] == ["b"]
    assert [entry.request_id for entry in books.entries()] == ["a"]


def test_a_group_that_fails_leaves_nothing_of_itself(books: Books) -> None:
    with pytest.raises(OverflowError):
        books.post(an_intent("a"), an_entry("b"), an_entry("c", cost_uusd=2**70))
    assert (books.open(), books.entries()) == ([], [])
    books.post(an_entry("b"))
    assert len(books.entries()) == 1


def test_requests_of_the_dead_end_as_interrupted_at_what_was_reserved(books: Books) -> None:
    books.post(an_intent("a", reserved_uusd=70), an_intent("b", reserved_uusd=0), an_entry("c"))
    with books.source.write() as connection:
        assert journal.settle_dead(connection) == 2
        assert journal.settle_dead(connection) == 0
    first = next(entry for entry in books.entries() if entry.request_id == "a")
    assert (first.status, first.error_code, first.cost_uusd, first.estimated) == (500, "interrupted", 70, True)
    assert (first.workspace, first.key_id, first.started_ms) == ("default", "anonymous", 1_000)
    assert books.open() == []
    assert len(books.entries()) == 3


def test_an_intent_that_was_left_although_its_request_ended_costs_nothing_twice(books: Books) -> None:
    books.post(an_entry("a", cost_uusd=5))
    books.post(an_intent("a", reserved_uusd=90))
    with books.source.write() as connection:
        assert journal.settle_dead(connection) == 0
    assert [entry.cost_uusd for entry in books.entries()] == [5]
    assert books.open() == []


@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6))
@settings(max_examples=15, deadline=None)
def test_whatever_the_groups_every_request_is_there_once_and_no_intent_is_left(
    tmp_path_factory: pytest.TempPathFactory, seed: int, sizes: list[int]
) -> None:
    """Intents and rows in any mixture of groups, each intent before its row, some rows twice."""
    rng = random.Random(seed)
    books = Books(tmp_path_factory.mktemp("books"))
    waiting: list[Intent | JournalEntry] = []
    ids = [str(number) for number in range(sum(sizes))]
    for id in ids:
        at = rng.randint(0, len(waiting))
        waiting.insert(at, an_intent(id))
        for _ in range(rng.randint(1, 2)):
            waiting.insert(rng.randint(at + 1, len(waiting)), an_entry(id))
    while waiting:
        size = rng.choice(sizes)
        books.post(*waiting[:size])
        waiting = waiting[size:]
    with books.source.read() as connection:
        assert connection.execute(select(func.count()).select_from(intents)).scalar_one() == 0
    assert sorted(entry.request_id for entry in books.entries()) == sorted(ids)
    books.direct.close()
    books.source.engine.dispose()
