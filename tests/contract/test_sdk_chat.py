"""The OpenAI SDK, unmodified, asks for chat completions."""

import asyncio
import json

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from tests.fakes import bodies, turns
from tests.fakes.house import House

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the capital of Iceland?"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather somewhere",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
        "strict": True,
    },
}


async def test_a_chat_comes_back_as_the_upstream_wrote_it(house: House) -> None:
    house.fast.enqueue(turns.json_answer("Reykjavík", usage=(11, 3), extra={"system_fingerprint": "fp_1"}))
    answer = await house.sdk.chat.completions.create(model="fast", messages=ASK)
    assert answer.choices[0].message.content == "Reykjavík"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == bodies.MODEL
    assert answer.system_fingerprint == "fp_1"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 3)


async def test_the_synchronous_client_works_too(house: House) -> None:
    def talk() -> tuple[str | None, str]:
        with openai.OpenAI(base_url=house.base_url, api_key="unused", max_retries=0) as sdk:
            whole = sdk.chat.completions.create(model="auto", messages=ASK).choices[0].message.content
            stream = sdk.chat.completions.create(model="auto", messages=ASK, stream=True)
            return whole, "".join(event.choices[0].delta.content or "" for event in stream)

    assert await asyncio.to_thread(talk) == ("Hello from the fake upstream.", "Hello from the fake upstream.")


async def test_a_stream_arrives_event_by_event(house: House) -> None:
    house.fast.enqueue(turns.stream_answer("Reyk", "ja", "vík"))
    stream = await house.sdk.chat.completions.create(model="fast", messages=ASK, stream=True)
    events = [event async for event in stream]
    assert [event.choices[0].delta.content for event in events] == ["", "Reyk", "ja", "vík", None]
    assert events[-1].choices[0].finish_reason == "stop"
    assert all(event.usage is None for event in events)


async def test_a_stream_tells_usage_to_whoever_asks_for_it(house: House) -> None:
    house.fast.enqueue(turns.stream_answer("a", usage=(21, 4)))
    stream = await house.sdk.chat.completions.create(
        model="fast", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    events = [event async for event in stream]
    assert events[-1].choices == []
    assert events[-1].usage is not None
    assert events[-1].usage.total_tokens == 25


async def test_a_stream_is_delivered_while_it_is_being_made(house: House) -> None:
    rest = asyncio.Event()
    house.fast.enqueue(turns.stream_answer("first", turns.Gate(rest), "second"))
    stream = await house.sdk.chat.completions.create(model="fast", messages=ASK, stream=True)
    seen: list[str | None] = []
    async for event in stream:
        seen.append(event.choices[0].delta.content)
        if seen == ["", "first"]:
            rest.set()
    assert seen == ["", "first", "second", None]


async def test_the_sdks_stream_helper_puts_the_answer_together(house: House) -> None:
    house.fast.enqueue(turns.stream_answer("Reyk", "javík"))
    async with house.sdk.chat.completions.stream(model="fast", messages=ASK) as stream:
        completion = await stream.get_final_completion()
    assert completion.choices[0].message.content == "Reykjavík"


async def test_tools_make_the_whole_round_trip(house: House) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Höfn"}'}}
    asked = [{"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [call]}}]
    house.deep.enqueue(
        turns.json_answer(extra={"choices": [{**asked[0], "finish_reason": "tool_calls", "logprobs": None}]}),
        turns.json_answer("Sunny."),
    )
    first = await house.sdk.chat.completions.create(
        model="deep", messages=ASK, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False
    )
    calls = first.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert json.loads(calls[0].function.arguments) == {"place": "Höfn"}
    result: list[ChatCompletionMessageParam] = [
        *ASK,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Höfn"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "18 °C"},
    ]
    second = await house.sdk.chat.completions.create(model="deep", messages=result, tools=[WEATHER])
    assert second.choices[0].message.content == "Sunny."
    asked_first, asked_second = house.deep.requests
    assert asked_first.json["tools"] == asked_second.json["tools"] == [WEATHER]
    assert asked_first.json["tool_choice"] == "required"
    assert asked_first.json["parallel_tool_calls"] is False
    assert asked_second.json["messages"] == result


async def test_streamed_tool_calls_arrive_whole(house: House) -> None:
    deltas = [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"place":'}},
        {"index": 0, "function": {"arguments": ' "Höfn"}'}},
    ]
    events = [
        bodies.sse(
            {
                "id": "chatcmpl-fake",
                "object": "chat.completion.chunk",
                "created": bodies.CREATED,
                "model": bodies.MODEL,
                "choices": [{"index": 0, "delta": {"tool_calls": [delta]}, "finish_reason": None}],
            }
        )
        for delta in deltas
    ]
    house.fast.enqueue(turns.stream_answer(*events, finish_reason="tool_calls"))
    async with house.sdk.chat.completions.stream(model="fast", messages=ASK, tools=[WEATHER]) as stream:
        completion = await stream.get_final_completion()
    calls = completion.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.arguments == '{"place": "Höfn"}'


async def test_hints_in_extra_body_decide_and_stay_here(house: House) -> None:
    raw = await house.sdk.chat.completions.with_raw_response.create(
        model="auto",
        messages=[{"role": "user", "content": "hello"}],
        extra_body={"octoroute": {"importance": "high", "task_type": "deep_analysis", "session": "s-1"}, "top_k": 40},
    )
    assert raw.headers["x-octoroute-tier"] == "deep"
    assert raw.headers["x-octoroute-reason"] == "rule_matched"
    [seen] = house.deep.requests
    assert "octoroute" not in seen.json
    assert b"octoroute" not in seen.body.lower()
    assert seen.json["top_k"] == 40


async def test_hints_in_headers_decide_and_stay_here(house: House) -> None:
    raw = await house.sdk.chat.completions.with_raw_response.create(
        model="auto",
        messages=ASK,
        extra_headers={"X-Octoroute-Importance": "high", "X-Octoroute-Workspace": "lab", "X-Request-Timeout": "12.5"},
    )
    assert raw.headers["x-octoroute-tier"] == "deep"
    [seen] = house.deep.requests
    names = {name.lower() for name, _ in seen.headers}
    assert not [name for name in names if name.startswith(b"x-octoroute") or name == b"x-request-timeout"]


async def test_local_only_requests_are_served_locally(house: House) -> None:
    raw = await house.sdk.chat.completions.with_raw_response.create(
        model="auto", messages=ASK, extra_body={"octoroute": {"privacy": "local-only"}}
    )
    assert raw.status_code == 200


async def test_what_the_sdk_can_say_reaches_the_upstream(house: House) -> None:
    await house.sdk.chat.completions.create(
        model="fast",
        messages=ASK,
        seed=42,
        n=3,
        logprobs=True,
        top_logprobs=5,
        stop=["\n", "END"],
        temperature=0.0,
        top_p=0.9,
        presence_penalty=-0.5,
        frequency_penalty=0.5,
        logit_bias={"50256": -100},
        user="u-1",
        store=False,
        metadata={"team": "search"},
        reasoning_effort="low",
        max_completion_tokens=33,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "city", "schema": {"type": "object"}, "strict": True},
        },
        extra_body={"guided_choice": ["a", "b"], "chat_template_kwargs": {"enable_thinking": False}, "nothing": None},
    )
    [seen] = house.fast.requests
    assert seen.json == {
        "messages": ASK,
        "model": "small",
        "seed": 42,
        "n": 3,
        "logprobs": True,
        "top_logprobs": 5,
        "stop": ["\n", "END"],
        "temperature": 0.0,
        "top_p": 0.9,
        "presence_penalty": -0.5,
        "frequency_penalty": 0.5,
        "logit_bias": {"50256": -100},
        "user": "u-1",
        "store": False,
        "metadata": {"team": "search"},
        "reasoning_effort": "low",
        "max_completion_tokens": 33,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "city", "schema": {"type": "object"}, "strict": True},
        },
        "guided_choice": ["a", "b"],
        "chat_template_kwargs": {"enable_thinking": False},
        "nothing": None,
    }


async def test_logprobs_and_three_choices_come_back(house: House) -> None:
    row = {"token": "Rey", "logprob": -0.01, "bytes": [82, 101, 121], "top_logprobs": []}
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": f"answer {index}"},
            "logprobs": {"content": [row], "refusal": None},
            "finish_reason": "stop",
        }
        for index in range(3)
    ]
    house.fast.enqueue(turns.json_answer(extra={"choices": choices}))
    answer = await house.sdk.chat.completions.create(model="fast", messages=ASK, n=3, logprobs=True)
    assert [choice.message.content for choice in answer.choices] == ["answer 0", "answer 1", "answer 2"]
    assert answer.choices[2].logprobs is not None
    assert answer.choices[2].logprobs.content is not None
    assert answer.choices[2].logprobs.content[0].logprob == -0.01


async def test_three_streamed_choices_come_back_interleaved(house: House) -> None:
    def event(index: int, text: str | None, finish: str | None = None) -> bytes:
        delta = {} if text is None else {"content": text}
        choice = {"index": index, "delta": delta, "finish_reason": finish}
        return bodies.sse(
            {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        )

    rows = [event(2, "c"), event(0, "a"), event(1, "b"), event(0, None, "stop"), event(2, None, "stop")]
    house.fast.enqueue(turns.event_stream(*rows, event(1, None, "stop"), bodies.DONE))
    stream = await house.sdk.chat.completions.create(model="fast", messages=ASK, n=3, stream=True)
    texts = {0: "", 1: "", 2: ""}
    async for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == {0: "a", 1: "b", 2: "c"}


async def test_content_parts_reach_the_upstream_as_they_are(house: House) -> None:
    messages: list[ChatCompletionMessageParam] = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            ],
        },
    ]
    await house.sdk.chat.completions.create(model="auto", messages=messages)
    seen = [*house.fast.requests, *house.balanced.requests, *house.deep.requests]
    assert [request.json["messages"] for request in seen] == [messages]


async def test_a_prompt_of_a_megabyte_passes(house: House) -> None:
    prompt = "Þetta er löng saga. " * 50_000
    await house.sdk.chat.completions.create(model="fast", messages=[{"role": "user", "content": prompt}])
    [seen] = house.fast.requests
    assert seen.json["messages"][0]["content"] == prompt
    assert len(seen.body) > 1_000_000


async def test_an_answer_of_some_megabytes_passes(house: House) -> None:
    text = "Þetta er löng saga. " * 150_000
    house.fast.enqueue(turns.json_answer(text))
    answer = await house.sdk.chat.completions.create(model="fast", messages=ASK)
    assert answer.choices[0].message.content == text


async def test_structured_output_is_parsed_by_the_sdk(house: House) -> None:
    house.fast.enqueue(turns.json_answer('{"city": "Reykjavík"}'))
    answer = await house.sdk.chat.completions.create(
        model="fast", messages=ASK, response_format={"type": "json_object"}
    )
    assert json.loads(answer.choices[0].message.content or "") == {"city": "Reykjavík"}
    assert house.fast.requests[0].json["response_format"] == {"type": "json_object"}


async def test_raw_responses_hold_the_route(house: House) -> None:
    raw = await house.sdk.chat.completions.with_raw_response.create(
        model="fast", messages=ASK, extra_headers={"X-Request-Id": "req-of-the-client.1"}
    )
    assert raw.headers["x-request-id"] == "req-of-the-client.1"
    assert raw.request_id == "req-of-the-client.1"
    assert raw.headers["x-octoroute-tier"] == "fast"
    assert raw.headers["x-octoroute-strategy"] == "rule"
    assert raw.headers["x-octoroute-reason"] == "explicit_tier"
    assert raw.headers["x-octoroute-endpoint"] == "fast/small#1"
    assert raw.headers["x-octoroute-attempts"] == "1"
    assert "x-octoroute-warning" not in raw.headers
    assert raw.parse().choices[0].message.content == "Hello from the fake upstream."


async def test_streams_tell_their_route_too(house: House) -> None:
    async with house.sdk.chat.completions.with_streaming_response.create(
        model="org/small", messages=ASK, stream=True
    ) as raw:
        assert raw.headers["content-type"].startswith("text/event-stream")
        assert raw.headers["x-octoroute-endpoint"] == "fast/org#1"
        assert raw.headers["x-octoroute-reason"] == "explicit_endpoint"
        assert len(raw.headers["x-request-id"]) >= 16
        await raw.read()
    assert house.fast.requests[0].json["model"] == "vendor/small-v2"


async def test_a_lowered_token_limit_is_told(house: House) -> None:
    raw = await house.sdk.chat.completions.with_raw_response.create(
        model="deep", messages=ASK, max_completion_tokens=4000
    )
    assert raw.headers["x-octoroute-warning"] == "max_completion_tokens lowered from 4000 to 100"
    assert house.deep.requests[0].json["max_completion_tokens"] == 100


async def test_an_endpoint_id_means_that_replica(house: House) -> None:
    for replica in ("balanced/middle#1", "balanced/middle#2"):
        raw = await house.sdk.chat.completions.with_raw_response.create(model=replica, messages=ASK)
        assert raw.headers["x-octoroute-endpoint"] == replica


@pytest.mark.parametrize("spelling", ["FAST", "Fast", " fast "])
async def test_tier_names_are_known_in_any_case(house: House, spelling: str) -> None:
    raw = await house.sdk.chat.completions.with_raw_response.create(model=spelling, messages=ASK)
    assert raw.headers["x-octoroute-tier"] == "fast"
