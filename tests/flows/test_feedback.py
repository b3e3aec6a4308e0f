"""POST /v1/feedback and /api/feedback from end to end, over a real database."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from octoroute_py.admission.principal import Principal
from octoroute_py.core.words import Role
from octoroute_py.edge.api.feedback import FeedbackRoutes
from octoroute_py.edge.api.route import RouteCalls
from octoroute_py.edge.asgi import Table
from octoroute_py.gateway.idempotency import Idempotency
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.manage.feedback import Feedback
from octoroute_py.manage.store import Store
from octoroute_py.storage.db import Database
from tests.edge.api.test_route import ASKED
from tests.fakes import bodies
from tests.fakes.application import httpx_config, running, upstreams
from tests.fakes.keyed import Keyed, holder
from tests.fakes.rows import write

KEYS = "".join(
    f'[[auth.keys]]\nname = "{role}"\nrole = "{role}"\nsha256 = "{hashlib.sha256(role.encode()).hexdigest()}"\n'
    for role in ("inference", "viewer", "operator")
)
JSON = {"content-type": "application/json"}


@contextlib.asynccontextmanager
async def gateway(
    folder: Path, *rows: dict[str, Any], keys: dict[str, Principal] | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway whose journal holds these rows; its keys are called as their roles, or they are these."""
    database = Database.open("sqlite:///x.db", base_dir=folder)
    database.write(lambda connection: write(connection, *rows))
    try:
        async with running(httpx_config(KEYS)) as one:
            if keys is not None:
                one.application.gateway.access = Keyed(keys)  # type: ignore[assignment]
            app = resources(one.application.gateway, database)
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                yield client
    finally:
        database.close()


def resources(gateway: Gateway, database: Database) -> Starlette:
    """The routes whose rows are in a database, on their own."""
    feedback = Feedback(Store(database), wall=lambda: 1_700_000_000.042, behind=lambda: False)
    table = Table(gateway)
    FeedbackRoutes(feedback).add_to(table)
    RouteCalls(gateway, Idempotency(gateway.monotonic), answered=feedback.answered).add_to(table)
    return Starlette(routes=table.routes)


def key(role: str) -> dict[str, str]:
    return {"authorization": f"Bearer {role}"}


async def test_feedback_in_the_words_of_the_api_is_kept_and_told(tmp_path: Path) -> None:
    async with gateway(tmp_path, {"request_id": "a/b:1", "workspace": "w"}) as client:
        given = await client.post(
            "/api/feedback",
            json={"requestId": "a/b:1", "rating": 4, "success": True, "smallerTierWouldDo": False},
            headers=key("operator"),
        )
        told = await client.get("/api/feedback/a/b:1", headers=key("viewer"))
    assert (given.status_code, given.json()) == (200, {"success": True, "requestId": "a/b:1"})
    assert (told.status_code, told.json()) == (
        200,
        {
            "requestId": "a/b:1",
            "workspaceId": "w",
            "modelId": "fast/small#1",
            "tier": "fast",
            "rating": 4,
            "success": True,
            "smallerTierWouldDo": False,
            "timestamp": "2023-11-14T22:13:20.042Z",
            "givenBy": "operator",
        },
    )


async def test_feedback_in_openais_words_is_the_same(tmp_path: Path) -> None:
    async with gateway(tmp_path, {}) as client:
        given = await client.post(
            "/v1/feedback", json={"request_id": "r-1", "smaller_tier_would_do": True}, headers=key("inference")
        )
        told = await client.get("/api/feedback/r-1", headers=key("operator"))
    assert (given.status_code, given.json()) == (200, {"success": True, "request_id": "r-1"})
    assert (told.json()["smallerTierWouldDo"], told.json()["rating"]) == (True, None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "request_id"),
        ({"request_id": 5, "rating": 1}, "request_id"),
        ({"request_id": "r-1", "rating": 0}, "rating"),
        ({"request_id": "r-1", "rating": 6}, "rating"),
        ({"request_id": "r-1", "rating": 4.5}, "rating"),
        ({"request_id": "r-1", "rating": True}, "rating"),
        ({"request_id": "r-1", "success": "yes"}, "success"),
        ({"request_id": "r-1", "smaller_tier_would_do": 1}, "smaller_tier_would_do"),
        ({"request_id": "r-1", "comment": "good"}, "comment"),
        ({"request_id": "r-1"}, None),
        ({"request_id": "r-1", "rating": None}, None),
    ],
)
async def test_what_is_wrong_is_told_in_the_shape_of_each_path(
    tmp_path: Path, body: dict[str, Any], field: str | None
) -> None:
    names = {"request_id": "requestId", "smaller_tier_would_do": "smallerTierWouldDo"}
    camel = {names.get(name, name): value for name, value in body.items()}
    async with gateway(tmp_path, {}) as client:
        openai = await client.post("/v1/feedback", json=body, headers=key("inference"))
        api = await client.post("/api/feedback", json=camel, headers=key("operator"))
    assert (openai.status_code, api.status_code) == (400, 400)
    assert openai.json()["error"]["param"] == field
    assert api.json().get("details") == (None if field is None else {"field": names.get(field, field)})


async def test_roles_are_asked_for(tmp_path: Path) -> None:
    async with gateway(tmp_path, {}) as client:
        for method, path, roles in (
            ("POST", "/v1/feedback", {"inference", "operator"}),
            ("POST", "/api/feedback", {"operator"}),
            ("GET", "/api/feedback/r-1", {"viewer", "operator"}),
        ):
            for role in ("inference", "viewer", "operator"):
                answer = await client.request(method, path, json={}, headers=key(role))
                assert (answer.status_code == 403) == (role not in roles), (path, role)


async def test_an_unknown_request_is_404_in_the_shape_of_each_path(tmp_path: Path) -> None:
    async with gateway(tmp_path, {}) as client:
        openai = await client.post("/v1/feedback", json={"request_id": "r-9", "rating": 1}, headers=key("inference"))
        api = await client.get("/api/feedback/r-9", headers=key("viewer"))
    assert (openai.status_code, openai.json()["error"]["code"]) == (404, "not_found")
    assert (api.status_code, api.json()) == (404, {"error": "There is no such request.", "code": "not_found"})


async def test_a_routed_request_that_was_answered_before_a_restart_is_not_sent_again(tmp_path: Path) -> None:
    answered = {"request_id": "req-1", "workspace": "acme", "request_type": "chat"}
    async with gateway(tmp_path, answered) as client:
        with upstreams() as mock:
            upstream = mock.post(path="/v1/chat/completions")
            upstream.respond(content=bodies.chat_body("New."), headers=JSON)
            for _ in range(2):
                again = await client.post("/api/route", json=ASKED, headers=key("inference"))
                assert (again.status_code, again.json()["code"]) == (409, "idempotency_not_kept")
                assert "no longer kept" in again.json()["error"]
            assert upstream.call_count == 0
            for changed in ({"id": "req-2"}, {"workspaceId": "other"}):
                fresh = await client.post("/api/route", json=ASKED | changed, headers=key("inference"))
                assert fresh.status_code == 200


async def test_a_bound_key_judges_requests_of_its_own_workspaces_and_knows_of_no_other(tmp_path: Path) -> None:
    rows = [{"request_id": name, "workspace": name} for name in ("red", "blue")]
    async with gateway(tmp_path, *rows, keys={"bound": holder(Role.OPERATOR, workspaces=("red",))}) as client:
        for method, path, name in (
            ("POST", "/v1/feedback", "request_id"),
            ("POST", "/api/feedback", "requestId"),
            ("GET", "/api/feedback", None),
        ):
            answers = {}
            for request_id in ("red", "blue", "none"):
                address = path if name else f"{path}/{request_id}"
                body = {name: request_id, "rating": 1} if name else None
                answers[request_id] = await client.request(method, address, json=body, headers=key("bound"))
            assert answers["red"].status_code == 200, path
            assert answers["blue"].status_code == answers["none"].status_code == 404, path
            assert answers["blue"].content == answers["none"].content, path


async def test_a_gateway_that_keeps_nothing_says_what_to_configure() -> None:
    async with running(httpx_config()) as one:
        openai = await one.client.post("/v1/feedback", json={"request_id": "r-1", "rating": 1})
        api = await one.client.get("/api/feedback/r-1")
    assert (openai.status_code, openai.json()["error"]["code"]) == (503, "storage_off")
    assert (api.status_code, api.json()["code"]) == (503, "storage_off")
    assert "[storage]" in api.json()["error"]
