"""`/api/config/export` and `/import`: everything comes back as it was, and nothing is half done."""

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from octoroute_py.admission.principal import Principal
from octoroute_py.core.catalog import ModelEndpoint
from octoroute_py.core.errors import BadRequest, Denied
from octoroute_py.core.rules import RoutingRule
from octoroute_py.core.words import Role
from octoroute_py.edge.api.transfer import MOST_BYTES, TransferRoutes
from octoroute_py.edge.asgi import Table, build_app
from octoroute_py.manage.store import Store
from octoroute_py.manage.transfer import Transfer
from octoroute_py.manage.transfer_check import checks_by
from tests.fakes.application import httpx_config, running
from tests.fakes.exports import endpoint, everything, model, rule
from tests.fakes.keyed import Keyed, holder, shown
from tests.fakes.registry import Shelf, shelf

KEYS = {role.value: holder(role) for role in Role} | {"bound": holder(Role.ADMIN, workspaces=("red",))}
CREDENTIALS = """
[registry.credentials.shop]
env = "SHOP_KEY"
hosts = ["new-1.example.com", "new-2.example.com"]
"""
NAMES = ("rules", "models", "agentPreferences", "workspaceConfigs", "canaryDeployments", "experiments")


async def admit(brought: ModelEndpoint, by: Principal, at: str) -> ModelEndpoint:
    """Stands in for the rules of where endpoints may be."""
    if "forbidden" in brought.url:
        raise BadRequest("The URL is not where it may be.", param=f"{at}url")
    if brought.allow_networks and not by.may(Role.ADMIN):
        raise Denied("Only an admin may give 'allowNetworks'.", code="permission_denied", status=403)
    return msgspec.structs.replace(brought, url=brought.url.rstrip("/"))


def problems(brought: RoutingRule) -> list[tuple[str, str]]:
    """Stands in for what makes no sense in a rule."""
    odd = brought.conditions.user_tier == ("odd",)
    return [("name", "It is odd.")] if brought.name == "odd" else [("conditions.userTier", "Odd, too.")] if odd else []


ARMS = [{"name": "a"}, {"name": "b"}]
BOTH = {"name": "b", "tier": "fast", "modelId": "deep"}


class Api:
    def __init__(self, client: httpx.AsyncClient, kept: Shelf) -> None:
        self.client = client
        self.kept = kept

    async def export(self, *, key: str = "operator") -> bytes:
        """The export as it is told, without its time."""
        answer = await self.client.get("/api/config/export", headers=shown(key))
        assert answer.status_code == 200, answer.text
        return re.sub(rb'"exportedAt":"[^"]*"', b"", answer.content)

    async def bring(self, config: object, query: str = "", *, key: str = "admin", **more: Any) -> httpx.Response:
        body = msgspec.json.encode({"config": config, **more})
        return await self.client.post(f"/api/config/import{query}", content=body, headers=shown(key))

    async def brought(self, config: object, query: str = "", **more: Any) -> dict[str, Any]:
        answer = await self.bring(config, query, **more)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        assert told["errors"] == []
        return told

    async def refused(self, config: object, query: str = "", **more: Any) -> list[tuple[str, str]]:
        """The fields to blame and what is said of them; nothing was changed."""
        before = await self.export()
        answer = await self.bring(config, query, **more)
        assert (answer.status_code, answer.json()["code"]) == (400, "import_refused"), answer.text
        assert await self.export() == before
        return [(each["field"], each["message"]) for each in answer.json()["details"]["errors"]]


@contextlib.asynccontextmanager
async def api(folder: Path) -> AsyncIterator[Api]:
    with shelf(folder) as kept:
        async with running(httpx_config(CREDENTIALS), env={"SHOP_KEY": "sk-of-the-shop-0123456789"}) as one:
            gateway = one.application.gateway
            gateway.access = Keyed(KEYS)  # type: ignore[assignment]
            transfer = Transfer(
                Store(kept.database),
                file=lambda: gateway.config,
                admit=admit,
                checks=checks_by(problems),
                wall=lambda: kept.now,
                changed=kept.following.refresh,
            )
            table = Table(gateway)
            TransferRoutes(transfer, wall=lambda: kept.now).add_to(table)
            app = build_app(table.routes, cors_origins=(), management_port=None, lifespan=contextlib.nullcontext)
            transport = httpx.ASGITransport(app, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                yield Api(client, kept)


@contextlib.asynccontextmanager
async def two(folder: Path) -> AsyncIterator[tuple[Api, Api]]:
    for name in ("one", "other"):
        (folder / name).mkdir()
    async with api(folder / "one") as one, api(folder / "other") as other:
        yield one, other


@pytest.mark.parametrize("mode", ["merge", "replace"])
async def test_an_export_brought_into_an_empty_gateway_is_exported_again_as_it_was(tmp_path: Path, mode: str) -> None:
    async with two(tmp_path) as (one, other):
        await one.brought(everything())
        exported = await one.export()
        config = msgspec.json.decode(exported.replace(b",,", b","))
        told = await other.brought(config, mode=mode)
        assert await other.export() == exported
        assert [told[f"{name}Imported"] for name in NAMES] == [2, 3, 2, 2, 1, 1]
        assert len(told["diff"]["created"]) == 15
        for again in ("merge", "replace"):
            one.kept.now += 10
            told = await one.brought(config, mode=again)
            assert told["diff"] == {"created": [], "updated": [], "deleted": [], "unchanged": 15, "moved": []}
            assert await one.export() == exported


async def test_the_export_is_a_file_with_ids_order_times_and_no_secret(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.brought(everything())
        answer = await it.client.get("/api/config/export", headers=shown("operator"))
        config = answer.json()
        expected = 'attachment; filename="octoroute-config-2027-01-15.json"'
        assert answer.headers["content-disposition"] == expected
        assert (config["version"], config["exportedAt"]) == (1, "2027-01-15T08:00:00.000Z")
        assert [each["id"] for each in config["models"]] == ["new", "old", "bare"]
        assert [each["id"] for each in config["models"][0]["endpoints"]] == ["new:2", "new:1"]
        assert config["models"][0]["credential"] == "shop"
        assert [each["id"] for each in config["routingRules"]] == ["z", "a"]
        assert list(config["agentPreferences"]) == ["writer", "a coder/1"]
        assert config["workspaceConfigs"]["red"]["budgetLimits"] == {"daily": 0.1}
        assert config["canaryDeployments"][0]["status"] == "active"
        assert config["experiments"][0]["startedMs"] == 1_700_000_000_000
        times = {(each["createdAt"], each["updatedAt"]) for each in config["routingRules"]}
        assert times == {("2026-01-02T03:04:05.678Z", "2026-02-03T04:05:06.789Z")}
        assert config["models"][0]["health"]["responseTime"] == 500
        assert b"sk-of-the-shop" not in answer.content
        assert b'"parameters":{"temperature":0.2,"maxTokens":1000,"top":1000.0,' in answer.content


async def test_what_is_brought_in_is_in_force_when_it_is_answered_and_in_the_audit(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.brought(everything())
        registry = it.kept.registry()
        assert list(registry.rules) == ["z", "a"]
        assert [each.id for each in registry.endpoints["new"]] == ["new:2", "new:1"]
        assert registry.canaries["c"].step == 2
        subjects = {(row.action, row.subject) for row in it.kept.audited()}
        assert {("config.import", "z"), ("config.import", "config"), ("workspace.configure", "red")} <= subjects
        assert {row.actor for row in it.kept.audited()} == {"admin of the team (key_1)"}
        version = registry.version
        await it.brought(everything())
        assert it.kept.registry().version == version


async def test_a_dry_run_tells_all_and_changes_nothing(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        empty = await it.export()
        for told in (await it.brought(everything(), dryRun=True), await it.brought(everything(), "?dryRun=true")):
            assert (told["dryRun"], told["mode"], len(told["diff"]["created"])) == (True, "merge", 15)
        assert await it.export() == empty
        assert it.kept.audited() == []
        assert it.kept.registry().version == 0


async def test_merge_keeps_what_is_there_and_replace_makes_it_as_in_the_import(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.brought(
            {"routingRules": [rule("a"), rule("b"), rule("c")], "workspaceConfigs": {"red": {}, "blue": {}}}
        )
        change = {"routingRules": [rule("d"), rule("b", priority=4)], "workspaceConfigs": {"green": {}}}
        told = (await it.brought(change))["diff"]
        assert told["created"] == [{"kind": "rule", "id": "d"}, {"kind": "workspace", "id": "green"}]
        assert told["updated"] == [{"kind": "rule", "id": "b"}]
        assert (told["deleted"], told["moved"]) == ([], [])
        assert list(it.kept.registry().rules) == ["a", "b", "c", "d"]
        told = (await it.brought({"routingRules": [rule("d"), rule("a")]}, "?mode=replace"))["diff"]
        assert {each["id"] for each in told["deleted"]} == {"b", "c"}
        assert (told["moved"], told["unchanged"]) == (["rule"], 2)
        assert list(it.kept.registry().rules) == ["d", "a"]
        config = msgspec.json.decode((await it.export()).replace(b",,", b","))
        assert list(config["workspaceConfigs"]) == ["blue", "green", "red"]  # a section that is not there stays


async def test_an_empty_export_replaces_everything_by_nothing(tmp_path: Path) -> None:
    async with two(tmp_path) as (one, other):
        empty = await one.export()
        await other.brought(everything())
        told = await other.brought(msgspec.json.decode(empty.replace(b",,", b",")), mode="replace")
        assert len(told["diff"]["deleted"]) == 15
        assert await other.export() == empty


async def test_times_that_are_not_given_are_those_of_the_import(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.brought({"routingRules": [rule("a")]})
        it.kept.now += 60
        await it.brought({"routingRules": [rule("a", priority=1)]})
        config = msgspec.json.decode((await it.export()).replace(b",,", b","))
        made = config["routingRules"][0]
        assert (made["createdAt"], made["updatedAt"]) == ("2027-01-15T08:00:00.000Z", "2027-01-15T08:01:00.000Z")


async def test_every_document_that_is_wrong_is_told_and_nothing_is_changed(tmp_path: Path) -> None:
    wrong = everything()
    wrong["models"][0]["tier"] = "huge"
    wrong["models"][1]["endpoints"][0]["weight"] = 0
    wrong["routingRules"][0]["colour"] = "red"
    wrong["routingRules"].append(rule("a"))
    wrong["agentPreferences"]["writer"]["agentType"] = "reader"
    wrong["agentPreferences"][""] = {}
    wrong["workspaceConfigs"]["red"]["budgetLimits"]["daily"] = 1
    wrong["workspaceConfigs"][" x"] = {}
    wrong["experiments"][0]["createdAt"] = "yesterday"
    async with api(tmp_path) as it:
        fields = [field for field, _ in await it.refused(wrong)]
    assert fields == [
        "config.models[0].tier",
        "config.models[1].endpoints[0].weight",
        "config.routingRules[0].colour",
        "config.routingRules[2].id",
        "config.experiments[0].createdAt",
        "config.agentPreferences.writer.agentType",
        "config.agentPreferences..agentType",
        "config.workspaceConfigs.red.budgetLimits.dailyLimit",
        "config.workspaceConfigs. x.id",
    ]


@pytest.mark.parametrize(
    ("config", "field", "said"),
    [
        ({"routingRules": [rule("a", "gone")]}, "config.routingRules[0].targets[0].modelId", "'gone' is no tier"),
        ({"routingRules": [rule("odd")]}, "config.routingRules[0].name", "It is odd."),
        ({"routingRules": [rule("config:a")]}, "config.routingRules[0].id", "not of the API"),
        ({"models": [model("auto")]}, "config.models[0].id", "a word of the gateway's own"),
        ({"models": [model("m", credential="shp")]}, "config.models[0].credential", 'did you mean "shop"?'),
        (
            {"models": [model("m", endpoint("x"), credential="shop")]},
            "config.models[0].credential",
            "may not be sent to the endpoint 'x'",
        ),
        (
            {"models": [model("m", parameters={"temperature": 3})]},
            "config.models[0].parameters.temperature",
            "from 0 to 2",
        ),
        ({"models": [model("fast-model")]}, "config.models[0].id", "The configuration file has this"),
        ({"models": [model("m", endpoint("fast-model"))]}, "config.models[0].endpoints[0].id", "configuration file"),
        ({"models": [model("m", endpoint("m"))]}, "config.models[0].endpoints", "An id is that of a model"),
        (
            {"models": [model("m", endpoint("x", modelId="n"))]},
            "config.models[0].endpoints[0].modelId",
            "another model's",
        ),
        (
            {"models": [model("m", {"id": "x", "url": "https://forbidden.test"})]},
            "config.models[0].endpoints[0].url",
            "The URL is not where it may be.",
        ),
        ({"agentPreferences": {"a": {"fallbackModels": ["x"]}}}, "config.agentPreferences.a.fallbackModels[0]", "'x'"),
        (
            {"workspaceConfigs": {"a": {"modelRestrictions": ["x"]}}},
            "config.workspaceConfigs.a.modelRestrictions",
            "'x'",
        ),
        (
            {"canaryDeployments": [{"id": "c", "name": "c", "productionModelId": "fast-model", "canaryModelId": "x"}]},
            "config.canaryDeployments[0].canaryModelId",
            "'x' is no tier",
        ),
        (
            {"experiments": [{"id": "e", "name": "e", "arms": ARMS, "conditions": {"userTier": ["odd"]}}]},
            "config.experiments[0].conditions.userTier",
            "Odd, too.",
        ),
        (
            {"experiments": [{"id": "e", "name": "e", "arms": [{"name": "a"}, {"name": "a"}]}]},
            "config.experiments[0].arms[1].name",
            "Two arms are called",
        ),
        (
            {"experiments": [{"id": "e", "name": "e", "arms": [{"name": "a"}, BOTH]}]},
            "config.experiments[0].arms[1]",
            "one of tier",
        ),
    ],
)
async def test_what_does_not_hold_together_is_refused(tmp_path: Path, config: object, field: str, said: str) -> None:
    async with api(tmp_path) as it:
        for query in ("", "?dryRun=true", "?mode=replace"):
            found = await it.refused(config, query)
            assert [each for each, _ in found] == [field]
            assert said in found[0][1]


async def test_a_split_that_does_not_sum_up_and_two_deployments_of_a_model_are_refused(tmp_path: Path) -> None:
    def canary(id_: str, **fields: Any) -> dict[str, Any]:
        both = {"productionModelId": "fast-model", "canaryModelId": "deep-model"}
        return {"id": id_, "name": id_, **both, "status": "active", **fields}

    async with api(tmp_path) as it:
        half = canary("c", trafficSplit={"production": 80, "canary": 10})
        assert await it.refused({"canaryDeployments": [half]}) == [
            ("config.canaryDeployments[0].trafficSplit", "The two parts of trafficSplit must sum to 100.")
        ]
        await it.brought({"canaryDeployments": [canary("c"), canary("ended", status="completed")]})
        fields = [field for field, _ in await it.refused({"canaryDeployments": [canary("d", status="paused")]})]
        assert fields == ["config.canaryDeployments[0].status"]


async def test_a_model_that_something_names_is_not_taken_away(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.brought(everything())
        without = [each for each in everything()["models"] if each["id"] != "new"]
        said = dict(await it.refused({"models": without}, mode="replace"))
        assert "is named by" in said["config.models"]
        rest: dict[str, Any] = {"routingRules": [], "canaryDeployments": [], "experiments": [], "workspaceConfigs": {}}
        await it.brought({"models": without, **rest}, mode="replace")
        assert list(it.kept.registry().models) == ["old", "bare"]


async def test_an_endpoint_of_another_model_is_not_taken_over(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.brought({"models": [model("m", endpoint("x"))]})
        assert [field for field, _ in await it.refused({"models": [model("n", endpoint("x"))]})] == [
            "config.models[0].endpoints[0].id"
        ]


async def test_networks_that_only_an_admin_may_give_stay_with_an_admin(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        brought = {"models": [model("m", endpoint("x", allowNetworks=["10.0.0.0/8"]))]}
        refused = await it.bring(brought, key="operator")
        assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
        await it.brought(brought)
        assert (await it.bring(brought, key="operator")).status_code == 200  # nothing new in it


async def test_an_endpoint_that_moves_is_held_to_its_models_credential(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        kept = model("m", endpoint("new:1"), credential="shop")
        await it.brought({"models": [kept]})
        moved = {"models": [kept | {"endpoints": [endpoint("new:1", url="https://thief.example.com/v1")]}]}
        assert [field for field, _ in await it.refused(moved)] == ["config.models[0].endpoints[0].credential"]


async def test_endpoints_are_kept_in_the_spelling_of_the_check(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.brought({"models": [model("m", {"id": "x", "url": "https://x.test/v1/"})]})
        assert it.kept.registry().endpoints["m"][0].url == "https://x.test/v1"


async def test_an_export_of_the_model_router_service_is_brought_in(tmp_path: Path) -> None:
    config = {
        "exportedAt": "2026-01-01T00:00:00.000Z",
        "models": [
            {
                "id": "2c9d0b3e-6f5a-4b8a-9a0c-0d6f6f0f7a11",
                "name": "gpt-4",
                "version": "1.0",
                "provider": "openai",
                "modelType": "chat",
                "capabilities": ["text-generation", "code"],
                "parameters": {"maxTokens": 4096, "temperature": 0.7},
                "status": "active",
                "createdAt": "2026-01-01T00:00:00.000Z",
                "updatedAt": "2026-01-01T00:00:00.000Z",
            }
        ],
        "routingRules": [
            {
                "id": "rule-1767225600000",
                "name": "Critical",
                "description": "",
                "priority": 100,
                "enabled": True,
                "conditions": {"agentType": ["legal"], "requestType": ["chat", "completion"]},
                "targets": [{"modelId": "2c9d0b3e-6f5a-4b8a-9a0c-0d6f6f0f7a11", "weight": 1, "fallbackOrder": 1}],
                "createdAt": "2026-01-01T00:00:00.000Z",
                "updatedAt": "2026-01-01T00:00:00.000Z",
            }
        ],
        "agentPreferences": {},
        "workspaceConfigs": {},
    }
    async with api(tmp_path) as it:
        told = await it.brought(config)
        assert (told["modelsImported"], told["rulesImported"], told["agentPreferencesImported"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("body", "query", "field"),
    [
        (b"", "", None),
        (b"[]", "", None),
        (b"{}", "", "config"),
        (b'{"config": {"version": 2}}', "", "config.version"),
        (b'{"config": {"rules": []}}', "", "config.rules"),
        (b'{"config": {}, "mode": "mix"}', "", "mode"),
        (b'{"config": {}, "dryRun": 1}', "", "dryRun"),
        (b'{"config": {}}', "?mode=mix", "mode"),
        (b'{"config": {}}', "?dryRun=1", "dryRun"),
        (b'{"config": {}, "mode": "merge"}', "?mode=replace", "mode"),
        (b'{"config": {}, "dryRun": true}', "?dryRun=false", "dryRun"),
        (b'{"config": {}}', "?dry=1", "dry"),
    ],
)
async def test_a_body_that_is_no_import_is_refused(tmp_path: Path, body: bytes, query: str, field: str | None) -> None:
    async with api(tmp_path) as it:
        answer = await it.client.post(f"/api/config/import{query}", content=body, headers=shown("operator"))
        assert answer.status_code == 400
        assert answer.json().get("details", {}).get("field") == field


async def test_an_import_may_be_larger_than_other_bodies_and_not_endless(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        rules = [rule(f"r{number}", description="d" * 1900) for number in range(400)]
        assert (await it.brought({"routingRules": rules}))["rulesImported"] == 400
        answer = await it.client.post("/api/config/import", content=b" " * (MOST_BYTES + 1), headers=shown("operator"))
        assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")


async def test_only_operators_that_are_bound_to_no_workspace_may(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        for key in ("inference", "viewer", "bound"):
            assert (await it.client.get("/api/config/export", headers=shown(key))).status_code == 403
            assert (await it.bring({}, key=key)).status_code == 403


async def test_more_documents_than_are_kept_are_refused(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        found = await it.refused({"routingRules": [rule(f"r{number}") for number in range(2001)]})
        assert found == [("config", "There would be 2001; at most 2000 are kept.")]


async def test_rules_larger_together_than_are_kept_are_refused(tmp_path: Path) -> None:
    large = {"headers": {f"x-{at}": [f"{number}-" + "v" * 90 for number in range(500)] for at in range(20)}}
    async with api(tmp_path) as it:
        rules = [rule(f"r{number}") | {"conditions": {"customConditions": large}} for number in range(5)]
        found = await it.refused({"routingRules": rules})
        assert found == [("config.routingRules", "All rules together may not have more than 4194304 bytes.")]
