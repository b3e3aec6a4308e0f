"""`/api/resilience/status` tells what is so, and looking changes nothing."""

from typing import Any

import httpx
import jsonschema
import msgspec

from octoroute_py.core.words import Tier
from octoroute_py.edge.api.resilience import Resilience
from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams

JSON = {"content-type": "application/json"}
SCHEMA = msgspec.json.schema(Resilience)


async def status(one: Running) -> dict[str, Any]:
    answer = await one.client.get("/api/resilience/status")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return found


def breaker(found: dict[str, Any], id_: str) -> dict[str, Any]:
    """The breaker of an endpoint or a tier."""
    [one] = [each for each in found["circuitBreakers"] if each["id"] == id_]
    return dict(one)


async def test_a_gateway_that_did_nothing_is_well() -> None:
    async with running(httpx_config(fast="max_in_flight = 8")) as one:
        found = await status(one)
    ids = ["fast/fast-model#1", "balanced/balanced-model#1", "deep/deep-model#1"]
    assert [(each["id"], each["scope"]) for each in found["circuitBreakers"]] == [
        *((id_, "endpoint") for id_ in ids),
        *((tier.value, "tier") for tier in Tier),
    ]
    assert {each["state"] for each in found["circuitBreakers"]} == {"closed"}
    assert found["endpointHealth"][0] == {
        "id": ids[0],
        "modelId": "fast-model",
        "tier": "fast",
        "healthy": True,
        "outBecause": None,
        "lastCheckSecondsAgo": None,
        "successRate": None,
        "latencyMs": None,
    }
    assert found["bulkheadPools"][ids[0]] == {"inFlight": 0, "limit": 8, "usage": 0}
    assert found["bulkheadPools"][ids[1]] == {"inFlight": 0, "limit": None, "usage": None}
    assert found["idempotencyKeysCount"] == 0
    assert found["retryBudgets"]["deep"] == {"triesLeft": 10, "ratio": 0.2, "inFlight": 0, "extraInFlight": 0}


async def test_a_breaker_that_opened_is_told_with_its_end_and_looking_leaves_it_as_it_is() -> None:
    text = httpx_config("[breaker]\nfailure_threshold = 2\nopen_seconds = 60\n").replace(
        "[retry]\n", "[retry]\nmax_attempts = 1\n"
    )
    with upstreams() as mock:
        mock.route(host="deep.test").respond(500)
        mock.route().respond(content=bodies.chat_body("Hello."), headers=JSON)
        async with running(text) as one:
            for _ in range(2):
                assert (await one.chat("deep")).status_code == 502
            for _ in range(12):
                assert (await one.chat("fast", headers={"idempotency-key": "k"})).status_code == 200
                assert (await one.chat("fast")).status_code == 200
            found = [await status(one) for _ in range(3)][-1]
            live = one.application.gateway.snapshot.table.by_id["deep/deep-model#1"].breaker
            assert (live.trips, live.consecutive_failures) == (1, 2)
    deep, tier = breaker(found, "deep/deep-model#1"), breaker(found, "deep")
    assert (deep["state"], deep["consecutiveFailures"], deep["trips"]) == ("open", 2, 1)
    assert 29 <= deep["retryAfterSeconds"] <= 60
    assert (tier["state"], tier["consecutiveFailures"], tier["trips"]) == ("open", None, 1)
    assert abs(tier["retryAfterSeconds"] - deep["retryAfterSeconds"]) < 1
    health = {each["id"]: each for each in found["endpointHealth"]}
    assert (health["deep/deep-model#1"]["healthy"], health["deep/deep-model#1"]["outBecause"]) == (False, "breaker")
    fast = health["fast/fast-model#1"]
    assert (fast["healthy"], fast["successRate"]) == (True, 1)
    assert fast["latencyMs"] > 0
    assert found["idempotencyKeysCount"] == 1


async def test_an_endpoint_that_only_a_probe_can_bring_back_has_no_end() -> None:
    async with running(httpx_config()) as one:
        endpoint = one.application.gateway.snapshot.table.by_id["deep/deep-model#1"]
        endpoint.live.probe_down = True
        found = await status(one)
    assert breaker(found, "deep")["state"] == "open"
    assert "retryAfterSeconds" not in breaker(found, "deep")


async def test_what_is_under_way_is_counted() -> None:
    async with running(httpx_config(fast="max_in_flight = 8")) as one:
        gateway = one.application.gateway
        hold = gateway.snapshot.table.by_id["fast/fast-model#1"].begin(gateway.monotonic())
        found = await status(one)
        hold.close()
    assert found["bulkheadPools"]["fast/fast-model#1"] == {"inFlight": 1, "limit": 8, "usage": 0.125}


async def test_a_query_is_refused() -> None:
    async with running(httpx_config()) as one:
        answer: httpx.Response = await one.client.get("/api/resilience/status?x=1")
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": "x"})
