"""Requests that are sent twice and done once, by `Idempotency-Key` and by the id of POST /api/route."""

import asyncio
import hashlib
from typing import Any

import httpx
import pytest
import respx

from octoroute_py.core.words import Role
from tests.edge.api.test_route import ASKED
from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.keyed import Keyed, holder, shown

JSON = {"content-type": "application/json"}
KEY = {"Idempotency-Key": "order-66"}
ONE_TRY = httpx_config() + "max_attempts = 1\nmax_total = 1\n"


def answering(mock: respx.MockRouter, *texts: str) -> respx.Route:
    """Every upstream says these, one after the other."""
    route = mock.post(path="/v1/chat/completions")
    route.side_effect = [httpx.Response(200, content=bodies.chat_body(text), headers=JSON) for text in texts]
    return route


def same_answer(one: httpx.Response, two: httpx.Response) -> bool:
    """Whether two answers are byte for byte one, but for the mark."""
    fields = [(name, value) for name, value in two.headers.raw if name != b"x-octoroute-replayed"]
    return (one.status_code, one.content, one.headers.raw) == (two.status_code, two.content, fields)


async def test_a_request_that_is_sent_again_gets_the_same_answer_and_costs_nothing() -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            route = answering(mock, "First.", "Second.")
            first = await one.chat("fast", headers=KEY)
            again = await one.chat("fast", headers=KEY | {"X-Request-Id": "another", "X-Request-Timeout": "5"})
            fresh = await one.chat("fast")
        page = (await one.client.get("/metrics")).text
    assert first.status_code == 200
    assert same_answer(first, again)
    assert again.headers["x-octoroute-replayed"] == "true"
    assert "x-octoroute-replayed" not in first.headers
    assert fresh.json()["choices"][0]["message"]["content"] == "Second."
    assert route.call_count == 2
    assert 'octoroute_requests_total{strategy="rule",tier="fast"} 2.0' in page


async def test_fifty_at_once_are_one_call_upstream() -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            arrived, leave = asyncio.Event(), asyncio.Event()

            async def slowly(request: httpx.Request) -> httpx.Response:
                arrived.set()
                await leave.wait()
                return httpx.Response(200, content=bodies.chat_body("Once."), headers=JSON)

            route = mock.post(path="/v1/chat/completions").mock(side_effect=slowly)
            first = asyncio.create_task(one.chat("fast", headers=KEY))
            await arrived.wait()
            others = await asyncio.gather(*[one.chat("fast", headers=KEY) for _ in range(49)])
            leave.set()
            answer = await first
            later = await asyncio.gather(*[one.chat("fast", headers=KEY) for _ in range(49)])
    assert {each.status_code for each in others} == {409}
    assert {each.json()["error"]["code"] for each in others} == {"idempotency_in_progress"}
    assert {each.headers["retry-after"] for each in others} == {"1"}
    assert all(same_answer(answer, each) for each in later)
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, {"temperature": 1}),
        ({"X-Octoroute-Importance": "high"}, {}),
        ({"OpenAI-Beta": "x=1"}, {}),
    ],
    ids=["body", "hint", "header that is forwarded"],
)
async def test_another_request_with_the_key_is_refused(headers: dict[str, str], body: dict[str, Any]) -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            answering(mock, "First.")
            await one.chat("fast", headers=KEY)
            other = await one.chat("fast", headers=KEY | headers, **body)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")
    assert other.json()["error"]["param"] == "Idempotency-Key"


async def test_workspaces_and_operations_do_not_share_keys() -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            route = answering(mock, "Default.", "Named by a header.", "Named in the body.")
            mock.post(path="/v1/embeddings").respond(content=bodies.embeddings_body([[1.0]]), headers=JSON)
            first = await one.chat("fast", headers=KEY)
            second = await one.chat("fast", headers=KEY | {"X-Octoroute-Workspace": "a"})
            third = await one.chat("fast", headers=KEY, octoroute={"workspace": "b"})
            vectors = await one.client.post("/v1/embeddings", json={"model": "fast", "input": "x"}, headers=KEY)
    assert [each.status_code for each in (first, second, third, vectors)] == [200] * 4
    assert route.call_count == 3


async def test_a_key_of_somebody_else_is_another_key() -> None:
    keys = "".join(
        f'[[auth.keys]]\nname = "{name}"\nrole = "inference"\nsha256 = "{hashlib.sha256(name.encode()).hexdigest()}"\n'
        for name in ("alice", "robert")
    )
    async with running(httpx_config(keys)) as one:
        with upstreams() as mock:
            answering(mock, "For Alice.", "For Robert.")
            for name, text in (("alice", "For Alice."), ("robert", "For Robert.")):
                answer = await one.chat("fast", headers=KEY | {"authorization": f"Bearer {name}"})
                assert answer.json()["choices"][0]["message"]["content"] == text


async def test_a_key_that_lost_a_workspace_gets_no_answer_of_it_again() -> None:
    asked = {"headers": KEY | shown("k") | {"X-Octoroute-Workspace": "blue"}}
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            answering(mock, "Blue.")
            for workspaces, status in ((("red", "blue"), 200), (("red",), 403), ((), 403), (("blue",), 200)):
                one.application.gateway.access = Keyed(  # type: ignore[assignment]
                    {"k": holder(Role.INFERENCE, workspaces=workspaces)}
                )
                assert (await one.chat("fast", **asked)).status_code == status


async def test_after_a_failure_the_request_is_tried_afresh() -> None:
    async with running(ONE_TRY) as one:
        with upstreams() as mock:
            route = mock.post(path="/v1/chat/completions")
            route.side_effect = [
                httpx.Response(500),
                httpx.Response(400, content=bodies.error_body("No."), headers=JSON),
                httpx.Response(200, content=bodies.chat_body("At last."), headers=JSON),
            ]
            statuses = [(await one.chat("fast", headers=KEY)).status_code for _ in range(4)]
    assert statuses == [502, 400, 200, 200]
    assert route.call_count == 3


async def test_after_a_failure_another_body_may_take_the_key() -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            answering(mock, "Mended.")
            assert (await one.chat("nobody", headers=KEY)).status_code == 404
            assert (await one.chat("fast", headers=KEY)).status_code == 200


async def test_a_client_that_left_leaves_the_key_free() -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            arrived = asyncio.Event()

            async def never(request: httpx.Request) -> httpx.Response:
                arrived.set()
                await asyncio.Event().wait()
                raise AssertionError

            route = mock.post(path="/v1/chat/completions").mock(side_effect=never)
            first = asyncio.create_task(one.chat("fast", headers=KEY))
            await arrived.wait()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            route.side_effect = [httpx.Response(200, content=bodies.chat_body("Here."), headers=JSON)]
            assert (await one.chat("fast", headers=KEY)).status_code == 200


async def test_an_answer_that_is_too_large_is_not_done_twice_either() -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            route = answering(mock, "x" * 1_100_000)
            assert (await one.chat("fast", headers=KEY)).status_code == 200
            again = await one.chat("fast", headers=KEY)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "idempotency_not_kept")
    assert "too large" in again.json()["error"]["message"]
    assert (again.headers["x-should-retry"], "retry-after" in again.headers) == ("false", False)
    assert route.call_count == 1


@pytest.mark.parametrize("text", ["", "a b", "x" * 256, "é"])
async def test_a_key_that_cannot_be_one_is_a_bad_request(text: str) -> None:
    async with running(httpx_config()) as one:
        answer = await one.chat("fast", headers=httpx.Headers({"Idempotency-Key": text}, encoding="latin-1"))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Idempotency-Key")


async def test_two_different_keys_are_a_bad_request() -> None:
    async with running(httpx_config()) as one:
        headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
        answer = await one.client.post("/v1/chat/completions", json={}, headers=headers)
    assert answer.status_code == 400


async def test_a_large_body_is_told_from_another_one() -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            answering(mock, "Long.")
            long = "word " * 100_000
            first = await one.chat("fast", headers=KEY, metadata={"text": long})
            again = await one.chat("fast", headers=KEY, metadata={"text": long})
            other = await one.chat("fast", headers=KEY, metadata={"text": long + "."})
    assert [first.status_code, again.status_code, other.status_code] == [200, 200, 422]


async def test_a_body_that_is_too_large_is_refused_with_a_key_too() -> None:
    async with running(httpx_config() + "[limits]\nmax_request_bytes = 1024\n") as one:
        answer = await one.client.post("/v1/chat/completions", content=b"{" * 2000, headers=KEY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


# by id


async def route(one: Running, **changed: Any) -> httpx.Response:
    return await one.client.post("/api/route", json=ASKED | changed)


async def test_a_routed_request_is_known_by_its_id() -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            upstream = answering(mock, "First.", "Elsewhere.")
            first, again = await route(one), await route(one)
            other = await route(one, prompt="Something else.")
            elsewhere = await route(one, workspaceId="another")
    assert same_answer(first, again)
    assert first.json()["status"] == "success"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert other.json()["details"] == {"field": "id"}
    assert elsewhere.json()["response"] == "Elsewhere."
    assert upstream.call_count == 2


async def test_a_routed_request_that_failed_is_tried_afresh() -> None:
    async with running(ONE_TRY) as one:
        with upstreams() as mock:
            upstream = mock.post(path="/v1/chat/completions")
            upstream.side_effect = [
                httpx.Response(500),
                httpx.Response(200, content=bodies.chat_body("Now."), headers=JSON),
            ]
            told = [(await route(one)).json()["status"] for _ in range(3)]
    assert told == ["error", "success", "success"]
    assert upstream.call_count == 2
