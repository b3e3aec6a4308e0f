"""What came of exposed requests, held against plain Python that counts them one by one."""

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import insert, text

from octoroute_py.core.experiment import Metric
from octoroute_py.storage.db import Database
from octoroute_py.storage.entries import JournalEntry
from octoroute_py.storage.errors import TooLong
from octoroute_py.storage.exposures import Cell, Tally, cells, tallies
from octoroute_py.storage.schema import feedback
from tests.fakes.journal_rows import NOW_S, entry, keep, varied

LABELS = (None, "tone:usual", "tone:deep", "next:canary,tone:deep", "next:canary", "tones:deep")
SINCE_MS = int((NOW_S - 1800) * 1000)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = Database.open("sqlite:///x.db", base_dir=tmp_path)
    yield one
    one.close()


def found(database: Database, experiment_id: str = "tone", *, metric: Metric = Metric.SUCCESS) -> list[Tally]:
    with database.read() as connection:
        return tallies(connection, experiment_id, SINCE_MS, metric)


def blocks(database: Database, experiment_id: str = "tone", *, block: int = 7) -> list[Cell]:
    with database.read() as connection:
        return cells(connection, experiment_id, SINCE_MS, block=block)


def judge(database: Database, number: int, *, rating: int | None = None, success: bool | None = None) -> None:
    row = {"journal_id": number, "at_ms": 1, "by": "k", "rating": rating, "success": success}
    database.write(lambda connection: connection.execute(insert(feedback), row) and None)


def exposed(entries: list[JournalEntry]) -> list[tuple[int, JournalEntry]]:
    """Those of the experiment, with their number."""
    return [
        (number, one)
        for number, one in enumerate(entries, 1)
        if one.arms is not None and "tone:" in one.arms and one.started_ms >= SINCE_MS
    ]


def value_of(one: JournalEntry, metric: Metric, score: float | None) -> float | None:
    """What the metric makes of a request."""
    left, good = one.status == 499, one.error_code is None and one.status != 499
    if metric is Metric.SUCCESS:
        return None if left else float(good)
    if metric is Metric.LATENCY:
        first_us = one.first_event_us if one.stream and one.first_event_us is not None else one.duration_us
        return first_us / 1000 if good else None
    return float(one.cost_uusd) if metric is Metric.COST else score


def counted(entries: list[JournalEntry], scores: dict[int, float], metric: Metric) -> dict[str, list[float]]:
    callers: dict[str, dict[object, list[float]]] = {}
    sums: dict[str, list[float]] = {}
    for number, one in exposed(entries):
        arms = str(one.arms)
        good = one.error_code is None and one.status != 499
        value = value_of(one, metric, scores.get(number))
        totals = sums.setdefault(arms, [0.0] * 8)
        latency = value_of(one, Metric.LATENCY, None) or 0.0
        known = (
            *(1, one.caller is None, one.status == 499, good, latency, one.cost_uusd),
            *(value is not None, (value or 0) ** 2),
        )
        for at, each in enumerate(known):
            totals[at] += each
        if value is not None:
            who: object = one.caller or number
            callers.setdefault(arms, {}).setdefault(who, []).append(value)
    found = {}
    for arms, (requests, per_request, left, good_ones, latency, cost, values, squares) in sums.items():
        of_callers = list(callers.get(arms, {}).values())
        found[arms] = [
            *(requests, per_request, left, good_ones, latency, cost, len(of_callers), values),
            *(sum(map(sum, of_callers)), squares),
            sum(len(each) ** 2 for each in of_callers),
            sum(len(each) * sum(each) for each in of_callers),
            sum(sum(each) ** 2 for each in of_callers),
        ]
    return found


@pytest.fixture
def kept(database: Database) -> tuple[list[JournalEntry], dict[int, float]]:
    """Rows of every kind, and what was said of some."""
    rng = random.Random(5)
    rows = [
        msgspec.structs.replace(
            one,
            arms=rng.choice(LABELS),
            caller=rng.choice((None, "c1", "c2")),
            stream=rng.random() < 0.5,
            first_event_us=None if rng.random() < 0.3 else one.duration_us // 3,
        )
        for one in varied(rng, 800, over_s=3600)
    ]
    keep(database, rows)
    scores = {}
    for number in rng.sample(range(1, 801), 300):
        rating, success = rng.choice((None, 1, 2, 5)), rng.choice((None, True, False))
        judge(database, number, rating=rating, success=success)
        if rating is not None:
            scores[number] = (rating - 1) / 4
        elif success is not None:
            scores[number] = float(success)
    return rows, scores


@pytest.mark.parametrize("metric", list(Metric))
def test_every_exposed_request_is_counted_once(
    database: Database, kept: tuple[list[JournalEntry], dict[int, float]], metric: Metric
) -> None:
    told = {tally.arms: pytest.approx(list(tally[1:]), rel=1e-9) for tally in found(database, metric=metric)}
    assert told == counted(*kept, metric)
    assert all(isinstance(tally.callers, int) for tally in found(database, metric=metric))


def test_blocks_hold_those_whose_clients_stayed_in_the_order_of_their_ends(
    database: Database, kept: tuple[list[JournalEntry], dict[int, float]]
) -> None:
    stayed = [one for _, one in exposed(kept[0]) if one.status != 499]
    expected: dict[tuple[int, str], list[int]] = {}
    for place, one in enumerate(stayed):
        cell = expected.setdefault((place // 7, str(one.arms)), [0, 0])
        cell[0] += 1
        cell[1] += one.error_code is None
    assert {(cell.block, cell.arms): [cell.requests, cell.good] for cell in blocks(database)} == expected


def test_a_full_block_stays_what_it_was(database: Database) -> None:
    keep(database, [entry(n, arms=LABELS[1 + n % 2]) for n in range(30)])
    before = blocks(database)
    keep(database, [entry(n, arms="tone:deep", ago_s=900) for n in range(30, 40)])  # began before, ended after
    assert [cell for cell in blocks(database) if cell.block < 4] == [cell for cell in before if cell.block < 4]


@pytest.mark.parametrize(
    ("id_", "others"),
    [("50_off", "500off:a"), ("a%b", "axb:a"), ("a/b", "a//b:a"), ("x", "y:a"), ("' OR 1=1 --", "x:a"), ("%", "x:a")],
)
def test_an_id_stands_for_itself_alone(database: Database, id_: str, others: str) -> None:
    keep(database, [entry(1, arms=f"{id_}:a"), entry(2, arms=others)])
    assert [tally.arms for tally in found(database, id_)] == [f"{id_}:a"]
    assert [cell.arms for cell in blocks(database, id_)] == [f"{id_}:a"]


def test_what_began_before_the_start_does_not_count(database: Database) -> None:
    keep(database, [entry(1, arms="tone:usual", ago_s=1801), entry(2, arms="tone:usual", ago_s=1800)])
    assert [tally.requests for tally in found(database)] == [1]
    assert [cell.requests for cell in blocks(database)] == [1]


def test_nothing_is_found_of_nothing(database: Database) -> None:
    keep(database, [entry(1)])
    assert (found(database), blocks(database)) == ([], [])


@pytest.mark.parametrize("metric", list(Metric))
def test_the_index_alone_answers_for_the_journal(database: Database, metric: Metric) -> None:
    statements: list[str] = []
    with database.read() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.set_trace_callback(statements.append)
        tallies(connection, "tone", SINCE_MS, metric)
        cells(connection, "tone", SINCE_MS, block=32)
        driver.set_trace_callback(None)
        plans = []
        for statement in (each for each in statements if "journal" in each):
            explained = connection.execute(text("EXPLAIN QUERY PLAN " + statement.replace(":", "\\:")))
            plans.append("\n".join(row[3] for row in explained))
    assert len(plans) == 2
    assert all("COVERING INDEX journal_arms (started_ms>?)" in plan for plan in plans), plans


def test_a_look_that_takes_too_long_is_given_up_and_the_next_one_is_not(database: Database) -> None:
    keep(database, [entry(n, arms="tone:usual") for n in range(5000)])
    with database.read() as connection:
        with pytest.raises(TooLong, match="took more than 0 s"):
            tallies(connection, "tone", SINCE_MS, Metric.COST, within_s=0)
        with pytest.raises(TooLong):
            cells(connection, "tone", SINCE_MS, block=32, within_s=0)
        assert [tally.requests for tally in tallies(connection, "tone", SINCE_MS, Metric.COST)] == [5000]
