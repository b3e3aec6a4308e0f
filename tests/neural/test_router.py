"""The Tiny Dancer router: its decisions follow from the formulas, the network and the thresholds, and nothing else."""

import math
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.core.words import BreakerState
from octoroute_py.neural import (
    Candidate,
    CircuitOpen,
    InferenceFailed,
    InvalidConfig,
    InvalidInput,
    ModelNotFound,
    ModelRefused,
    Router,
    RouterConfig,
    RoutingRequest,
    RoutingResponse,
    StorageProblem,
)
from octoroute_py.neural.candidate_file import load_net, save_net, shipped
from octoroute_py.neural.certainty import uncertainties
from tests.fakes.candidates import overflowing_net, random_net

NOW = 1_700_000_000.0
QUERY = (1.0, 0.0, 0.0)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make(config: RouterConfig | None = None, *, clock: Callable[[], float] | None = None) -> Router:
    return Router(config, compiled=False, monotonic=clock or Clock(), wall=lambda: NOW)


@pytest.fixture(scope="module")
def router() -> Router:
    return make()


def candidates(seed: int, count: int, *, dimensions: int = 3) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    return [
        Candidate(
            id=f"c{at}",
            embedding=list(map(float, rng.standard_normal(dimensions))),
            metadata={"k": int(rng.integers(2)), "l": int(rng.integers(2))},
            created_at=NOW - float(rng.exponential(2000.0)),
            access_count=int(rng.integers(0, 3000)),
            success_rate=float(rng.random()),
        )
        for at in range(count)
    ]


def ask(router: Router, offered: Sequence[Candidate], **more: Any) -> RoutingResponse:
    return router.route(RoutingRequest(query_embedding=QUERY, candidates=offered, **more))


def changed(offered: Sequence[Candidate], at: int, **values: object) -> list[Candidate]:
    return [*offered[:at], msgspec.structs.replace(offered[at], **values), *offered[at + 1 :]]


def by_hand(each: Candidate, metadata: dict[str, int]) -> list[float]:
    """The five weighted signals, with the library of mathematics."""
    vector = [float(x) for x in each.embedding]
    similarity = vector[0] / math.sqrt(sum(x * x for x in vector))
    age_s = NOW - (each.created_at or NOW)
    own = each.metadata or {}
    return [
        0.40 * similarity,
        0.20 * math.exp(-0.001 * age_s),
        0.15 * min(1.0, math.log1p(each.access_count) / math.log1p(10_000)),
        0.15 * each.success_rate,
        0.10 * sum(own.get(key) == value for key, value in metadata.items()) / len(metadata),
    ]


def test_confidences_are_the_networks_over_the_signals_best_match_first(router: Router) -> None:
    offered = candidates(1, 20)
    metadata = {"k": 1, "l": 0}
    rows = sorted(((by_hand(each, metadata), each.id) for each in offered), key=lambda row: -row[0][0])
    net = load_net(shipped()).net
    expected = net.runner().confidences(np.array([row for row, _ in rows]))
    found = {each.candidate_id: each for each in ask(router, offered, metadata=metadata).decisions}
    unsure = uncertainties(expected, net.held_out, level=0.15)
    for (_, id), confidence, uncertainty in zip(rows, expected, unsure, strict=True):
        assert found[id].confidence == pytest.approx(confidence, abs=1e-6)
        assert found[id].uncertainty == pytest.approx(uncertainty, abs=1e-3)


def test_the_compiled_router_decides_the_same(router: Router) -> None:
    compiled = Router(monotonic=Clock(), wall=lambda: NOW)
    for seed in range(5):
        offered = candidates(seed, 5 + 30 * seed)
        one, other = ask(router, offered), ask(compiled, offered)
        assert [each.candidate_id for each in one.decisions] == [each.candidate_id for each in other.decisions]
        assert [each.confidence for each in one.decisions] == pytest.approx(
            [each.confidence for each in other.decisions], abs=1e-6
        )


@given(seed=st.integers(0, 1000), count=st.integers(1, 90), shuffle=st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_request_does_not_matter_and_confidence_never_rises(
    router: Router, seed: int, count: int, shuffle: Any
) -> None:
    offered = candidates(seed, count)
    first = ask(router, offered)
    mixed = list(offered)
    shuffle.shuffle(mixed)
    assert ask(router, mixed).decisions == first.decisions
    found = [each.confidence for each in first.decisions]
    assert found == sorted(found, reverse=True)
    assert len(found) == count == first.candidates_processed


@given(
    seed=st.integers(0, 1000), threshold=st.floats(0.0, 1.0), most=st.sampled_from([0.0, 0.02, 0.05, 0.15, 0.5, 1.0])
)
@settings(max_examples=30, deadline=None)
def test_light_needs_both_thresholds(seed: int, threshold: float, most: float) -> None:
    strict = make(RouterConfig(confidence_threshold=threshold, max_uncertainty=most))
    for each in ask(strict, candidates(seed, 30)).decisions:
        assert 0.0 <= each.confidence <= 1.0
        assert 0.0 <= each.uncertainty <= 1.0
        assert each.use_lightweight == (each.confidence >= threshold and each.uncertainty <= most)


def test_good_evidence_gets_the_light_model_and_bad_evidence_does_not(router: Router) -> None:
    good = Candidate(id="good", embedding=QUERY, access_count=5000, success_rate=0.99, created_at=NOW)
    bad = Candidate(id="bad", embedding=QUERY, access_count=5000, success_rate=0.01, created_at=NOW)
    (decision,) = ask(router, [good]).decisions
    assert decision.use_lightweight
    (decision,) = ask(router, [bad]).decisions
    assert not decision.use_lightweight
    assert decision.confidence < 0.5


def test_what_close_candidates_tell_changes_what_is_thought_of_the_others(router: Router) -> None:
    asked = Candidate(id="asked", embedding=(0.7, 0.7, 0.0), access_count=20, success_rate=0.6, created_at=NOW)

    def confidence(rate: float) -> float:
        close = [
            Candidate(id=f"n{at}", embedding=(1.0, 0.01 * at, 0.0), access_count=5000, success_rate=rate)
            for at in range(6)
        ]
        return next(each.confidence for each in ask(router, [*close, asked]).decisions if each.candidate_id == "asked")

    assert confidence(0.95) > confidence(0.05) + 0.1


def test_top_k_keeps_the_best_and_processes_all(router: Router) -> None:
    offered = candidates(3, 12)
    all_of_them = ask(router, offered)
    best = ask(router, offered, top_k=3)
    assert best.decisions == all_of_them.decisions[:3]
    assert best.candidates_processed == 12
    assert ask(router, offered, top_k=99).decisions == all_of_them.decisions


def test_times_in_milliseconds_mean_the_same_as_in_seconds_and_none_means_now(router: Router) -> None:
    offered = candidates(4, 3)
    in_ms = [msgspec.structs.replace(each, created_at=each.created_at * 1000) for each in offered if each.created_at]
    assert [each.confidence for each in ask(router, in_ms).decisions] == pytest.approx(
        [each.confidence for each in ask(router, offered).decisions], abs=1e-9
    )
    now, none, later = (ask(router, changed(offered, 0, created_at=made)).decisions for made in (NOW, None, NOW + 1000))
    assert now == none == later


def test_time_is_told_in_microseconds_and_the_whole_call_includes_the_signals() -> None:
    clock = Clock()

    def ticking() -> float:
        clock.now += 0.001
        return clock.now

    found = ask(make(clock=ticking), candidates(5, 3))
    assert 0 < found.feature_time_us < found.inference_time_us
    assert found.inference_time_us % 1000 == 0


def test_any_kind_of_numbers_will_do(router: Router) -> None:
    first = ask(router, [Candidate(id="a", embedding=[1, 2, 3])]).decisions
    for kind in (np.float64, np.float16, np.int8):
        assert ask(router, [Candidate(id="a", embedding=np.array([1, 2, 3], kind))]).decisions == first


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "other dimensions": ({"embedding": (1.0, 2.0)}, "candidates[1].embedding"),
    "NaN": ({"embedding": (1.0, float("nan"), 0.0)}, "candidates[1].embedding"),
    "infinite": ({"embedding": (1.0, float("inf"), 0.0)}, "candidates[1].embedding"),
    "beyond float32": ({"embedding": (1.0, 1e39, 0.0)}, "candidates[1].embedding"),
    "text": ({"embedding": "abc"}, "candidates[1].embedding"),
    "texts": ({"embedding": ["1", "2", "3"]}, "candidates[1].embedding"),
    "ragged": ({"embedding": [[1.0], [1.0, 2.0]]}, "candidates[1].embedding"),
    "empty": ({"embedding": ()}, "candidates[1].embedding"),
    "no id": ({"id": ""}, "candidates[1].id"),
    "an id that is no Unicode": ({"id": "\ud800"}, "candidates[1].id"),
    "an id with NUL": ({"id": "a\x00"}, "candidates[1].id"),
    "an id that is no text": ({"id": 7}, "candidates[1].id"),
    "an id twice": ({"id": "c0"}, "candidates[1].id"),
    "a rate above 1": ({"success_rate": 1.01}, "candidates[1].successRate"),
    "a rate that is none": ({"success_rate": float("nan")}, "candidates[1].successRate"),
    "a negative count": ({"access_count": -1}, "candidates[1].accessCount"),
    "a count beyond counting": ({"access_count": 2**60}, "candidates[1].accessCount"),
    "half a count": ({"access_count": 1.5}, "candidates[1].accessCount"),
    "a time that is none": ({"created_at": float("nan")}, "candidates[1].createdAt"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_candidates_are_named_and_never_count_against_the_network(router: Router, name: str) -> None:
    values, field = WRONG[name]
    strict = make(RouterConfig(circuit_breaker_threshold=1))
    with pytest.raises(InvalidInput) as wrong:
        ask(strict, changed(candidates(6, 3), 1, **values))
    assert wrong.value.field == field
    assert strict.circuit_breaker_status() is True


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (RoutingRequest(query_embedding=QUERY), "candidates"),
        (RoutingRequest(query_embedding=(), candidates=candidates(1, 1)), "queryEmbedding"),
        (RoutingRequest(query_embedding=(float("nan"),) * 3, candidates=candidates(1, 1)), "queryEmbedding"),
        (RoutingRequest(query_embedding=QUERY, candidates=candidates(1, 1), top_k=0), "topK"),
        (RoutingRequest(query_embedding=QUERY, candidates=candidates(1, 1) * 10_001), "candidates"),
    ],
)
def test_wrong_requests_are_named(router: Router, request_: RoutingRequest, field: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        router.route(request_)
    assert wrong.value.field == field


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence_threshold": 1.01},
        {"confidence_threshold": -0.1},
        {"confidence_threshold": float("nan")},
        {"confidence_threshold": "high"},
        {"max_uncertainty": 2},
        {"max_uncertainty": True},
        {"circuit_breaker_threshold": 0},
        {"circuit_breaker_threshold": 2.5},
    ],
)
def test_a_configuration_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig, match=next(iter(wrong))):
        RouterConfig(**wrong)


# the model


def test_the_defaults_are_those_of_the_documents() -> None:
    config = RouterConfig()
    assert (config.confidence_threshold, config.max_uncertainty) == (0.85, 0.15)
    assert (config.enable_circuit_breaker, config.circuit_breaker_threshold) == (True, 5)


def test_a_missing_model_is_an_error_and_not_a_random_network(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        make(RouterConfig(model_path=tmp_path / "nothing"))


def test_reloading_takes_the_new_file_whole_or_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_net(path, random_net(1), {})
    router = make(RouterConfig(model_path=path))
    offered = candidates(7, 5)
    first, version = ask(router, offered).decisions, router.model_version
    path.write_bytes(b"damaged")
    with pytest.raises(ModelRefused):
        router.reload_model()
    assert (ask(router, offered).decisions, router.model_version) == (first, version)
    save_net(path, random_net(2), {})
    router.reload_model()
    assert router.model_version != version
    assert ask(router, offered).decisions != first


def test_quantisation_is_real_where_the_file_is_not_small_yet(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_net(path, random_net(1), {})
    offered = candidates(8, 5)
    full, small = (
        ask(make(RouterConfig(model_path=str(path), enable_quantization=asked)), offered).decisions
        for asked in (False, True)
    )
    apart = [abs(one.confidence - other.confidence) for one, other in zip(full, small, strict=True)]
    assert 0.0 < max(apart) < 0.05


# the breaker


@pytest.fixture
def failing(tmp_path: Path) -> tuple[Router, Clock]:
    """A router whose network fails for the fresh opposite of the query; it opens at two failures."""
    path = tmp_path / "model.safetensors"
    save_net(path, overflowing_net(), {})
    clock = Clock()
    config = RouterConfig(model_path=path, enable_quantization=False, circuit_breaker_threshold=2)
    return make(config, clock=clock), clock


OPPOSITE = [Candidate(id="a", embedding=(-1.0, 0.0, 0.0))]
SAME = [Candidate(id="a", embedding=(1.0, 0.0, 0.0))]


@pytest.mark.parametrize("compiled", [False, True])
def test_what_is_no_probability_is_never_passed_on(tmp_path: Path, compiled: bool) -> None:
    path = tmp_path / "model.safetensors"
    save_net(path, overflowing_net(), {})
    router = Router(RouterConfig(model_path=path, enable_quantization=False), compiled=compiled)
    assert len(ask(router, SAME).decisions) == 1
    with pytest.raises(InferenceFailed):
        ask(router, OPPOSITE)


def test_the_circuit_opens_after_failures_in_a_row_and_closes_after_three_trials(
    failing: tuple[Router, Clock],
) -> None:
    router, clock = failing
    for _ in range(2):
        assert router.circuit_breaker_status() is True
        with pytest.raises(InferenceFailed):
            ask(router, OPPOSITE)
    assert router.circuit_breaker_status() is False
    with pytest.raises(CircuitOpen) as opened:
        ask(router, SAME)
    assert opened.value.retry_in_s == 60.0
    clock.now += 60.0
    for _ in range(3):
        assert (router.circuit_state, router.circuit_breaker_status()) == (BreakerState.HALF_OPEN, False)
        ask(router, SAME)
    assert router.circuit_breaker_status() is True


def test_without_a_breaker_there_is_no_status_and_every_failure_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_net(path, overflowing_net(), {})
    router = make(RouterConfig(model_path=path, enable_quantization=False, enable_circuit_breaker=False))
    for _ in range(20):
        with pytest.raises(InferenceFailed):
            ask(router, OPPOSITE)
    assert router.circuit_breaker_status() is None


# with a database


def test_with_a_database_routings_are_noted_and_what_was_sent_is_found_again(tmp_path: Path) -> None:
    router = make(RouterConfig(database_path=tmp_path / "kept.db"))
    assert router.storage is not None
    offered = candidates(9, 4)
    first = ask(router, offered)
    assert first.routing_id == 1
    leading = first.decisions[0].candidate_id
    kept = router.storage.get_candidate(leading)
    assert kept is not None
    assert kept.access_count == next(each.access_count for each in offered if each.id == leading) + 1
    again = router.route(RoutingRequest(query_embedding=QUERY))
    assert (again.candidates_processed, again.routing_id) == (4, 2)
    assert router.storage.get_statistics().total_routes == 2
    router.close()


def test_outcomes_change_what_is_decided_next(tmp_path: Path) -> None:
    router = make(RouterConfig(database_path=tmp_path / "kept.db"))
    assert router.storage is not None
    router.storage.insert_candidate(Candidate(id="a", embedding=QUERY, access_count=20, success_rate=1.0))
    asked = RoutingRequest(query_embedding=QUERY)
    first = router.route(asked).decisions[0]
    for _ in range(40):
        routing_id = router.route(asked).routing_id
        assert routing_id is not None
        router.storage.record_outcome(routing_id, success=False)
    last = router.route(asked).decisions[0]
    assert first.use_lightweight
    assert not last.use_lightweight
    assert last.confidence < first.confidence - 0.2
    router.close()


def test_stored_figures_are_not_overwritten_by_what_a_request_claims(tmp_path: Path) -> None:
    router = make(RouterConfig(database_path=tmp_path / "kept.db"))
    assert router.storage is not None
    router.storage.insert_candidate(Candidate(id="a", embedding=QUERY, access_count=10, success_rate=0.1))
    ask(router, [Candidate(id="a", embedding=QUERY, access_count=9999, success_rate=1.0)])
    kept = router.storage.get_candidate("a")
    assert kept is not None
    assert (kept.access_count, kept.success_rate) == (11, 0.1)
    router.close()


def test_an_empty_database_gives_no_decisions(tmp_path: Path) -> None:
    router = make(RouterConfig(database_path=tmp_path / "kept.db"))
    found = router.route(RoutingRequest(query_embedding=QUERY))
    assert (found.decisions, found.candidates_processed, found.routing_id) == ((), 0, None)
    router.close()


def test_a_decision_stands_even_where_it_could_not_be_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    router = make(RouterConfig(database_path=tmp_path / "kept.db"))
    other = sqlite3.connect(tmp_path / "kept.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    offered = candidates(9, 4)
    found = ask(router, offered)
    assert found.routing_id is None
    assert found.decisions == ask(make(), offered).decisions
    other.execute("COMMIT")
    other.close()
    assert ask(router, offered).routing_id == 1
    router.close()


def test_a_database_that_must_not_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept.db").write_bytes(b"something else" * 99)
    with pytest.raises(StorageProblem, match="damaged"):
        make(RouterConfig(database_path=tmp_path / "kept.db"))
