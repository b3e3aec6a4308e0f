"""`/admin/circuit-breaker`: what it tells, and whom a reset reaches."""

from typing import Any

import pytest

from tests.fakes.application import Running, httpx_config, running
from tests.fakes.endpoints import trip

PATH = "/admin/circuit-breaker"
LONG_OPEN = "[breaker]\nopen_seconds = 3600\nmax_open_seconds = 3600\n"


async def told(one: Running) -> dict[str, Any]:
    answer = await one.client.get(PATH)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_it_tells_true_counts_by_endpoint_and_tier() -> None:
    async with running(httpx_config(LONG_OPEN)) as one:
        gateway = one.application.gateway
        now, table = gateway.monotonic(), gateway.snapshot.table
        fast, balanced, _ = table.endpoints
        trip(fast, now)
        for good in (True, True, False):
            hold = balanced.begin(now)
            hold.success(now) if good else hold.failure(now)
            hold.close()
        table.observe(now)
        body = await told(one)
        assert {name: body[name] for name in ("enabled", "state", "failure_count", "success_count")} == {
            "enabled": True,
            "state": "closed",
            "failure_count": 6,
            "success_count": 2,
        }
        first, second, third = body["endpoints"]
        assert (first["id"], first["tier"], first["scope"]) == (fast.id, "fast", "endpoint")
        assert (first["state"], first["trips"], first["reason"], first["consecutive_failures"]) == (
            "open",
            1,
            "breaker",
            5,
        )
        assert 0 <= first["open_for_seconds"] < 60
        assert 1000 < first["retry_after_seconds"] <= 3600
        assert (second["failure_count"], second["success_count"], second["consecutive_failures"]) == (1, 2, 1)
        assert second["reason"] is second["open_for_seconds"] is second["retry_after_seconds"] is None
        assert (third["failure_count"], third["trips"], third["state"]) == (0, 0, "closed")
        assert body["tiers"][0] == {"tier": "fast", "state": "open", "available": 0, "total": 1, "trips": 1}
        assert body["tiers"][2] == {"tier": "deep", "state": "closed", "available": 1, "total": 1, "trips": 0}


async def test_a_trial_under_way_is_told_and_stays_under_way() -> None:
    async with running(httpx_config(LONG_OPEN)) as one:
        gateway = one.application.gateway
        now, fast = gateway.monotonic(), gateway.snapshot.table.endpoints[0]
        trip(fast, now - 5000.0)
        hold = fast.begin(now)
        for _ in range(3):
            row = (await told(one))["endpoints"][0]
            assert (row["state"], row["half_open_in_flight"], row["reason"]) == ("half_open", 1, "breaker")
        assert row["open_for_seconds"] >= 5000
        hold.close()
        row = (await told(one))["endpoints"][0]
        assert (row["half_open_in_flight"], row["reason"]) == (0, None)


async def test_breakers_that_are_switched_off_are_told_as_disabled() -> None:
    async with running(httpx_config("[breaker]\nenabled = false\n")) as one:
        body = await told(one)
    assert (body["enabled"], body["state"]) == (False, "disabled")


async def test_the_judge_has_a_breaker_of_its_own_which_a_reset_closes() -> None:
    async with running(httpx_config(LONG_OPEN).replace('"rule"', '"llm"')) as one:
        gateway = one.application.gateway
        assert gateway.snapshot.router.judge is not None
        breaker = gateway.snapshot.router.judge.breaker
        for _ in range(5):
            breaker.failure(gateway.monotonic(), epoch=breaker.epoch)
        row = (await told(one))["endpoints"][-1]
        assert (row["id"], row["scope"], row["tier"], row["state"], row["reason"]) == (
            "judge",
            "judge",
            "balanced",
            "open",
            "breaker",
        )
        page = (await one.client.get("/metrics")).text
        assert 'octoroute_breaker_state{id="judge",scope="judge",state="open"} 1.0' in page
        assert 'octoroute_breaker_trips_total{id="judge",scope="judge"} 1.0' in page
        answer = await one.client.post(f"{PATH}/reset", json={"endpoint": "judge"})
        assert answer.json() == {"success": True, "message": "1 circuit breaker reset", "reset": ["judge"]}
        assert (await told(one))["endpoints"][-1]["state"] == "closed"


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        (b"", ["fast", "balanced", "deep"]),
        (b"{}", ["fast", "balanced", "deep"]),
        (b'{"tier": "deep"}', ["deep"]),
        (b'{"endpoint": "balanced/balanced-model#1"}', ["balanced"]),
    ],
)
async def test_a_reset_reaches_all_or_those_it_names(content: bytes, ids: list[str]) -> None:
    async with running(httpx_config(LONG_OPEN)) as one:
        gateway = one.application.gateway
        for each in gateway.snapshot.table.endpoints:
            trip(each, gateway.monotonic())
        answer = await one.client.post(f"{PATH}/reset", content=content)
        assert answer.json()["reset"] == [f"{tier}/{tier}-model#1" for tier in ids]
        states = {row["tier"]: row["state"] for row in (await told(one))["endpoints"]}
        assert states == {tier: "closed" if tier in ids else "open" for tier in ("fast", "balanced", "deep")}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"endpoint": "nobody"}, 404),
        ({"endpoint": "judge"}, 404),
        ({"tier": "medium"}, 400),
        ({"endpoint": "fast/fast-model#1", "tier": "fast"}, 400),
        ({"endpoints": []}, 400),
    ],
)
async def test_what_it_does_not_know_is_told_and_nothing_is_reset(body: dict[str, Any], status: int) -> None:
    async with running(httpx_config(LONG_OPEN)) as one:
        gateway = one.application.gateway
        trip(gateway.snapshot.table.endpoints[0], gateway.monotonic())
        answer = await one.client.post(f"{PATH}/reset", json=body)
        assert answer.status_code == status, answer.text
        assert {"error", "code"} <= set(answer.json())
        assert (await told(one))["endpoints"][0]["state"] == "open"


async def test_a_tier_that_was_reset_counts_its_next_opening() -> None:
    async with running(httpx_config(LONG_OPEN)) as one:
        gateway = one.application.gateway
        table = gateway.snapshot.table
        for trips in (1, 2):
            trip(table.endpoints[0], gateway.monotonic())
            table.observe(gateway.monotonic())
            assert (await told(one))["tiers"][0]["trips"] == trips
            await one.client.post(f"{PATH}/reset")
