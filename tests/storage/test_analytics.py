"""What the sums say is what counting the rows one by one says, wherever the range begins and however much is rolled."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.storage.analytics import Scope, cells, latencies, requests_by_hour, spans, spend_by_day
from octoroute_py.storage.db import Database
from octoroute_py.storage.entries import JournalEntry
from tests.fakes.journal_rows import DAY_S, NOW_S, calls, cells_of, entry, keep, latencies_of, roll_all, varied

SINCE = {
    "1h": NOW_S // 60 * 60 - 3600,
    "24h": NOW_S // 60 * 60 - DAY_S,
    "7d": NOW_S // 3600 * 3600 - 7 * DAY_S,
    "30d": NOW_S // 3600 * 3600 - 30 * DAY_S,
    "midnight": NOW_S // DAY_S * DAY_S,
    "this minute": NOW_S // 60 * 60,
}


def a_month() -> list[JournalEntry]:
    """Rows of a month, denser towards its end, in the order in which they ended."""
    rng = random.Random(7)
    rows = varied(rng, 900, over_s=31 * DAY_S)
    rows += varied(rng, 600, over_s=DAY_S + 3600, first=900)
    rows += varied(rng, 500, over_s=3700, first=1500)
    rng.shuffle(rows)
    return rows


@pytest.fixture(scope="module", params=[0, 1300, 2000], ids=["nothing rolled", "some rolled", "all rolled"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    one = Database.open("sqlite:///x.db", base_dir=tmp_path_factory.mktemp("analytics"))
    rows = a_month()
    keep(one, rows[: request.param])
    roll_all(one)
    keep(one, rows[request.param :])
    yield one
    one.close()


def meant(
    since_s: int, workspaces: Sequence[str] | None = None, endpoints: Sequence[str] | None = None
) -> list[JournalEntry]:
    return [
        row
        for row in a_month()
        if row.started_ms >= since_s * 1000
        and (workspaces is None or row.workspace in workspaces)
        and (endpoints is None or row.endpoint in endpoints)
    ]


@pytest.mark.parametrize("since", SINCE)
@pytest.mark.parametrize("workspaces", [None, ("red",), ("red", "blue"), ("nobody",)])
@pytest.mark.parametrize("endpoints", [None, ("fast/small#1", "deep/large#1")])
def test_a_range_is_what_its_rows_are(
    database: Database, since: str, workspaces: Sequence[str] | None, endpoints: Sequence[str] | None
) -> None:
    scope = Scope(SINCE[since], workspaces, endpoints)
    rows = meant(*scope)
    hours = Counter(row.started_ms // 3_600_000 % 24 for row in calls(rows))
    with database.read() as connection:
        assert {tuple(cell[:5]): list(cell[5:]) for cell in cells(connection, scope)} == cells_of(rows)
        assert requests_by_hour(connection, scope) == [hours[hour] for hour in range(24)]
        assert latencies(connection, scope) == latencies_of(rows)


@pytest.mark.parametrize("since_day", [0, NOW_S // DAY_S - 20, NOW_S // DAY_S, NOW_S // DAY_S + 1])
def test_spend_is_what_the_rows_of_each_day_cost_judge_calls_left_out(database: Database, since_day: int) -> None:
    expected: Counter[tuple[int, str, str, str]] = Counter()
    for row in calls(a_month()):
        day = row.started_ms // 1000 // DAY_S
        if day >= since_day:
            expected[day, row.workspace, row.key_id, row.agent_type] += row.cost_uusd
    with database.read() as connection:
        found = spend_by_day(connection, since_day=since_day)
        of_coders = spend_by_day(connection, since_day=since_day, of=("agent_type", "coder"))
    assert {tuple(spend[:4]): spend.cost_uusd for spend in found} == expected
    assert len(found) == len(expected)
    assert sorted(of_coders) == sorted(spend for spend in found if spend.agent_type == "coder")


@given(minute=st.integers(0, 3 * 1440), later=st.integers(0, 3 * 1440 * 60))
def test_spans_hold_every_second_once_and_only_whole_sums(minute: int, later: int) -> None:
    since_s = 20_000 * DAY_S + minute * 60
    found = list(spans(since_s))
    for span in found:
        assert span.low_s % span.grain_s == 0
        assert span.high_s is None or span.high_s % span.grain_s == 0
    second = since_s + later
    holders = [s for s in found if s.low_s <= second and (s.high_s is None or second < s.high_s)]
    assert len(holders) == 1
    assert not [s for s in found if s.low_s < since_s]


def test_a_call_sees_one_state_of_the_database_while_rows_are_added_up(tmp_path: Path) -> None:
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)
    keep(database, [entry(number) for number in range(50)])
    scope = Scope(NOW_S // 60 * 60)
    with database.read() as connection:
        before = cells(connection, scope)
        roll_all(database)
        keep(database, [entry(100)])
        assert cells(connection, scope) == before
        assert sum(requests_by_hour(connection, scope)) == 50
    with database.read() as connection:
        assert sum(cell.requests for cell in cells(connection, scope)) == 51
    database.close()
