"""Reports over HTTP: documented fields, strict queries, pages, CSV, and nobody sees another workspace's rows."""

import contextlib
import csv
import io
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from octoroute_py.admission.auth import Access
from octoroute_py.admission.principal import Principal
from octoroute_py.core.allowance import Grant
from octoroute_py.core.clock import iso
from octoroute_py.core.words import Role
from octoroute_py.edge.api.analytics import AnalyticsApi
from octoroute_py.edge.asgi import Table, build_app
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.manage.analytics import Analytics, Model
from octoroute_py.manage.records import COLUMNS
from octoroute_py.manage.store import Store
from octoroute_py.storage.db import Database
from octoroute_py.storage.entries import JournalEntry
from tests.fakes.application import httpx_config, running
from tests.fakes.endpoints import trip
from tests.fakes.journal_rows import NOW_S, calls, keep, roll_all, varied

ROWS = varied(random.Random(31), 300, over_s=3000)
REPORTS = ("/api/analytics/models", "/api/analytics/savings", "/api/metrics/requests")
OWN = Grant(workspaces=("red", "green"))
RULE = '[[routing.rules]]\nname = "x"\ntier = "deep"\nenabled = false\nwhen.min_tokens = 5\n'


class OneKey(Access):
    """Access rules by which everybody is the same principal."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    def authorize(self, *_: object, **__: object) -> Principal:
        return self._principal


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    one = Database.open("sqlite:///x.db", base_dir=tmp_path_factory.mktemp("api"))
    keep(one, ROWS[:200])
    roll_all(one)
    keep(one, ROWS[200:])
    yield one
    one.close()


@contextlib.asynccontextmanager
async def asking(database: Database | None, *, grant: Grant | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the reports, whose key is bound to what `grant` says."""
    async with running(httpx_config(RULE)) as one:
        gateway = one.application.gateway
        gateway.access = OneKey(Principal("somebody", Role.VIEWER, "k", grant))
        async with client_of(gateway, database) as client:
            yield client


@contextlib.asynccontextmanager
async def client_of(gateway: Gateway, database: Database | None) -> AsyncIterator[httpx.AsyncClient]:
    analytics = Analytics(
        Store(database),
        wall=lambda: NOW_S,
        models=lambda: [Model(each.id, each.name, each.tier) for each in gateway.config.endpoints],
        baseline=lambda: "deep/deep-model#1",
    )
    table = Table(gateway)
    AnalyticsApi(gateway, analytics).add_to(table)
    app = build_app(table.routes, cors_origins=(), management_port=None, lifespan=contextlib.nullcontext)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        yield client


async def json_of(client: httpx.AsyncClient, path: str, *, status: int = 200) -> dict[str, Any]:
    answer = await client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert status != 200 or answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert isinstance(told, dict)
    return told


async def test_the_models_report_has_the_documented_fields(database: Database) -> None:
    async with asking(database) as client:
        told = await json_of(client, "/api/analytics/models?timeRange=1h")
    documented = {
        "timeRange",
        "modelId",
        "totalRequests",
        "averageLatency",
        "successRate",
        "totalTokens",
        "totalCost",
        "requestsByAgent",
        "requestsByStatus",
        "hourlyDistribution",
    }
    ours = {"since", "successRatio", "failedRequests", "cancelledRequests", "p50", "p95", "p99", "models", "judge"}
    assert set(told) == documented | ours | {"promptTokens", "completionTokens", "cachedTokens"}
    assert (told["timeRange"], told["modelId"], told["since"]) == ("1h", "all", "2026-09-21T13:13:00.000Z")
    assert told["totalRequests"] == len(calls(ROWS))
    assert set(told["models"][0]) >= {"modelId", "name", "tier", "totalRequests", "p99", "totalCost", "successRate"}


async def test_the_workspace_report_has_the_documented_fields(database: Database) -> None:
    async with asking(database) as client:
        told = await json_of(client, "/api/analytics/workspaces/red")
    assert set(told) >= {
        "workspaceId",
        "timeRange",
        "totalRequests",
        "uniqueAgents",
        "totalTokens",
        "totalCost",
        "averageLatency",
        "successRate",
        "modelUsage",
        "agentUsage",
    }
    assert (told["workspaceId"], told["timeRange"], told["uniqueAgents"]) == ("red", "24h", 2)
    assert told["totalRequests"] == sum(row.workspace == "red" for row in ROWS)


async def test_the_savings_report_tells_its_baseline(database: Database) -> None:
    async with asking(database) as client:
        told = await json_of(client, "/api/analytics/savings?timeRange=30d")
    assert told["baselineEndpoint"] == "deep/deep-model#1"
    assert told["saved"] == pytest.approx(told["baseline"] - told["cost"] - told["judgeCost"])
    assert set(told["tiers"]) == {"fast", "balanced", "deep"}


async def test_a_model_may_be_named_by_its_name(database: Database) -> None:
    async with asking(database) as client:
        told = await json_of(client, "/api/analytics/models?modelId=fast/small%231")
        assert {row["modelId"] for row in told["models"]} == {"fast/small#1"}
        none = await json_of(client, "/api/analytics/models?modelId=deep-model")
        assert (none["modelId"], none["totalRequests"]) == ("deep-model", 0)


async def test_pages_lead_through_all_requests_newest_first(database: Database) -> None:
    found: list[dict[str, Any]] = []
    path: str | None = ""
    async with asking(database) as client:
        while path is not None:
            page = await json_of(client, f"/api/metrics/requests?limit=40{path}")
            assert page["count"] == len(page["requests"]) <= 40
            found += page["requests"]
            path = None if page["next"] is None else f"&before={page['next']}"
    assert sorted(row["requestId"] for row in found) == sorted(row.request_id for row in calls(ROWS))
    stamps = [row["timestamp"] for row in found]
    assert stamps == sorted(stamps, reverse=True)


async def test_requests_are_filtered_by_workspace_and_by_how_they_ended(database: Database) -> None:
    async with asking(database) as client:
        page = await json_of(client, "/api/metrics/requests?workspace=blue&status=timeout&limit=1000")
    wanted = {row.request_id for row in calls(ROWS) if row.workspace == "blue" and row.status == 504}
    assert {row["requestId"] for row in page["requests"]} == wanted
    assert {row["status"] for row in page["requests"]} == {"timeout"}


async def test_requests_are_searched_for_by_what_was_decided(database: Database) -> None:
    rows = calls(ROWS)
    some = next(row for row in rows if row.endpoint and row.agent_type)
    searches: list[tuple[str, Callable[[JournalEntry], bool]]] = [
        ("tier=deep", lambda row: row.tier == "deep"),
        ("decidedTier=fast&tier=fast", lambda row: row.decided_tier == row.tier == "fast"),
        (f"endpoint={quote(some.endpoint)}", lambda row: row.endpoint == some.endpoint),
        (f"agentType={some.agent_type}&strategy=rule", lambda row: row.agent_type == some.agent_type),
        ("reason=default_tier&rule=nobody", lambda row: False),
        ("status=failed", lambda row: row.error_code is not None and row.status != 499),
        ("status=5xx", lambda row: row.status >= 500),
        (f"requestId={some.request_id[:2]}", lambda row: row.request_id.startswith(some.request_id[:2])),
        (f"since={iso(some.started_ms)}", lambda row: row.started_ms >= some.started_ms),
        (f"until={iso(some.started_ms)}", lambda row: row.started_ms < some.started_ms),
    ]
    async with asking(database) as client:
        for search, meant in searches:
            page = await json_of(client, f"/api/metrics/requests?limit=1000&{search}")
            assert {row["requestId"] for row in page["requests"]} == {r.request_id for r in rows if meant(r)}, search


@pytest.mark.parametrize(
    "search",
    [
        "tier=huge",
        "decidedTier=",
        "strategy=magic",
        "reason=whim",
        "status=6xx",
        "endpoint=",
        "since=yesterday",
        "since=2026-02-30T00:00:00Z",
        "until=1790000000",
        f"requestId={'r' * 600}",
    ],
)
async def test_a_search_for_what_cannot_be_is_refused(database: Database, search: str) -> None:
    async with asking(database) as client:
        told = await json_of(client, f"/api/metrics/requests?{search}", status=400)
    assert told["details"] == {"field": search.partition("=")[0]}


async def test_a_page_as_csv_names_the_next_one_in_a_header(database: Database) -> None:
    async with asking(database) as client:
        answer = await client.get("/api/metrics/requests?limit=10&format=csv")
        page = await json_of(client, "/api/metrics/requests?limit=10")
        last = await client.get("/api/metrics/requests?limit=1000&format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["x-octoroute-next"] == page["next"]
    assert "x-octoroute-next" not in last.headers
    lines = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert tuple(lines[0]) == COLUMNS
    assert [line["requestId"] for line in lines] == [row["requestId"] for row in page["requests"]]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/analytics/models?timeRange=2h", "timeRange"),
        ("/api/analytics/models?timeRange=", "timeRange"),
        ("/api/analytics/models?timerange=1h", "timerange"),
        ("/api/analytics/models?modelId=", "modelId"),
        ("/api/analytics/workspaces/red?timeRange=x", "timeRange"),
        ("/api/analytics/savings?modelId=x", "modelId"),
        ("/api/metrics/requests?limit=0", "limit"),
        ("/api/metrics/requests?limit=1001", "limit"),
        ("/api/metrics/requests?limit=ten", "limit"),
        ("/api/metrics/requests?before=1", "before"),
        ("/api/metrics/requests?before=1-2-3", "before"),
        ("/api/metrics/requests?before=%D9%A1-%D9%A2", "before"),
        ("/api/metrics/requests?status=ok", "status"),
        ("/api/metrics/requests?format=xml", "format"),
        ("/api/metrics/requests?limit=1&limit=2", "limit"),
        ("/api/health/overview?x=1", "x"),
    ],
)
async def test_a_query_that_is_not_understood_is_refused(database: Database, path: str, field: str) -> None:
    async with asking(database) as client:
        told = await json_of(client, path, status=400)
    assert told["code"] == "invalid_request_error"
    assert told["details"] == {"field": field}


async def test_a_bound_key_sees_the_rows_of_its_workspaces_alone(database: Database) -> None:
    own = [row for row in ROWS if row.workspace == "red"]
    async with asking(database, grant=OWN) as client:
        models = await json_of(client, "/api/analytics/models")
        savings = await json_of(client, "/api/analytics/savings")
        page = await json_of(client, "/api/metrics/requests?limit=1000")
        listed = await client.get("/api/metrics/requests?limit=1000&format=csv")
        mine = await json_of(client, "/api/analytics/workspaces/red")
        named = await json_of(client, "/api/metrics/requests?limit=1000&workspace=red")
    assert models["totalRequests"] == savings["requests"] == mine["totalRequests"] == len(own)
    assert models["judge"] is None
    assert savings["judgeCost"] is None
    for rows in (page["requests"], named["requests"]):
        assert {row["requestId"] for row in rows} == {row.request_id for row in own}
    assert {line["workspaceId"] for line in csv.DictReader(io.StringIO(listed.text, newline=""))} == {"red"}


@pytest.mark.parametrize(
    "path", ["/api/analytics/workspaces/blue", "/api/metrics/requests?workspace=blue", "/api/analytics/workspaces/none"]
)
async def test_to_a_bound_key_other_workspaces_do_not_exist(database: Database, path: str) -> None:
    async with asking(database, grant=OWN) as client:
        told = await json_of(client, path, status=404)
    assert told == {"error": "There is no such workspace.", "code": "not_found"}


@pytest.mark.parametrize("path", REPORTS)
async def test_a_key_that_is_bound_to_no_workspace_at_all_sees_nothing(database: Database, path: str) -> None:
    async with asking(database, grant=Grant(workspaces=())) as client:
        told = await json_of(client, path)
    counted = told.get("totalRequests", told.get("requests"))
    assert counted in (0, [])


async def test_a_bound_key_may_not_see_the_overview(database: Database) -> None:
    async with asking(database, grant=OWN) as client:
        assert (await json_of(client, "/api/health/overview", status=403))["code"] == "permission_denied"


@pytest.mark.parametrize("path", [*REPORTS, "/api/analytics/workspaces/red"])
async def test_without_a_ledger_reports_say_what_to_configure(path: str) -> None:
    async with asking(None) as client:
        told = await json_of(client, path, status=503)
    assert told["code"] == "storage_off"
    assert "[storage]" in told["error"]


async def test_the_overview_tells_endpoints_rules_and_the_last_hour(database: Database) -> None:
    async with running(httpx_config(RULE)) as one:
        gateway = one.application.gateway
        trip(gateway.snapshot.table.endpoints[0], gateway.monotonic())
        async with client_of(gateway, database) as client:
            told = await json_of(client, "/api/health/overview")
        async with client_of(gateway, None) as client:
            unkept = await json_of(client, "/api/health/overview")
    assert told["models"] == {"total": 3, "active": 2, "healthy": 2, "degraded": 0, "unhealthy": 1}
    assert told["routing"] == {"totalRules": 1, "enabledRules": 0}
    assert set(told["performance"]) == {"requestsLastHour", "averageLatency", "successRate"}
    assert told["performance"]["requestsLastHour"] == len(calls(ROWS))
    assert told["unhealthyModels"] == ["fast/fast-model#1"]
    assert told["healthyModels"] == ["balanced/balanced-model#1", "deep/deep-model#1"]
    assert told["degradedModels"] == []
    assert unkept["performance"] is None
