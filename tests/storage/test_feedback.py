"""The last word on a request, found by whoever may see it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from octoroute_py.core.verdict import Verdict
from octoroute_py.storage import feedback
from octoroute_py.storage.db import Database
from octoroute_py.storage.feedback import Finder, Judged, Lesson
from octoroute_py.storage.schema import journal
from tests.fakes.rows import write

ANYBODY = Finder(key_id="k-1", workspaces=None)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = Database.open("sqlite:///x.db", base_dir=tmp_path)
    yield one
    one.close()


def journalled(database: Database, *changes: dict[str, Any]) -> None:
    database.write(lambda connection: write(connection, *changes))


def give(
    database: Database, verdict: Verdict, *, request_id: str = "r-1", by: Finder = ANYBODY, at_ms: int = 5_000
) -> bool:
    return database.write(lambda connection: feedback.give(connection, request_id, verdict, by=by, at_ms=at_ms))


def found(database: Database, request_id: str = "r-1", *, by: Finder = ANYBODY) -> Judged | None:
    with database.read() as connection:
        return feedback.find(connection, request_id, by=by)


def test_a_verdict_is_kept_with_who_gave_it_and_when(database: Database) -> None:
    journalled(database, {})
    before = found(database)
    assert before is not None
    assert (before.verdict, before.at_ms, before.by) == (None, None, None)
    assert give(database, Verdict(rating=4, success=True, smaller_tier_would_do=False))
    told = found(database)
    assert told is not None
    assert told.verdict == Verdict(rating=4, success=True, smaller_tier_would_do=False)
    assert (told.at_ms, told.by, told.tier, told.endpoint) == (5_000, "k-1", "fast", "fast/small#1")


def test_the_last_word_wins_and_leaves_what_it_does_not_say(database: Database) -> None:
    journalled(database, {})
    give(database, Verdict(rating=5, success=True))
    give(database, Verdict(rating=1), by=Finder(key_id="k-2", workspaces=None), at_ms=6_000)
    told = found(database)
    assert told is not None
    assert (told.verdict, told.at_ms, told.by) == (Verdict(rating=1, success=True), 6_000, "k-2")


def test_an_unknown_request_takes_no_verdict(database: Database) -> None:
    assert not give(database, Verdict(rating=5))
    assert found(database) is None


def test_only_rows_of_the_finders_workspaces_are_there(database: Database) -> None:
    journalled(database, {"workspace": "a"})
    elsewhere = Finder(key_id="k-1", workspaces=("b", "c"))
    assert found(database, by=elsewhere) is None
    assert not give(database, Verdict(rating=1), by=elsewhere)
    assert found(database, by=Finder(key_id="k-1", workspaces=())) is None
    inside = found(database, by=Finder(key_id="k-1", workspaces=("b", "a")))
    assert inside is not None
    assert inside.verdict is None


def test_of_several_rows_with_one_id_the_newest_is_meant(database: Database) -> None:
    journalled(
        database,
        {"entry": 1, "started_ms": 1_000, "tier": "fast"},
        {"entry": 2, "started_ms": 3_000, "tier": "deep"},
        {"entry": 3, "started_ms": 2_000, "tier": "balanced"},
    )
    told = found(database)
    assert told is not None
    assert told.tier == "deep"


def test_a_row_of_the_finders_own_key_goes_before_a_newer_one_of_another(database: Database) -> None:
    journalled(
        database,
        {"entry": 1, "started_ms": 1_000, "key_id": "k-1", "tier": "fast"},
        {"entry": 2, "started_ms": 9_000, "key_id": "k-2", "tier": "deep"},
    )
    give(database, Verdict(success=False))
    mine, theirs = found(database), found(database, by=Finder(key_id="k-2", workspaces=None))
    assert mine is not None
    assert theirs is not None
    assert (mine.tier, mine.verdict) == ("fast", Verdict(success=False))
    assert (theirs.tier, theirs.verdict) == ("deep", None)


def test_a_verdict_goes_with_its_row(database: Database) -> None:
    journalled(database, {})
    give(database, Verdict(rating=2))
    database.write(lambda connection: connection.execute(delete(journal)))
    with database.read() as connection:
        assert list(feedback.rows(connection, 0)) == []


def test_lessons_hold_what_was_decided_beside_what_was_said(database: Database) -> None:
    journalled(
        database,
        {"confidence": 0.75, "strategy": "neural", "decided_tier": "fast", "tier": "balanced"},
        {"request_id": "r-2"},
        {"request_id": "r-3"},
    )
    give(database, Verdict(success=True), request_id="r-2", at_ms=9_000)
    give(database, Verdict(rating=3, smaller_tier_would_do=True), at_ms=7_000)
    give(database, Verdict(rating=1), request_id="r-3", at_ms=6_999)
    with database.read() as connection:
        lessons = list(feedback.rows(connection, 7_000))
    assert [each.request_id for each in lessons] == ["r-1", "r-2"]
    assert lessons[0] == Lesson(
        request_id="r-1",
        started_ms=1_000,
        surface="chat",
        workspace="default",
        agent_type="",
        strategy="neural",
        reason="rule_matched",
        rule="casual",
        confidence=0.75,
        decided_tier="fast",
        tier="balanced",
        endpoint="fast/small#1",
        prompt_tokens=7,
        completion_tokens=5,
        cost_uusd=12,
        at_ms=7_000,
        verdict=Verdict(rating=3, smaller_tier_would_do=True),
    )


@pytest.mark.parametrize(
    ("change", "known"),
    [
        ({"request_type": "chat"}, True),
        ({}, False),
        ({"request_type": "chat", "workspace": "other"}, False),
        ({"request_type": "chat", "status": 502, "error_code": "upstream_error"}, False),
        ({"request_type": "chat", "error_code": "upstream_truncated"}, False),
        ({"request_type": "chat", "request_id": "r-2"}, False),
    ],
)
def test_only_a_routed_request_that_went_well_was_answered(
    database: Database, change: dict[str, Any], known: bool
) -> None:
    journalled(database, change)
    with database.read() as connection:
        assert feedback.answered(connection, "r-1", workspace="default") is known
