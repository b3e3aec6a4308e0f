"""The official OpenAI SDK takes a simulator for a model server."""

import json
import math
from collections.abc import AsyncIterator

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from openai.types.responses import FunctionToolParam

from octoroute_py.simulator.server import Simulator

MODEL = "sim-test"
ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Why is the sky blue?"}]
WEATHER_SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "days"],
}
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": WEATHER_SCHEMA},
}


@pytest.fixture
async def sdk(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncOpenAI]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with AsyncOpenAI(base_url=simulator.base_url, api_key="unused", max_retries=0) as made:
        yield made


async def test_it_lists_its_model(sdk: AsyncOpenAI) -> None:
    assert [model.id async for model in sdk.models.list()] == [MODEL]
    assert (await sdk.models.retrieve(MODEL)).id == MODEL


async def test_a_chat_is_answered_with_usage(sdk: AsyncOpenAI) -> None:
    answer = await sdk.chat.completions.create(model=MODEL, messages=ASK)
    text = answer.choices[0].message.content
    assert text is not None
    assert text.startswith("This is sim-test, a simulated model")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 5
    assert answer.usage.completion_tokens == math.ceil(len(text) / 4)


@pytest.mark.parametrize("with_usage", [True, False])
async def test_a_streamed_chat_says_the_same_as_a_buffered_one(sdk: AsyncOpenAI, with_usage: bool) -> None:
    whole = await sdk.chat.completions.create(model=MODEL, messages=ASK)
    stream = await sdk.chat.completions.create(
        model=MODEL,
        messages=ASK,
        stream=True,
        stream_options={"include_usage": True} if with_usage else openai.omit,
    )
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(deltas) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert usages == ([whole.usage] if with_usage else [])


async def test_max_tokens_stop_and_several_choices_are_respected(sdk: AsyncOpenAI) -> None:
    cut = await sdk.chat.completions.create(model=MODEL, messages=ASK, max_tokens=3)
    assert cut.choices[0].message.content == "This is sim-"
    assert cut.choices[0].finish_reason == "length"
    stopped = await sdk.chat.completions.create(model=MODEL, messages=ASK, stop=["simulated", "model"])
    assert stopped.choices[0].message.content == "This is sim-test, a "
    several = await sdk.chat.completions.create(model=MODEL, messages=ASK, n=3, seed=1)
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in several.choices}) == 3


async def test_the_seed_decides_the_text(sdk: AsyncOpenAI) -> None:
    texts = [
        (await sdk.chat.completions.create(model=MODEL, messages=ASK, seed=seed)).choices[0].message.content
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


async def test_log_probabilities_have_the_shape_clients_expect(sdk: AsyncOpenAI) -> None:
    answer = await sdk.chat.completions.create(model=MODEL, messages=ASK, logprobs=True, top_logprobs=3)
    choice = answer.choices[0]
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert "".join(token.token for token in choice.logprobs.content) == choice.message.content
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 3 for token in choice.logprobs.content)


async def test_a_tool_is_called_when_it_is_mentioned_and_its_result_is_used(sdk: AsyncOpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Please get weather for Oslo"}]
    answer = await sdk.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    call = choice.message.tool_calls[0]
    assert call.type == "function"
    assert call.function.name == "get_weather"
    arguments = json.loads(call.function.arguments)
    assert arguments.keys() == {"city", "days"}
    assert arguments["days"] >= 2
    messages += [
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": call.function.arguments},
                }
            ],
        },
        {"role": "tool", "tool_call_id": call.id, "content": "4 degrees and rain"},
    ]
    final = await sdk.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    assert "4 degrees and rain" in (final.choices[0].message.content or "")


async def test_a_tool_call_can_be_streamed_demanded_or_forbidden(sdk: AsyncOpenAI) -> None:
    stream = await sdk.chat.completions.create(
        model=MODEL, messages=ASK, tools=[WEATHER], tool_choice="required", stream=True
    )
    arguments, finish = "", None
    async for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or []:
            arguments += (call.function.arguments if call.function else None) or ""
        finish = chunk.choices[0].finish_reason or finish
    assert json.loads(arguments).keys() == {"city", "days"}
    assert finish == "tool_calls"
    plain = await sdk.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "get_weather"}], tools=[WEATHER], tool_choice="none"
    )
    assert plain.choices[0].message.tool_calls is None


async def test_structured_answers_are_json(sdk: AsyncOpenAI) -> None:
    loose = await sdk.chat.completions.create(model=MODEL, messages=ASK, response_format={"type": "json_object"})
    assert json.loads(loose.choices[0].message.content or "")["model"] == MODEL
    strict = await sdk.chat.completions.create(
        model=MODEL,
        messages=ASK,
        response_format={"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER_SCHEMA}},
    )
    assert json.loads(strict.choices[0].message.content or "")["unit"] == "C"


async def test_completions_whole_and_streamed(sdk: AsyncOpenAI) -> None:
    whole = await sdk.completions.create(model=MODEL, prompt=["one", "two"], logprobs=2)
    stream = await sdk.completions.create(model=MODEL, prompt=["one", "two"], stream=True)
    texts = ["", ""]
    async for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [choice.text for choice in whole.choices]
    assert texts[0] != texts[1]


async def test_embeddings_are_the_same_unit_vectors_in_both_codings(sdk: AsyncOpenAI) -> None:
    packed = await sdk.embeddings.create(model=MODEL, input=["a red fox", "a red dog", "quantum chromodynamics"])
    plain = await sdk.embeddings.create(model=MODEL, input="a red fox", encoding_format="float")
    fox, dog, other = (row.embedding for row in packed.data)
    assert fox == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert math.hypot(*fox) == pytest.approx(1.0)
    assert _dot(fox, dog) > _dot(fox, other)
    small = await sdk.embeddings.create(model=MODEL, input="x", dimensions=8)
    assert len(small.data[0].embedding) == 8


def _dot(left: list[float], right: list[float]) -> float:
    return sum(one * other for one, other in zip(left, right, strict=True))


async def test_responses_whole_and_streamed(sdk: AsyncOpenAI) -> None:
    whole = await sdk.responses.create(model=MODEL, input="Why is the sky blue?")
    assert whole.status == "completed"
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens
    stream = await sdk.responses.create(model=MODEL, input="Why is the sky blue?", stream=True)
    events = [event async for event in stream]
    assert events[0].type == "response.created"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == whole.output_text
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text


async def test_a_response_that_runs_out_of_tokens_is_incomplete(sdk: AsyncOpenAI) -> None:
    stream = await sdk.responses.create(model=MODEL, input="Why?", max_output_tokens=2, stream=True)
    last = [event async for event in stream][-1]
    assert last.type == "response.incomplete"
    assert last.response.output_text == "This is "


async def test_a_response_can_call_a_tool(sdk: AsyncOpenAI) -> None:
    tool: FunctionToolParam = {"type": "function", "name": "get_weather", "parameters": WEATHER_SCHEMA, "strict": None}
    answer = await sdk.responses.create(model=MODEL, input="get_weather please", tools=[tool])
    call = answer.output[0]
    assert call.type == "function_call"
    assert json.loads(call.arguments).keys() == {"city", "days"}
    final = await sdk.responses.create(
        model=MODEL,
        tools=[tool],
        input=[
            {"role": "user", "content": "get_weather please"},
            {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
            {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
        ],
    )
    assert "sunny" in final.output_text
    stream = await sdk.responses.create(model=MODEL, input="get_weather please", tools=[tool], stream=True)
    kinds = [event.type async for event in stream]
    assert "response.function_call_arguments.done" in kinds


async def test_errors_are_the_ones_the_sdk_knows(sdk: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await sdk.chat.completions.create(model="gpt-4", messages=ASK)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as empty:
        await sdk.chat.completions.create(model=MODEL, messages=[])
    assert empty.value.param == "messages"
    with pytest.raises(openai.RateLimitError):
        await sdk.chat.completions.create(model=f"{MODEL}:status_429", messages=ASK)


@pytest.mark.parametrize(("words", "tier"), [(5, "fast"), (100, "balanced"), (500, "deep")])
async def test_a_question_that_leaves_a_choice_gets_a_later_one_the_longer_it_is(
    sdk: AsyncOpenAI, words: int, tier: str
) -> None:
    question = f"{'word ' * words} Answer with exactly one word: FAST, BALANCED or DEEP."
    one_word = await sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": question}])
    assert one_word.choices[0].message.content == tier.upper()
    schema: dict[str, object] = {"type": "object", "properties": {"tier": {"enum": ["fast", "balanced", "deep"]}}}
    as_json = await sdk.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": question}],
        response_format={"type": "json_schema", "json_schema": {"name": "tier", "schema": schema}},
    )
    assert json.loads(as_json.choices[0].message.content or "") == {"tier": tier}
