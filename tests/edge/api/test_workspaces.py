"""`/api/workspaces` over a real database, asked through the guard as by a client."""

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from octoroute_py.core.allowance import Budgets, Rates, WorkspacePolicy
from octoroute_py.core.words import Role
from octoroute_py.edge.api.workspaces import WorkspaceRoutes
from octoroute_py.edge.asgi import Table, build_app
from octoroute_py.manage.store import Store
from octoroute_py.manage.workspaces import Workspaces
from octoroute_py.storage import audit, directory
from octoroute_py.storage.db import Database
from tests.fakes.application import httpx_config, running
from tests.fakes.keyed import Keyed, holder, shown
from tests.fakes.repository import ROOT

DAY = 1_800_000_000.0
OPERATOR, VIEWER, RED, REDS_VIEWER, LATER = "operator", "viewer", "red", "reds-viewer", "later"
KEYS = {
    OPERATOR: holder(Role.OPERATOR, key_id="key_op"),
    VIEWER: holder(Role.VIEWER),
    RED: holder(Role.OPERATOR, workspaces=("red", "rose")),
    REDS_VIEWER: holder(Role.VIEWER, workspaces=("red",)),
    LATER: holder(Role.INFERENCE),
}
README = {
    "modelRestrictions": ["fast", "deep-model"],
    "budgetLimits": {"daily": 100, "weekly": 500.5, "monthly": 2000},
    "qualityRequirements": {"minSuccessRate": 0.95, "maxLatency": 5000},
    "complianceRequirements": ["GDPR"],
}


class Office:
    """The API, the database behind it and how often its changes were told."""

    def __init__(self, client: httpx.AsyncClient, database: Database) -> None:
        self.client = client
        self.database = database
        self.changes = 0

    async def changed(self) -> None:
        self.changes += 1

    async def ask(
        self, method: str, workspace: str | None, body: object = None, *, key: str = OPERATOR, query: str = ""
    ) -> httpx.Response:
        path = "/api/workspaces" if workspace is None else f"/api/workspaces/{workspace}/config"
        content = None if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await self.client.request(method, path + query, content=content, headers=shown(key))

    def policy(self, workspace: str) -> WorkspacePolicy:
        """What is in force for everybody who reads the directory."""
        with self.database.read() as connection:
            return directory.read(connection).workspaces[workspace]


@contextlib.asynccontextmanager
async def office(folder: Path) -> AsyncIterator[Office]:
    database = Database.open("sqlite:///test.db", base_dir=folder)
    priced = "input_cost_per_mtok = 1"
    config = httpx_config(fast=f'compliance = ["gdpr"]\n{priced}', balanced=priced, deep=priced)
    async with running(config) as one:
        gateway = one.application.gateway
        gateway.access = Keyed(KEYS)  # type: ignore[assignment]
        table = Table(gateway)
        it = Office(one.client, database)
        workspaces = Workspaces(
            Store(database), endpoints=lambda: gateway.config.endpoints, wall=lambda: DAY, changed=it.changed
        )
        WorkspaceRoutes(workspaces).add_to(table)
        app = build_app(table.routes, cors_origins=(), management_port=None, lifespan=contextlib.nullcontext)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as it.client:
            yield it
    database.close()


async def test_a_configuration_as_the_model_router_documents_it_is_kept_and_told_back(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        posted = await api.ask("POST", "team-a", README)
        told = await api.ask("GET", "team-a", key=VIEWER)
    assert posted.status_code == told.status_code == 200
    assert posted.json() == {"success": True, **told.json()}
    assert told.json() == {
        "workspaceId": "team-a",
        "config": {
            "modelRestrictions": ["fast", "deep-model"],
            "restrictionMode": "allow",
            "budgetLimits": {"daily": 100, "weekly": 500.5, "monthly": 2000},
            "qualityRequirements": {"minSuccessRate": 0.95, "maxLatency": 5000},
            "complianceRequirements": ["gdpr"],
            "rateLimits": {},
        },
        "createdAt": "2027-01-15T08:00:00.000Z",
        "updatedAt": "2027-01-15T08:00:00.000Z",
    }


async def test_the_other_spelling_means_the_same_and_is_told_in_the_first(tmp_path: Path) -> None:
    body = {
        "workspaceId": "team-b",
        "modelRestrictions": ["DEEP"],
        "restrictionMode": "deny",
        "budgetLimits": {"dailyLimit": 0.5, "weeklyLimit": 2, "monthlyLimit": 7, "costPerRequest": 0.000001},
        "qualityRequirements": {"minQualityScore": 0.8, "requireHumanReview": True},
        "rateLimits": {"requestsPerMinute": 60, "tokensPerMinute": 1000, "maxConcurrent": 2},
    }
    async with office(tmp_path) as api:
        answer = (await api.ask("POST", "team-b", body)).json()
        policy = api.policy("team-b")
    assert policy == WorkspacePolicy(
        restrictions=("deep",),
        deny=True,
        rates=Rates(requests_per_window=60, tokens_per_minute=1000, max_concurrent=2),
        budgets=Budgets(daily_uusd=500_000, weekly_uusd=2_000_000, monthly_uusd=7_000_000, per_request_uusd=1),
        min_quality_score=0.8,
        require_human_review=True,
    )
    assert answer["config"]["budgetLimits"] == {"daily": 0.5, "weekly": 2, "monthly": 7, "perRequest": 0.000001}
    assert answer["config"]["qualityRequirements"] == {"minQualityScore": 0.8, "requireHumanReview": True}
    assert [text.split()[0] for text in answer["warnings"]] == ["minQualityScore", "requireHumanReview"]


async def test_the_configuration_in_the_documents_is_taken_and_told_as_it_stands_there(tmp_path: Path) -> None:
    [block] = re.findall(r"```json\n(.*?)```", (ROOT / "docs/workspaces.md").read_text(), re.DOTALL)
    async with office(tmp_path) as api:
        answer = (await api.ask("POST", "a", block.encode())).json()
    assert answer["config"] == msgspec.json.decode(block)
    assert "warnings" not in answer


async def test_what_was_told_can_be_sent_back(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        first = (await api.ask("POST", "a", README)).json()["config"]
        assert (await api.ask("POST", "b", first)).json()["config"] == first
        assert api.policy("a") == api.policy("b")


async def test_a_second_configuration_replaces_the_whole_first_one(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        await api.ask("POST", "a", README)
        await api.ask("POST", "a", {"rateLimits": {"maxConcurrent": 1}})
        assert api.policy("a") == WorkspacePolicy(rates=Rates(max_concurrent=1))
        assert api.changes == 2


async def test_a_change_counts_in_the_version_and_leaves_a_row_in_the_audit(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        await api.ask("POST", "a", README)
        await api.ask("DELETE", "a")
        with api.database.read() as connection:
            version, rows = directory.version(connection), audit.newest(connection, 10)
    assert version == 2
    assert [(row.action, row.subject, row.actor, row.at_ms) for row in rows] == [
        ("workspace.forget", "a", "operator of the team (key_op)", 1_800_000_000_000),
        ("workspace.configure", "a", "operator of the team (key_op)", 1_800_000_000_000),
    ]
    first = msgspec.json.decode(rows[1].details)
    assert (first["before"], first["after"]["budgets"]["daily_uusd"]) == (None, 100_000_000)


async def test_a_workspace_without_a_configuration_is_404_also_after_it_was_forgotten(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        assert (await api.ask("GET", "a")).status_code == 404
        assert (await api.ask("DELETE", "a")).status_code == 404
        await api.ask("POST", "a", README)
        assert (await api.ask("DELETE", "a")).json() == {"success": True, "workspaceId": "a"}
        assert (await api.ask("GET", "a")).json()["code"] == "not_found"
        assert api.changes == 2


async def test_workspaces_are_listed_by_id_a_page_at_a_time(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        for name in ("c", "a", "b"):
            await api.ask("POST", name, {})
        page = (await api.ask("GET", None, query="?limit=2&offset=1")).json()
        assert ([row["workspaceId"] for row in page["workspaces"]], page["count"]) == (["b", "c"], 3)
        assert (await api.ask("GET", None, query="?limit=0")).json()["details"] == {"field": "limit"}


async def test_a_bound_key_reads_and_changes_its_own_workspaces_and_knows_of_no_other(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        for name in ("blue", "red"):
            await api.ask("POST", name, README)
        mine = (await api.ask("GET", None, key=RED)).json()
        assert ([row["workspaceId"] for row in mine["workspaces"]], mine["count"]) == (["red"], 1)
        assert (await api.ask("POST", "rose", {}, key=RED)).status_code == 200
        assert (await api.ask("GET", "red", key=REDS_VIEWER)).status_code == 200
        assert (await api.ask("POST", "red", {}, key=REDS_VIEWER)).status_code == 403
        unknown = await api.ask("GET", "nowhere", key=RED)
        for method, body in (("GET", None), ("DELETE", None), ("POST", {})):
            other = await api.ask(method, "blue", body, key=RED)
            assert (other.status_code, other.content) == (404, unknown.content), method
        assert api.policy("blue").compliance == ("gdpr",)


async def test_reading_takes_a_viewer_and_writing_an_operator(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        assert (await api.ask("POST", "a", {}, key=VIEWER)).status_code == 403
        assert (await api.ask("DELETE", "a", key=VIEWER)).status_code == 403
        assert (await api.ask("GET", None, key=LATER)).status_code == 403
        assert (await api.ask("GET", None, key="nobody's")).status_code == 401


@pytest.mark.parametrize(
    ("body", "field", "told"),
    [
        (b"{", None, "not valid JSON"),
        ([], None, "must be an object"),
        ({"modelRestriction": ["fast"]}, "modelRestriction", 'did you mean "modelRestrictions"?'),
        ({"budgetLimits": {"dailylimits": 1}}, "budgetLimits.dailylimits", 'did you mean "dailyLimit"?'),
        ({"qualityRequirements": {"p95": 1}}, "qualityRequirements.p95", "known are minSuccessRate, maxLatency"),
        ({"budgetLimits": {"daily": 1, "dailyLimit": 1}}, "budgetLimits.dailyLimit", "mean the same"),
        ({"budgetLimits": {"daily": -1}}, "budgetLimits.daily", ">= 0"),
        ({"budgetLimits": {"daily": "1"}}, "budgetLimits.daily", "got `str`"),
        ({"qualityRequirements": {"minSuccessRate": 95}}, "qualityRequirements.minSuccessRate", "<= 1"),
        ({"qualityRequirements": {"maxLatency": 0}}, "qualityRequirements.maxLatency", "> 0"),
        ({"rateLimits": {"requestsPerMinute": 0}}, "rateLimits.requestsPerMinute", ">= 1"),
        ({"restrictionMode": "deny"}, "restrictionMode", "without 'modelRestrictions'"),
        ({"restrictionMode": "block", "modelRestrictions": []}, "restrictionMode", "allow or deny"),
        ({"complianceRequirements": ["  "]}, "complianceRequirements[0]", "no visible text"),
        ({"workspaceId": "other"}, "workspaceId", "another one"),
        ({"modelRestrictions": ["fast", "gpt-9", "x"]}, "modelRestrictions", "'gpt-9', 'x'"),
        ({"modelRestrictions": ["deep-modell"]}, "modelRestrictions", 'did you mean "deep-model"?'),
        ({"rateLimit": {}}, "rateLimit", "'rateLimit' is not known; did you mean \"rateLimits\"?"),
    ],
)
async def test_a_wrong_configuration_is_400_says_where_and_changes_nothing(
    tmp_path: Path, body: object, field: str | None, told: str
) -> None:
    async with office(tmp_path) as api:
        answer = await api.ask("POST", "a", body)
        assert api.changes == 0
        assert (await api.ask("GET", "a")).status_code == 404
    shown: dict[str, Any] = answer.json()
    assert (answer.status_code, shown.get("details", {}).get("field")) == (400, field)
    assert told in shown["error"]
    assert not shown["error"].endswith("?.")


async def test_a_policy_that_lets_nothing_serve_is_kept_and_says_so(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        for name, words in (("modelRestrictions", []), ("complianceRequirements", ["hipaa", "HIPAA"])):
            answer = (await api.ask("POST", "a", {name: words})).json()
            assert answer["warnings"][0] == "No model may serve this workspace: every request of it is refused."
            assert answer["warnings"][1:] == (
                [] if words == [] else ["No model has, as its 'compliance' in the configuration, 'hipaa'."]
            )
        assert "warnings" not in (await api.ask("POST", "a", {"complianceRequirements": ["gdpr"]})).json()


@pytest.mark.parametrize("workspace", ["a" * 129, "%20a", "%F0%9F%90%99%E2%80%8B"])
async def test_an_id_that_no_request_could_name_is_400(tmp_path: Path, workspace: str) -> None:
    async with office(tmp_path) as api:
        answer = await api.ask("POST", workspace, {})
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": "id"})


async def test_any_visible_id_will_do(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        for workspace in ("x" * 128, "team/a", "acme%20inc", "%C3%A9quipe"):
            assert (await api.ask("POST", workspace, {})).status_code == 200, workspace
            assert (await api.ask("GET", workspace)).status_code == 200, workspace


async def test_a_database_that_cannot_be_used_is_503_and_its_place_is_not_told(tmp_path: Path) -> None:
    async with office(tmp_path) as api:
        api.database.close()
        answer = await api.ask("POST", "a", {})
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert str(tmp_path) not in answer.text
    assert answer.headers["retry-after"] == "1"


async def test_without_storage_every_route_says_what_to_configure() -> None:
    async with running(httpx_config()) as one:
        for method, path in (("GET", ""), ("GET", "/a/config"), ("POST", "/a/config"), ("DELETE", "/a/config")):
            content = b"{}" if method == "POST" else None
            answer = await one.client.request(method, f"/api/workspaces{path}", content=content)
            assert (answer.status_code, answer.json()["code"]) == (503, "storage_off"), (method, path)
            assert "[storage]" in answer.json()["error"]
