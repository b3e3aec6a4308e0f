"""Past decisions over HTTP: who may see which, what the journal still knows, and the playground's two routes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.words import Role
from octoroute_py.edge.guard import Guarded
from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.keyed import Keyed, holder, shown
from tests.fakes.waiting import until

JSON = {"content-type": "application/json"}
CHAT: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
KEYS = {
    "mine": holder(Role.INFERENCE, key_id="key_mine"),
    "other": holder(Role.INFERENCE, key_id="key_other"),
    "viewer": holder(Role.VIEWER, key_id="key_viewer"),
    "operator": holder(Role.OPERATOR, key_id="key_operator"),
    "red": holder(Role.OPERATOR, key_id="key_red", workspaces=("red",)),
    "blue": holder(Role.OPERATOR, key_id="key_blue", workspaces=("blue",)),
}


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Running]:
    config = httpx_config(f'[storage]\nurl = "sqlite:///{tmp_path / "x.db"}"\n')
    with upstreams() as mock:
        mock.route(host="deep.test").respond(status_code=500, content=bodies.error_body(), headers=JSON)
        mock.route().respond(content=bodies.chat_body("Hello."), headers=JSON)
        async with running(config) as made:
            gateway = made.application.gateway
            gateway.access = Keyed(KEYS)  # type: ignore[assignment]
            gateway.policies = {"red": WorkspacePolicy(), "blue": WorkspacePolicy()}
            yield made


async def chat(one: Running, key: str, *, id_: str | None = None, status: int = 200, **more: Any) -> str:
    """A chat of this key; the id of its request."""
    headers = shown(key) | ({} if id_ is None else {"x-request-id": id_})
    answer = await one.client.post("/v1/chat/completions", json=CHAT | more, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.headers["x-request-id"]


async def told(one: Running, key: str, id_: str, query: str = "", *, path: str = "v1/routing") -> httpx.Response:
    """The receipt; on a busy disk the journal may be behind for a moment: nobody is told then that there is none."""
    answers: list[httpx.Response] = []

    async def known() -> bool:
        answers.append(await one.client.get(f"/{path}/decisions/{id_}{query}", headers=shown(key)))
        return answers[-1].status_code != 503

    await until(known)
    return answers[-1]


async def statuses(one: Running, id_: str, *keys: str, path: str = "v1/routing") -> list[int]:
    return [(await told(one, key, id_, path=path)).status_code for key in keys]


async def forget(one: Running, *ids: str, rows: int = 1) -> None:
    """As after a restart: only the journal is left, once it has these requests."""
    path = "/api/metrics/requests?requestId="

    async def kept() -> bool:
        answers = [await one.client.get(path + each, headers=shown("viewer")) for each in ids]
        return all(answer.json()["count"] == rows for answer in answers)

    await until(kept)
    one.application.gateway.receipts = type(one.application.gateway.receipts)()


@pytest.mark.parametrize("remembered", [True, False])
async def test_a_key_sees_its_own_and_viewers_see_all(one: Running, remembered: bool) -> None:
    id_ = await chat(one, "mine")
    if not remembered:
        await forget(one, id_)
    assert await statuses(one, id_, "mine", "other", "operator") == [200, 404, 200]
    assert await statuses(one, id_, "viewer", "mine", path="api") == [200, 403]
    unknown, another = [(await told(one, "other", each)).json()["error"] for each in (id_, "nobody")]
    assert unknown == another
    keys = [(await told(one, key, id_)).json()["request"]["key"] for key in ("mine", "operator")]
    assert keys == [None, {"id": "key_mine", "name": "inference of the team" if remembered else None}]


@pytest.mark.parametrize("remembered", [True, False])
async def test_a_bound_key_knows_of_no_decision_of_another_workspace(one: Running, remembered: bool) -> None:
    id_ = await chat(one, "red")
    if not remembered:
        await forget(one, id_)
    for path in ("v1/routing", "api"):
        assert await statuses(one, id_, "red", "blue", "operator", path=path) == [200, 404, 200]
    assert (await told(one, "red", id_)).json()["request"]["workspace"] == "red"


async def test_an_unknown_request_is_404_in_the_shape_of_the_path(one: Running) -> None:
    answer = await told(one, "operator", "nobody")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    answer = await told(one, "operator", "a%20b", path="api")
    assert (answer.status_code, answer.json()) == (404, {"error": "There is no such request.", "code": "not_found"})


async def test_requests_of_one_id_are_told_apart_newest_first(one: Running) -> None:
    for model in ("fast", "balanced"):
        await chat(one, "mine", id_="twice", model=model)
    await chat(one, "other", id_="twice", model="deep", status=502)
    await forget(one, "twice", rows=3)
    await chat(one, "mine", id_="twice", model="fast", messages=[{"role": "user", "content": "three words here"}])
    mine = (await told(one, "mine", "twice")).json()
    assert len(mine["entries"]) == 3
    assert mine["request"]["entry"] == mine["entries"][0]
    each = [(await told(one, "mine", "twice", f"?entry={entry}")).json() for entry in mine["entries"]]
    assert [one_["complete"] for one_ in each] == [True, False, False]
    assert [one_["tier"] for one_ in each] == ["fast", "balanced", "fast"]
    assert len((await told(one, "operator", "twice")).json()["entries"]) == 4
    assert (await told(one, "mine", "twice", "?entry=1")).status_code == 404
    assert (await told(one, "mine", "twice", "?entry=first")).status_code == 400


async def test_the_journal_tells_what_it_knows_and_that_it_is_not_all(one: Running) -> None:
    id_ = await chat(one, "mine", octoroute={"agent_type": "coder"})
    whole = (await told(one, "operator", id_)).json()
    await forget(one, id_)
    left = (await told(one, "operator", id_)).json()
    assert (whole["complete"], left["complete"]) == (True, False)
    assert (left["facts"], left["rules"], left["why_endpoint"], left["request"]["generation"]) == (None, [], None, None)
    same = ("tier", "strategy", "reason", "endpoint", "answered_tier", "answered_reason", "timing", "usage")
    assert [left[name] for name in same] == [whole[name] for name in same]
    assert [left[name] for name in ("cost_usd", "baseline_usd", "saved_usd")] == [
        whole[name] for name in ("cost_usd", "baseline_usd", "saved_usd")
    ]
    assert left["request"] == whole["request"] | {
        "generation": None,
        "key": {"id": "key_mine", "name": None},
    }
    assert [each["endpoint"] for each in left["attempts"]] == [whole["endpoint"]]
    assert left["attempts"][0]["started_ms"] is None


@pytest.mark.parametrize("remembered", [True, False])
async def test_a_request_that_failed_tells_its_attempts_and_its_error(one: Running, remembered: bool) -> None:
    id_ = await chat(one, "mine", model="deep", status=502)
    if not remembered:
        await forget(one, id_)
    found = (await told(one, "mine", id_)).json()
    assert found["request"] | {} == found["request"] | {"status": 502, "outcome": "error"}
    assert found["request"]["error_code"]
    assert found["attempts"]
    assert {each["status"] for each in found["attempts"]} == {500}
    assert found["saved_usd"] is None


async def test_without_a_database_only_what_is_remembered_is_known() -> None:
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers=JSON)
        async with running(httpx_config()) as bare:
            id_ = (await bare.chat(headers={"x-request-id": "given"})).headers["x-request-id"]
            found = [await bare.client.get(f"/v1/routing/decisions/{each}") for each in (id_, "nobody")]
    assert [answer.status_code for answer in found] == [200, 404]
    assert found[0].json()["complete"] is True


async def test_a_request_that_was_refused_is_known_from_the_journal(one: Running) -> None:
    id_ = await chat(one, "mine", model="nobody", status=404)
    await forget(one, id_)
    found = (await told(one, "mine", id_)).json()
    assert (found["tier"], found["attempts"], found["request"]["status"]) == (None, [], 404)


async def test_reading_a_receipt_changes_nothing(one: Running) -> None:
    id_ = await chat(one, "mine")
    first = (await told(one, "mine", id_)).content
    assert all([(await told(one, "mine", id_)).content == first for _ in range(50)])


async def test_the_playground_is_the_same_as_the_routes_for_clients(one: Running) -> None:
    key = shown("operator")
    told_ = [
        (await one.client.post(path, json=CHAT, headers=key)).json()
        for path in ("/v1/routing/explain", "/api/playground/explain")
    ]
    assert told_[0] == told_[1]
    answer = await one.client.post("/api/playground/chat", json=CHAT, headers=key)
    assert answer.json()["choices"][0]["message"]["content"] == "Hello."
    found = (await told(one, "operator", answer.headers["x-request-id"], path="api")).json()
    assert found["tier"] == told_[0]["tier"] == answer.headers["x-octoroute-tier"]


async def test_the_playground_tells_errors_in_the_shape_of_the_api(one: Running) -> None:
    for path in ("chat", "explain"):
        answer = await one.client.post(
            f"/api/playground/{path}", json=CHAT | {"model": "nobody"}, headers=shown("operator")
        )
        assert (answer.status_code, set(answer.json())) == (404, {"error", "code", "details"}), answer.text
    failed = await one.client.post("/api/playground/chat", json=CHAT | {"model": "deep"}, headers=shown("operator"))
    assert (failed.status_code, set(failed.json())) == (502, {"error", "code"})


async def test_the_playground_keeps_to_the_workspaces_of_the_key(one: Running) -> None:
    for path in ("chat", "explain"):
        for name, status in (("red", 200), ("blue", 403), ("no-such", 403)):
            headers = shown("red") | {"x-octoroute-workspace": name}
            answer = await one.client.post(f"/api/playground/{path}", json=CHAT, headers=headers)
            assert answer.status_code == status, answer.text


ROLES = {
    ("GET", "/v1/routing/decisions/{id:path}"): Role.INFERENCE,
    ("GET", "/api/decisions/{id:path}"): Role.VIEWER,
    ("POST", "/api/playground/explain"): Role.OPERATOR,
    ("POST", "/api/playground/chat"): Role.OPERATOR,
}


async def test_every_route_asks_for_its_role(one: Running) -> None:
    found = {(method, route.path): route.app for route in one.application.table for method in route.methods or ()}
    for route, role in ROLES.items():
        guard = found[route]
        assert isinstance(guard, Guarded)
        assert guard.role is role
