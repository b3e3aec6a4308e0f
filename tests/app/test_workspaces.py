"""Keys that were issued and workspaces that were configured, over the whole application and its database."""

from pathlib import Path
from typing import Any

import httpx

from octoroute_py.core.words import Role
from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.keeping import Office
from tests.fakes.keyed import shown

JSON = {"content-type": "application/json"}


def config(folder: Path) -> str:
    return httpx_config(f'[storage]\nurl = "sqlite:///{folder / "office.db"}"\n')


async def issue(folder: Path, **fields: Any) -> str:
    """A key in clear."""
    office = Office(folder)
    try:
        return (await office.issue(" ".join(map(str, fields.values())), **fields)).clear
    finally:
        office.close()


async def configured(one: Running, key: str, workspace: str, **body: Any) -> httpx.Response:
    return await one.client.post(f"/api/workspaces/{workspace}/config", json=body, headers=shown(key))


async def test_a_configuration_holds_for_the_next_request_and_after_a_restart_until_it_is_forgotten(
    tmp_path: Path,
) -> None:
    boss = await issue(tmp_path, role=Role.OPERATOR)
    red = await issue(tmp_path, role=Role.INFERENCE, workspaces=["red"])
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers=JSON)
        async with running(config(tmp_path)) as one:
            assert (await one.chat("deep", headers=shown(red))).status_code == 200
            assert (await configured(one, boss, "red", modelRestrictions=["fast"])).status_code == 200
            assert (await one.chat("deep", headers=shown(red))).status_code == 403
            assert (await one.chat("deep", headers=shown(boss))).status_code == 200
        async with running(config(tmp_path)) as one:
            assert (await one.chat("deep", headers=shown(red))).status_code == 403
            capped = await one.chat(headers=shown(red), octoroute={"task_type": "deep_analysis"})
            assert (capped.headers["x-octoroute-tier"], capped.headers["x-octoroute-reason"]) == ("fast", "policy")
            forgotten = await one.client.delete("/api/workspaces/red/config", headers=shown(boss))
            assert forgotten.status_code == 200
            assert (await one.chat("deep", headers=shown(red))).status_code == 200


async def test_what_a_key_was_issued_for_holds_beside_what_its_workspace_may(tmp_path: Path) -> None:
    boss = await issue(tmp_path, role=Role.OPERATOR)
    key = await issue(tmp_path, role=Role.INFERENCE, workspaces=["red"], tiers=["fast", "balanced"])
    async with running(config(tmp_path)) as one:
        listed = (await one.client.get("/v1/models", headers=shown(key))).json()["data"]
        assert [row["id"] for row in listed] == ["auto", "fast", "balanced", "fast-model", "balanced-model"]
        await configured(one, boss, "red", modelRestrictions=["fast"], restrictionMode="deny")
        listed = (await one.client.get("/v1/models", headers=shown(key))).json()["data"]
        assert [row["id"] for row in listed] == ["auto", "balanced", "balanced-model"]


async def test_an_operator_that_is_bound_configures_its_own_workspace_only(tmp_path: Path) -> None:
    reds = await issue(tmp_path, role=Role.OPERATOR, workspaces=["red"])
    async with running(config(tmp_path)) as one:
        assert (await configured(one, reds, "red", rateLimits={"maxConcurrent": 3})).status_code == 200
        assert (await configured(one, reds, "blue", rateLimits={"maxConcurrent": 3})).status_code == 404
