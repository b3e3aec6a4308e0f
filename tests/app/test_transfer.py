"""Everything that is set, brought into a running gateway: in force for the next request, and after a restart."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.exports import TIMES, model, rule

JSON = {"content-type": "application/json"}
PUBLIC = {"id": "far:1", "url": "https://93.184.216.34/v1", **TIMES}
BROUGHT: dict[str, Any] = {
    "models": [model("far", PUBLIC, tier="deep", priority=1, **TIMES)],
    "routingRules": [rule("all", "deep", conditions={"workspaceId": ["red"]}, **TIMES)],
    "workspaceConfigs": {"blue": {"modelRestrictions": ["fast"], **TIMES}},
}


def config(folder: Path) -> str:
    return httpx_config(f'[storage]\nurl = "sqlite:///{folder / "transfer.db"}"\n')


async def bring(one: Running, config: object, **more: Any) -> Any:
    return await one.client.post("/api/config/import", json={"config": config, **more})


async def decided(one: Running, workspace: str) -> tuple[str, str]:
    answer = await one.chat(headers={"x-octoroute-workspace": workspace})
    assert answer.status_code == 200, answer.text
    return answer.headers["x-octoroute-tier"], answer.headers["x-octoroute-reason"]


async def test_the_next_request_goes_by_what_was_brought_in_and_so_does_one_after_a_restart(tmp_path: Path) -> None:
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers=JSON)
        async with running(config(tmp_path)) as one:
            assert await decided(one, "blue") == await decided(one, "red")
            before = await decided(one, "red")
            assert (await bring(one, BROUGHT, dryRun=True)).json()["diff"]["unchanged"] == 0
            assert await decided(one, "red") == before
            told = await bring(one, BROUGHT)
            assert (told.status_code, told.json()["modelsImported"]) == (200, 1), told.text
            assert (await decided(one, "red"))[0] == "deep"
            assert (await one.chat("deep", headers={"x-octoroute-workspace": "blue"})).status_code == 403
            listed = (await one.client.get("/v1/models")).json()["data"]
            assert "far" in {each["id"] for each in listed}
            exported = (await one.client.get("/api/config/export")).json()
        async with running(config(tmp_path)) as one:
            again = (await one.client.get("/api/config/export")).json()
            assert exported | {"exportedAt": ""} == again | {"exportedAt": ""}
            assert (await bring(one, exported, mode="replace")).json()["diff"]["unchanged"] == 4


@pytest.mark.parametrize("url", ["http://169.254.169.254/v1", "http://10.1.2.3/v1", "http://0x7f.1/v1", "file:///etc"])
async def test_no_endpoint_comes_in_where_none_may_be(tmp_path: Path, url: str) -> None:
    async with running(config(tmp_path)) as one:
        brought = {**BROUGHT, "models": [model("far", {"id": "far:1", "url": url})]}
        answer = await bring(one, brought)
        assert (answer.status_code, answer.json()["code"]) == (400, "import_refused")
        fields = {each["field"] for each in answer.json()["details"]["errors"]}
        assert fields == {"config.models[0].endpoints[0].url"}
        exported = (await one.client.get("/api/config/export")).json()
        assert (exported["models"], exported["routingRules"], exported["workspaceConfigs"]) == ([], [], {})


async def test_without_a_database_there_is_nothing_to_tell_or_to_bring_in() -> None:
    async with running(httpx_config()) as one:
        for answer in (await one.client.get("/api/config/export"), await bring(one, {})):
            assert (answer.status_code, answer.json()["code"]) == (503, "storage_off")


async def test_imports_at_once_each_happen_whole(tmp_path: Path) -> None:
    first, second = ({"routingRules": [rule(f"{name}{number}") for number in range(20)]} for name in "ab")
    async with running(config(tmp_path)) as one:
        await asyncio.gather(*(bring(one, each, mode="replace") for each in (first, second, first, second)))
        rules = (await one.client.get("/api/config/export")).json()["routingRules"]
        assert {each["id"][0] for each in rules} in ({"a"}, {"b"})
        assert len(rules) == 20
