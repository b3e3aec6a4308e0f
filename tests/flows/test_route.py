"""POST /api/route from end to end: a real request, and a status that tells the truth."""

from typing import Any

import httpx
import pytest

from tests.edge.api.test_route import ASKED
from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams

JSON = {"content-type": "application/json"}
ONE_TRY = httpx_config(fast="timeout_seconds = 0.2") + "max_attempts = 1\nmax_total = 1\n"
FIELDS = {"id", "requestId", "modelId", "response", "usage", "latency", "status", "timestamp"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


async def ask(one: Running, *, headers: dict[str, str] | None = None, **changed: Any) -> httpx.Response:
    return await one.client.post("/api/route", json=ASKED | changed, headers=headers)


async def test_a_request_is_answered_with_who_said_it_and_what_it_used() -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            route = mock.post("http://deep.test/v1/chat/completions")
            route.respond(content=bodies.chat_body("Hello.", usage=(7, 5)), headers=JSON)
            answer = await ask(one, parameters={"model": "deep", "temperature": 0.5})
    assert answer.status_code == 200
    told = answer.json()
    assert set(told) == FIELDS
    assert (told["requestId"], told["modelId"], told["response"]) == ("req-1", "deep/deep-model#1", "Hello.")
    assert told["status"] == "success"
    assert told["usage"] == {"promptTokens": 7, "completionTokens": 5, "totalTokens": 12, "cost": 0.0}
    assert told["latency"] >= 0
    assert told["timestamp"].endswith("Z")
    assert len(told["timestamp"]) == len("2026-01-31T08:15:00.042Z")
    assert told["id"] not in ("", "req-1")
    assert answer.headers["x-request-id"] == "req-1"
    assert (answer.headers["x-octoroute-tier"], answer.headers["x-octoroute-reason"]) == ("deep", "explicit_tier")
    sent = route.calls.last.request.content
    assert b'"temperature":0.5' in sent
    assert b"octoroute" not in sent
    assert b"u-7" not in sent


@pytest.mark.parametrize("upstreams_own", [{}, {"content-type": "application/json; charset=utf-8"}])
async def test_an_answer_is_json_whatever_the_upstream_calls_its_own(upstreams_own: dict[str, str]) -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            mock.post(path="/v1/chat/completions").respond(content=bodies.chat_body("Hello."), headers=upstreams_own)
            told = await ask(one, parameters={"model": "fast"})
            native = await one.client.post("/chat", json={"message": "Hi"})
    for answer in (told, native):
        assert (answer.status_code, answer.headers.get_list("content-type")) == (200, ["application/json"])


async def test_the_cost_is_that_of_the_tokens_in_dollars() -> None:
    async with running(httpx_config(fast="input_cost_per_mtok = 1\noutput_cost_per_mtok = 2")) as one:
        with upstreams() as mock:
            answer_body = bodies.chat_body("Hello.", usage=(7, 5))
            mock.post(path="/v1/chat/completions").respond(content=answer_body, headers=JSON)
            answer = await ask(one, parameters={"model": "fast"})
    assert answer.json()["usage"]["cost"] == 0.000017
    assert answer.headers["x-octoroute-cost"] == "0.000017"


async def test_a_critical_request_is_an_important_one() -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            mock.post(path="/v1/chat/completions").respond(content=bodies.chat_body("."), headers=JSON)
            answer = await ask(one, prompt="Debug this function", metadata={"priority": "critical"})
    assert answer.headers["x-octoroute-tier"] == "deep"


async def test_a_tool_call_is_an_answer() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [CALL]}}
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            mock.post(path="/v1/chat/completions").respond(json={"choices": [choice]})
            answer = await ask(one, parameters={"tools": [{"type": "function", "function": {"name": "f"}}]})
    assert answer.status_code == 200
    assert (answer.json()["response"], answer.json()["toolCalls"]) == ("", [CALL])


async def test_an_embedding_is_the_vector() -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            route = mock.post("http://fast.test/v1/embeddings")
            route.respond(content=bodies.embeddings_body([[0.5, -1.0]]), headers=JSON)
            answer = await ask(one, metadata={"requestType": "embedding"}, parameters={"model": "fast-model"})
    assert answer.status_code == 200
    assert (answer.json()["response"], answer.json()["usage"]["promptTokens"]) == ([0.5, -1.0], 7)


@pytest.mark.parametrize(
    ("upstream", "status", "word", "code"),
    [
        (500, 502, "error", "upstream_error"),
        (503, 503, "error", "upstream_error"),
        (504, 504, "timeout", "upstream_timeout"),
        (429, 429, "rate_limited", "rate_limit_exceeded"),
        (400, 400, "error", "invalid_request_error"),
    ],
)
async def test_a_failure_has_the_same_shape_and_its_true_status(
    upstream: int, status: int, word: str, code: str
) -> None:
    async with running(ONE_TRY) as one:
        with upstreams() as mock:
            mock.post(path="/v1/chat/completions").respond(upstream, content=bodies.error_body("No."), headers=JSON)
            answer = await ask(one, parameters={"model": "fast"})
    told = answer.json()
    assert (answer.status_code, told["status"], told["code"]) == (status, word, code)
    assert set(told) >= FIELDS
    assert (told["requestId"], told["modelId"], told["response"]) == ("req-1", "fast/fast-model#1", "")
    assert told["usage"] == {"promptTokens": 0, "completionTokens": 0, "totalTokens": 0, "cost": 0.0}
    assert isinstance(told["error"], str)
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    assert answer.headers["x-octoroute-tier"] == "fast"


async def test_a_model_that_does_not_answer_in_time_is_a_timeout() -> None:
    async with running(ONE_TRY) as one:
        with upstreams() as mock:
            mock.post(path="/v1/chat/completions").mock(side_effect=httpx.ReadTimeout)
            answer = await ask(one, parameters={"model": "fast"})
    assert (answer.status_code, answer.json()["status"]) == (504, "timeout")


async def test_an_answer_without_words_is_an_upstreams_failure() -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            mock.post(path="/v1/chat/completions").respond(json={"choices": [{"message": {"content": None}}]})
            answer = await ask(one)
    assert (answer.status_code, answer.json()["status"], answer.json()["response"]) == (502, "error", "")


async def test_a_model_nobody_knows_is_a_failure_of_the_request() -> None:
    async with running(httpx_config()) as one:
        answer = await ask(one, parameters={"model": "nobody"})
    assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (404, "model_not_found", "error")
    assert answer.json()["details"] == {"field": "parameters.model"}


async def test_a_wrong_request_is_told_in_the_shape_of_the_api() -> None:
    async with running(httpx_config()) as one:
        answer = await ask(one, priority="high")
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "code", "details"}
    assert answer.json()["details"] == {"field": "priority"}
    assert answer.headers["x-request-id"]


async def test_a_header_that_contradicts_the_body_is_refused() -> None:
    async with running(httpx_config()) as one:
        answer = await ask(one, headers={"X-Octoroute-Workspace": "other"})
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": "workspaceId"})
