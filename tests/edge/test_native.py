import tracemalloc

import msgspec
import pytest

from octoroute_py.core.errors import BadRequest
from octoroute_py.edge.native import MAX_MESSAGE_CHARS, openai_body
from tests.fakes.application import httpx_config, running, upstreams
from tests.fakes.bodies import chat_body

JSON = {"content-type": "application/json"}


def test_a_message_becomes_one_user_message_with_its_hints() -> None:
    body = openai_body(b'{"message": " Hi ", "importance": "high", "task_type": "code", "more": 1}')
    assert msgspec.json.decode(body) == {
        "model": "auto",
        "messages": [{"role": "user", "content": " Hi "}],
        "octoroute": {"importance": "high", "task_type": "code"},
    }


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b"{", None),
        (b"\xff", None),
        (b"{}", "message"),
        (b'{"message": 5}', "message"),
        (b'{"message": " \\n"}', "message"),
        (b'{"message": "%b"}' % (b"a" * (MAX_MESSAGE_CHARS + 1)), "message"),
        (b'{"message": "a", "importance": "urgent"}', "importance"),
        (b'{"message": "a", "importance": 1}', "importance"),
        (b'{"message": "a", "task_type": "poetry"}', "task_type"),
        (b'{"message": "a", "task_type": ["code"]}', "task_type"),
        (b'{"message": "a", "importance": {}}', "importance"),
    ],
)
def test_a_wrong_request_names_the_field_to_blame(body: bytes, param: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        openai_body(body)
    assert (caught.value.status, caught.value.param) == (400, param)


async def test_the_answer_is_the_text_and_how_it_came_about() -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            mock.post("http://deep.test/v1/chat/completions").respond(content=chat_body("Deep."), headers=JSON)
            answer = await one.client.post(
                "/chat", json={"message": "Hi there", "importance": "high", "task_type": "code"}
            )
    assert answer.status_code == 200
    assert answer.json() == {
        "content": "Deep.",
        "model_tier": "deep",
        "model_name": "deep-model",
        "routing_strategy": "rule",
    }
    assert answer.headers["x-octoroute-endpoint"] == "deep/deep-model#1"
    assert answer.headers["content-type"] == "application/json"


async def test_an_answer_without_text_is_an_upstreams_failure() -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            mock.post(path="/v1/chat/completions").respond(json={"choices": [{"message": {"content": None}}]})
            answer = await one.client.post("/chat", json={"message": "Hi"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")


def test_of_fields_that_are_ignored_nothing_is_built() -> None:
    body = b'{"message": "Hi", "more": [' + b"[0]," * 200_000 + b"[0]]}"
    tracemalloc.start()
    try:
        openai_body(body)
        assert tracemalloc.get_traced_memory()[1] < len(body) / 10
    finally:
        tracemalloc.stop()
