"""octoroute 1.0.0's own routes: POST /chat and GET /models; and the order of GET /v1/models."""

import msgspec
import pytest

from tests.fakes import turns
from tests.fakes.client import Answer, get, post
from tests.fakes.house import House

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def say(house: House, **body: object) -> Answer:
    return await house.ask(post(msgspec.json.encode(body), path="/chat"))


async def test_a_native_chat_is_answered_in_its_own_shape(house: House) -> None:
    house.fast.enqueue(turns.json_answer("Hi \u2028 there"))
    answer = await say(house, message="hello")
    assert answer.status == 200, answer
    assert answer.json == {
        "content": "Hi \u2028 there",
        "model_tier": "fast",
        "model_name": "small",
        "routing_strategy": "rule",
    }
    assert house.fast.requests[0].json["messages"] == [{"role": "user", "content": "hello"}]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-octoroute-tier"] == "fast"
    assert answer.headers["x-request-id"]


async def test_importance_and_task_type_choose_the_tier(house: House) -> None:
    answer = await say(house, message="hello", importance="high", task_type="deep_analysis")
    assert (answer.json["model_tier"], answer.json["model_name"]) == ("deep", "large")
    assert house.deep.requests[0].json["temperature"] == 0.25


async def test_unknown_fields_of_a_native_chat_are_ignored(house: House) -> None:
    assert (await say(house, message="hello", user_id=7)).status == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "message"),
        ({"message": ""}, "message"),
        ({"message": " \n\t"}, "message"),
        ({"message": None}, "message"),
        ({"message": 5}, "message"),
        ({"message": ["hello"]}, "message"),
        ({"message": "x" * 100_001}, "message"),
        ({"message": "hello", "importance": "critical"}, "importance"),
        ({"message": "hello", "importance": 1}, "importance"),
        ({"message": "hello", "task_type": "Code"}, "task_type"),
        ({"message": "hello", "task_type": ["code"]}, "task_type"),
    ],
)
async def test_a_wrong_native_chat_is_told_what_is_wrong(house: House, body: dict[str, object], param: str) -> None:
    answer = await say(house, **body)
    assert answer.status == 400, answer
    error = answer.json["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, "invalid_request_error")


async def test_the_longest_message_is_still_taken(house: House) -> None:
    assert (await say(house, message="þ" * 100_000)).status == 200


async def test_a_failed_native_chat_has_the_usual_envelope(house: House) -> None:
    house.deep.enqueue(*[turns.status(400, b'{"error":{"message":"no","code":"bad"}}')])
    answer = await say(house, message="hello", importance="high", task_type="code")
    assert answer.status == 400
    assert set(answer.json["error"]) == {"message", "type", "param", "code"}


async def test_replicas_are_listed_one_a_row(house: House) -> None:
    answer = await house.ask(get("/models"))
    rows = answer.json["models"]
    assert [(row["id"], row["name"], row["tier"], row["endpoint"]) for row in rows] == [
        ("fast/small#1", "small", "fast", house.fast.base_url),
        ("fast/org#1", "org/small", "fast", house.fast.base_url),
        ("balanced/middle#1", "middle", "balanced", house.balanced.base_url),
        ("balanced/middle#2", "middle", "balanced", house.balanced.base_url),
        ("deep/large#1", "large", "deep", house.deep.base_url),
    ]
    shape = {
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
    for row in rows:
        assert shape <= set(row)
        assert (row["healthy"], row["consecutive_failures"], row["breaker"], row["in_flight"]) == (True, 0, "closed", 0)
        assert row["last_check_seconds_ago"] is None or row["last_check_seconds_ago"] >= 0
    assert "key" not in answer.body.decode().lower()


async def test_model_names_are_listed_once_cheapest_first(house: House) -> None:
    answer = await house.ask(get("/v1/models"))
    names = [row["id"] for row in answer.json["data"]]
    assert names == ["auto", "fast", "balanced", "deep", "small", "org/small", "middle", "large"]
    assert answer.headers["x-request-id"]
