"""`/api/agents` over a real database, asked through the guard as by a client."""

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.registry import Kind
from octoroute_py.core.rules import AgentPreferences, PerformanceRequirements
from octoroute_py.core.words import Role
from octoroute_py.edge.api.agents import AgentRoutes
from octoroute_py.edge.asgi import Table, build_app
from octoroute_py.manage.agents import MOST_TYPES, Agents, Now
from tests.fakes.application import Running, httpx_config, running
from tests.fakes.keyed import Keyed, holder, shown
from tests.fakes.registry import Shelf, shelf
from tests.fakes.repository import ROOT

OPERATOR, VIEWER, BOUND = "operator", "viewer", "bound"
KEYS = {
    OPERATOR: holder(Role.OPERATOR, key_id="key_op"),
    VIEWER: holder(Role.VIEWER),
    BOUND: holder(Role.ADMIN, workspaces=("red",)),
}
NO_TIERS: Mapping[str, str] = {}
README: dict[str, Any] = {
    "preferredModels": ["deep-model", "balanced"],
    "fallbackModels": ["fast/fast-model#1"],
    "requiredCapabilities": ["tools"],
    "performanceRequirements": {"maxLatency": 2000, "minSuccessRate": 0.95, "maxCostPerToken": 0.0001},
}


class Api:
    def __init__(self, one: Running, client: httpx.AsyncClient, kept: Shelf) -> None:
        self.one = one
        self.client = client
        self.kept = kept

    async def ask(
        self, method: str, path: str, body: object = None, *, key: str = OPERATOR, etag: str | None = None
    ) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        headers = shown(key) | ({} if etag is None else {"if-match": etag})
        return await self.client.request(method, f"/api/agents{path}", content=content, headers=headers)

    async def models(self, agent_type: str = "chef", query: str = "") -> list[dict[str, Any]]:
        answer = await self.ask("GET", f"/{agent_type}/models{query}", key=VIEWER)
        told: dict[str, Any] = answer.json()
        assert (answer.status_code, told["agentType"], told["count"]) == (200, agent_type, len(told["models"]))
        models: list[dict[str, Any]] = told["models"]
        return models


@contextlib.asynccontextmanager
async def api(folder: Path, *, most: int = MOST_TYPES, tiers: Mapping[str, str] = NO_TIERS) -> AsyncIterator[Api]:
    with shelf(folder) as kept:
        async with running(httpx_config(**tiers)) as one:
            gateway = one.application.gateway
            gateway.access = Keyed(KEYS)  # type: ignore[assignment]
            table = Table(gateway)
            agents = Agents(
                kept.documents,
                now=lambda: Now(gateway.snapshot.table, kept.registry()),
                monotonic=gateway.monotonic,
                most=most,
            )
            AgentRoutes(agents).add_to(table)
            app = build_app(table.routes, cors_origins=(), management_port=None, lifespan=contextlib.nullcontext)
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
                yield Api(one, client, kept)


async def test_the_preferences_in_the_documents_are_taken_and_told_as_they_stand_there(tmp_path: Path) -> None:
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs/registry.md").read_text(), re.DOTALL)
    [block] = [msgspec.json.decode(each) for each in blocks if "preferredModels" in each]
    async with api(tmp_path) as it:
        answer = (await it.ask("POST", "/chef/preferences", block)).json()
    assert answer["preferences"] == block
    assert "warnings" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_preferences_as_the_readme_has_them_are_kept_and_told_back(tmp_path: Path, method: str) -> None:
    async with api(tmp_path) as it:
        put = await it.ask(method, "/chef/preferences", README)
        told = await it.ask("GET", "/chef/preferences", key=VIEWER)
        listed = await it.ask("GET", "", key=VIEWER)
        in_force = it.kept.registry().preferences["chef"]
    assert (put.status_code, told.status_code) == (200, 200)
    assert put.json() == {"success": True, **told.json()}
    assert told.json() == {
        "agentType": "chef",
        "preferences": README,
        "createdAt": "2027-01-15T08:00:00.000Z",
        "updatedAt": "2027-01-15T08:00:00.000Z",
    }
    assert put.headers["etag"] == told.headers["etag"]
    assert listed.json() == {"agents": [told.json()], "count": 1}
    assert in_force == AgentPreferences(
        agent_type="chef",
        preferred_models=("deep-model", "balanced"),
        fallback_models=("fast/fast-model#1",),
        required_capabilities=("tools",),
        performance_requirements=PerformanceRequirements(
            max_latency=2000, min_success_rate=0.95, max_cost_per_token=0.0001
        ),
    )


async def test_the_other_spelling_means_the_same_and_is_told_in_the_first(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        asked = {"maxLatency": 10, "maxCost": 0.5, "minQuality": 0.9}
        answer = (await it.ask("POST", "/chef/preferences", {"performanceRequirements": asked})).json()
    assert answer["preferences"]["performanceRequirements"] == {
        "maxLatency": 10,
        "maxCostPerToken": 0.5,
        "minQuality": 0.9,
    }
    assert [text.split()[0] for text in answer["warnings"]] == ["minQuality"]


async def test_new_preferences_take_the_place_of_all_that_was_said_before(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.ask("POST", "/chef/preferences", README)
        it.kept.now += 60
        answer = (await it.ask("PUT", "/chef/preferences", {"preferredModels": ["FAST", "fast"]})).json()
    assert answer["preferences"] == {
        "preferredModels": ["fast"],
        "fallbackModels": [],
        "requiredCapabilities": [],
        "performanceRequirements": {},
    }
    assert (answer["createdAt"], answer["updatedAt"]) == ("2027-01-15T08:00:00.000Z", "2027-01-15T08:01:00.000Z")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"agentType": "other"}, "agentType"),
        ({"preferredModels": ["deep-model", "nobody"]}, "preferredModels[1]"),
        ({"fallbackModels": ["auto"]}, "fallbackModels[0]"),
        ({"preferredModels": [""]}, "preferredModels[0]"),
        ({"requiredCapabilities": [" "]}, "requiredCapabilities[0]"),
        ({"performanceRequirements": {"minSuccessRate": 95}}, "performanceRequirements.minSuccessRate"),
        ({"performanceRequirements": {"maxLatency": 0}}, "performanceRequirements.maxLatency"),
        ({"performanceRequirements": {"maxCost": 1, "maxCostPerToken": 1}}, "performanceRequirements.maxCost"),
        ({"performanceRequirements": {"maxlatency": 1}}, "performanceRequirements.maxlatency"),
        ({"models": []}, "models"),
    ],
)
async def test_preferences_that_make_no_sense_are_refused_by_the_field_to_blame(
    tmp_path: Path, body: dict[str, Any], param: str
) -> None:
    async with api(tmp_path) as it:
        answer = await it.ask("POST", "/chef/preferences", body)
        assert it.kept.registry().preferences == {}
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": param}), answer.text


@pytest.mark.parametrize("agent_type", ["a" * 129, "%20a", "a%0ab", "%1b%5b31m"])
async def test_an_agent_type_is_visible_characters(tmp_path: Path, agent_type: str) -> None:
    async with api(tmp_path) as it:
        assert (await it.ask("POST", f"/{agent_type}/preferences", README)).status_code in (400, 404)


@pytest.mark.parametrize("agent_type", ["sous/chef", "küche", "%25_", "a" * 128])
async def test_any_visible_word_may_be_an_agent_type(tmp_path: Path, agent_type: str) -> None:
    async with api(tmp_path) as it:
        made = (await it.ask("POST", f"/{agent_type}/preferences", README)).json()
        assert (await it.ask("GET", f"/{agent_type}/preferences")).json()["agentType"] == made["agentType"]
        assert (await it.ask("GET", "/chef/preferences")).status_code == 404


async def test_forgotten_preferences_are_gone_and_every_change_is_in_the_audit(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.ask("POST", "/chef/preferences", README)
        gone = await it.ask("DELETE", "/chef/preferences")
        again = await it.ask("DELETE", "/chef/preferences")
        rows = it.kept.audited()
    assert gone.json() == {"success": True, "agentType": "chef"}
    assert (again.status_code, again.json()["code"]) == (404, "not_found")
    assert [(row.action, row.subject) for row in rows] == [("preferences.forget", "chef"), ("preferences.set", "chef")]


async def test_who_has_an_old_copy_changes_nothing(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        old = (await it.ask("POST", "/chef/preferences", README)).headers["etag"]
        await it.ask("POST", "/chef/preferences", {})
        late = [
            await it.ask("PUT", "/chef/preferences", README, etag=old),
            await it.ask("DELETE", "/chef/preferences", etag=old),
        ]
        nobody = await it.ask("PUT", "/waiter/preferences", README, etag=old)
    assert [each.status_code for each in late] == [412, 412]
    assert nobody.status_code == 404


async def test_only_so_many_agent_types_have_preferences(tmp_path: Path) -> None:
    async with api(tmp_path, most=1) as it:
        assert (await it.ask("POST", "/chef/preferences", {})).status_code == 200
        assert (await it.ask("POST", "/chef/preferences", README)).status_code == 200
        answer = await it.ask("POST", "/waiter/preferences", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "limit_reached")


async def test_viewers_read_and_bound_keys_do_not_even_that(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        assert (await it.ask("POST", "/chef/preferences", {}, key=VIEWER)).status_code == 403
        assert (await it.ask("DELETE", "/chef/preferences", key=VIEWER)).status_code == 403
        assert (await it.ask("GET", "/chef/models", key=BOUND)).status_code == 403


async def test_without_preferences_every_active_model_answers(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        models = await it.models()
    assert models == [
        {
            "id": f"{tier}-model",
            "tier": tier,
            "source": "config",
            "status": "active",
            "endpoints": [f"{tier}/{tier}-model#1"],
        }
        for tier in ("fast", "balanced", "deep")
    ]


async def test_preferred_models_come_first_then_fallbacks_and_others_not_at_all(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.ask(
            "POST", "/chef/preferences", {"preferredModels": ["deep"], "fallbackModels": ["fast-model", "deep"]}
        )
        models = await it.models()
        every = await it.models(query="?all=true")
    assert [(each["id"], each["preference"]) for each in models] == [
        ("deep-model", "preferred"),
        ("fast-model", "fallback"),
    ]
    assert every[:2] == models
    assert [(each["id"], each["leftOut"]) for each in every[2:]] == [
        ("balanced-model", "it is neither preferred nor a fallback")
    ]


async def test_models_that_are_not_active_or_have_no_endpoint_are_left_out(tmp_path: Path) -> None:
    names = [status.value for status in ModelStatus]
    async with api(tmp_path) as it:
        for status in ModelStatus:
            await it.kept.model(status.value, status=status)
        await it.ask("POST", "/chef/preferences", {"preferredModels": names})
        every = {each["id"]: each.get("leftOut") for each in await it.models(query="?all=true")}
        assert await it.models() == []
    assert [every[name] for name in names] == [
        "it has no endpoint",  # the table of this gateway knows nothing of the registry
        "its status is canary",
        "its status is testing",
        "its status is deprecated",
        "its status is inactive",
    ]


async def test_models_without_a_required_capability_or_too_dear_are_left_out(tmp_path: Path) -> None:
    tiers = {
        "fast": 'capabilities = ["vision"]',
        "balanced": 'capabilities = ["tools"]\noutput_cost_per_mtok = 200.0',
        "deep": 'capabilities = ["tools"]\ninput_cost_per_mtok = 1.0\noutput_cost_per_mtok = 100.0',
    }
    async with api(tmp_path, tiers=tiers) as it:
        asked = {"requiredCapabilities": ["Tools"], "performanceRequirements": {"maxCostPerToken": 0.0001}}
        await it.ask("POST", "/chef/preferences", asked)
        every = await it.models(query="?all=true")
        assert [each["id"] for each in await it.models()] == ["deep-model"]
    assert {each["id"]: each.get("leftOut") for each in every} == {
        "fast-model": "it has not the capability 'tools'",
        "balanced-model": "its tokens cost more than maxCostPerToken",
        "deep-model": None,
    }


async def test_models_that_lately_were_slow_or_failed_are_left_out(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        gateway = it.one.application.gateway
        now = gateway.monotonic()
        fast, balanced, deep = (endpoint.live.recent for endpoint in gateway.snapshot.table.endpoints)
        for _ in range(20):
            fast.good(now, answer_s=3.0, first_event_s=0.1)
            balanced.good(now, answer_s=0.1)
            deep.bad(now)
        asked = {"maxLatency": 2000, "minSuccessRate": 0.5}
        await it.ask("POST", "/chef/preferences", {"performanceRequirements": asked})
        buffered = {each["id"]: each.get("leftOut") for each in await it.models(query="?all=true")}
        streams = [each["id"] for each in await it.models(query="?stream=true")]
    assert buffered == {
        "fast-model": "its answers took longer than maxLatency in the last minutes",
        "balanced-model": None,
        "deep-model": "it succeeded less often than minSuccessRate in the last minutes",
    }
    assert streams == ["fast-model", "balanced-model"]


async def test_preferences_that_nothing_can_meet_are_taken_with_a_warning(tmp_path: Path) -> None:
    async with api(tmp_path, tiers=dict.fromkeys(("fast", "balanced", "deep"), 'capabilities = ["tools"]')) as it:
        await it.kept.model("old", status=ModelStatus.DEPRECATED)
        answer = await it.ask(
            "POST", "/chef/preferences", {"preferredModels": ["old"], "requiredCapabilities": ["smell"]}
        )
        await it.kept.documents.change(lambda desk: desk.remove(Kind.MODEL, "old", action="x"), by="test")
        later = await it.ask("GET", "/chef/preferences")
    assert [text.split(":")[0] for text in answer.json()["warnings"]] == [
        "'old' is deprecated",
        "No model has the capability 'smell'",
    ]
    assert later.json()["warnings"][0] == "'old' names what there is no more."


@pytest.mark.parametrize("query", ["?all=yes", "?stream=1", "?only=x"])
async def test_an_odd_query_is_refused(tmp_path: Path, query: str) -> None:
    async with api(tmp_path) as it:
        assert (await it.ask("GET", f"/chef/models{query}")).status_code == 400
