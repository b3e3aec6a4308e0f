"""The API described by itself: nothing is missing, nothing is there that is not, and the bytes are always the same."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from starlette.routing import Route

import octoroute_py
from octoroute_py.core.words import Role
from octoroute_py.edge.openapi import PATH, PREFIXES, operation_id, plain
from tests.edge.test_routes import ALL_KEYS, KEYS
from tests.fakes.application import Running, httpx_config, running
from tests.fakes.keyed import Keyed, holder, shown

Json = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def described() -> AsyncIterator[tuple[Running, Json]]:
    async with running(httpx_config()) as one:
        answer = await one.client.get(PATH)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        yield one, answer.json()


def operations(document: Json) -> dict[tuple[str, str], Json]:
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def managed(table: list[Route]) -> set[tuple[str, str]]:
    return {
        (method, plain(route.path))
        for route in table
        if route.path.startswith(PREFIXES)
        for method in (route.methods or set()) - {"HEAD"}
    }


async def test_every_route_of_api_and_admin_is_described_and_nothing_else_is(described: tuple[Running, Json]) -> None:
    one, document = described
    assert set(operations(document)) == managed(one.application.table)


async def test_operation_ids_are_unique_and_read_well(described: tuple[Running, Json]) -> None:
    names = [operation["operationId"] for operation in operations(described[1]).values()]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"(get|post|put|patch|delete)([A-Z][a-z]+)+", name)] == []
    assert operation_id("GET", "/api/models/{id:path}/endpoints/{endpoint:path}") == "getModelEndpoint"
    assert operation_id("POST", "/api/keys/{id}/rotate") == "postKeyRotate"


async def test_every_parameter_of_a_path_is_described(described: tuple[Running, Json]) -> None:
    for (_, path), operation in operations(described[1]).items():
        told = [each["name"] for each in operation["parameters"] if each["in"] == "path"]
        assert told == re.findall(r"\{(\w+)\}", path), path


async def test_every_reference_has_its_target_and_every_component_a_short_name(described: tuple[Running, Json]) -> None:
    document = described[1]
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document))):
        part = document
        for name in reference.split("/"):
            part = part[name]
    assert [name for name in document["components"]["schemas"] if "." in name] == []


async def test_what_cannot_be_guessed_is_said(described: tuple[Running, Json]) -> None:
    document = described[1]
    assert document["info"]["version"] == octoroute_py.__version__
    assert document["security"] == [{"bearer": []}, {"apiKey": []}]
    told = operations(document)
    change = told["PATCH", "/api/routing/rules/{id}"]
    assert [each["name"] for each in change["parameters"]] == ["id", "If-Match"]
    assert set(change["responses"]) == {"200", "400", "401", "403", "404", "409", "412", "413", "429", "503"}
    assert "ETag" in change["responses"]["200"]["headers"]
    assert not told["POST", "/api/canary/deployments/{id}/rollback"]["requestBody"]["required"]
    assert told["POST", "/api/models"]["requestBody"]["required"]
    assert set(told["GET", "/api/metrics/requests"]["responses"]["200"]["content"]) == {"application/json", "text/csv"}
    assert "role admin" in told["POST", "/admin/reload"]["description"]
    for (_, path), operation in told.items():
        assert "500" not in operation["responses"], path


async def test_descriptions_speak_of_fields_as_json_has_them(described: tuple[Running, Json]) -> None:
    schemas = described[1]["components"]["schemas"]
    assert "`minRequests`" in schemas["SuccessCriteria"]["description"]
    assert re.findall(r"`[a-z]+_[a-z_]+`", json.dumps(schemas)) == []


async def test_the_description_is_the_same_bytes_at_every_start() -> None:
    made = []
    for _ in range(2):
        async with running(httpx_config()) as one:
            made.append((await one.client.get(PATH)).content)
            assert (await one.client.get(PATH)).content == made[-1]
    assert made[0] == made[1]


@pytest.mark.parametrize("role", list(Role))
async def test_it_is_for_whoever_may_look(role: Role) -> None:
    async with running(httpx_config(ALL_KEYS)) as one:
        assert (await one.client.get(PATH)).status_code == 401
        answer = await one.client.get(PATH, headers={"x-api-key": KEYS[role]})
    assert answer.status_code == (200 if role.includes(Role.VIEWER) else 403)


async def test_it_belongs_to_the_listener_of_the_management() -> None:
    async with (
        running(httpx_config('[admin]\nhost = "127.0.0.1"\nport = 9111\n')) as one,
        one.client_at("http://gateway:9111") as management,
    ):
        assert (await one.client.get(PATH)).status_code == 404
        assert (await management.get(PATH)).status_code == 200


async def test_a_key_that_is_bound_to_workspaces_reads_what_every_other_reads() -> None:
    async with running(httpx_config()) as one:
        free = (await one.client.get(PATH)).content
        one.application.gateway.access = Keyed({"red": holder(Role.VIEWER, workspaces=("red",))})  # type: ignore[assignment]
        assert (await one.client.get(PATH, headers=shown("red"))).content == free
