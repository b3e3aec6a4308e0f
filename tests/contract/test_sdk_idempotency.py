"""Idempotency-Key over real sockets: the OpenAI SDK's own retries, and streams given again byte for byte."""

import asyncio

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.fakes import turns
from tests.fakes.client import Answer, Client, chat, post
from tests.fakes.house import House
from tests.fakes.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]


def streamed(key: str) -> bytes:
    return post(chat(stream=True), headers={"Idempotency-Key": key})


async def asked(house: House, count: int) -> None:
    """Wait until the upstream has that many requests."""

    async def there() -> bool:
        return len(house.fast.requests) >= count

    await until(there)


def text_of(answer: Answer) -> bytes:
    return b"".join(answer.events)


async def test_the_sdk_waits_for_the_request_that_runs_and_gets_its_answer(house: House) -> None:
    leave = asyncio.Event()
    house.fast.enqueue(turns.hold(turns.json_answer("Once."), leave))
    key = {"Idempotency-Key": "sdk-1"}
    statuses: list[int] = []

    async def note(response: httpx.Response) -> None:
        statuses.append(response.status_code)
        leave.set()

    hooked = openai.DefaultAsyncHttpxClient(event_hooks={"response": [note]})
    async with openai.AsyncOpenAI(
        base_url=house.base_url, api_key="unused", max_retries=3, timeout=20.0, http_client=hooked
    ) as sdk:
        first = asyncio.create_task(house.sdk.chat.completions.create(model="fast", messages=ASK, extra_headers=key))
        await asked(house, 1)
        refused = await house.ask(post(chat("something else"), headers=key))
        again = await sdk.chat.completions.with_raw_response.create(model="fast", messages=ASK, extra_headers=key)
        whole = await first
    assert statuses == [409, 200]
    assert refused.status == 422
    assert again.headers["x-octoroute-replayed"] == "true"
    assert again.parse() == whole
    assert whole.choices[0].message.content == "Once."
    assert len(house.fast.requests) == 1


async def test_without_retries_the_sdk_tells_of_a_conflict(house: House) -> None:
    leave = asyncio.Event()
    house.fast.enqueue(turns.hold(turns.json_answer("Once."), leave))
    key = {"Idempotency-Key": "sdk-2"}
    first = asyncio.create_task(house.sdk.chat.completions.create(model="fast", messages=ASK, extra_headers=key))
    await asked(house, 1)
    with pytest.raises(openai.ConflictError) as caught:
        await house.sdk.chat.completions.create(model="fast", messages=ASK, extra_headers=key)
    leave.set()
    await first
    assert caught.value.code == "idempotency_in_progress"


async def test_a_whole_stream_is_given_again_byte_for_byte(house: House) -> None:
    house.fast.enqueue(turns.stream_answer("Hei ", "þú ", "\u2028 there"))
    first = await house.ask(streamed("stream-1"))
    again = await house.ask(streamed("stream-1"))
    assert (first.whole, first.done, again.whole) == (True, True, True)
    assert again.body == first.body
    assert again.headers.pop("x-octoroute-replayed") == "true"
    assert again.headers == first.headers
    assert again.headers["transfer-encoding"] == "chunked"


async def test_the_sdk_reads_a_stream_that_is_given_again(house: House) -> None:
    house.fast.enqueue(turns.stream_answer("Hei ", "þú"))
    texts = []
    for _ in range(2):
        stream = await house.sdk.chat.completions.create(
            model="fast", messages=ASK, stream=True, extra_headers={"Idempotency-Key": "stream-2"}
        )
        texts.append("".join([chunk.choices[0].delta.content or "" async for chunk in stream]))
    assert texts == ["Hei þú", "Hei þú"]
    assert len(house.fast.requests) == 1


async def test_a_stream_that_broke_is_tried_afresh(house: House) -> None:
    house.fast.enqueue(turns.cut("after_events"), turns.stream_answer("Whole."))
    broken = await house.ask(streamed("stream-3"))
    whole = await house.ask(streamed("stream-3"))
    assert broken.stream_error == "upstream_truncated"
    assert "x-octoroute-replayed" not in whole.headers
    assert whole.done
    assert b"Whole." in text_of(whole)


async def test_a_stream_whose_client_left_is_tried_afresh(house: House) -> None:
    house.fast.enqueue(turns.stall_after(1), turns.stream_answer("Whole."))
    client = await Client.connect(house.gateway.port)
    client.write(streamed("stream-4"))
    await client.head()
    await client.piece()
    client.reset()
    answers: list[Answer] = []

    async def free() -> bool:
        answers.append(await house.ask(streamed("stream-4")))
        return answers[-1].status != 409

    await until(free)
    assert (answers[-1].status, answers[-1].done) == (200, True)
    assert len(house.fast.requests) == 2


async def test_a_stream_that_still_runs_is_waited_for(house: House) -> None:
    more = asyncio.Event()
    house.fast.enqueue(turns.stream_answer("one ", turns.Gate(more), "two"))
    async with await Client.connect(house.gateway.port) as client:
        client.write(streamed("stream-5"))
        await client.head()
        await client.piece()
        waiting = await house.ask(streamed("stream-5"))
        more.set()
        while await client.piece():
            pass
    again = await house.ask(streamed("stream-5"))
    assert (waiting.status, waiting.code, waiting.headers["retry-after"]) == (409, "idempotency_in_progress", "1")
    assert b"two" in text_of(again)


async def test_a_connection_serves_on_after_an_answer_that_was_given_again(house: House) -> None:
    async with await Client.connect(house.gateway.port) as client:
        for _ in range(3):
            answer = await client.ask(post(chat(), headers={"Idempotency-Key": "kept-alive"}))
            assert (answer.status, answer.whole) == (200, True)
        assert (await client.ask(streamed("kept-alive-stream"))).done
        assert (await client.ask(streamed("kept-alive-stream"))).done
    assert len(house.fast.requests) == 2
