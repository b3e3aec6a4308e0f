"""`/api/models` over a whole application and its database, asked through the guard as by a client."""

import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec

from octoroute_py.core.catalog import Model, ModelEndpoint
from octoroute_py.core.registry import Kind
from octoroute_py.core.rules import RoutingRule, RuleTarget
from octoroute_py.core.words import Role
from octoroute_py.edge.api import endpoints, model_health, models, resilience
from octoroute_py.edge.guard import Guarded, Reach
from octoroute_py.edge.openapi import errors_of
from octoroute_py.edge.operation import Operation
from octoroute_py.manage.documents import Desk
from octoroute_py.storage import audit
from octoroute_py.telemetry.metrics import Metrics
from tests.fakes.application import Running, httpx_config, running
from tests.fakes.keyed import Keyed, holder, shown

KEYS = {role.value: holder(role) for role in Role} | {"bound": holder(Role.ADMIN, workspaces=("red",))}
README = {
    "name": "gpt-4",
    "version": "1.0.0",
    "provider": "openai",
    "modelType": "chat",
    "capabilities": ["text-generation", "vision"],
    "parameters": {"maxTokens": 8192, "temperature": 0.7},
    "status": "active",
}
HERE = "http://127.0.0.1:8000/v1"
ROUTES = {
    ("POST", "/api/models"): (models.CREATE, Role.OPERATOR),
    ("GET", "/api/models"): (models.LIST, Role.VIEWER),
    ("PATCH", "/api/models/batch/status"): (models.SET_STATUSES, Role.OPERATOR),
    ("PATCH", "/api/models/{id:path}/status"): (models.SET_STATUS, Role.OPERATOR),
    ("GET", "/api/models/{id:path}"): (models.GET, Role.VIEWER),
    ("PATCH", "/api/models/{id:path}"): (models.PATCH, Role.OPERATOR),
    ("DELETE", "/api/models/{id:path}"): (models.DELETE, Role.OPERATOR),
    ("POST", "/api/models/{id:path}/endpoints"): (endpoints.CREATE, Role.OPERATOR),
    ("GET", "/api/models/{id:path}/endpoints"): (endpoints.LIST, Role.VIEWER),
    ("GET", "/api/models/{id:path}/endpoints/{endpoint:path}"): (endpoints.GET, Role.VIEWER),
    ("PATCH", "/api/models/{id:path}/endpoints/{endpoint:path}"): (endpoints.PATCH, Role.OPERATOR),
    ("DELETE", "/api/models/{id:path}/endpoints/{endpoint:path}"): (endpoints.DELETE, Role.OPERATOR),
    ("POST", "/api/models/{id:path}/health"): (model_health.POST, Role.OPERATOR),
    ("GET", "/api/models/{id:path}/health"): (model_health.GET, Role.VIEWER),
    ("GET", "/api/resilience/status"): (resilience.STATUS, Role.VIEWER),
}


class Office:
    """Somebody with a key at a gateway, who looks whether every answer is what its route says of itself."""

    def __init__(self, one: Running) -> None:
        self.one = one
        self.gateway = one.application.gateway

    async def ask(
        self, method: str, path: str, body: object = None, *, key: str = "admin", match: str | None = None
    ) -> httpx.Response:
        content = None if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = shown(key) | ({} if match is None else {"if-match": match})
        answer = await self.one.client.request(method, path, content=content, headers=headers)
        conforms(method, path, answer)
        return answer

    async def register(self, id_: str = "gpt-4", **more: object) -> dict[str, Any]:
        answer = await self.ask("POST", "/api/models", README | {"id": id_} | more)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def ids(self, query: str = "") -> list[str]:
        answer = await self.ask("GET", f"/api/models{query}")
        assert answer.status_code == 200, answer.text
        found = [each["id"] for each in answer.json()["models"]]
        assert answer.json()["count"] == len(found)
        return found


@contextlib.asynccontextmanager
async def office(folder: Path) -> AsyncIterator[Office]:
    text = f'[storage]\nurl = "sqlite:///{folder / "x.db"}"\n[registry]\nallow_networks = ["127.0.0.0/8"]\n'
    async with running(httpx_config(text, deep='capabilities = ["vision"]\nmax_in_flight = 4')) as one:
        it = Office(one)
        it.gateway.access = Keyed(KEYS)  # type: ignore[assignment]
        yield it


def operation_of(method: str, path: str) -> tuple[str, Operation]:
    """The route of a path, by the order that the routes stand in."""
    path = path.partition("?")[0]
    for (known, pattern), (operation, _) in by_length():
        if known == method and re.fullmatch(re.sub(r"\{[^}]*\}", ".+", pattern), path, re.DOTALL):
            return pattern, operation
    raise AssertionError(path)


def by_length() -> Iterator[tuple[tuple[str, str], tuple[Operation, Role]]]:
    return iter(sorted(ROUTES.items(), key=lambda item: -len(re.sub(r"\{[^}]*\}", "", item[0][1]))))


def conforms(method: str, path: str, answer: httpx.Response) -> None:
    """The answer is one that the route says it has."""
    pattern, operation = operation_of(method, path)
    if answer.status_code == operation.status:
        schema = msgspec.json.schema(operation.answer)
        jsonschema.Draft202012Validator(schema).validate(answer.json())
        assert answer.headers["cache-control"] == "no-store"
    else:
        assert answer.status_code in errors_of(pattern, operation), (method, path, answer.text)
        assert set(answer.json()) <= {"error", "code", "details"}


def said(answer: httpx.Response) -> tuple[int, str, str | None]:
    body = answer.json()
    return answer.status_code, body["code"], body.get("details", {}).get("field")


async def test_every_route_has_its_role_looks_everywhere_and_says_what_it_takes_and_gives(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        found = {}
        for route in api.one.application.table:
            assert isinstance(route.app, Guarded)
            for method in (route.methods or set()) - {"HEAD"}:
                if route.path.startswith(("/api/models", "/api/resilience")):
                    found[method, route.path] = route.app.role
                    assert route.app.reach is Reach.ALL
        assert found == {route: role for route, (_, role) in ROUTES.items()}
        for (method, path), (_, needed) in ROUTES.items():
            where = path.replace("{id:path}", "fast-model").replace("{endpoint:path}", "x")
            for role in Role:
                status = (await api.ask(method, where, b"{}", key=role.value)).status_code
                assert (status == 403) is not role.includes(needed), (method, path, role)
            assert (await api.ask(method, where, b"{}", key="bound")).status_code == 403
            assert (await api.ask(method, where, b"{}", key="nobody")).status_code == 401


async def test_a_model_as_the_readme_has_it_is_registered_and_told_back(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        answer = await api.ask("POST", "/api/models", README, key="operator")
        made = answer.json()
        assert answer.status_code == 201
        assert {name: made[name] for name in README} == README
        assert (made["source"], made["tier"], made["endpoints"]) == ("api", "balanced", [])
        assert re.fullmatch(r"[0-9a-f-]{36}", made["id"])
        assert made["createdAt"] == made["updatedAt"]
        told = await api.ask("GET", f"/api/models/{made['id']}", key="viewer")
        assert (told.status_code, told.json()) == (200, made)
        assert told.headers["etag"] == answer.headers["etag"]


async def test_what_is_told_can_be_registered_again_elsewhere(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        made = await api.register(endpoints=[{"url": HERE}])
        await api.ask("DELETE", "/api/models/gpt-4")
        body = {name: made[name] for name in (*(f.encode_name for f in msgspec.structs.fields(Model)), "endpoints")}
        again = (await api.ask("POST", "/api/models", body)).json()
        times = ("createdAt", "updatedAt")
        assert {k: v for k, v in again.items() if k not in times} == {k: v for k, v in made.items() if k not in times}


NO_MODELS: list[tuple[object, str | None]] = [
    ({"provider": "openai"}, "name"),
    (README | {"provider": "google"}, "provider"),
    (README | {"modelType": "video"}, "modelType"),
    (README | {"status": "broken"}, "status"),
    (README | {"tier": "huge"}, "tier"),
    (README | {"nonsense": 1}, "nonsense"),
    (README | {"capabilities": "chat"}, "capabilities"),
    (README | {"name": "two\nlines"}, "name"),
    (README | {"name": "\x1b[31mred"}, "name"),
    (README | {"name": "nul\x00"}, "name"),
    (README | {"description": "nul\x00"}, "description"),
    (README | {"id": ""}, "id"),
    (README | {"id": "a/b"}, "id"),
    (README | {"id": "a\n"}, "id"),
    (README | {"id": "ünï"}, "id"),
    (README | {"id": "x" * 129}, "id"),
    (README | {"id": "%_%"}, "id"),
    (README | {"priority": 0}, "priority"),
    (README | {"credential": "nobody's"}, "credential"),
    (README | {"endpoints": [{"url": HERE, "weight": 0}]}, "endpoints[0].weight"),
    (README | {"endpoints": [{"url": HERE, "id": "deep"}]}, "endpoints[0].id"),
    (README | {"endpoints": [{"url": HERE}] * 65}, "endpoints"),
    (b"[]", None),
    (b"{", None),
    (b'{"name": "\\ud800", "provider": "openai"}', None),
]


async def test_what_is_no_model_is_refused_and_the_field_is_named(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        for body, field in NO_MODELS:
            answer = await api.ask("POST", "/api/models", body)
            assert said(answer) == (400, "invalid_request_error", field), body
        assert await api.ids("?source=api") == []


async def test_models_are_listed_by_what_is_asked_for(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        await api.register("a")
        await api.register("b", provider="anthropic", status="testing", tier="deep", capabilities=["tools"])
        await api.register("c", modelType="embedding", capabilities=["Images", "text-generation"])
        assert await api.ids() == ["fast-model", "balanced-model", "deep-model", "a", "b", "c"]
        for query, expected in (
            ("?source=config", ["fast-model", "balanced-model", "deep-model"]),
            ("?provider=anthropic", ["b"]),
            ("?provider=azure", []),
            ("?modelType=embedding", ["c"]),
            ("?status=testing&tier=deep", ["b"]),
            ("?status=active&source=api", ["a", "c"]),
            ("?capabilities=VISION", ["deep-model", "a", "c"]),
            ("?capabilities=vision,text-generation", ["a", "c"]),
            ("?capabilities=nothing-has-it", []),
            ("?capabilities=", ["fast-model", "balanced-model", "deep-model", "a", "b", "c"]),
        ):
            assert await api.ids(query) == expected, query


NO_FILTERS = [
    "provider=google",
    "modelType=",
    "status=ACTIVE",
    "tier=auto",
    "source=db",
    "nonsense=1",
    "tier=fast&tier=deep",
]


async def test_a_filter_that_nothing_can_pass_is_refused(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        for query in NO_FILTERS:
            answer = await api.ask("GET", f"/api/models?{query}")
            assert said(answer) == (400, "invalid_request_error", query.partition("=")[0])


async def test_a_patch_changes_what_it_names_and_null_takes_away(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        made = await api.register(contextWindow=8000, parameters={"temperature": 1, "topP": 0.5})
        answer = await api.ask(
            "PATCH",
            "/api/models/gpt-4",
            {"tier": "deep", "contextWindow": None, "parameters": {"topP": None, "maxTokens": 5}, "tags": ["x"]},
            key="operator",
        )
        changed = answer.json()
        assert changed["parameters"] == {"temperature": 1, "maxTokens": 5}
        assert (changed["tier"], changed["contextWindow"], changed["tags"]) == ("deep", None, ["x"])
        same = {"tier", "contextWindow", "parameters", "tags", "updatedAt", "warnings"}
        assert {k: v for k, v in changed.items() if k not in same} == {k: v for k, v in made.items() if k not in same}


NO_PATCHES: list[tuple[object, str | None]] = [
    ({"id": "other"}, "id"),
    ({"createdAt": "2020-01-01T00:00:00.000Z"}, "createdAt"),
    ({"name": None}, "name"),
    ({"status": "nonsense"}, "status"),
    ({"parameters": {"temperature": 9}}, "parameters.temperature"),
    ({"endpoints": []}, "endpoints"),
    ({"credential": "strange"}, "credential"),
    (b"null", None),
    (b'{"parameters": {"x": ' + b'{"x": ' * 40 + b"1" + b"}" * 42, None),
]


async def test_a_patch_that_makes_no_model_changes_nothing(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        made = await api.register()
        for patch, field in NO_PATCHES:
            answer = await api.ask("PATCH", "/api/models/gpt-4", patch)
            assert said(answer) == (400, "invalid_request_error", field), patch
        assert (await api.ask("GET", "/api/models/gpt-4")).json() == made


async def test_who_has_an_old_copy_changes_nothing(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        await api.register(endpoints=[{"url": HERE}])
        one, its = "/api/models/gpt-4", "/api/models/gpt-4/endpoints/gpt-4:1"
        for path, patch in ((one, {"tags": ["x"]}), (its, {"weight": 2})):
            old = (await api.ask("GET", path)).headers["etag"]
            done = await api.ask("PATCH", path, patch, match=old)
            assert done.status_code == 200
            assert done.headers["etag"] == (await api.ask("GET", path)).headers["etag"] != old
            for method, where, body in (
                ("PATCH", path, patch),
                ("DELETE", path, None),
                ("PATCH", f"{one}/status", {"status": "active"}),
            ):
                answer = await api.ask(method, where, body, match=old)
                assert said(answer) == (412, "precondition_failed", None), where
            assert said(await api.ask("PATCH", path, patch, match="W/x")) == (400, "invalid_request_error", "If-Match")
            assert (await api.ask("PATCH", path, patch, match="*")).status_code == 200


async def test_a_status_is_set_as_the_model_router_does_it(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        await api.register()
        answer = await api.ask("PATCH", "/api/models/gpt-4/status", {"status": "deprecated"})
        assert answer.json() == {
            "success": True,
            "message": "The model is deprecated.",
            "modelId": "gpt-4",
            "status": "deprecated",
        }
        assert (await api.ask("GET", "/api/models/gpt-4")).json()["status"] == "deprecated"
        assert said(await api.ask("PATCH", "/api/models/gpt-4/status", {"status": "off"}))[2] == "status"
        assert (await api.ask("PATCH", "/api/models/no/status", {"status": "active"})).status_code == 404
        of_file = await api.ask("PATCH", "/api/models/fast-model/status", {"status": "active"})
        assert said(of_file) == (409, "read_only", None)


async def test_several_statuses_are_set_at_once_and_each_tells_what_became_of_it(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        await api.register("a")
        await api.register("b")
        wanted = [("a", "inactive"), ("no such", "active"), ("fast-model", "inactive"), ("b", "canary")]
        body = {"updates": [{"modelId": model, "status": status} for model, status in wanted]}
        answer = await api.ask("PATCH", "/api/models/batch/status", body)
        assert answer.json()["summary"] == {"total": 4, "successful": 2, "failed": 2}
        results = answer.json()["results"]
        assert [each["modelId"] for each in results] == [model for model, _ in wanted]
        assert [set(each) for each in results] == [{"modelId", "success"}] + [{"modelId", "success", "error"}] * 2 + [
            {"modelId", "success"}
        ]
        assert await api.ids("?status=inactive") == ["a"]
        assert await api.ids("?status=canary") == ["b"]
        for updates in ([], [{"modelId": "a", "status": "active"}] * 501, [{"modelId": "a"}]):
            assert (await api.ask("PATCH", "/api/models/batch/status", {"updates": updates})).status_code == 400


async def test_a_removed_model_is_gone_with_its_endpoints_and_its_health(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        await api.register(endpoints=[{"url": HERE}])
        await api.ask("POST", "/api/models/gpt-4/health", {"uptime": 50})
        answer = await api.ask("DELETE", "/api/models/gpt-4")
        assert answer.json() == {"success": True, "modelId": "gpt-4"}
        for path in ("", "/endpoints", "/endpoints/gpt-4:1", "/health"):
            assert (await api.ask("GET", f"/api/models/gpt-4{path}")).status_code == 404
        assert (await api.ask("DELETE", "/api/models/gpt-4")).status_code == 404
        await api.register()
        assert (await api.ask("GET", "/api/models/gpt-4/health")).json()["healthScore"] is None


async def test_what_a_rule_names_cannot_be_removed(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        await api.register()
        rule = RoutingRule(id="r1", name="r", targets=(RuleTarget(model_id="gpt-4"),))
        database = api.one.application._database
        assert database is not None
        database.submit(
            lambda connection: Desk(connection, at_ms=1, actor="x").put(Kind.RULE, "r1", rule, action="x")
        ).result()
        answer = await api.ask("DELETE", "/api/models/gpt-4")
        assert said(answer) == (409, "in_use", None)
        assert "the rule 'r1'" in answer.json()["error"]


async def test_endpoints_are_registered_changed_and_removed(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        await api.register()
        all_, its = "/api/models/gpt-4/endpoints", "/api/models/gpt-4/endpoints/gpt-4:1"
        body = {"url": f"{HERE}/", "type": "canary", "weight": 0.5, "healthCheckUrl": "http://127.0.0.1:8000/health"}
        made = await api.ask("POST", all_, body, key="operator")
        assert made.status_code == 201
        assert made.json() == {
            "id": "gpt-4:1",
            "modelId": "gpt-4",
            "url": HERE,
            "type": "canary",
            "weight": 0.5,
            "healthCheckUrl": "http://127.0.0.1:8000/health",
            "maxInFlight": None,
            "timeoutSeconds": None,
            "allowNetworks": [],
            "available": True,
            "outBecause": None,
            "breaker": "closed",
            "inFlight": 0,
            "lastCheckSecondsAgo": None,
            "successRate": None,
            "latencyMs": None,
        }
        assert (await api.ask("GET", all_)).json() == {"endpoints": [made.json()], "count": 1}
        assert (await api.ask("GET", its)).json() == made.json()
        changed = await api.ask("PATCH", its, {"healthCheckUrl": None, "maxInFlight": 3, "type": "primary"})
        assert changed.json() == made.json() | {"healthCheckUrl": None, "maxInFlight": 3, "type": "primary"}
        for patch, field in (
            ({"url": "http://169.254.169.254/"}, "url"),
            ({"healthCheckUrl": "http://metadata"}, "healthCheckUrl"),
            ({"modelId": "other"}, "modelId"),
            ({"id": "other"}, "id"),
            ({"weight": -1}, "weight"),
            ({"url": None}, "url"),
        ):
            assert said(await api.ask("PATCH", its, patch)) == (400, "invalid_request_error", field)
        removed = await api.ask("DELETE", its)
        assert removed.json() == {"success": True, "endpointId": "gpt-4:1"}
        assert (await api.ask("GET", all_)).json()["count"] == 0


async def test_only_an_admin_may_allow_networks(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        await api.register()
        body = {"url": "http://10.1.0.5:8000/v1", "allowNetworks": ["10.1.0.0/16"]}
        refused = await api.ask("POST", "/api/models/gpt-4/endpoints", body, key="operator")
        assert said(refused) == (403, "permission_denied", None)
        assert (await api.ask("POST", "/api/models/gpt-4/endpoints", body)).status_code == 201
        its = "/api/models/gpt-4/endpoints/gpt-4:1"
        wider = await api.ask("PATCH", its, {"allowNetworks": ["10.0.0.0/8"]}, key="operator")
        assert said(wider) == (403, "permission_denied", None)
        assert (await api.ask("PATCH", its, {"weight": 2}, key="operator")).status_code == 200


async def test_an_endpoint_of_an_inactive_model_serves_nobody_and_says_so(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        await api.register(status="inactive", endpoints=[{"url": HERE}])
        [told] = (await api.ask("GET", "/api/models/gpt-4/endpoints")).json()["endpoints"]
        assert (told["available"], told["outBecause"], told["breaker"]) == (False, "not_serving", None)


async def test_what_the_file_configures_is_told_and_cannot_be_changed(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        told = await api.ask("GET", "/api/models/deep-model")
        assert told.json()["source"] == "config"
        assert told.json()["createdAt"] is None
        assert "etag" not in told.headers
        listed = (await api.ask("GET", "/api/models/deep-model/endpoints")).json()["endpoints"]
        assert [(each["id"], each["available"], each["maxInFlight"]) for each in listed] == [
            ("deep/deep-model#1", True, 4)
        ]
        its = "/api/models/deep-model/endpoints/deep/deep-model%231"
        assert (await api.ask("GET", its)).json() == listed[0]
        for method, path, body in (
            ("PATCH", "/api/models/deep-model", {"tags": []}),
            ("DELETE", "/api/models/deep-model", None),
            ("POST", "/api/models/deep-model/endpoints", {"url": HERE}),
            ("PATCH", its, {"weight": 2}),
            ("DELETE", its, None),
        ):
            assert said(await api.ask(method, path, body)) == (409, "read_only", None)


async def test_the_readmes_health_comes_out_healthy_and_nothing_changes_by_it(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        await api.register(status="testing")
        generation, version = api.gateway.snapshot.generation, api.gateway.snapshot.registry.version
        path = "/api/models/gpt-4/health"
        body = {"status": "healthy", "responseTime": 500, "errorRate": 0.01, "availability": 99.9}
        answer = await api.ask("POST", path, body, key="operator")
        told = answer.json()
        assert {name: told[name] for name in body} == body
        assert (told["rating"], told["healthScore"]) == ("healthy", 85.39)
        assert told["lastChecked"] is not None
        assert (await api.ask("GET", path, key="viewer")).json() == told
        assert (await api.ask("GET", "/api/models/gpt-4")).json()["status"] == "testing"
        assert (api.gateway.snapshot.generation, api.gateway.snapshot.registry.version) == (generation, version)
        database = api.one.application._database
        assert database is not None
        with database.read() as connection:
            assert [row.action for row in audit.newest(connection, 9)] == ["model.create"]


async def test_a_report_adds_to_those_before_it(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        path = "/api/models/deep-model/health"
        assert (await api.ask("GET", path)).json() == {
            "modelId": "deep-model",
            "status": "unknown",
            "responseTime": None,
            "errorRate": None,
            "availability": None,
            "uptime": None,
            "healthScore": None,
            "rating": "unknown",
            "lastChecked": None,
            "measured": {
                "windowSeconds": 300,
                "requests": 0,
                "successRate": None,
                "averageLatencyMs": None,
                "averageFirstEventMs": None,
            },
        }
        await api.ask("POST", path, {"status": "degraded"})
        for body, points in (
            ({"uptime": 100}, 100),
            ({"errorRate": 1}, 60),
            ({"responseTime": 2000}, 42.86),
            ({"availability": 0}, 30),
        ):
            told = (await api.ask("POST", path, body)).json()
            assert (told["healthScore"], told["status"]) == (points, "degraded")


NO_REPORTS: list[tuple[object, str | None]] = [
    ({}, None),
    ({"uptime": None}, None),
    ({"errorRate": 1.1}, "errorRate"),
    ({"availability": -1}, "availability"),
    ({"uptime": 101}, "uptime"),
    ({"responseTime": -1}, "responseTime"),
    ({"status": "good"}, "status"),
    ({"healthScore": 100}, "healthScore"),
    (b'{"uptime": NaN}', None),
]


async def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        for body, field in NO_REPORTS:
            answer = await api.ask("POST", "/api/models/fast-model/health", body)
            assert said(answer) == (400, "invalid_request_error", field), body


async def test_scores_are_in_the_metrics_for_models_that_there_are(tmp_path: Path) -> None:
    def shown_scores(metrics: Metrics) -> list[str]:
        page = metrics.render("model_router").decode().splitlines()
        return [line for line in page if line.startswith("model_router_model_health_score{")]

    async with office(tmp_path) as api:
        await api.register()
        for model in ("gpt-4", "deep-model"):
            await api.ask("POST", f"/api/models/{model}/health", {"uptime": 75})
        await api.ask("POST", "/api/models/fast-model/health", {"status": "healthy"})
        assert shown_scores(api.gateway.metrics) == [
            'model_router_model_health_score{model_id="deep-model"} 75.0',
            'model_router_model_health_score{model_id="gpt-4"} 75.0',
        ]
    async with office(tmp_path) as api:  # after a restart
        assert len(shown_scores(api.gateway.metrics)) == 2
        await api.ask("DELETE", "/api/models/gpt-4")
        assert shown_scores(api.gateway.metrics) == ['model_router_model_health_score{model_id="deep-model"} 75.0']


ODD = ["%_%", "a'--", "ünï", "x\ny", "\x1b[31m", "{{7*7}}", "x;y", "health", "batch", " ", "x" * 3000, "a:1"]


async def test_an_odd_id_is_as_unknown_as_any_other(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        await api.register()
        for id_ in ODD:
            spelled = "".join(f"%{byte:02X}" for byte in id_.encode())
            its = f"/api/models/{spelled}"
            for method, path, body in (
                ("GET", its, None),
                ("PATCH", its, {"tags": []}),
                ("DELETE", its, None),
                ("GET", f"{its}/endpoints", None),
                ("POST", f"{its}/endpoints", {"url": HERE}),
                ("GET", f"{its}/health", None),
                ("POST", f"{its}/health", {"uptime": 1}),
                ("GET", f"/api/models/gpt-4/endpoints/{spelled}", None),
            ):
                assert said(await api.ask(method, path, body)) == (404, "not_found", None), (method, id_)
        assert await api.ids("?source=api") == ["gpt-4"]


TRICKS = [
    "/api/models/",
    "/api/models//x",
    "/api/models/..%2fkeys",
    "/api/models/%2e%2e/keys",
    "/api/models/x%2fhealth",
    "/api/models/%00",
    "/API/models",
    "/api/models/gpt-4/endpoints/",
]


async def test_a_trick_in_a_path_opens_nothing(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        await api.register()
        for path in TRICKS:
            for key in ("admin", "nobody"):
                request = api.one.client.build_request("GET", "/", headers=shown(key))
                request.url = request.url.copy_with(raw_path=path.encode())
                assert (await api.one.client.send(request)).status_code in (400, 401, 404), path


def test_a_patch_may_name_every_field_but_those_that_stay() -> None:
    kept = {"id", "model_id"}
    for patch, whole in ((models.ModelPatch, Model), (endpoints.EndpointPatch, ModelEndpoint)):
        assert set(patch.__struct_fields__) == set(whole.__struct_fields__) - kept
