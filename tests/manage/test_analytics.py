"""Reports against the rows they are about, counted one by one; the totals of all pages agree."""

import asyncio
import contextlib
import math
import random
import statistics
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from octoroute_py.core.ending import ended
from octoroute_py.core.errors import Refused
from octoroute_py.manage import analytics as reports_of_the_ledger
from octoroute_py.manage.analytics import AT_ONCE, Analytics, Model
from octoroute_py.manage.figures import MOST_NAMES
from octoroute_py.manage.reports import Figures, TimeRange
from octoroute_py.manage.store import TRY_AGAIN_S, Store
from octoroute_py.storage import limited
from octoroute_py.storage.analytics import Scope, cells
from octoroute_py.storage.db import Database
from octoroute_py.storage.entries import JournalEntry
from octoroute_py.storage.history import Filter
from tests.fakes.journal_rows import DAY_S, NOW_S, calls, entry, keep, roll_all, varied

MODELS = (
    Model("fast/small#1", "small", "fast"),
    Model("fast/small#2", "small", "fast"),
    Model("balanced/middle#1", "middle", "balanced"),
    Model("deep/large#1", "large", "deep"),
)
LENGTHS = {TimeRange.HOUR: 3600, TimeRange.DAY: DAY_S, TimeRange.WEEK: 7 * DAY_S, TimeRange.MONTH: 30 * DAY_S}


def rows() -> list[JournalEntry]:
    rng = random.Random(21)
    found = varied(rng, 500, over_s=33 * DAY_S) + varied(rng, 400, over_s=4000, first=500)
    rng.shuffle(found)
    return found


ROWS = rows()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    one = Database.open("sqlite:///x.db", base_dir=tmp_path_factory.mktemp("reports"))
    keep(one, ROWS[:700])
    roll_all(one)
    keep(one, ROWS[700:])
    yield one
    one.close()


@pytest.fixture
def analytics(database: Database) -> Analytics:
    return analytics_of(database)


def analytics_of(database: Database) -> Analytics:
    return Analytics(
        Store(database),
        wall=lambda: NOW_S,
        models=lambda: MODELS,
        baseline=lambda: "deep/large#1",
        budgets=lambda workspace: {"daily": {"spentUsd": 1.0}, "of": workspace},
    )


def since(time_range: TimeRange, *, workspaces: Sequence[str] | None = None) -> list[JournalEntry]:
    """The requests of a range."""
    grain_s = 60 if LENGTHS[time_range] <= DAY_S else 3600
    start_s = (NOW_S - LENGTHS[time_range]) // grain_s * grain_s
    return [
        row
        for row in calls(ROWS)
        if row.started_ms >= start_s * 1000 and (workspaces is None or row.workspace in workspaces)
    ]


def check(told: Figures, meant: list[JournalEntry]) -> None:
    """Every figure, from the rows."""
    stayed = [row for row in meant if row.status != 499]
    good = [row for row in stayed if row.error_code is None]
    durations = sorted(row.duration_us for row in stayed if row.endpoint)
    assert told.total_requests == len(meant)
    assert told.failed_requests == len(stayed) - len(good)
    assert told.cancelled_requests == len(meant) - len(stayed)
    assert told.total_tokens == sum(row.prompt_tokens + row.completion_tokens for row in meant)
    assert told.total_tokens == told.prompt_tokens + told.completion_tokens
    assert told.cached_tokens == sum(row.cached_tokens for row in meant)
    assert told.total_cost == pytest.approx(sum(row.cost_uusd for row in meant) / 1e6, abs=1e-9)
    assert told.success_ratio == (pytest.approx(len(good) / len(stayed), abs=1e-6) if stayed else None)
    assert told.success_rate == (pytest.approx(100 * len(good) / len(stayed), abs=1e-4) if stayed else None)
    if not durations:
        assert {told.average_latency, told.p50, told.p95, told.p99} == {None}
        return
    assert told.average_latency == pytest.approx(statistics.fmean(durations) / 1000, abs=0.001)
    for percent, value in ((50, told.p50), (95, told.p95), (99, told.p99)):
        true_us = durations[math.ceil(percent * len(durations) / 100) - 1]
        assert value == pytest.approx(true_us / 1000, rel=0.01, abs=0.001)


@pytest.mark.parametrize("time_range", TimeRange)
@pytest.mark.parametrize("workspaces", [None, ("red",), ("red", "blue")])
async def test_the_models_report_is_what_the_rows_say(
    analytics: Analytics, time_range: TimeRange, workspaces: Sequence[str] | None
) -> None:
    meant = since(time_range, workspaces=workspaces)
    report = await analytics.models(time_range, workspaces=workspaces)
    check(report, meant)
    assert report.requests_by_agent == Counter(row.agent_type or "unspecified" for row in meant)
    statuses = Counter(ended(row.status, failed=row.error_code is not None) for row in meant)
    assert {word: count for word, count in report.requests_by_status.items() if count} == statuses
    hours = Counter(f"{row.started_ms // 3_600_000 % 24:02}:00" for row in meant)
    assert {hour: count for hour, count in report.hourly_distribution.items() if count} == hours
    assert list(report.hourly_distribution) == [f"{hour:02}:00" for hour in range(24)]
    assert {row.model_id for row in report.models} == {row.endpoint for row in meant if row.endpoint}
    for row in report.models:
        check(row, [one for one in meant if one.endpoint == row.model_id])


@pytest.mark.parametrize(
    ("model", "ids"),
    [
        ("small", {"fast/small#1", "fast/small#2"}),
        ("deep/large#1", {"deep/large#1"}),
        ("unknown", set()),
    ],
)
async def test_a_model_is_named_by_its_id_or_by_the_name_its_replicas_share(
    analytics: Analytics, model: str, ids: set[str]
) -> None:
    report = await analytics.models(TimeRange.MONTH, model=model)
    check(report, [row for row in since(TimeRange.MONTH) if row.endpoint in ids])
    assert report.model_id == model
    assert {row.model_id for row in report.models} == ids


@pytest.mark.parametrize("time_range", TimeRange)
async def test_the_workspace_report_is_what_the_rows_say(analytics: Analytics, time_range: TimeRange) -> None:
    meant = since(time_range, workspaces=("blue",))
    report = await analytics.workspace(time_range, "blue")
    check(report, meant)
    assert report.unique_agents == len({row.agent_type for row in meant if row.agent_type})
    assert report.model_usage == Counter(row.endpoint for row in meant if row.endpoint)
    assert report.agent_usage == Counter(row.agent_type or "unspecified" for row in meant)
    assert report.budgets == {"daily": {"spentUsd": 1.0}, "of": "blue"}


@pytest.mark.parametrize("workspaces", [None, ("red",)])
async def test_savings_are_the_baseline_less_everything_that_was_paid(
    analytics: Analytics, workspaces: Sequence[str] | None
) -> None:
    meant = since(TimeRange.MONTH, workspaces=workspaces)
    start_ms = TimeRange.MONTH.since_s(NOW_S) * 1000
    judged = [row for row in ROWS if row.surface == "judge" and row.started_ms >= start_ms] if not workspaces else []
    report = await analytics.savings(TimeRange.MONTH, workspaces=workspaces)
    cost, baseline = sum(row.cost_uusd for row in meant), sum(row.baseline_uusd for row in meant)
    judge = sum(row.cost_uusd for row in judged)
    assert (report.cost, report.baseline) == (cost / 1e6, baseline / 1e6)
    assert report.judge_cost == (None if workspaces else judge / 1e6)
    assert report.saved == pytest.approx((baseline - cost - judge) / 1e6)
    assert report.saved_share == pytest.approx((baseline - cost - judge) / baseline, abs=1e-6)
    assert report.baseline_endpoint == "deep/large#1"
    assert sum(tier.requests for tier in report.tiers.values()) == report.requests == len(meant)
    assert sum(tier.cost for tier in report.tiers.values()) == pytest.approx(report.cost)
    assert "no baseline" in report.note


async def test_the_totals_of_all_pages_agree(analytics: Analytics) -> None:
    whole = await analytics.models(TimeRange.MONTH)
    of_workspaces = [await analytics.workspace(TimeRange.MONTH, name) for name in ("default", "red", "blue")]
    savings = await analytics.savings(TimeRange.MONTH)
    start_ms = TimeRange.MONTH.since_s(NOW_S) * 1000
    records = [row for row in (await analytics.requests(limit=1000)).records if row.started_ms >= start_ms]
    assert (
        whole.total_requests == sum(each.total_requests for each in of_workspaces) == savings.requests == len(records)
    )
    assert whole.total_cost == pytest.approx(sum(each.total_cost for each in of_workspaces), abs=1e-9)
    assert whole.total_cost == savings.cost == sum(row.cost_uusd for row in records) / 1e6
    assert whole.judge is not None
    assert savings.total_cost == pytest.approx(whole.total_cost + whole.judge.total_cost, abs=1e-9)


async def test_a_report_is_the_same_before_and_after_rows_are_added_up(tmp_path: Path) -> None:
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)
    keep(database, ROWS)
    analytics = analytics_of(database)
    before = [await analytics.models(time_range) for time_range in TimeRange]
    roll_all(database)
    after = [await analytics.models(time_range) for time_range in TimeRange]
    assert before == after
    database.close()


async def test_an_empty_ledger_has_reports_too(tmp_path: Path) -> None:
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)
    analytics = analytics_of(database)
    assert (await analytics.models(TimeRange.DAY)).models == []
    savings = await analytics.savings(TimeRange.DAY)
    assert (savings.saved, savings.saved_share, savings.baseline) == (None, None, 0.0)
    last_hour = await analytics.last_hour()
    assert last_hour is not None
    assert last_hour.total_requests == 0
    assert await analytics.requests(limit=10) == ([], None)
    database.close()


async def test_a_ledger_that_cannot_be_read_is_503_with_a_time_to_try_again(tmp_path: Path) -> None:
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)
    database.write(lambda connection: connection.exec_driver_sql("DROP TABLE rollup_totals") and None)
    with pytest.raises(Refused) as caught:
        await analytics_of(database).models(TimeRange.DAY)
    assert (caught.value.code, caught.value.status, caught.value.retry_after_s) == (
        "storage_unavailable",
        503,
        TRY_AGAIN_S,
    )
    database.close()


@pytest.mark.parametrize("time_range", TimeRange)
def test_a_range_begins_at_a_full_minute_or_hour_and_is_never_shorter_than_it_says(time_range: TimeRange) -> None:
    grain_s = 60 if LENGTHS[time_range] <= DAY_S else 3600
    for now_s in (NOW_S, NOW_S + 0.5, NOW_S // 3600 * 3600, NOW_S // 60 * 60 + 59.999):
        since_s = time_range.since_s(now_s)
        assert since_s % grain_s == 0
        assert LENGTHS[time_range] <= now_s - since_s < LENGTHS[time_range] + grain_s


async def test_agent_types_that_clients_make_up_are_added_up_in_the_database(tmp_path: Path) -> None:
    made_up = [entry(number, agent_type=f"agent {number % 3000}", ago_s=number / 10) for number in range(3300)]
    nameless = [
        entry(number, agent_type=name) for number, name in enumerate(["", "", "unspecified", "unspecified"], start=5000)
    ]
    one = Database.open("sqlite:///x.db", base_dir=tmp_path)
    try:
        keep(one, made_up[:2000])
        roll_all(one)
        keep(one, made_up[2000:] + nameless)
        with one.read() as connection:
            assert len(cells(connection, Scope(NOW_S - 3600), agents=False)) == 1
        reports = analytics_of(one)
        told = await reports.models(TimeRange.HOUR)
        assert told.total_requests == 3304
        assert told.requests_by_agent["unspecified"] == 4
        assert Counter(told.requests_by_agent.values()) == {4: 1, 2: 300, 1: MOST_NAMES - 302}
        assert (await reports.workspace(TimeRange.HOUR, "default")).unique_agents == 3001
    finally:
        one.close()


async def test_reports_leave_threads_to_those_whom_requests_wait_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, most, read = 0, 0, database.read
    pair = threading.Barrier(AT_ONCE)

    @contextlib.contextmanager
    def counted() -> Iterator[object]:
        nonlocal reading, most
        with read() as connection:
            reading += 1
            most = max(most, reading)
            pair.wait(5)
            yield connection
            reading -= 1

    monkeypatch.setattr(database, "read", counted)
    reports = analytics_of(database)
    await asyncio.gather(*(reports.savings(TimeRange.HOUR) for _ in range(8)))
    assert most == AT_ONCE


async def test_a_search_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited, "_STEPS", 1)
    monkeypatch.setattr(reports_of_the_ledger, "LONGEST_LOOK_S", 0.0)
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)
    keep(database, [entry(number) for number in range(20)])
    analytics = Analytics(Store(database), wall=lambda: NOW_S, models=list, baseline=lambda: None)
    with pytest.raises(Refused) as refused:
        await analytics.requests(limit=5, only=Filter(rule="nobody"))
    database.close()
    assert (refused.value.status, refused.value.code) == (503, "search_too_long")
