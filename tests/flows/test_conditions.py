"""Conditions of rules that are set over the API, on the way of real requests."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.edge.api.test_route import ASKED
from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams

JSON = {"content-type": "application/json"}


def config(folder: Path) -> str:
    return httpx_config(f'default_tier = "fast"\n[storage]\nurl = "sqlite:///{folder / "x.db"}"')


async def make_rule(one: Running, **conditions: Any) -> httpx.Response:
    body = {"id": "r", "name": "r", "conditions": conditions, "targets": [{"modelId": "deep"}]}
    return await one.client.post("/api/routing/rules", json=body)


async def tiers(one: Running, *requests: tuple[dict[str, str], dict[str, Any]]) -> list[str]:
    """The tier that answers a chat request with these headers and more in its body, one after the other."""
    return [(await one.chat(headers=headers, **body)).headers["x-octoroute-tier"] for headers, body in requests]


@pytest.mark.parametrize(
    ("conditions", "matching", "other"),
    [
        ({"agentType": ["crawler"]}, ({"x-octoroute-agent-type": "crawler"}, {}), ({}, {})),
        ({"workspaceId": ["shop"]}, ({"x-octoroute-workspace": "shop"}, {}), ({}, {})),
        ({"userTier": ["gold"]}, ({}, {"metadata": {"userTier": "gold"}}), ({"x-octoroute-user-tier": "free"}, {})),
        ({"contentLength": {"max": 2}}, ({}, {}), ({}, {"messages": [{"role": "user", "content": "Bye"}]})),
        ({"customConditions": {"headers": {"X-App": ["a", "b"]}}}, ({"x-app": "b"}, {}), ({"x-app": "B"}, {})),
        (
            {"customConditions": {"metadata": {"seats": 5, "plan": {"noneOf": ["free"]}}}},
            ({}, {"metadata": {"seats": 5}}),
            ({}, {"metadata": {"seats": 5, "plan": "free"}}),
        ),
    ],
)
async def test_a_condition_holds_for_the_very_next_request(
    tmp_path: Path,
    conditions: dict[str, Any],
    matching: tuple[dict[str, str], dict[str, Any]],
    other: tuple[dict[str, str], dict[str, Any]],
) -> None:
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers=JSON)
        async with running(config(tmp_path)) as one:
            before = await tiers(one, matching, other)
            made = await make_rule(one, **conditions)
            after = await tiers(one, matching, other)
    assert made.status_code == 201, made.text
    assert (before, after) == (["fast", "fast"], ["deep", "fast"])


async def test_requests_of_the_model_router_service_are_known_by_their_metadata(tmp_path: Path) -> None:
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers=JSON)
        async with running(config(tmp_path)) as one:
            custom = {"metadata": {"trace": "t-1"}}
            await make_rule(one, requestType=["analysis"], userTier=["gold"], customConditions=custom)
            metadata = {"requestType": "analysis", "userTier": "gold", "trace": "t-1"}
            answers = [
                await one.client.post("/api/route", json=ASKED | {"id": f"{at}", "metadata": each})
                for at, each in enumerate((metadata, metadata | {"trace": "t-2"}, metadata | {"requestType": "chat"}))
            ]
        sent = [call.request.content for call in mock.calls]
    assert [each.headers["x-octoroute-tier"] for each in answers] == ["deep", "fast", "fast"]
    assert not any(b"trace" in each for each in sent)


@pytest.mark.parametrize(
    ("conditions", "field"),
    [
        (
            {"timeOfDay": {"start": "08:00", "end": "09:00", "timezone": "Mars/Base"}},
            "conditions.timeOfDay.timezone",
        ),
        ({"customConditions": {"headers": {"Cookie": "a"}}}, "conditions.customConditions.headers.Cookie"),
        ({"contentLength": {"min": 2, "max": 1}}, "conditions.contentLength.min"),
    ],
)
async def test_a_condition_that_no_request_can_meet_is_refused(
    tmp_path: Path, conditions: dict[str, Any], field: str
) -> None:
    async with running(config(tmp_path)) as one:
        answer = await make_rule(one, **conditions)
        kept = (await one.client.get("/api/routing/rules")).json()
    assert (answer.status_code, answer.json()["details"]["field"]) == (400, field)
    assert not any(rule["id"] == "r" for rule in kept["rules"])
