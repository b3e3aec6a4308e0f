"""The OpenAI SDK's other operations: completions, embeddings, responses, models."""

import openai
import pytest

from tests.fakes import bodies, turns
from tests.fakes.house import House

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_text_completion_is_forwarded(house: House) -> None:
    answer = await house.sdk.completions.create(
        model="fast", prompt="Once upon", suffix="the end", echo=True, best_of=2
    )
    assert answer.choices[0].text == "Hello from the fake upstream."
    [seen] = house.fast.requests
    assert seen.path == "/v1/completions"
    assert seen.json == {"model": "small", "prompt": "Once upon", "suffix": "the end", "echo": True, "best_of": 2}


async def test_a_text_completion_may_leave_the_tier_to_the_gateway(house: House) -> None:
    raw = await house.sdk.completions.with_raw_response.create(model="auto", prompt="hello")
    assert raw.headers["x-octoroute-tier"] == "fast"


async def test_a_text_completion_streams(house: House) -> None:
    stream = await house.sdk.completions.create(model="fast", prompt="Once upon", stream=True)
    assert [event.choices[0].text async for event in stream] == ["Hello from the fake upstream."]


async def test_embeddings_are_forwarded(house: House) -> None:
    answer = await house.sdk.embeddings.create(
        model="org/small", input=["a", "b"], dimensions=2, encoding_format="float", extra_body={"truncate": None}
    )
    assert answer.data[0].embedding == [0.6, 0.8]
    assert answer.usage.prompt_tokens == 7
    [seen] = house.fast.requests
    assert seen.path == "/v1/embeddings"
    assert seen.json == {
        "model": "vendor/small-v2",
        "input": ["a", "b"],
        "dimensions": 2,
        "encoding_format": "float",
        "truncate": None,
    }


async def test_embeddings_get_no_chat_defaults(house: House) -> None:
    await house.sdk.embeddings.create(model="deep", input="a", encoding_format="float")
    assert set(house.deep.requests[0].json) == {"model", "input", "encoding_format"}


async def test_embeddings_need_a_name(house: House) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await house.sdk.embeddings.create(model="auto", input="a")
    assert refused.value.param == "model"


async def test_a_response_is_forwarded(house: House) -> None:
    raw = await house.sdk.responses.with_raw_response.create(
        model="deep", input="hello", instructions="Be brief.", max_output_tokens=500, reasoning={"effort": "low"}
    )
    assert raw.parse().output_text == "Hello from the fake upstream."
    assert raw.headers["x-octoroute-warning"] == "max_output_tokens lowered from 500 to 100"
    [seen] = house.deep.requests
    assert seen.path == "/v1/responses"
    assert seen.json == {
        "model": "large",
        "input": "hello",
        "instructions": "Be brief.",
        "max_output_tokens": 100,
        "reasoning": {"effort": "low"},
        "temperature": 0.25,
    }


async def test_a_response_streams(house: House) -> None:
    house.fast.enqueue(turns.event_stream(*bodies.response_events("Reykjavík")))
    stream = await house.sdk.responses.create(model="fast", input="hello", stream=True)
    events = [event async for event in stream]
    assert [event.type for event in events] == [
        "response.created",
        "response.output_text.delta",
        "response.completed",
    ]
    assert events[2].type == "response.completed"
    assert events[2].response.output_text == "Reykjavík"
    assert "stream_options" not in house.fast.requests[0].json


async def test_a_response_may_leave_the_tier_to_the_gateway(house: House) -> None:
    raw = await house.sdk.responses.with_raw_response.create(
        model="auto", input="hello", extra_body={"octoroute": {"importance": "high", "task_type": "code"}}
    )
    assert raw.headers["x-octoroute-tier"] == "deep"


async def test_models_are_listed_once_and_in_order(house: House) -> None:
    page = await house.sdk.models.list()
    assert page.object == "list"
    assert [(model.id, model.owned_by) for model in page.data] == [
        ("auto", "octoroute"),
        ("fast", "octoroute"),
        ("balanced", "octoroute"),
        ("deep", "octoroute"),
        ("small", "user"),
        ("org/small", "user"),
        ("middle", "user"),
        ("large", "user"),
    ]
    assert {(model.object, model.created) for model in page.data} == {("model", 0)}


@pytest.mark.parametrize("name", ["auto", "deep", "small", "middle", "org/small", "fast/org#1", "balanced/middle#2"])
async def test_a_model_is_retrieved_by_every_name_it_answers_to(house: House, name: str) -> None:
    model = await house.sdk.models.retrieve(name)
    assert (model.id, model.object) == (name, "model")


async def test_a_slash_in_a_name_may_stand_as_it_is(house: House) -> None:
    assert (await house.sdk.get("/models/org/small", cast_to=object)) == {
        "id": "org/small",
        "object": "model",
        "created": 0,
        "owned_by": "user",
    }


@pytest.mark.parametrize("name", ["gpt-5", "org/none", "org%2Fsmall", "módel", "a b?c"])
async def test_a_model_that_is_not_there_is_not_found(house: House, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await house.sdk.models.retrieve(name)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
