"""What came of exposed requests, held against plain Python that counts them one by one."""

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import insert, text

from octoroute_py.storage.db import Database
from octoroute_py.storage.entries import JournalEntry
from octoroute_py.storage.errors import TooLong
from octoroute_py.storage.exposures import Cell, exposures
from octoroute_py.storage.schema import feedback
from tests.fakes.journal_rows import NOW_S, entry, keep, varied

LABELS = (None, "tone:usual", "tone:deep", "tone:usual~", "next:canary,tone:deep", "next:canary", "tones:deep")
SINCE_MS = int((NOW_S - 1800) * 1000)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = Database.open("sqlite:///x.db", base_dir=tmp_path)
    yield one
    one.close()


def found(database: Database, experiment_id: str = "tone", *, block: int = 7, since_ms: int = SINCE_MS) -> list[Cell]:
    with database.read() as connection:
        return exposures(connection, experiment_id, since_ms, block=block)


def judge(database: Database, number: int, *, rating: int | None = None, success: bool | None = None) -> None:
    row = {"journal_id": number, "at_ms": 1, "by": "k", "rating": rating, "success": success}
    database.write(lambda connection: connection.execute(insert(feedback), row) and None)


def counted(entries: list[JournalEntry], scores: dict[int, float], *, block: int) -> dict[tuple[int, str], list[float]]:
    cells: dict[tuple[int, str], list[float]] = {}
    place = 0
    for number, one in enumerate(entries, 1):
        if one.arms is None or "tone:" not in one.arms or one.started_ms < SINCE_MS:
            continue
        cell = cells.setdefault((place // block, one.arms), [0.0] * 10)
        place += 1
        good = one.error_code is None and one.status != 499
        first_us = one.first_event_us if one.stream and one.first_event_us is not None else one.duration_us
        latency = first_us / 1000 if good else 0.0
        score = scores.get(number)
        for at, value in enumerate(
            (
                1,
                one.status == 499,
                good,
                latency,
                latency**2,
                one.cost_uusd,
                one.cost_uusd**2,
                score is not None,
                score or 0,
                (score or 0) ** 2,
            )
        ):
            cell[at] += value
    return cells


def test_every_exposed_request_is_counted_once_in_the_block_of_its_end(database: Database) -> None:
    rng = random.Random(5)
    rows = [
        msgspec.structs.replace(
            one,
            arms=rng.choice(LABELS),
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
    cells = found(database)
    expected = counted(rows, scores, block=7)
    assert [cell.block for cell in cells] == sorted(cell.block for cell in cells)
    assert {(cell.block, cell.arms): pytest.approx(list(cell[2:]), rel=1e-9) for cell in cells} == expected


def test_a_full_block_stays_what_it_was(database: Database) -> None:
    keep(database, [entry(n, arms=LABELS[1 + n % 2]) for n in range(30)])
    before = found(database)
    keep(database, [entry(n, arms="tone:deep", ago_s=900) for n in range(30, 40)])  # began before, ended after
    assert [cell for cell in found(database) if cell.block < 4] == [cell for cell in before if cell.block < 4]


@pytest.mark.parametrize(
    ("id_", "others"),
    [("50_off", "500off:a"), ("a%b", "axb:a"), ("a/b", "a//b:a"), ("x", "y:a"), ("' OR 1=1 --", "x:a"), ("%", "x:a")],
)
def test_an_id_stands_for_itself_alone(database: Database, id_: str, others: str) -> None:
    keep(database, [entry(1, arms=f"{id_}:a"), entry(2, arms=others)])
    assert [cell.arms for cell in found(database, id_)] == [f"{id_}:a"]


def test_what_began_before_the_start_does_not_count(database: Database) -> None:
    keep(database, [entry(1, arms="tone:usual", ago_s=1801), entry(2, arms="tone:usual", ago_s=1800)])
    assert [cell.requests for cell in found(database)] == [1]


def test_nothing_is_found_of_nothing(database: Database) -> None:
    keep(database, [entry(1)])
    assert found(database) == []


def test_the_index_alone_answers_for_the_journal(database: Database) -> None:
    with database.read() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        statements: list[str] = []
        driver.set_trace_callback(statements.append)
        exposures(connection, "tone", SINCE_MS, block=32)
        driver.set_trace_callback(None)
        (statement,) = (each for each in statements if "journal" in each)
        explained = connection.execute(text("EXPLAIN QUERY PLAN " + statement.replace(":", "\\:")))
        plans = [row[3] for row in explained]
    assert any("COVERING INDEX journal_arms (started_ms>?)" in plan for plan in plans), plans


def test_a_look_that_takes_too_long_is_given_up_and_the_next_one_is_not(database: Database) -> None:
    keep(database, [entry(n, arms="tone:usual") for n in range(5000)])
    with database.read() as connection:
        with pytest.raises(TooLong, match="took more than 0 s"):
            exposures(connection, "tone", SINCE_MS, block=32, within_s=0)
        assert sum(cell.requests for cell in exposures(connection, "tone", SINCE_MS, block=32)) == 5000
