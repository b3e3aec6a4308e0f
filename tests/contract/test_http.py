"""How the gateway speaks HTTP/1.1 to any client: connections stay, answers come in order, bodies may wait."""

import pytest

from tests.fakes.client import Client, chat, get, post
from tests.fakes.house import House

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_connection_serves_one_request_after_another_errors_included(house: House) -> None:
    async with await Client.connect(house.gateway.port) as client:
        statuses = []
        for request in (post(chat()), post(b"{}"), get("/nowhere"), post(chat(stream=True)), get("/v1/models")):
            answer = await client.ask(request)
            statuses.append((answer.status, answer.whole, answer.headers.get("connection")))
    assert statuses == [(status, True, None) for status in (200, 400, 404, 200, 200)]


async def test_requests_sent_at_once_are_answered_in_order(house: House) -> None:
    async with await Client.connect(house.gateway.port) as client:
        client.write(post(chat()) + get("/v1/models") + post(b"{}") + post(chat(stream=True)) + get("/health"))
        answers = [await client.answer() for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 400, 200, 200]
    assert answers[1].json["object"] == "list"
    assert answers[3].done
    assert answers[4].json["status"] == "healthy"


async def test_a_client_may_wait_to_be_asked_for_its_body(house: House) -> None:
    body = chat()
    head = post(body, headers={"Expect": "100-continue"}).removesuffix(body)
    async with await Client.connect(house.gateway.port) as client:
        client.write(head)
        assert (await client.head()).status == 100
        assert (await client.ask(body)).status == 200


async def test_a_client_that_says_close_is_closed(house: House) -> None:
    async with await Client.connect(house.gateway.port) as client:
        answer = await client.ask(post(chat(), headers={"Connection": "close"}))
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.ended() == b""


async def test_http_1_0_is_answered_and_closed(house: House) -> None:
    async with await Client.connect(house.gateway.port) as client:
        answer = await client.ask(b"GET /v1/models HTTP/1.0\r\nhost: gateway\r\n\r\n")
        assert answer.status == 200
        assert await client.ended() == b""


async def test_head_of_a_post_route_has_no_body(house: House) -> None:
    async with await Client.connect(house.gateway.port) as client:
        client.write(b"HEAD /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n\r\n")
        assert (await client.head()).status == 405
        assert (await client.ask(get("/v1/models"))).status == 200


async def test_the_server_does_not_say_what_it_runs_on(house: House) -> None:
    for request in (post(chat()), post(b"{}"), get("/health"), get("/nowhere")):
        assert "server" not in (await house.ask(request)).headers
