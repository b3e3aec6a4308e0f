"""A canary deployment on live requests: it grows while it does well, ends when it does not, and moves nobody twice."""

import contextlib
import random
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fakes import bodies, turns
from tests.fakes.application import Running, httpx_config, running
from tests.fakes.script import Pause, Recorded, Step, Turn
from tests.fakes.upstream import FakeUpstream

LEAST = 40
OLD, NEW = "old:1", "new:1"


class Stage:
    """A gateway with a production model and its canary, each at an upstream of its own."""

    def __init__(self, one: Running, old: FakeUpstream, new: FakeUpstream) -> None:
        self.one = one
        self.old = old
        self.new = new

    async def api(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.one.client.request(method, f"/api{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def prepare(self, **fields: Any) -> None:
        """Register both models, and a deployment `d`."""
        for id_, upstream in (("old", self.old), ("new", self.new)):
            endpoints = [{"url": upstream.base_url}]
            model = {"id": id_, "name": id_, "provider": "custom", "tier": "deep", "priority": 9}
            await self.api("POST", "/models", {**model, "endpoints": endpoints})
        order = {
            "id": "d",
            "name": "new for old",
            "productionModelId": "old",
            "canaryModelId": "new",
            "trafficSplit": {"production": 50, "canary": 50},
            "rolloutStrategy": {"type": "step", "steps": 2},
            "successCriteria": {"minRequests": LEAST, "maxErrorRate": 0.1},
            "rollbackCriteria": {"maxErrorRate": 0.1},
        }
        await self.api("POST", "/canary/deployments", order | fields)

    async def start(self, **fields: Any) -> None:
        await self.prepare(**fields)
        await self.api("POST", "/canary/deployments/d/start")

    async def chat(self, user: object, model: str = "deep", **body: Any) -> str:
        """Who answered this user."""
        answer = await self.one.chat(model, user=f"u{user}", **body)
        assert answer.status_code == 200, answer.text
        self.one.application.gateway.settle()
        return str(answer.headers["x-octoroute-endpoint"])

    async def deployment(self) -> Any:
        return await self.api("GET", "/canary/deployments/d")

    async def acted(self) -> Any:
        """The deployment once what is known was acted on, by whoever comes first."""
        answer = await self.one.client.post("/api/canary/deployments/d/execute")
        assert answer.status_code in (200, 409), answer.text
        return await self.deployment()


@contextlib.asynccontextmanager
async def stage(folder: Path, old: FakeUpstream, new: FakeUpstream) -> AsyncIterator[Stage]:
    ports = [urlsplit(each.base_url).port for each in (old, new)]
    allowed = f'[registry]\nallow_networks = ["127.0.0.0/8"]\nallow_ports = {ports}\n'
    config = httpx_config(f'[storage]\nurl = "sqlite:///{folder / "x.db"}"\n{allowed}')
    async with running(config) as one:
        yield Stage(one, old, new)


def failing(part: float, rng: random.Random) -> Turn:
    """An upstream that fails so often."""

    def turn(request: Recorded) -> Iterable[Step]:
        return (turns.status(500, bodies.error_body()) if rng.random() < part else turns.good_answer)(request)

    return turn


@pytest.mark.parametrize("part", [0.3, 0.5, 1.0])
async def test_a_worse_canary_is_rolled_back_in_time_and_no_caller_notices(tmp_path: Path, part: float) -> None:
    async with FakeUpstream() as old, FakeUpstream() as new, stage(tmp_path, old, new) as it:
        new.always(failing(part, random.Random(7)))
        await it.start()
        answered = [await it.chat(user) for user in range(LEAST * 8)]
        ended = await it.acted()
        metrics = await it.api("GET", "/canary/deployments/d/metrics")
        after = [await it.chat(user) for user in range(60)]
    assert (ended["status"], ended["trafficSplit"]) == ("rolledback", {"production": 100.0, "canary": 0.0})
    assert "canary requests" in ended["reason"]
    assert len(new.requests) <= LEAST + 20
    assert metrics["canary"]["requests"] == len(new.requests)
    assert set(answered) <= {OLD, NEW}
    assert set(after) == {OLD}


async def test_the_request_after_the_one_that_broke_the_limit_goes_to_production(tmp_path: Path) -> None:
    async with FakeUpstream() as old, FakeUpstream() as new, stage(tmp_path, old, new) as it:
        await it.start(trafficSplit={"production": 0, "canary": 100}, rollbackCriteria={"maxErrorRate": 0.05})
        bad = 3  # of forty: too many, and too few for a breaker to open
        for user in range(LEAST - bad):
            assert await it.chat(user) == NEW
        new.enqueue(*[turns.status(500, bodies.error_body())] * bad)
        assert [await it.chat(user) for user in range(30)] == [OLD] * 30
        assert len(new.requests) == LEAST  # three failed over to production, and then nobody was sent there any more


async def test_a_canary_that_is_too_slow_is_rolled_back_once_enough_is_measured(tmp_path: Path) -> None:
    async with FakeUpstream() as old, FakeUpstream() as new, stage(tmp_path, old, new) as it:
        new.always(slowly)
        await it.start(
            trafficSplit={"production": 0, "canary": 100},
            successCriteria={"minRequests": 10},
            rollbackCriteria={"maxLatencyP95": 40},
        )
        assert [await it.chat(user) for user in range(15)] == [NEW] * 10 + [OLD] * 5
        assert "maxLatencyP95 40 ms" in (await it.acted())["reason"]


def slowly(request: Recorded) -> Iterable[Step]:
    return (Pause(0.06), *turns.good_answer(request))


async def test_a_stream_that_breaks_after_it_began_is_an_error_of_the_canary(tmp_path: Path) -> None:
    async with FakeUpstream() as old, FakeUpstream() as new, stage(tmp_path, old, new) as it:
        await it.start(trafficSplit={"production": 0, "canary": 100}, successCriteria={"minRequests": 10})
        assert await it.chat("a", stream=True) == NEW
        new.always(turns.error_event_after(1))
        assert [await it.chat("a", stream=True) for _ in range(6)] == [NEW] * 4 + [OLD] * 2
        metrics = await it.api("GET", "/canary/deployments/d/metrics")
        assert (metrics["canary"]["requests"], metrics["canary"]["errors"]) == (5, 4)
        assert 0 < metrics["canary"]["latencyP50"] < 10_000


async def test_a_client_that_will_not_wait_cannot_have_a_canary_rolled_back(tmp_path: Path) -> None:
    async with FakeUpstream() as old, FakeUpstream() as new, stage(tmp_path, old, new) as it:
        new.always(slowly)
        await it.start(trafficSplit={"production": 0, "canary": 100}, successCriteria={"minRequests": 10})
        for _ in range(12):
            assert (await it.one.chat("deep", headers={"x-request-timeout": "0.02"})).status_code == 504
        it.one.application.gateway.settle()
        assert len(new.requests) >= 10  # on a busy machine one of them may be over before it was sent
        assert (await it.acted())["status"] == "active"
        assert (await it.api("GET", "/canary/deployments/d/metrics"))["canary"]["errors"] == 0


async def test_an_endpoints_id_means_that_endpoint_however_it_is_spaced(tmp_path: Path) -> None:
    async with FakeUpstream() as old, FakeUpstream() as new, stage(tmp_path, old, new) as it:
        await it.start(trafficSplit={"production": 0, "canary": 100})
        assert [await it.chat("a", model) for model in ("old", " old ", OLD, f" {OLD} ")] == [NEW, NEW, OLD, OLD]


async def test_a_canary_of_another_tier_is_no_fallback_and_the_dry_run_says_the_same(tmp_path: Path) -> None:
    async with FakeUpstream() as old, FakeUpstream() as new, stage(tmp_path, old, new) as it:
        await it.start(trafficSplit={"production": 0, "canary": 100})
        await it.api("PATCH", "/models/new", {"tier": "fast"})
        for model in ("old", "deep"):
            live = (await it.one.chat(model, user="a")).headers
            assert (live["x-octoroute-endpoint"], live["x-octoroute-reason"]) == (NEW, "experiment")
            assert live["x-octoroute-tier"] == "fast"
        request = {"model": "old", "user": "a", "messages": [{"role": "user", "content": "Hi"}]}
        dry = await it.api("POST", "/routing/test", {"request": request})
        assert (dry["selectedModel"], dry["selectedTier"], dry["reason"]) == ("new", "fast", "experiment")


async def test_an_equal_canary_goes_all_the_way_and_takes_over(tmp_path: Path) -> None:
    async with FakeUpstream() as old, FakeUpstream() as new, stage(tmp_path, old, new) as it:
        await it.start()
        shares = []
        for round_ in range(12):
            for user in range(LEAST):
                await it.chat(f"{round_}.{user}")
            now = await it.acted()
            shares.append(now["trafficSplit"]["canary"])
            if now["status"] != "active":
                break
        assert now["status"] == "completed"
        assert (shares == sorted(shares), max(shares)) == (True, 100.0)
        statuses = [(await it.api("GET", f"/models/{id_}"))["status"] for id_ in ("new", "old")]
        assert statuses == ["active", "deprecated"]
        assert {await it.chat(user) for user in range(20)} == {NEW}
        assert await it.chat("x", "old") == OLD


async def test_with_no_traffic_and_with_that_of_others_nothing_moves(tmp_path: Path) -> None:
    async with FakeUpstream() as old, FakeUpstream() as new, stage(tmp_path, old, new) as it:
        await it.start()
        before = await it.deployment()
        for _ in range(3):
            assert await it.acted() == before
        for _ in range(LEAST * 2):
            assert await it.chat("somebody", NEW) == NEW  # by its endpoint's id: no deployment decided about that
        assert await it.acted() == before
        assert (await it.api("GET", "/canary/deployments/d/metrics"))["canary"]["requests"] == 0


async def test_callers_stay_where_they_are_and_move_once_when_the_share_grows(tmp_path: Path) -> None:
    async with FakeUpstream() as old, FakeUpstream() as new, stage(tmp_path, old, new) as it:
        await it.start(trafficSplit={"production": 70, "canary": 30})
        await it.api("POST", "/canary/deployments/d/pause")
        users = range(LEAST * 4)
        first = {user: await it.chat(user) for user in users}
        assert {user: await it.chat(user) for user in users} == first
        assert 0.15 < sum(each == NEW for each in first.values()) / len(first) < 0.45
        await it.api("POST", "/canary/deployments/d/resume")
        assert (await it.acted())["trafficSplit"]["canary"] == 80.0
        await it.api("POST", "/canary/deployments/d/pause")
        wider = {user: await it.chat(user) for user in users}
        assert {user: await it.chat(user) for user in users} == wider
        assert all(wider[user] == NEW for user in users if first[user] == NEW)
        assert 0.65 < sum(each == NEW for each in wider.values()) / len(wider) < 0.95


async def test_shares_evidence_and_places_outlive_a_restart(tmp_path: Path) -> None:
    async with FakeUpstream() as old, FakeUpstream() as new:
        async with stage(tmp_path, old, new) as it:
            await it.start()
            first = {user: await it.chat(user) for user in range(40)}
            before = await it.deployment()
        async with stage(tmp_path, old, new) as it:
            assert await it.deployment() == before
            told = await it.api("GET", "/canary/deployments/d/metrics")
            assert told["canary"]["requests"] == told["stepRequests"] == len(new.requests)
            assert told["production"]["requests"] == len(old.requests)
            assert {user: await it.chat(user) for user in range(40)} == first
            told = await it.api("GET", "/canary/deployments/d/metrics")
            assert told["stepRequests"] == len(new.requests)


async def test_one_that_is_rolled_back_stays_so_after_a_restart(tmp_path: Path) -> None:
    async with FakeUpstream() as old, FakeUpstream() as new:
        async with stage(tmp_path, old, new) as it:
            await it.start(trafficSplit={"production": 0, "canary": 100})
            assert await it.chat("a") == NEW
            await it.api("POST", "/canary/deployments/d/rollback", {"reason": "enough"})
            assert await it.chat("a") == OLD
        async with stage(tmp_path, old, new) as it:
            assert (await it.deployment())["reason"] == "enough"
            assert await it.chat("a") == OLD
