"""`/admin/drain`: what it tells; what it does to requests is shown in tests/flows/test_watching.py."""

import pytest
from structlog.testing import capture_logs

from octoroute_py.tiers.live import Unavailability
from tests.fakes.application import httpx_config, running

FAST = "fast/fast-model#1"


async def test_what_is_drained_and_still_under_way_is_told() -> None:
    async with running(httpx_config()) as one:
        gateway = one.application.gateway
        fast = gateway.snapshot.table.endpoints[0]
        hold = fast.begin(gateway.monotonic())
        assert (await one.client.get("/admin/drain")).json() == {
            "process": {"drained": False, "in_flight": 0},
            "endpoints": [],
        }
        answer = (await one.client.post("/admin/drain", json={"endpoint": FAST})).json()
        assert (answer["success"], answer["message"]) == (True, f"{FAST} takes no new requests")
        row = {"id": FAST, "tier": "fast", "in_flight": 1}
        assert answer["endpoints"] == (await one.client.get("/admin/drain")).json()["endpoints"] == [row]
        assert fast.unavailable(gateway.monotonic()) is Unavailability.DRAINED
        hold.success(gateway.monotonic())
        hold.close()
        assert (await one.client.get("/admin/drain")).json()["endpoints"] == [row | {"in_flight": 0}]
        with capture_logs() as lines:
            answer = (await one.client.post("/admin/undrain", json={"endpoint": FAST})).json()
        assert (answer["message"], answer["endpoints"]) == (f"{FAST} takes requests", [])
    assert [(line["event"], line["to"], line["by"]) for line in lines] == [
        ("drain changed", f"{FAST} takes requests", "anonymous")
    ]


async def test_to_drain_twice_is_to_drain_once() -> None:
    async with running(httpx_config()) as one:
        for _ in range(2):
            assert (await one.client.post("/admin/drain", json={"endpoint": FAST})).status_code == 200
        for _ in range(2):
            assert (await one.client.post("/admin/undrain", json={"endpoint": FAST})).json()["endpoints"] == []


async def test_a_process_that_is_ending_cannot_be_taken_back() -> None:
    async with running(httpx_config()) as one:
        one.application.gateway.begin_drain()
        answer = await one.client.post("/admin/undrain")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert one.application.gateway.draining


@pytest.mark.parametrize(("body", "status"), [({"endpoint": "nobody"}, 404), ({"id": FAST}, 400), ([], 400)])
@pytest.mark.parametrize("path", ["/admin/drain", "/admin/undrain"])
async def test_what_is_not_known_is_told_and_drains_nothing(path: str, body: object, status: int) -> None:
    async with running(httpx_config()) as one:
        answer = await one.client.post(path, json=body)
        assert answer.status_code == status
        assert not one.application.gateway.draining
        assert (await one.client.get("/admin/drain")).json()["endpoints"] == []
