"""Deployments as operators make and steer them: what is allowed when, and what is kept of it."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from octoroute_py.core.catalog import HealthReport, ModelStatus
from octoroute_py.core.errors import GatewayError
from octoroute_py.core.registry import Kind
from octoroute_py.core.rollout import RolloutStatus, RolloutStrategy, Side, Split
from octoroute_py.routing.rollout import Call
from tests.fakes.rollouts import OPS, Stand, deployment, stand


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Stand]:
    with stand(tmp_path) as one:
        yield one


async def refused(work: Awaitable[object]) -> tuple[int, str, str | None]:
    with pytest.raises(GatewayError) as caught:
        await work
    return caught.value.status, caught.value.code, caught.value.param


async def with_models(it: Stand) -> None:
    await it.model("old")
    await it.model("new")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"traffic_split": Split(production=80.0, canary=10.0)}, "trafficSplit"),
        (
            {
                "traffic_split": Split(production=40.0, canary=60.0),
                "rollout_strategy": RolloutStrategy(max_traffic_percentage=50.0),
            },
            "trafficSplit.canary",
        ),
        ({"canary_model_id": "old"}, "canaryModelId"),
        ({"canary_model_id": "nobody"}, "canaryModelId"),
        ({"production_model_id": "fast"}, "productionModelId"),
        ({"production_model_id": "fast/fast-model#1"}, "productionModelId"),
    ],
)
async def test_what_makes_no_sense_is_refused(it: Stand, fields: dict[str, Any], param: str) -> None:
    await with_models(it)
    assert await refused(it.canaries.create(deployment(**fields), by=OPS)) == (400, "invalid_request_error", param)
    assert await it.canaries.every() == []


async def test_a_start_gives_the_first_share_and_makes_the_model_a_canary(it: Stand) -> None:
    started = await it.started()
    assert (started.status, started.step) == (RolloutStatus.ACTIVE, 1)
    assert started.traffic_split == Split(production=90.0, canary=10.0)
    assert started.started_ms == started.step_since_ms == int(it.now * 1000)
    assert it.status_of("new") is ModelStatus.CANARY
    assert [action for _, action, _ in it.audited()][-3:] == ["canary.create", "model.status", "canary.start"]


async def test_a_share_that_was_asked_for_is_where_it_starts(it: Stand) -> None:
    started = await it.started(traffic_split=Split(production=97.0, canary=3.0))
    assert (started.traffic_split.canary, it.shares.of("d")) == (3.0, 3.0)


async def test_models_of_the_file_take_part_and_their_status_is_told_to_be_the_files(it: Stand) -> None:
    await it.canaries.create(deployment(production_model_id="fast-model", canary_model_id="balanced-model"), by=OPS)
    await it.canaries.start("d", by=OPS)
    _, warnings = await it.canaries.complete("d", by=OPS)
    assert len(warnings) == 2
    assert "'fast-model'" in warnings[1]


MOVES: dict[str, Callable[[Stand], Awaitable[object]]] = {
    "start": lambda it: it.canaries.start("d", by=OPS),
    "pause": lambda it: it.canaries.pause("d", by=OPS),
    "resume": lambda it: it.canaries.resume("d", by=OPS),
    "complete": lambda it: it.canaries.complete("d", by=OPS),
    "rollback": lambda it: it.canaries.roll_back("d", reason="", by=OPS),
    "decision": lambda it: it.canaries.decision("d"),
    "execute": lambda it: it.canaries.execute("d", by=OPS),
    "remove": lambda it: it.canaries.remove("d", expect=None, by=OPS),
    "change": lambda it: it.canaries.change("d", lambda document: deployment(name="other"), expect=None, by=OPS),
}
ALLOWED = {
    "preparing": {"start", "remove", "change"},
    "active": {"pause", "complete", "rollback", "decision", "execute"},
    "paused": {"resume", "complete", "rollback", "decision", "execute"},
    "completed": {"remove"},
    "rolledback": {"remove"},
}
WAY = {
    "preparing": (),
    "active": ("start",),
    "paused": ("start", "pause"),
    "completed": ("start", "complete"),
    "rolledback": ("start", "pause", "rollback"),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("status", ALLOWED)
async def test_every_wrong_transition_is_a_conflict_and_changes_nothing(it: Stand, status: str, move: str) -> None:
    await with_models(it)
    await it.canaries.create(deployment(), by=OPS)
    for each in WAY[status]:
        await MOVES[each](it)
    before = it.kept()
    assert before.status.value == status
    if move in ALLOWED[status]:
        await MOVES[move](it)
    else:
        assert (await refused(MOVES[move](it)))[:2] == (409, "conflict")
        assert it.kept() == before


@pytest.mark.parametrize("move", MOVES)
async def test_a_deployment_that_is_not_there_is_not_found(it: Stand, move: str) -> None:
    assert (await refused(MOVES[move](it)))[:2] == (404, "not_found")


async def test_a_model_is_part_of_one_deployment_that_runs(it: Stand) -> None:
    await it.started()
    await it.model("third")
    for number, (production, canary) in enumerate([("old", "third"), ("third", "new"), ("new", "third")]):
        other = deployment(f"e{number}", production_model_id=production, canary_model_id=canary)
        await it.canaries.create(other, by=OPS)
        assert (await refused(it.canaries.start(other.id, by=OPS)))[:2] == (409, "conflict")
    await it.canaries.roll_back("d", reason="", by=OPS)
    await it.canaries.start("e0", by=OPS)


@pytest.mark.parametrize(
    ("status", "endpoint", "health"),
    [
        (ModelStatus.INACTIVE, True, None),
        (ModelStatus.DEPRECATED, True, None),
        (ModelStatus.ACTIVE, False, None),
        (ModelStatus.ACTIVE, True, 79.9),
    ],
)
async def test_a_canary_that_cannot_serve_or_is_ill_is_not_started(
    it: Stand, status: ModelStatus, endpoint: bool, health: float | None
) -> None:
    await it.model("old")
    await it.model("new", status, endpoint=endpoint)
    await it.canaries.create(deployment(), by=OPS)
    await it.put(Kind.HEALTH, "new", HealthReport(uptime=health))
    assert (await refused(it.canaries.start("d", by=OPS)))[:2] == (409, "conflict")
    assert it.kept().status is RolloutStatus.PREPARING


@pytest.mark.parametrize("health", [80.0, None])
async def test_a_report_of_good_health_or_of_none_does_not_keep_it_from_starting(
    it: Stand, health: float | None
) -> None:
    await with_models(it)
    await it.canaries.create(deployment(), by=OPS)
    await it.put(Kind.HEALTH, "new", HealthReport(uptime=health))
    await it.canaries.start("d", by=OPS)


async def test_a_rollback_keeps_its_reason_and_is_in_force_at_once(it: Stand) -> None:
    await it.started()
    document = await it.canaries.roll_back("d", reason="customers complained", by=OPS)
    assert '"reason":"customers complained"' in document.body
    assert it.shares.of("d") == 0.0
    assert it.audited()[-1] == ("ops (key_ops)", "canary.rollback", "d")


async def test_a_decision_changes_nothing_and_executing_it_goes_no_further(it: Stand) -> None:
    await it.started()
    before = it.kept()
    assert (await it.canaries.decision("d"))[1].call is Call.HOLD
    assert (await it.canaries.execute("d", by=OPS))[1].verdict.call is Call.HOLD
    it.serve(20)
    verdict = (await it.canaries.decision("d"))[1]
    assert (verdict.call, verdict.share, it.kept()) == (Call.PROCEED, 20.0, before)
    acted = (await it.canaries.execute("d", by=OPS))[1]
    assert (acted.verdict, it.kept().traffic_split.canary) == (verdict, 20.0)
    assert it.audited()[-1] == ("ops (key_ops)", "canary.proceed", "d")
    assert (await it.canaries.execute("d", by=OPS))[1].verdict.call is Call.HOLD


async def test_what_has_ended_is_measured_up_to_its_end_from_the_journal(it: Stand) -> None:
    await it.started()
    it.now += 1.0
    it.serve(10, 2, journal=True)
    it.serve(5, side=Side.PRODUCTION, journal=True)
    it.now += 1.0
    await it.canaries.roll_back("d", reason="", by=OPS)
    it.now += 60.0
    _, measured, _ = await it.canaries.measured("d")
    windows = measured.windows
    assert {side: (windows[side].requests, windows[side].errors) for side in Side} == {
        Side.PRODUCTION: (5, 0),
        Side.CANARY: (12, 2),
    }


async def test_they_are_listed_by_status(it: Stand) -> None:
    await it.started()
    await it.canaries.create(deployment("e"), by=OPS)
    assert [each.id for each in await it.canaries.every()] == ["d", "e"]
    assert [each.id for each in await it.canaries.every(RolloutStatus.ACTIVE)] == ["d"]


async def test_an_operators_rollback_is_in_force_even_where_it_cannot_be_written_down_yet(it: Stand) -> None:
    await it.started()
    it.broken = True
    assert (await refused(it.canaries.roll_back("d", reason="stop", by=OPS)))[:2] == (503, "storage_unavailable")
    assert (it.shares.of("d"), it.kept().status) == (0.0, RolloutStatus.ACTIVE)
    it.broken = False
    await it.watch.look()
    assert (it.kept().status, it.kept().reason) == (RolloutStatus.ROLLED_BACK, "stop")
    assert it.audited()[-1] == ("ops (key_ops)", "canary.rollback", "d")
