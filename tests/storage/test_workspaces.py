from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from octoroute_py.core.allowance import Budgets, Rates, WorkspacePolicy
from octoroute_py.storage import audit, directory, workspaces
from octoroute_py.storage.db import Database
from octoroute_py.storage.errors import Corrupt
from octoroute_py.storage.workspaces import WorkspaceRow

PLAIN = WorkspacePolicy()
amounts = st.none() | st.integers(0, 10**15)
words = st.lists(st.text(min_size=1, max_size=20), max_size=5).map(tuple)
policies = st.builds(
    WorkspacePolicy,
    restrictions=st.none() | words,
    deny=st.booleans(),
    rates=st.builds(Rates, requests_per_window=amounts, tokens_per_minute=amounts, max_concurrent=amounts),
    budgets=st.builds(Budgets, daily_uusd=amounts, weekly_uusd=amounts, monthly_uusd=amounts, per_request_uusd=amounts),
    max_latency_ms=st.none() | st.floats(0, 1e9),
    min_success_rate=st.none() | st.floats(0, 1),
    min_quality_score=st.none() | st.floats(0, 1),
    require_human_review=st.booleans(),
    compliance=words,
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open("sqlite:///test.db", base_dir=tmp_path)
    yield opened
    opened.close()


def put(database: Database, workspace: str, policy: WorkspacePolicy = PLAIN, *, at_ms: int = 1) -> WorkspaceRow:
    return database.write(lambda c: workspaces.put(c, workspace, policy, at_ms=at_ms, actor="bob"))


def get(database: Database, workspace: str) -> WorkspaceRow | None:
    with database.read() as connection:
        return workspaces.get(connection, workspace)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(policy=policies)
def test_whatever_a_policy_says_is_read_as_it_was_written(database: Database, policy: WorkspacePolicy) -> None:
    assert put(database, "a", policy).policy == policy
    kept = get(database, "a")
    assert kept is not None
    assert kept.policy == policy


def test_the_first_time_is_kept_when_a_policy_is_replaced(database: Database) -> None:
    put(database, "a", at_ms=5)
    changed = WorkspacePolicy(restrictions=("fast",))
    row = put(database, "a", changed, at_ms=9)
    assert row == get(database, "a") == WorkspaceRow(id="a", policy=changed, created_ms=5, updated_ms=9)


def test_every_change_counts_and_is_told_in_the_audit_and_forgetting_nothing_is_no_change(database: Database) -> None:
    put(database, "a")
    put(database, "a", WorkspacePolicy(deny=True))
    gone = [database.write(lambda c: workspaces.remove(c, "a", at_ms=3, actor="eve")) for _ in range(2)]
    with database.read() as connection:
        rows = audit.newest(connection, 10)
        version = directory.version(connection)
    assert gone == [True, False]
    assert (version, get(database, "a")) == (3, None)
    assert [(row.at_ms, row.actor, row.action) for row in rows] == [
        (3, "eve", "workspace.forget"),
        (1, "bob", "workspace.configure"),
        (1, "bob", "workspace.configure"),
    ]
    assert '"before":{' in rows[1].details
    assert '"before":null' in rows[2].details


def test_a_page_holds_those_one_may_see_by_id(database: Database) -> None:
    for name in ("c", "a", "b", "A%", "'; --"):
        put(database, name)
    with database.read() as connection:
        every, count = workspaces.page(connection, among=None, limit=2, offset=1)
        some, some_count = workspaces.page(connection, among=("b", "zz", "A%"), limit=10, offset=0)
        none = workspaces.page(connection, among=(), limit=10, offset=0)
    assert ([row.id for row in every], count) == (["A%", "a"], 5)
    assert ([row.id for row in some], some_count) == (["A%", "b"], 2)
    assert none == ([], 0)


def test_a_policy_that_cannot_be_understood_is_damage_and_not_taken_for_none(database: Database) -> None:
    put(database, "a")
    database.write(lambda c: c.execute(text("UPDATE workspaces SET policy = '{\"deny\": 3}'")))
    with pytest.raises(Corrupt):
        get(database, "a")
