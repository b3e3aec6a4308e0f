"""Watching is not touching: however often health, breakers and metrics are read, nothing changes; reset and drain act
on the very next request.
"""

import json
import random
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import pytest
import respx

from octoroute_py.core.words import BreakerState, Tier
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.bodies import chat_body
from tests.fakes.endpoints import trip

JSON = {"content-type": "application/json"}
LONG_OPEN = "[breaker]\nopen_seconds = 3600\nmax_open_seconds = 3600\n"
LONG_AGO_S = 4000.0
READS = {
    "/health": 1700,
    "/health/live": 400,
    "/health/ready": 1600,
    "/health/detailed": 1200,
    "/info": 1200,
    "/models": 1200,
    "/admin/circuit-breaker": 1300,
    "/admin/drain": 400,
    "/api/resilience/status": 900,
    "/metrics": 100,
}


@pytest.fixture
def fleet() -> Iterator[dict[str, respx.Route]]:
    with upstreams() as mock:
        yield {
            tier: mock.post(f"http://{tier}.test/v1/chat/completions").respond(content=chat_body(tier), headers=JSON)
            for tier in ("fast", "balanced", "deep")
        }


async def read(one: Running, path: str) -> bytes:
    """GET without a client around it, which would take longer than the gateway; only the body counts."""
    parts: list[bytes] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        assert message.get("status", 200) in (200, 503)
        parts.append(message.get("body", b""))

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http"}
    place = {"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""}
    ends = {"headers": [(b"host", b"gateway")], "client": ("127.0.0.1", 1), "server": ("gateway", 80)}
    await one.application.app({**scope, **place, **ends, "state": {}}, receive, send)
    return b"".join(parts)


def state_of(value: object) -> object:
    """All that an object of ours holds, down to plain values."""
    if isinstance(value, random.Random):
        return hash(value.getstate())
    if isinstance(value, (list, tuple, deque)):
        return [state_of(each) for each in value]
    if isinstance(value, dict):
        return {str(key): state_of(each) for key, each in value.items()}
    if type(value).__module__.startswith("octoroute_py.tiers"):
        slots = getattr(type(value), "__slots__", ())
        return {name: state_of(getattr(value, name)) for name in slots if not callable(getattr(value, name))}
    return repr(value)


def held(one: Running) -> object:
    """Live state of every endpoint and tier: breakers with slots and counts, penalties, budgets, random numbers."""
    table = one.application.gateway.snapshot.table
    judge = one.application.gateway.snapshot.router.judge
    parts = [each.live for each in table.endpoints], table._watches, table._rng
    return state_of((*parts, None if judge is None else judge.breaker))


async def test_ten_thousand_looks_at_open_and_half_open_breakers_change_nothing(fleet: dict[str, respx.Route]) -> None:
    config = httpx_config(LONG_OPEN).replace('strategy = "rule"', 'strategy = "llm"')
    assert sum(READS.values()) == 10_000
    async with running(config) as one:
        gateway = one.application.gateway
        now, table = gateway.monotonic(), gateway.snapshot.table
        fast, balanced, deep = table.endpoints
        trip(fast, now)
        trip(balanced, now - LONG_AGO_S)
        trip(deep, now - LONG_AGO_S)
        assert gateway.snapshot.router.judge is not None
        judge = gateway.snapshot.router.judge.breaker
        for _ in range(5):
            judge.failure(now - LONG_AGO_S, epoch=judge.epoch)
        under_way = deep.begin(now)
        deep.cool_down(now, 250.0)
        balanced.probe_failed(now, threshold=3)
        table.observe(now)
        before, answers = held(one), {path: json_or_text(await read(one, path)) for path in READS}
        for path, times in READS.items():
            for _ in range(times):
                await read(one, path)
        assert held(one) == before
        assert under_way.trial
        assert [each.breaker.state(gateway.monotonic()) for each in table.endpoints] == [
            BreakerState.OPEN,
            BreakerState.HALF_OPEN,
            BreakerState.HALF_OPEN,
        ]
        for path in ("/health/ready", "/metrics"):
            assert steady(json_or_text(await read(one, path))) == steady(answers[path]), path
        # The trial's slot and the verdict it is for are still there.
        assert balanced.unavailable(gateway.monotonic()) is None
        under_way.close()
        assert held(one) != before
    assert not any(route.called for route in fleet.values())


def json_or_text(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()


def steady(answer: Any) -> Any:
    """The answer without what time alone changes."""
    if isinstance(answer, dict):
        return {name: value for name, value in answer.items() if name != "uptime_seconds"}
    return [line for line in answer.splitlines() if "uptime" not in line and "_age_" not in line]


async def test_a_reset_lets_the_very_next_request_through(fleet: dict[str, respx.Route]) -> None:
    async with running(httpx_config(LONG_OPEN)) as one:
        gateway = one.application.gateway
        fast = gateway.snapshot.table.of(Tier.FAST)[0]
        ways: tuple[Callable[[], None], ...] = (
            lambda: trip(fast, gateway.monotonic()),
            lambda: fast.cool_down(gateway.monotonic(), 300.0),
            lambda: fast.auth_out(gateway.monotonic()),
            lambda: fast.quota_out(gateway.monotonic()),
            lambda: fast.probe_failed(gateway.monotonic(), threshold=1),
        )
        for put_out in ways:
            put_out()
            refused = await one.chat("fast/fast-model#1")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_endpoint_available")
            answer = await one.client.post("/admin/circuit-breaker/reset", json={"endpoint": fast.id})
            assert (answer.status_code, answer.json()["reset"]) == (200, [fast.id])
            assert (await one.chat("fast/fast-model#1")).status_code == 200
        assert fast.breaker.trips == 1


async def test_a_drained_endpoint_gets_no_request_from_the_next_one_on_and_its_tier_falls_back(
    fleet: dict[str, respx.Route],
) -> None:
    async with running(httpx_config()) as one:
        assert (await one.chat("fast")).headers["x-octoroute-tier"] == "fast"
        await one.client.post("/admin/drain", json={"endpoint": "fast/fast-model#1"})
        answer = await one.chat("fast")
        assert (answer.headers["x-octoroute-tier"], answer.headers["x-octoroute-reason"]) == (
            "balanced",
            "tier_fallback",
        )
        alone = await one.chat("fast-model")
        assert (alone.status_code, alone.json()["error"]["code"]) == (503, "no_endpoint_available")
        assert "drained" in alone.json()["error"]["message"]
        assert "x-should-retry" not in alone.headers
        assert fleet["fast"].call_count == 1
        await one.client.post("/admin/undrain", json={"endpoint": "fast/fast-model#1"})
        assert (await one.chat("fast")).headers["x-octoroute-tier"] == "fast"


async def test_a_drain_outlasts_a_reload_and_a_reset_and_is_no_failure(fleet: dict[str, respx.Route]) -> None:
    async with running(httpx_config()) as one:
        for tier in ("fast", "balanced", "deep"):
            await one.client.post("/admin/drain", json={"endpoint": f"{tier}/{tier}-model#1"})
        ready = await one.client.get("/health/ready")
        assert (ready.status_code, ready.json()["circuit_breaker"]) == (503, "closed")
        assert ready.json()["reasons"] == ["no tier is available"]
        assert (await one.client.post("/admin/reload")).status_code == 200
        await one.client.post("/admin/circuit-breaker/reset")
        assert (await one.chat("fast")).status_code == 503
        told = (await one.client.get("/admin/circuit-breaker")).json()
        assert {row["reason"] for row in told["endpoints"]} == {"drained"}
        assert [(row["state"], row["available"], row["trips"]) for row in told["tiers"]] == [("closed", 0, 0)] * 3
        rows = (await one.client.get("/models")).json()["models"]
        assert {(row["healthy"], row["out_because"]) for row in rows} == {(False, "drained")}
        resilience = (await one.client.get("/api/resilience/status")).json()
        assert {row["outBecause"] for row in resilience["endpointHealth"]} == {"drained"}
        page = (await one.client.get("/metrics")).text
        assert 'octoroute_endpoint_available{endpoint="fast/fast-model#1"} 0.0' in page
    assert not any(route.called for route in fleet.values())


async def test_a_drained_process_refuses_work_and_stays_up_until_it_is_taken_back(
    fleet: dict[str, respx.Route],
) -> None:
    async with running(httpx_config()) as one:
        answer = await one.client.post("/admin/drain")
        assert (answer.status_code, answer.json()["process"]) == (200, {"drained": True, "in_flight": 0})
        assert (await one.client.get("/health/ready")).json()["reasons"] == ["draining"]
        refused = await one.chat("fast")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"]
        assert (await one.client.get("/health")).status_code == 200
        assert (await one.client.post("/admin/undrain", json={})).json()["process"]["drained"] is False
        assert (await one.client.get("/health/ready")).status_code == 200
        assert (await one.chat("fast")).status_code == 200
        assert fleet["fast"].call_count == 1
