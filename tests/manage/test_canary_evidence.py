"""One sample for each attempt that says something of its endpoint, live and from the journal alike."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.core.ending import CLIENT_GONE
from octoroute_py.core.rollout import Side, SuccessCriteria, arm_of
from octoroute_py.core.verdict import Verdict
from octoroute_py.ledger.entry import entry_of
from octoroute_py.ledger.outcome import Outcome
from octoroute_py.manage.canary_evidence import Measured, Sample, Tally, samples_of, samples_of_row
from octoroute_py.routing.rollout import Figures
from octoroute_py.storage import feedback
from octoroute_py.storage.feedback import Finder
from octoroute_py.storage.rollouts import Opinion, opinions, served
from octoroute_py.storage.transaction import Transaction
from tests.fakes.journal_rows import keep
from tests.fakes.rollouts import NOON, Stand, attempt, deployment, stand

SIDES = {"old:1": Side.PRODUCTION, "new:1": Side.CANARY}
ARM = arm_of("d", Side.CANARY)


@pytest.fixture
def it(tmp_path: Path) -> Any:
    with stand(tmp_path) as one:
        yield one


def sample(ok: bool = True, *, at_s: float = NOON, latency_ms: float = 10.0, endpoint: str = "new:1") -> Sample:
    return Sample(endpoint, at_s, ok, latency_ms if ok else None, 5)


def verdicts(outcome: Outcome) -> list[tuple[str, bool]]:
    return [(each.endpoint, each.ok) for each in samples_of(outcome)]


def test_each_attempt_counts_for_its_own_endpoint(it: Stand) -> None:
    outcome = it.outcome(attempt("new:1", "timeout"), attempt("new:2", "unavailable"), attempt("old:1"))
    assert verdicts(outcome) == [("new:1", False), ("new:2", False), ("old:1", True)]


@pytest.mark.parametrize("fault", ["rejected", "context_length", "exhausted", "given_up"])
def test_what_is_the_requests_or_our_own_fault_is_no_sample(it: Stand, fault: str) -> None:
    assert verdicts(it.outcome(attempt("new:1", fault), attempt("old:1"))) == [("old:1", True)]


@pytest.mark.parametrize("fault", ["auth", "model_missing", "quota", "rate_limited", "stalled", "truncated"])
def test_what_keeps_a_model_from_answering_is_an_error(it: Stand, fault: str) -> None:
    assert verdicts(it.outcome(attempt("new:1", fault))) == [("new:1", False)]


def test_an_attempt_that_the_client_left_is_no_sample_and_those_before_it_are(it: Stand) -> None:
    left = it.outcome(attempt("new:1", "timeout"), attempt("old:1"), status=CLIENT_GONE, error_code=None)
    assert verdicts(left) == [("new:1", False)]


def test_an_attempt_that_the_gateway_cut_is_no_sample(it: Stand) -> None:
    assert verdicts(it.outcome(attempt("new:1"), status=503, error_code="overloaded")) == []


def test_a_stream_is_timed_to_its_first_event_and_an_answer_to_its_end(it: Stand) -> None:
    [buffered] = samples_of(it.outcome(attempt("new:1", began_s=100.2, took_s=0.5)))
    [streamed] = samples_of(
        it.outcome(attempt("new:1", began_s=100.2, took_s=9.0), stream=True, first_event_s=0.5, duration_s=9.2)
    )
    assert buffered.latency_ms == pytest.approx(500.0)
    assert streamed.latency_ms == pytest.approx(300.0)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"stream": True, "first_event_s": 0.03},
        {"status": CLIENT_GONE},
        {"status": 503, "error_code": "overloaded"},
        {"routing_s": 0.02},
    ],
)
@pytest.mark.parametrize("faults", [(None,), ("server_error", None), ("timeout", "connect"), ("rejected",)])
def test_the_journal_tells_the_same_as_the_request_did(
    it: Stand, faults: tuple[str | None, ...], fields: dict[str, Any]
) -> None:
    routing_s = fields.get("routing_s", 0.0)
    attempts = [attempt("new:1", each, began_s=100.0 + routing_s, took_s=0.05 - routing_s) for each in faults]
    outcome = it.outcome(*attempts, **fields)
    keep(it.database, [entry_of(outcome)])
    with it.database.read() as connection:
        [row] = served(connection, ARM, since_ms=0, most=10)
    found, expected = list(samples_of_row(row)), list(samples_of(outcome))
    assert [(each.endpoint, each.ok, each.cost_uusd) for each in found] == [
        (each.endpoint, each.ok, each.cost_uusd) for each in expected
    ]
    for one, other in zip(found, expected, strict=True):
        assert one.at_s == pytest.approx(other.at_s, abs=0.001)
        assert one.latency_ms == (None if other.latency_ms is None else pytest.approx(other.latency_ms, abs=0.01))


def test_the_newest_rows_of_the_very_arm_are_found_oldest_first(it: Stand) -> None:
    arms = [ARM, ARM.upper(), f"x{ARM}", f"{ARM}2", f"e:b,{ARM}", None, arm_of("d", Side.PRODUCTION)]
    for number, arm in enumerate(arms * 3):
        row = it.outcome(attempt("new:1"), started_ms=number, arms=arm)
        keep(it.database, [entry_of(row)])
    with it.database.read() as connection:
        found = [row.started_ms for row in served(connection, ARM, since_ms=4, most=3)]
        none = served(connection, ARM, since_ms=4, until_ms=7, most=3)
    assert found == [11, 14, 18]
    assert [row.started_ms for row in none] == [4]


# tallies


@given(
    latencies=st.lists(st.none() | st.floats(0.1, 1e5), max_size=60),
    most=st.integers(1, 40),
    part=st.sampled_from([0.05, 0.5, 0.95, 1.0]),
)
def test_a_tally_is_what_counting_the_newest_again_gives(latencies: list[float | None], most: int, part: float) -> None:
    tally = Tally(most=most)
    for latency in latencies:
        tally.add(Sample("e", NOON, latency is not None, latency, 1))
    kept = latencies[-most:]
    known = sorted(each for each in kept if each is not None)
    assert (tally.requests, tally.errors) == (len(kept), len(kept) - len(known))
    if known:
        quantile = tally.quantile(part)
        assert quantile is not None
        assert sum(each <= quantile for each in known) >= part * len(known)
        assert sum(each < quantile for each in known) < part * len(known)
    else:
        assert tally.quantile(part) is None


def test_old_samples_go_but_for_the_last_few() -> None:
    tally = Tally(most=100, fewest=3, window_s=60.0)
    for second in range(5):
        tally.add(sample(second > 1, at_s=NOON + second))
    tally.expire(NOON + 60.0)
    assert (tally.requests, tally.errors) == (5, 2)
    tally.expire(NOON + 61.0)
    assert (tally.requests, tally.errors) == (4, 1)
    tally.expire(NOON + 9_999.0)
    assert (tally.requests, tally.errors) == (3, 0)


# deployments


def running(**fields: Any) -> Measured:
    return Measured(deployment(step=1, started_ms=0, step_since_ms=0, **fields), SIDES)


def test_only_the_canarys_attempts_are_evidence() -> None:
    measured = running()
    assert not measured.take([sample(endpoint="old:1"), sample(endpoint="elsewhere")])
    assert measured.evidence(NOON).window == Figures()
    assert measured.take([sample(), sample(False)])
    evidence = measured.evidence(NOON)
    assert evidence.window == evidence.step == Figures(2, 1, 10.0)
    assert evidence.recent == Figures(2, 1)
    assert measured.windows[Side.PRODUCTION].requests == 1


def test_a_new_step_begins_with_no_evidence_and_keeps_the_window() -> None:
    measured = running()
    measured.take([sample()] * 7)
    measured.follow(deployment(step=2, started_ms=0, step_since_ms=int(NOON * 1000) + 1), SIDES)
    measured.take([sample(at_s=NOON)])  # it had ended before the step began
    measured.take([sample(at_s=NOON + 1)])
    evidence = measured.evidence(NOON)
    assert (evidence.window.requests, evidence.step.requests, evidence.recent.requests) == (9, 1, 9)


def test_the_recent_are_the_last_min_requests() -> None:
    measured = running(success_criteria=SuccessCriteria(min_requests=5))
    rng = random.Random(1)
    outcomes = [rng.random() < 0.5 for _ in range(50)]
    for ok in outcomes:
        measured.take([sample(ok)])
    recent = measured.evidence(NOON).recent
    assert (recent.requests, recent.errors) == (5, outcomes[-5:].count(False))


def test_quality_is_the_mean_of_enough_feedback_on_a_models_own_answers() -> None:
    measured = running()
    measured.hear({Side.CANARY: [Opinion("new:1", 4.0, 8), Opinion("old:1", 0.0, 90)], Side.PRODUCTION: []})
    assert measured.quality == {}
    measured.hear({Side.CANARY: [Opinion("new:1", 9.0, 12), Opinion("old:1", 0.0, 90)], Side.PRODUCTION: []})
    assert measured.quality == {Side.CANARY: 0.75}
    assert measured.evidence(NOON).quality == 0.75


def test_feedback_is_read_from_ratings_and_from_success(it: Stand) -> None:
    said = [Verdict(rating=5), Verdict(rating=1), Verdict(success=True), Verdict(success=False, rating=3), Verdict()]
    outcomes = [it.outcome(attempt("new:1")) for _ in said]
    keep(it.database, [entry_of(one) for one in outcomes])
    finder = Finder(key_id="k", workspaces=None)

    def give(connection: Transaction) -> None:
        for one, verdict in zip(outcomes, said, strict=True):
            assert feedback.give(connection, one.request_id, verdict, by=finder, at_ms=1)

    it.database.write(give)
    with it.database.read() as connection:
        assert opinions(connection, ARM, since_ms=0) == [Opinion("new:1", 2.5, 4)]
        assert opinions(connection, arm_of("d", Side.PRODUCTION), since_ms=0) == []
