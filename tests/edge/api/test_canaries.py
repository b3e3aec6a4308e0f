"""`/api/canary/deployments` over a real database, asked through the guard as by a client."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from octoroute_py.core.rollout import Side
from octoroute_py.core.words import Role
from octoroute_py.edge.api.canaries import CanaryRoutes
from octoroute_py.edge.asgi import Table, build_app
from tests.fakes.application import httpx_config, running
from tests.fakes.keyed import Keyed, holder, shown
from tests.fakes.rollouts import Stand, stand

OPERATOR, VIEWER, BOUND = "operator", "viewer", "bound"
KEYS = {
    OPERATOR: holder(Role.OPERATOR, key_id="key_op"),
    VIEWER: holder(Role.VIEWER),
    BOUND: holder(Role.ADMIN, workspaces=("red",)),
}
ORDER: dict[str, Any] = {
    "id": "d",
    "name": "new for old",
    "productionModelId": "old",
    "canaryModelId": "new",
    "rolloutStrategy": {"type": "exponential", "maxTrafficPercentage": 20},
    "successCriteria": {"minRequests": 20, "maxErrorRate": 0.1, "maxLatencyP95": 100},
    "rollbackCriteria": {"maxErrorRate": 0.2},
}
MOVES = ("start", "pause", "resume", "complete", "rollback", "decision", "execute")


class Api:
    def __init__(self, client: httpx.AsyncClient, it: Stand) -> None:
        self.client = client
        self.it = it

    async def ask(
        self, method: str, path: str = "", body: object = None, *, key: str = OPERATOR, etag: str | None = None
    ) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        headers = shown(key) | ({} if etag is None else {"if-match": etag})
        return await self.client.request(method, f"/api/canary/deployments{path}", content=content, headers=headers)

    async def good(self, method: str, path: str = "", body: object = None) -> Any:
        answer = await self.ask(method, path, body)
        assert answer.is_success, answer.text
        return answer.json()


@contextlib.asynccontextmanager
async def api(folder: Path) -> AsyncIterator[Api]:
    with stand(folder) as it:
        for model in ("old", "new"):
            await it.model(model)
        async with running(httpx_config()) as one:
            gateway = one.application.gateway
            gateway.access = Keyed(KEYS)  # type: ignore[assignment]
            table = Table(gateway)
            CanaryRoutes(it.canaries).add_to(table)
            app = build_app(table.routes, cors_origins=(), management_port=None, lifespan=contextlib.nullcontext)
            transport = httpx.ASGITransport(app, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                yield Api(client, it)


async def test_a_deployment_is_made_and_read_with_its_times_and_its_etag(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        made = await it.ask("POST", body=ORDER)
        read = await it.ask("GET", "/d", key=VIEWER)
        listed = (await it.ask("GET", "?status=preparing", key=VIEWER)).json()
        none = (await it.ask("GET", "?status=active", key=VIEWER)).json()
    assert made.status_code == 201
    assert made.headers["etag"] == read.headers["etag"]
    assert made.json() == read.json()
    assert listed == {"deployments": [made.json()], "count": 1}
    assert none == {"deployments": [], "count": 0}
    assert made.json() == {
        "id": "d",
        "name": "new for old",
        "description": "",
        "productionModelId": "old",
        "canaryModelId": "new",
        "trafficSplit": {"production": 100.0, "canary": 0.0},
        "rolloutStrategy": {
            "type": "exponential",
            "duration": None,
            "steps": None,
            "maxTrafficPercentage": 20.0,
        },
        "successCriteria": {
            "minRequests": 20,
            "maxErrorRate": 0.1,
            "minSuccessRate": None,
            "maxLatencyP95": 100.0,
            "minQualityScore": None,
            "evaluationWindow": 60.0,
        },
        "rollbackCriteria": {
            "maxErrorRate": 0.2,
            "minSuccessRate": None,
            "maxLatencyP95": None,
            "minQualityScore": None,
        },
        "status": "preparing",
        "step": 0,
        "startedAt": None,
        "stepSince": None,
        "reason": "",
        "createdAt": "2027-01-15T08:00:00.000Z",
        "updatedAt": "2027-01-15T08:00:00.000Z",
    }


async def test_its_life_from_start_to_completion(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.good("POST", body=ORDER)
        started = await it.good("POST", "/d/start")
        held = await it.good("POST", "/d/decision")
        it.it.serve(20)
        proceed = await it.good("POST", "/d/execute")
        await it.good("POST", "/d/pause")
        resumed = await it.good("POST", "/d/resume")
        done = await it.good("POST", "/d/complete")
    assert (started["status"], started["step"], started["startedAt"]) == ("active", 1, "2027-01-15T08:00:00.000Z")
    assert started["trafficSplit"] == {"production": 95.0, "canary": 5.0}
    assert held == {
        "decision": "hold",
        "reasons": ["0 of 20 canary requests are measured since this step began."],
        "share": 5.0,
        "confidence": 0.0,
    }
    assert (proceed["decision"], proceed["executed"], proceed["share"], proceed["confidence"]) == (
        "proceed",
        True,
        10.0,
        1.0,
    )
    assert proceed["deployment"]["trafficSplit"]["canary"] == 10.0
    assert (resumed["status"], resumed["step"], resumed["trafficSplit"]["canary"]) == ("active", 2, 10.0)
    assert (done["status"], "warnings" in done) == ("completed", False)


async def test_both_sides_are_measured_and_compared(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.good("POST", body=ORDER)
        empty = await it.good("GET", "/d/metrics")
        await it.good("POST", "/d/start")
        it.it.serve(8, 2)
        it.it.serve(40, side=Side.PRODUCTION)
        told = await it.good("GET", "/d/metrics")
    nothing = {
        "requests": 0,
        "errors": 0,
        "errorRate": None,
        "successRate": None,
        "latencyP50": None,
        "latencyP95": None,
        "averageCost": None,
        "qualityScore": None,
    }
    assert (empty["production"], empty["canary"], empty["since"]) == (nothing, nothing, None)
    assert set(empty["difference"].values()) == {None}
    assert told["production"] == {
        "requests": 40,
        "errors": 0,
        "errorRate": 0.0,
        "successRate": 1.0,
        "latencyP50": pytest.approx(50.0),
        "latencyP95": pytest.approx(50.0),
        "averageCost": pytest.approx(0.00001),
        "qualityScore": None,
    }
    assert (told["canary"]["requests"], told["canary"]["errors"], told["canary"]["errorRate"]) == (10, 2, 0.2)
    assert told["difference"]["errorRate"] == pytest.approx(0.2)
    assert told["difference"]["qualityScore"] is None
    assert (told["deploymentId"], told["status"], told["stepRequests"], told["confidence"]) == ("d", "active", 10, 0.5)
    assert told["since"] == "2027-01-15T08:00:00.000Z"


async def test_a_rollback_may_say_why(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        for id_, body, reason in (("d", {"reason": "slow"}, "slow"), ("e", None, "Rolled back by an operator.")):
            await it.good("POST", body=ORDER | {"id": id_})
            await it.good("POST", f"/{id_}/start")
            back = await it.good("POST", f"/{id_}/rollback", body)
            assert (back["status"], back["reason"], back["trafficSplit"]["canary"]) == ("rolledback", reason, 0.0)


async def test_one_that_is_preparing_is_patched_and_one_that_runs_is_not(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        made = await it.ask("POST", body=ORDER)
        tag = made.headers["etag"]
        patch = {"description": "x", "successCriteria": {"minRequests": 5, "maxLatencyP95": None}}
        changed = await it.ask("PATCH", "/d", patch, etag=tag)
        old = await it.ask("PATCH", "/d", patch, etag=tag)
        fixed = await it.ask("PATCH", "/d", {"status": "active"})
        wrong = await it.ask("PATCH", "/d", {"trafficSplit": {"canary": 5}})
        await it.good("POST", "/d/start")
        running_ = await it.ask("PATCH", "/d", {"name": "y"})
        kept = await it.ask("DELETE", "/d")
    criteria = changed.json()["successCriteria"]
    assert (criteria["minRequests"], criteria["maxErrorRate"], criteria["maxLatencyP95"]) == (5, 0.1, None)
    assert (old.status_code, old.json()["code"]) == (412, "precondition_failed")
    assert (fixed.status_code, fixed.json()["details"]) == (400, {"field": "status"})
    assert (wrong.status_code, wrong.json()["details"]) == (400, {"field": "trafficSplit"})
    assert (running_.status_code, running_.json()["code"]) == (409, "conflict")
    assert (kept.status_code, kept.json()["code"]) == (409, "conflict")


async def test_one_that_does_not_run_is_forgotten(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.good("POST", body=ORDER)
        assert await it.good("DELETE", "/d") == {"success": True, "deploymentId": "d"}
        assert (await it.ask("GET", "/d")).status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"trafficSplit": {"production": 50, "canary": 40}}, "trafficSplit"),
        ({"trafficSplit": {"production": 0, "canary": 101}}, "trafficSplit.canary"),
        ({"canaryModelId": "old"}, "canaryModelId"),
        ({"canaryModelId": "deep"}, "canaryModelId"),
        ({"rolloutStrategy": {"type": "sudden"}}, "rolloutStrategy.type"),
        ({"successCriteria": {"minRequests": 0}}, "successCriteria.minRequests"),
        ({"status": "active"}, "status"),
        ({"id": "a/b"}, "id"),
    ],
)
async def test_a_wrong_order_names_the_field_to_blame(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    async with api(tmp_path) as it:
        answer = await it.ask("POST", body=ORDER | change)
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": field})


async def test_an_id_is_made_where_none_is_given_and_taken_once(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        order = {name: value for name, value in ORDER.items() if name != "id"}
        ids = {(await it.good("POST", body=order))["id"] for _ in range(2)}
        await it.good("POST", body=ORDER)
        taken = await it.ask("POST", body=ORDER)
    assert len(ids) == 2
    assert (taken.status_code, taken.json()["code"]) == (409, "already_exists")


async def test_viewers_look_and_keys_of_workspaces_have_no_part_in_it(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.good("POST", body=ORDER)
        for path in ("", "/d", "/d/metrics"):
            assert (await it.ask("GET", path, key=VIEWER)).status_code == 200
            assert (await it.ask("GET", path, key=BOUND)).status_code == 403
        statuses = {move: (await it.ask("POST", f"/d/{move}", key=VIEWER)).status_code for move in MOVES}
        assert statuses == {move: 409 if move == "decision" else 403 for move in MOVES}
        for method, path in (("POST", ""), ("PATCH", "/d"), ("DELETE", "/d")):
            assert (await it.ask(method, path, ORDER, key=VIEWER)).status_code == 403


async def test_a_deployment_without_limits_is_told_what_that_means_until_it_has_ended(tmp_path: Path) -> None:
    criteria = {"successCriteria": {"minRequests": 1}, "rollbackCriteria": {}}
    async with api(tmp_path) as it:
        made = await it.good("POST", body=ORDER | criteria)
        await it.good("POST", "/d/start")
        running_one = await it.good("GET", "/d")
        ended = await it.good("POST", "/d/rollback")
    assert [warning.partition(":")[0] for warning in made["warnings"]] == [
        "It has no rollback criterion",
        "It has no success criterion",
    ]
    assert running_one["warnings"] == made["warnings"]
    assert "warnings" not in ended
