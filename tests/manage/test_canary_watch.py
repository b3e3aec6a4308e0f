"""What canary requests come to moves their deployment, and nothing else does."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.registry import Kind
from octoroute_py.core.rollout import RolloutStatus, RolloutStrategy, RolloutType, Side, Split, SuccessCriteria
from octoroute_py.manage.canary_watch import EVERY_S
from octoroute_py.storage import registry
from octoroute_py.storage.registry import Change
from octoroute_py.storage.transaction import Transaction
from tests.fakes.rollouts import CRITERIA, OPS, Stand, attempt, deployment, stand

LEAST = CRITERIA.min_requests
TO_40 = RolloutStrategy(type=RolloutType.LINEAR, steps=2, max_traffic_percentage=40.0)


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Stand]:
    with stand(tmp_path) as one:
        yield one


async def test_a_good_canary_goes_through_its_shares_and_takes_over(it: Stand) -> None:
    await it.started(rollout_strategy=TO_40)
    assert (it.kept().traffic_split.canary, it.shares.of("d")) == (20.0, 20.0)
    it.serve(LEAST)
    await it.watch.look()
    assert (it.kept().traffic_split.canary, it.shares.of("d"), it.kept().step) == (40.0, 40.0, 2)
    await it.watch.look()
    it.serve(LEAST - 1)
    await it.watch.look()
    assert it.kept().status is RolloutStatus.ACTIVE
    it.serve(1)
    await it.watch.look()
    assert it.kept().status is RolloutStatus.COMPLETED
    assert (it.status_of("new"), it.status_of("old")) == (ModelStatus.ACTIVE, ModelStatus.DEPRECATED)
    assert it.shares.of("d") == 0.0  # nobody is sent there for its production model's sake any more
    assert [each for each in it.audited() if each[0] == "canary"] == [
        ("canary", "canary.proceed", "d"),
        ("canary", "model.status", "new"),
        ("canary", "model.status", "old"),
        ("canary", "canary.complete", "d"),
    ]


async def test_nothing_moves_without_traffic_nor_on_production_traffic_alone(it: Stand) -> None:
    before = await it.started()
    for _ in range(10):
        it.now += 3_600.0
        it.serve(100, side=Side.PRODUCTION)
        await it.watch.look()
    assert it.kept() == before
    assert it.shares.of("d") == 10.0


async def test_a_broken_limit_cuts_the_share_before_anything_is_written(it: Stand) -> None:
    await it.started()
    it.serve(LEAST - 5, 4)
    assert it.shares.of("d") == 10.0
    it.serve(0, 1)
    assert it.shares.of("d") == 0.0
    assert it.kept().status is RolloutStatus.ACTIVE
    await it.watch.look()
    kept = it.kept()
    assert (kept.status, kept.traffic_split) == (RolloutStatus.ROLLED_BACK, Split(production=100.0, canary=0.0))
    assert "5 of 20 canary requests in the evaluation window failed (25 %)" in kept.reason


async def test_a_canary_that_only_fails_is_cut_long_before_min_requests(it: Stand) -> None:
    await it.started(success_criteria=SuccessCriteria(min_requests=1000))
    it.serve(0, 10)
    assert it.shares.of("d") == 0.0


async def test_a_cut_outlives_a_database_that_fails_and_is_written_when_it_is_back(it: Stand) -> None:
    await it.started()
    it.broken = True
    it.serve(0, LEAST)
    with capture_logs():
        await it.watch.look()
        await it.watch.look()
    it.follow()
    assert (it.shares.of("d"), it.kept().status) == (0.0, RolloutStatus.ACTIVE)
    it.broken = False
    await it.watch.look()
    assert (it.shares.of("d"), it.kept().status) == (0.0, RolloutStatus.ROLLED_BACK)


async def test_the_loop_wakes_for_an_outcome_that_decides_something(it: Stand) -> None:
    await it.started()
    it.changed.clear()
    running = asyncio.create_task(it.watch.run())
    await asyncio.sleep(0)
    it.serve(0, LEAST)
    async with asyncio.timeout(EVERY_S / 2):
        await it.changed.wait()
    assert it.kept().status is RolloutStatus.ROLLED_BACK
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_restart_neither_loses_nor_repeats_evidence(it: Stand) -> None:
    await it.started()
    it.now += 1.0
    it.serve(LEAST - 3, 2, journal=True)
    for _ in range(3):
        it.restart()
        await it.watch.load()
        measured = it.watch.measured("d")
        assert measured is not None
        assert (measured.step_requests, measured.windows[Side.CANARY].errors) == (LEAST - 1, 2)
        assert it.shares.of("d") == 10.0
    await it.watch.look()
    assert it.kept().step == 1
    it.serve(1, journal=True)
    it.now += 1.0
    await it.watch.look()
    assert it.kept().step == 2
    it.restart()
    await it.watch.load()
    assert (measured := it.watch.measured("d")) is not None
    assert measured.step_requests == 0


async def test_a_limit_that_broke_just_before_a_crash_is_acted_on_at_the_start(it: Stand) -> None:
    await it.started()
    it.now += 1.0
    it.serve(0, LEAST, journal=True)
    it.restart()
    assert it.shares.of("d") == 10.0
    await it.watch.load()
    assert it.shares.of("d") == 0.0


async def test_a_paused_one_keeps_its_share_and_its_guard(it: Stand) -> None:
    await it.started()
    await it.canaries.pause("d", by=OPS)
    it.serve(LEAST * 3)
    await it.watch.look()
    assert (it.shares.of("d"), it.kept().status) == (10.0, RolloutStatus.PAUSED)
    await it.canaries.resume("d", by=OPS)
    await it.watch.look()
    assert it.shares.of("d") == 20.0
    await it.canaries.pause("d", by=OPS)
    it.serve(0, LEAST * 2)
    await it.watch.look()
    assert it.kept().status is RolloutStatus.ROLLED_BACK


async def test_a_canary_whose_model_or_last_endpoint_is_gone_has_failed(it: Stand) -> None:
    await it.started()
    await it.documents.change(lambda desk: desk.remove(Kind.ENDPOINT, "new:1", action="x"), by="test")
    await it.watch.look()
    assert it.kept().status is RolloutStatus.FAILED
    assert (it.shares.of("d"), it.kept().traffic_split.canary) == (0.0, 0.0)


async def test_two_deployments_are_judged_apart(it: Stand) -> None:
    await it.started()
    for model in ("red", "blue"):
        await it.model(model)
    other = deployment("e", production_model_id="red", canary_model_id="blue")
    await it.canaries.create(other, by=OPS)
    await it.canaries.start("e", by=OPS)
    for _ in range(LEAST):
        it.watch.saw(it.outcome(attempt("blue:1", "timeout"), id_="e"))
    it.serve(LEAST)
    await it.watch.look()
    assert (it.kept("e").status, it.kept("d").status) == (RolloutStatus.ROLLED_BACK, RolloutStatus.ACTIVE)
    assert (it.shares.of("e"), it.shares.of("d")) == (0.0, 20.0)


async def test_what_another_process_did_is_followed(it: Stand) -> None:
    await it.started()
    it.serve(LEAST - 1)

    def elsewhere(connection: Transaction) -> None:
        theirs = msgspec.structs.replace(it.kept(), status=RolloutStatus.ROLLED_BACK)
        by = Change(at_ms=0, actor="another", action="canary.rollback")
        registry.put(connection, Kind.CANARY, "d", theirs, by=by)

    it.database.write(elsewhere)
    await it.following.refresh()
    assert (it.shares.of("d"), it.watch.measured("d")) == (0.0, None)
    it.serve(50)
    await it.watch.look()
    assert it.kept().status is RolloutStatus.ROLLED_BACK


async def test_an_outcome_without_arms_or_of_another_deployment_is_nothing(it: Stand) -> None:
    await it.started()
    it.watch.saw(it.outcome(attempt("new:1", "timeout"), arms=None))
    it.watch.saw(it.outcome(attempt("new:1", "timeout"), id_="gone"))
    measured = it.watch.measured("d")
    assert measured is not None
    assert measured.windows[Side.CANARY].requests == 0
