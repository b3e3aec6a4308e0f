"""Health, readiness, info and metrics (contract §6); nothing they say may hold a secret."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from octoroute_py import __version__
from octoroute_py.core.words import BreakerState, Role
from octoroute_py.telemetry.metrics import FAMILIES
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.bodies import chat_body
from tests.fakes.endpoints import trip

VIEWER, ADMIN = "okr-viewer-0123456789", "okr-admin-9876543210"
SECRETS = {
    "UPSTREAM_KEY": "sk-upstream-1111111111",
    "EXTRA": "header-secret-2222",
    "VIEWER_KEY": VIEWER,
    "ADMIN_KEY": ADMIN,
    "PROXY": "http://user:proxy-secret-4444@127.0.0.1:1",
    "DATABASE_URL": "sqlite:///db-secret-3333333333.db",
}
SEEDED = httpx_config(
    '[[auth.keys]]\nname = "v"\nrole = "viewer"\nenv = "VIEWER_KEY"\n'
    '[[auth.keys]]\nname = "a"\nrole = "admin"\nenv = "ADMIN_KEY"\n',
    fast='api_key_env = "UPSTREAM_KEY"\nproxy = "env:PROXY"\nheaders = { "x-extra" = "header-secret-2222" }',
)
TELLING = (
    *("/health", "/health/ready", "/health/detailed", "/metrics", "/info", "/models", "/v1/models"),
    *("/admin/circuit-breaker", "/admin/drain", "/api/resilience/status", "/no-such-path"),
)
"""Where operators look."""
HEALTH_FIELDS = {
    "status",
    "service",
    "version",
    "timestamp",
    "uptime_seconds",
    "health_tracking_status",
    "metrics_recording_status",
    "background_task_status",
    "background_task_failures",
}
READY_FIELDS = {"ready", "circuit_breaker", "model_loaded", "version", "uptime_seconds", "tiers", "reasons"}
ENDPOINT_FIELDS = {
    "id",
    "name",
    "tier",
    "endpoint",
    "healthy",
    "last_check_seconds_ago",
    "consecutive_failures",
    "breaker",
    "in_flight",
}


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database of a configuration without a file is made where the process stands."""
    monkeypatch.chdir(tmp_path)


async def json_of(one: Running, path: str, *, status: int = 200, **headers: str) -> dict[str, Any]:
    answer = await one.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.parametrize("path", ["/health", "/health/live"])
async def test_the_process_is_healthy_while_it_answers(path: str) -> None:
    async with running(httpx_config()) as one:
        body = await json_of(one, path)
        assert body.keys() == HEALTH_FIELDS
        assert (body["status"], body["service"], body["version"]) == ("healthy", "octoroute", __version__)
        assert {body[f"{what}_status"] for what in ("health_tracking", "metrics_recording", "background_task")} == {
            "operational"
        }


async def test_readiness_tells_every_tier() -> None:
    async with running(httpx_config()) as one:
        body = await json_of(one, "/health/ready")
        assert body.keys() == READY_FIELDS
        assert (body["ready"], body["circuit_breaker"], body["reasons"]) == (True, "closed", [])
        assert body["tiers"] == {tier: {"available": 1, "total": 1} for tier in ("fast", "balanced", "deep")}


async def test_one_tier_that_is_out_is_no_reason_and_all_of_them_are() -> None:
    async with running(httpx_config()) as one:
        gateway = one.application.gateway
        first, *others = gateway.snapshot.table.endpoints
        trip(first, gateway.monotonic())
        body = await json_of(one, "/health/ready")
        assert (body["ready"], body["circuit_breaker"]) == (True, "closed")
        assert body["tiers"]["fast"] == {"available": 0, "total": 1}
        for each in others:
            trip(each, gateway.monotonic())
        body = await json_of(one, "/health/ready", status=503)
        assert (body["ready"], body["circuit_breaker"], body["reasons"]) == (False, "open", ["no tier is available"])


async def test_draining_is_a_reason() -> None:
    async with running(httpx_config()) as one:
        one.application.gateway.begin_drain()
        assert (await json_of(one, "/health/ready", status=503))["reasons"] == ["draining"]
        assert (await json_of(one, "/health"))["status"] == "healthy"
        assert (await json_of(one, "/info"))["status"] == "draining"
        assert (await one.chat("fast")).status_code == 503


async def test_a_breaker_that_is_switched_off_is_told_as_such() -> None:
    async with running(httpx_config("[breaker]\nenabled = false\n")) as one:
        assert (await json_of(one, "/health/ready"))["circuit_breaker"] == "disabled"


async def test_details_list_every_endpoint() -> None:
    async with running(httpx_config()) as one:
        body = await json_of(one, "/health/detailed")
        assert body.keys() >= HEALTH_FIELDS | READY_FIELDS
        assert [row["id"] for row in body["endpoints"]] == [
            f"{tier}/{tier}-model#1" for tier in ("fast", "balanced", "deep")
        ]
        assert all(row.keys() >= ENDPOINT_FIELDS for row in body["endpoints"])
        assert body["endpoints"][0]["breaker"] == BreakerState.CLOSED


@pytest.mark.usefixtures("own_folder")
async def test_info_shows_counters_to_all_and_the_configuration_to_viewers_only() -> None:
    async with running(SEEDED, env=SECRETS) as one:
        with upstreams() as mock:
            mock.post("http://deep.test/v1/chat/completions").respond(content=chat_body("hi"), headers=JSON)
            assert (await one.client.post("/chat", json={"message": "hi"})).status_code == 401
            asked = {"model": "deep", "messages": [{"role": "user", "content": "Hi"}]}
            answer = await one.client.post("/v1/chat/completions", json=asked, headers={"x-api-key": ADMIN})
            assert answer.status_code == 200
        body = await json_of(one, "/info")
        assert body.keys() == {
            "status",
            "version",
            "api_version",
            "uptime_seconds",
            "counters",
            "request_duration_seconds",
            "circuit_breaker_enabled",
            "metrics",
            "you",
        }
        assert (body["status"], body["api_version"]) == ("running", "v1")
        assert (body["counters"]["requests"], body["counters"]["completion_tokens"]) == (1, 5)
        assert body["request_duration_seconds"].keys() >= {"p50_s", "p95_s", "p99_s"}
        seen = await json_of(one, "/info", x_api_key=VIEWER)
        assert seen["config"]["endpoints"][0]["name"] == "fast-model"
        assert len(seen["endpoints"]) == 3


JSON = {"content-type": "application/json"}


@pytest.mark.usefixtures("own_folder")
async def test_no_answer_of_an_operation_holds_a_secret() -> None:
    hashes = [hashlib.sha256(key.encode()).hexdigest() for key in (VIEWER, ADMIN)]
    async with running(SEEDED, env=SECRETS) as one:
        for path in TELLING:
            for headers in ({}, {"x-api-key": VIEWER}, {"x-api-key": ADMIN}, {"x-api-key": VIEWER[:-1] + "x"}):
                text = (await one.client.get(path, headers=headers)).text
                for secret in (*SECRETS.values(), *hashes, "secret-"):
                    assert secret not in text, path
                for key in (VIEWER, ADMIN, SECRETS["UPSTREAM_KEY"], *hashes):
                    assert not any(key[at : at + 12] in text for at in range(len(key) - 11)), path


async def test_metrics_are_one_text_page_and_one_family_on_demand() -> None:
    async with running(httpx_config()) as one:
        page = await one.client.get("/metrics")
        assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "# TYPE octoroute_requests_total counter" in page.text
        parts = [(await one.client.get(f"/metrics?family={each}")).text for each in FAMILIES]
        assert "".join(parts) == page.text
        assert all(f"{name}_" in line for name, part in zip(FAMILIES, parts, strict=True) for line in part.splitlines())
        odd = await one.client.get("/metrics?family=nothing")
        assert (odd.status_code, odd.json()["error"]["param"]) == (400, "family")


async def test_a_scrape_of_an_idle_gateway_is_the_same_again() -> None:
    async with running(httpx_config()) as one:
        assert (await one.client.get("/metrics")).content == (await one.client.get("/metrics")).content


async def test_roles_without_a_view_see_no_configuration() -> None:
    inference = "okr-inference-555555"
    config = httpx_config(f'[[auth.keys]]\nname = "i"\nrole = "{Role.INFERENCE}"\nenv = "KEY"\n')
    async with running(config, env={"KEY": inference}) as one:
        assert "config" not in await json_of(one, "/info", x_api_key=inference)
        await json_of(one, "/health/detailed", status=403, x_api_key=inference)
