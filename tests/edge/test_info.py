"""`GET /info`: figures for everybody, the configuration for viewers, and who is asking."""

from typing import Any

import pytest

from octoroute_py.core.words import Role
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.bodies import chat_body
from tests.fakes.endpoints import trip
from tests.fakes.keyed import Keyed, holder, shown

JSON = {"content-type": "application/json"}
OPEN_FIELDS = {
    "status",
    "version",
    "api_version",
    "uptime_seconds",
    "circuit_breaker_enabled",
    "metrics",
    "counters",
    "request_duration_seconds",
    "you",
}

SAME = {
    "total_requests": "requests_total",
    "lightweight_routes": "lightweight_routes_total",
    "powerful_routes": "powerful_routes_total",
    "p50_latency_us": 'latency_microseconds{quantile="0.5"}',
    "p95_latency_us": 'latency_microseconds{quantile="0.95"}',
    "p99_latency_us": 'latency_microseconds{quantile="0.99"}',
    "error_count": "errors_total",
    "circuit_breaker_trips": "circuit_breaker_trips_total",
}
"""Figures, and the series of the metrics page that say the same."""


async def info(one: Running, **headers: str) -> dict[str, Any]:
    answer = await one.client.get("/info", headers=headers)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def test_the_figures_of_the_router_are_those_of_what_happened() -> None:
    with upstreams() as mock:
        for tier in ("fast", "balanced"):
            mock.post(f"http://{tier}.test/v1/chat/completions").respond(content=chat_body("hi"), headers=JSON)
        mock.post("http://deep.test/v1/chat/completions").respond(status_code=500)
        async with running(httpx_config()) as one:
            before = (await info(one))["metrics"]
            assert before == {name: (None if name.endswith("_us") else 0) for name in before}
            for tier in ("fast", "fast", "balanced", "deep"):
                await one.chat(tier)
            trip(one.application.gateway.snapshot.table.endpoints[0], one.application.gateway.monotonic())
            figures = (await info(one))["metrics"]
            page = (await one.client.get("/metrics?family=tiny_dancer")).text
    assert {name: value for name, value in figures.items() if not name.endswith("_us")} == {
        "total_requests": 4,
        "lightweight_routes": 2,
        "powerful_routes": 0,
        "error_count": 1,
        "circuit_breaker_trips": 1,
    }
    assert 0 < figures["p50_latency_us"] <= figures["p95_latency_us"] <= figures["p99_latency_us"]
    assert figures["avg_inference_time_us"] is None  # no network was asked
    told = dict(line.removeprefix("tiny_dancer_").rsplit(" ", 1) for line in page.splitlines() if line[0] != "#")
    assert {name: float(told[series]) for name, series in SAME.items()} == {name: figures[name] for name in SAME}


@pytest.mark.parametrize(
    ("key", "you", "sees"),
    [
        (None, {"name": "anonymous", "role": None, "workspaces": None}, False),
        ("unknown", {"name": "anonymous", "role": None, "workspaces": None}, False),
        ("caller", {"name": "inference of the team", "role": "inference", "workspaces": None}, False),
        ("viewer", {"name": "viewer of the team", "role": "viewer", "workspaces": None}, True),
        ("bound", {"name": "admin of the team", "role": "admin", "workspaces": ["red"]}, False),
    ],
)
async def test_it_tells_who_asks_and_more_to_whoever_may_view(key: str | None, you: object, sees: bool) -> None:
    keys = {
        "caller": holder(Role.INFERENCE),
        "viewer": holder(Role.VIEWER),
        "bound": holder(Role.ADMIN, workspaces=("red",)),
    }
    async with running(httpx_config()) as one:
        one.application.gateway.access = Keyed(keys)  # type: ignore[assignment]
        body = await info(one, **({} if key is None else shown(key)))
    assert body["you"] == you
    assert body.keys() == (OPEN_FIELDS | {"config", "endpoints"} if sees else OPEN_FIELDS)


async def test_where_nobody_needs_a_key_a_stranger_is_an_admin() -> None:
    async with running(httpx_config()) as one:
        assert (await info(one))["you"] == {"name": "anonymous", "role": "admin", "workspaces": None}
