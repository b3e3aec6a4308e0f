"""What the router keeps: candidates, routings, outcomes, and the figures that follow from them."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from octoroute_py.neural.candidate import Candidate
from octoroute_py.neural.errors import InvalidInput, StorageProblem
from octoroute_py.neural.signals import cosines
from octoroute_py.neural.store import Storage
from octoroute_py.storage.errors import Corrupt

NOW = 1_700_000_000


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with Storage(tmp_path / "kept.db", wall=lambda: NOW + 0.5) as opened:
        yield opened


def candidate(id: str, *embedding: float, **more: object) -> Candidate:
    return Candidate(id=id, embedding=embedding or (1.0, 0.0), **more)  # type: ignore[arg-type]


def route(storage: Storage, id: str, *, light: bool = True, us: int = 10) -> int:
    return storage.record_routing(id, confidence=0.9, use_lightweight=light, uncertainty=0.1, inference_time_us=us)


def get(storage: Storage, id: str) -> Candidate:
    found = storage.get_candidate(id)
    assert found is not None
    return found


def test_a_candidate_comes_back_as_it_was_kept(storage: Storage) -> None:
    metadata = {"lang": "de", "n": 1.5, "deep": {"list": [1, None, True]}, "ü": "\u2028"}
    storage.insert_candidate(
        candidate("a", 0.1, -2.5, 3e38, metadata=metadata, created_at=NOW - 5, access_count=7, success_rate=0.25)
    )
    found = get(storage, "a")
    assert np.array_equal(np.asarray(found.embedding), np.array([0.1, -2.5, 3e38], np.float32))
    assert (found.metadata, found.created_at, found.access_count, found.success_rate) == (metadata, NOW - 5, 7, 0.25)
    assert storage.get_candidate("b") is None


@pytest.mark.parametrize(
    ("given", "kept"), [(None, NOW), (NOW - 3.9, NOW - 4), ((NOW - 9) * 1000, NOW - 9), (1e11, 100_000_000_000)]
)
def test_times_are_kept_in_seconds_even_if_they_came_in_milliseconds(
    storage: Storage, given: float | None, kept: int
) -> None:
    storage.insert_candidate(candidate("a", created_at=given))
    assert get(storage, "a").created_at == kept


def test_a_candidate_that_is_kept_again_is_replaced_and_keeps_its_history(storage: Storage) -> None:
    storage.insert_candidate(candidate("a", access_count=3))
    route(storage, "a")
    storage.insert_candidate(candidate("a", 0.0, 1.0, access_count=9))
    assert get(storage, "a").access_count == 9
    assert storage.get_statistics().total_routes == 1
    assert [match.similarity for match in storage.search([0.0, 1.0], 5)] == [1.0]


def test_the_newest_come_first(storage: Storage) -> None:
    for id, made in (("old", NOW - 100), ("new", NOW), ("also new", NOW), ("mid", NOW - 50)):
        storage.insert_candidate(candidate(id, created_at=made))
    assert [each.id for each in storage.query_candidates(3)] == ["also new", "new", "mid"]
    assert storage.query_candidates(0) == []


def test_search_finds_what_comparing_with_everything_finds_and_sees_what_others_write(
    storage: Storage, tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((60, 8)).astype(np.float32)
    for at, vector in enumerate(vectors[:40]):
        storage.insert_candidate(candidate(f"{at:02}", *map(float, vector)))
    query = rng.standard_normal(8).astype(np.float32)
    storage.search(query, 1)
    with Storage(tmp_path / "kept.db") as other:
        for at, vector in enumerate(vectors[40:], start=40):
            other.insert_candidate(candidate(f"{at:02}", *map(float, vector)))
        other.insert_candidate(candidate("00", *map(float, query)))
    vectors[0] = query
    exact = cosines(query, vectors)
    best = sorted(range(60), key=lambda at: -exact[at])[:7]
    found = storage.search(query, 7)
    assert [match.candidate.id for match in found] == [f"{at:02}" for at in best]
    assert [match.similarity for match in found] == pytest.approx([exact[at] for at in best], abs=1e-9)
    assert found[0].candidate.id == "00"


def test_search_of_a_dimension_that_nothing_has_is_an_error(storage: Storage) -> None:
    assert storage.search([1.0, 2.0, 3.0], 5) == []
    storage.insert_candidate(candidate("a", 1.0, 0.0))
    with pytest.raises(InvalidInput, match="3 dimensions"):
        storage.search([1.0, 2.0, 3.0], 5)


def test_a_routing_counts_as_an_access(storage: Storage, tmp_path: Path) -> None:
    storage.insert_candidate(candidate("a", access_count=4, created_at=1))
    assert [route(storage, "a"), route(storage, "a")] == [1, 2]
    assert get(storage, "a").access_count == 6
    raw = sqlite3.connect(tmp_path / "kept.db")
    assert raw.execute("SELECT last_accessed FROM candidates").fetchone() == (NOW,)
    raw.close()


def test_only_candidates_that_are_unknown_are_kept_with_a_routing(storage: Storage) -> None:
    storage.insert_candidate(candidate("c3", 0.0, 1.0, success_rate=0.5))
    offered = [candidate(f"c{at}", 1.0, 0.0, success_rate=1.0) for at in range(1200)]
    storage.record_routing(
        "c7", confidence=0.5, use_lightweight=False, uncertainty=0.5, inference_time_us=1, new=offered
    )
    assert len(storage.query_candidates(5000)) == 1200
    assert get(storage, "c3").success_rate == 0.5
    assert get(storage, "c7").access_count == 1
    assert len(storage.search([1.0, 0.0], 5000)) == 1200


def test_a_routing_that_cannot_be_noted_keeps_none_of_its_candidates(storage: Storage) -> None:
    with pytest.raises(InvalidInput):
        storage.record_routing(
            "nobody", confidence=0.5, use_lightweight=False, uncertainty=0.5, inference_time_us=1, new=[candidate("a")]
        )
    assert storage.query_candidates(5) == []


def test_a_query_embedding_is_kept_only_when_it_is_given(storage: Storage, tmp_path: Path) -> None:
    storage.insert_candidate(candidate("a"))
    route(storage, "a")
    storage.record_routing(
        "a", [0.5, -1.0], confidence=0.5, use_lightweight=False, uncertainty=1.0, inference_time_us=3
    )
    raw = sqlite3.connect(tmp_path / "kept.db")
    kept = [row[0] for row in raw.execute("SELECT query_embedding FROM routing_history ORDER BY id")]
    raw.close()
    assert kept == [None, np.array([0.5, -1.0], "<f4").tobytes()]


def test_outcomes_move_the_success_rate_as_a_mean_of_all_of_them(storage: Storage) -> None:
    storage.insert_candidate(candidate("a", access_count=3, success_rate=2 / 3))
    routings = [route(storage, "a") for _ in range(2)]
    assert storage.record_outcome(routings[0], success=True) == pytest.approx(3 / 4)
    assert storage.record_outcome(routings[1], success=False) == pytest.approx(3 / 5)
    assert get(storage, "a").success_rate == pytest.approx(3 / 5)


def test_the_first_outcome_of_a_new_candidate_is_its_rate(storage: Storage) -> None:
    storage.insert_candidate(candidate("a"))
    assert storage.record_outcome(route(storage, "a"), True) == 1.0


def test_an_outcome_that_is_told_again_replaces_the_one_before(storage: Storage) -> None:
    storage.insert_candidate(candidate("a", access_count=1, success_rate=1.0))
    routing = route(storage, "a")
    for success, rate in ((False, 1 / 2), (False, 1 / 2), (True, 1.0)):
        assert storage.record_outcome(routing, success) == pytest.approx(rate)
    assert storage.get_statistics().outcomes == 1


def test_statistics_sum_the_history_up(storage: Storage) -> None:
    empty = storage.get_statistics()
    assert (empty.total_routes, empty.avg_inference_time_us, empty.success_rate) == (0, 0.0, None)
    storage.insert_candidate(candidate("a"))
    routings = [route(storage, "a", light=light, us=us) for light, us in ((True, 10), (True, 20), (False, 60))]
    storage.record_outcome(routings[0], success=True)
    storage.record_outcome(routings[2], success=False)
    found = storage.get_statistics()
    assert (found.total_routes, found.lightweight_routes, found.powerful_routes) == (3, 2, 1)
    assert (found.avg_inference_time_us, found.outcomes, found.success_rate) == (30.0, 2, 0.5)


def test_what_is_unknown_is_an_error_and_leaves_nothing_behind(storage: Storage) -> None:
    with pytest.raises(InvalidInput, match="no candidate 'nobody'"):
        route(storage, "nobody")
    with pytest.raises(InvalidInput, match="no routing 9"):
        storage.record_outcome(9, success=True)
    assert storage.get_statistics().total_routes == 0


@pytest.mark.parametrize(
    "wrong",
    [
        candidate("", 1.0),
        candidate("a", float("nan")),
        candidate("a", metadata={"x": object()}),
        candidate("a", success_rate=-0.1),
        candidate("a", access_count=True),
        candidate("a", created_at=float("inf")),
        Candidate(id="a", embedding=()),
        Candidate(id="a", embedding=[[1.0]]),  # type: ignore[list-item]
        Candidate(id="a", embedding="1.0"),  # type: ignore[arg-type]
    ],
)
def test_a_candidate_that_is_not_in_order_is_refused(storage: Storage, wrong: Candidate) -> None:
    with pytest.raises(InvalidInput):
        storage.insert_candidate(wrong)
    assert storage.query_candidates(9) == []


def test_an_id_is_a_value_and_never_a_statement(storage: Storage) -> None:
    odd = "a'); DROP TABLE candidates; --"
    storage.insert_candidate(candidate(odd))
    route(storage, odd)
    assert get(storage, odd).access_count == 1


def test_a_file_that_must_not_be_used_is_refused_with_the_storages_own_words(tmp_path: Path) -> None:
    (tmp_path / "odd?name%20.db").write_bytes(b"hello" * 100)
    with pytest.raises(StorageProblem, match="damaged") as problem:
        Storage(tmp_path / "odd?name%20.db")
    assert isinstance(problem.value.__cause__, Corrupt)


def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    path = tmp_path / "odd?name%20#é.db"
    with Storage(path) as storage:
        storage.insert_candidate(candidate("a"))
    assert path.exists()
