"""What canary requests come to moves their deployment, and nothing else does."""

import asyncio
import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.errors import GatewayError
from octoroute_py.core.registry import Kind
from octoroute_py.core.rollout import RolloutStatus, RolloutStrategy, RolloutType, Side, Split, SuccessCriteria
from octoroute_py.ledger.entry import entry_of
from octoroute_py.manage.canary_watch import EVERY_S
from octoroute_py.storage import registry
from octoroute_py.storage.registry import Change
from octoroute_py.storage.schema import registry as documents
from octoroute_py.storage.transaction import Transaction
from tests.fakes.journal_rows import keep
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


async def two_started(it: Stand) -> None:
    """A deployment `d` that does well, and an `e` that does not."""
    await it.started()
    for model in ("red", "blue"):
        await it.model(model)
    other = deployment("e", production_model_id="red", canary_model_id="blue")
    await it.canaries.create(other, by=OPS)
    await it.canaries.start("e", by=OPS)
    for _ in range(LEAST):
        it.watch.saw(it.outcome(attempt("blue:1", "timeout"), id_="e"))
    it.serve(LEAST)


async def test_two_deployments_are_judged_apart(it: Stand) -> None:
    await two_started(it)
    await it.watch.look()
    assert (it.kept("e").status, it.kept("d").status) == (RolloutStatus.ROLLED_BACK, RolloutStatus.ACTIVE)
    assert (it.shares.of("e"), it.shares.of("d")) == (0.0, 20.0)


async def test_one_that_breaks_keeps_no_other_from_its_turn(it: Stand) -> None:
    await two_started(it)
    of_d = documents.c.id == "d"
    it.database.write(lambda connection: connection.execute(update(documents).where(of_d).values(body="{}")))
    with pytest.raises(msgspec.ValidationError), capture_logs():
        await it.watch.look()
    assert it.audited()[-1] == ("canary", "canary.rollback", "e")


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


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_a_share_keeps_to_its_rules(it: Stand, seed: int) -> None:
    walk = Walk(it, random.Random(seed))
    with capture_logs():
        for _ in range(250):
            await walk.step()
    assert walk.ended >= 3
    assert walk.widened >= 3


class Walk:
    """Operators, requests, restarts and a failing database in any order."""

    def __init__(self, it: Stand, chance: random.Random) -> None:
        self.it = it
        self.chance = chance
        self.ended = self.widened = 0
        self.id = ""
        self._measured = 0
        self._cut = False

    async def step(self) -> None:
        """One thing happens, and what must hold still does."""
        if self.id == "" or not self.it.kept(self.id).status.is_live:
            await self._begin()
        before = self.it.kept(self.id)
        await self.chance.choice([self._serve, self._serve, self._serve, self._look, self._operate, self._weather])()
        now, share = self.it.kept(self.id), self.it.shares.of(self.id)
        assert now.traffic_split.production + now.traffic_split.canary == 100.0
        assert share <= now.traffic_split.canary <= 40.0
        assert share in (0.0, now.traffic_split.canary)
        if now.step != before.step:
            assert (now.step, before.status) == (before.step + 1, RolloutStatus.ACTIVE)
            assert self._measured >= LEAST
            self._measured, self.widened = 0, self.widened + 1
        if self._cut:
            assert share == 0.0
            assert now.status in (RolloutStatus.ACTIVE, RolloutStatus.PAUSED, RolloutStatus.ROLLED_BACK)
        self._cut = self._cut or (now.status.is_live and share == 0.0)
        if now.status is RolloutStatus.COMPLETED:
            assert before.traffic_split.canary == 40.0
            assert self._measured >= LEAST

    async def _begin(self) -> None:
        self.it.broken = False
        self.ended += 1
        self.id, self._measured, self._cut = f"d{self.ended}", 0, False
        await self.it.started(self.id, rollout_strategy=TO_40)

    async def _serve(self) -> None:
        for _ in range(self.chance.randrange(12)):
            fault = "timeout" if self.chance.random() < 0.06 else None
            one = self.it.outcome(attempt("new:1", fault), id_=self.id)
            self._measured += 1
            keep(self.it.database, [entry_of(one)])
            self.it.watch.saw(one)

    async def _look(self) -> None:
        self.it.now += self.chance.choice([0.1, 1.0, 600.0])
        await self.it.watch.look()

    async def _operate(self) -> None:
        canaries = self.it.canaries
        moves = (canaries.pause, canaries.resume, canaries.resume, canaries.execute)
        with contextlib.suppress(GatewayError):
            await self.chance.choice(moves)(self.id, by=OPS)

    async def _weather(self) -> None:
        if self.it.broken or self.chance.random() < 0.5:
            self.it.broken = not self.it.broken
        elif not self._cut:
            self.it.now += 1.0
            self.it.restart()
            await self.it.watch.load()
