"""A key that is bound to workspaces sees and uses those and nothing of any other, on every route there is (P45).

A route that says it keeps to its principal's workspaces needs an entry here that names the test that shows it. All the
others are closed to such keys, or open to everybody and tell a bound key no more than a stranger.
"""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.words import Role
from octoroute_py.edge.guard import Guarded, Reach
from octoroute_py.edge.wire_io import PLAIN_ERRORS
from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.keyed import Keyed, holder, shown
from tests.fakes.repository import ROOT

HERE = "tests/edge/test_isolation.py"
MODELS = "tests/edge/test_models.py::test_a_key_sees_what_it_and_its_own_workspace_may_use_and_nothing_else"
FEEDBACK = "tests/manage/test_feedback.py::test_a_request_of_another_workspace_is_as_unknown_as_none"
WORKSPACES = (
    "tests/edge/api/test_workspaces.py::test_a_bound_key_reads_and_changes_its_own_workspaces_and_knows_of_no_other"
)
BY_HEADER = f"{HERE}::test_another_workspace_is_refused_by_header_and_nothing_is_sent"
FEEDBACK = "tests/flows/test_feedback.py::test_a_bound_key_judges_requests_of_its_own_workspaces_and_knows_of_no_other"
AS_ROUTED = f"{HERE}::test_another_workspace_is_refused_in_the_model_routers_words_and_nothing_is_sent"
BY_BODY = f"{HERE}::test_another_workspace_is_refused_by_body_and_nothing_is_sent"

ROWS = "tests/edge/api/test_analytics.py::test_a_bound_key_sees_the_rows_of_its_workspaces_alone"
NO_OTHER = "tests/edge/api/test_analytics.py::test_to_a_bound_key_other_workspaces_do_not_exist"
DESCRIPTION = "tests/edge/test_openapi.py::test_a_key_that_is_bound_to_workspaces_reads_what_every_other_reads"
PLAYGROUND = "tests/edge/api/test_decisions.py::test_the_playground_keeps_to_the_workspaces_of_the_key"
RECEIPTS = "tests/edge/api/test_decisions.py::test_a_bound_key_knows_of_no_decision_of_another_workspace"

OWN: dict[tuple[str, str], tuple[str, ...]] = {
    ("POST", "/v1/chat/completions"): (BY_HEADER, BY_BODY),
    ("POST", "/v1/completions"): (BY_HEADER, BY_BODY),
    ("POST", "/v1/embeddings"): (BY_HEADER, BY_BODY),
    ("POST", "/v1/responses"): (BY_HEADER, BY_BODY),
    ("POST", "/v1/routing/explain"): (BY_HEADER, BY_BODY),
    ("GET", "/v1/routing/decisions/{id:path}"): (RECEIPTS,),
    ("GET", "/api/decisions/{id:path}"): (RECEIPTS,),
    ("POST", "/api/playground/explain"): (PLAYGROUND,),
    ("POST", "/api/playground/chat"): (PLAYGROUND,),
    ("POST", "/chat"): (BY_HEADER,),
    ("POST", "/api/route"): (AS_ROUTED,),
    ("POST", "/v1/feedback"): (FEEDBACK,),
    ("POST", "/api/feedback"): (FEEDBACK,),
    ("GET", "/api/feedback/{id:path}"): (FEEDBACK,),
    ("GET", "/v1/models"): (MODELS,),
    ("GET", "/v1/models/{id:path}"): (MODELS,),
    ("GET", "/models"): (MODELS,),
    ("GET", "/openapi.json"): (DESCRIPTION,),
    ("GET", "/api/analytics/models"): (ROWS,),
    ("GET", "/api/analytics/workspaces/{id:path}"): (ROWS, NO_OTHER),
    ("GET", "/api/analytics/savings"): (ROWS,),
    ("GET", "/api/metrics/requests"): (ROWS, NO_OTHER),
    ("GET", "/api/workspaces"): (WORKSPACES,),
    ("GET", "/api/workspaces/{id:path}/config"): (WORKSPACES,),
    ("POST", "/api/workspaces/{id:path}/config"): (WORKSPACES,),
    ("DELETE", "/api/workspaces/{id:path}/config"): (WORKSPACES,),
}
"""Routes with `Reach.OWN`, and the tests that show for each that it keeps to the workspaces of the key."""

PAGE = ("/dashboard", "/dashboard/", "/dashboard/static/{path:path}")
OPEN = {("GET", path) for path in ("/health", "/health/live", "/health/ready", "/metrics", "/info", *PAGE)}
"""Routes without a role: they tell what holds for everybody, and a bound key learns no more there than a stranger."""

ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]},
    "/v1/completions": {"model": "fast", "prompt": "Hi"},
    "/v1/embeddings": {"model": "fast", "input": "Hi"},
    "/v1/responses": {"model": "fast", "input": "Hi"},
    "/v1/routing/explain": {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]},
    "/chat": {"message": "Hi"},
}
"""A good request of each route that sends one on."""

KEYS = {role.value: holder(role, workspaces=("red",)) for role in Role}
POLICIES = {"blue": WorkspacePolicy(), "red": WorkspacePolicy()}


def guarded(one: Running) -> Iterator[tuple[tuple[str, str], Guarded]]:
    """Every route of the application as it runs."""
    for route in one.application.table:
        assert isinstance(route.app, Guarded), route.path
        assert route.methods is not None
        for method in route.methods - {"HEAD"}:
            yield (method, route.path), route.app


def enter(one: Running) -> None:
    one.application.gateway.access = Keyed(KEYS)  # type: ignore[assignment]
    one.application.gateway.policies = POLICIES


def address(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "auto", path)


async def asked(one: Running, method: str, path: str, key: str | None) -> httpx.Response:
    content = b"{}" if method in ("POST", "PUT", "PATCH") else None
    headers = {} if key is None else shown(key)
    return await one.client.request(method, address(path), content=content, headers=headers)


async def test_every_route_that_keeps_to_workspaces_is_shown_to_and_every_other_is_closed_or_open() -> None:
    async with running(httpx_config()) as one:
        reaches = dict(guarded(one))
    assert {route for route, app in reaches.items() if app.role is None} == OPEN
    assert {route for route, app in reaches.items() if app.role is not None and app.reach is Reach.OWN} == set(OWN)


@pytest.mark.parametrize("shown_by", sorted({each for tests in OWN.values() for each in tests}))
def test_what_shows_it_exists(shown_by: str) -> None:
    file, _, name = shown_by.partition("::")
    assert re.search(rf"^async def {name}\(", (ROOT / file).read_text(), re.MULTILINE)


async def test_a_route_that_looks_beyond_workspaces_is_closed_to_a_bound_key_whatever_its_role() -> None:
    async with running(httpx_config()) as one:
        enter(one)
        closed = [route for route, app in guarded(one) if app.role is not None and app.reach is Reach.ALL]
        assert closed
        for method, path in closed:
            answer = await asked(one, method, path, Role.ADMIN.value)
            error = answer.json()
            code = error["code"] if path.startswith(PLAIN_ERRORS) else error["error"]["code"]
            assert (answer.status_code, code) == (403, "permission_denied"), path


async def test_an_open_route_tells_a_bound_key_what_it_tells_a_stranger() -> None:
    async with running(httpx_config()) as one:
        enter(one)
        for method, path in OPEN:
            stranger, bound = [await asked(one, method, path, key) for key in (None, Role.ADMIN.value)]
            assert bound.status_code == stranger.status_code, path
            if "json" in bound.headers["content-type"]:
                assert set(bound.json()) == set(stranger.json()), path


@pytest.mark.parametrize("path", [path for (_, path), tests in OWN.items() if BY_HEADER in tests])
async def test_another_workspace_is_refused_by_header_and_nothing_is_sent(path: str) -> None:
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers={"content-type": "application/json"})
        async with running(httpx_config()) as one:
            enter(one)
            answers = [await _ask(one, path, {"x-octoroute-workspace": name}) for name in ("blue", "no-such")]
            assert len(mock.calls) == 0
            own = await _ask(one, path, {"x-octoroute-workspace": "red"})
            home = await _ask(one, path, {})
    _are_refused(answers)
    assert 403 not in (own.status_code, home.status_code)


@pytest.mark.parametrize("path", [path for (_, path), tests in OWN.items() if BY_BODY in tests])
async def test_another_workspace_is_refused_by_body_and_nothing_is_sent(path: str) -> None:
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers={"content-type": "application/json"})
        async with running(httpx_config()) as one:
            enter(one)
            answers = [await _ask(one, path, {}, octoroute={"workspace": name}) for name in ("blue", "no-such")]
            assert len(mock.calls) == 0
            own = await _ask(one, path, {}, octoroute={"workspace": "red"})
    _are_refused(answers)
    assert own.status_code != 403


async def test_another_workspace_is_refused_in_the_model_routers_words_and_nothing_is_sent() -> None:
    body = {"id": "r1", "agentType": "a", "userId": "u", "prompt": "Hi", "parameters": {}, "metadata": {}}
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers={"content-type": "application/json"})
        async with running(httpx_config()) as one:
            enter(one)
            route, key = "/api/route", shown(Role.INFERENCE.value)
            answers = [
                await one.client.post(route, json=body | {"workspaceId": name}, headers=key)
                for name in ("blue", "no-such")
            ]
            assert len(mock.calls) == 0
            own = await one.client.post(route, json=body | {"workspaceId": "red"}, headers=key)
    assert own.status_code == 200
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert answers[0].json()["error"] == answers[1].json()["error"]


async def _ask(one: Running, path: str, headers: dict[str, str], **more: Any) -> httpx.Response:
    return await one.client.post(path, json=ASKED[path] | more, headers=headers | shown(Role.INFERENCE.value))


def _are_refused(answers: list[httpx.Response]) -> None:
    """All alike: nobody learns from it which workspaces there are."""
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
    assert len({answer.content for answer in answers}) == 1
