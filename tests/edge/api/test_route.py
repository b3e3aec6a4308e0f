"""POST /api/route: what a request of the Model Router Service stands for, and what is wrong with one."""

from typing import Any

import msgspec
import pytest

from octoroute_py.core.errors import BadRequest
from octoroute_py.edge.api.route import openai_body, read_asked

ASKED: dict[str, Any] = {
    "id": "req-1",
    "agentType": "writer",
    "workspaceId": "acme",
    "userId": "u-7",
    "prompt": "Say hello.",
    "parameters": {},
    "metadata": {"requestType": "chat", "priority": "normal"},
}


def read(**changed: Any) -> dict[str, Any]:
    """The OpenAI body of the request with these fields changed."""
    body: dict[str, Any] = msgspec.json.decode(openai_body(read_asked(msgspec.json.encode(ASKED | changed))))
    return body


def test_a_request_is_one_user_message_with_the_agent_and_the_workspace_as_hints() -> None:
    assert read() == {
        "model": "auto",
        "messages": [{"role": "user", "content": "Say hello."}],
        "octoroute": {"agent_type": "writer", "workspace": "acme", "importance": "normal"},
    }


@pytest.mark.parametrize(
    ("priority", "importance"), [("low", "low"), ("normal", "normal"), ("high", "high"), ("critical", "high")]
)
def test_the_priority_is_the_importance(priority: str, importance: str) -> None:
    assert read(metadata={"priority": priority})["octoroute"]["importance"] == importance


def test_without_a_priority_the_configured_importance_holds() -> None:
    assert "importance" not in read(metadata={})["octoroute"]


def test_parameters_pass_as_they_were_spelled() -> None:
    given = b'{"temperature":0.50,"top_p":1e-1,"tools":[{"type":"function"}],"x":null,"maxTokens":12,"model":"deep"}'
    body = msgspec.json.encode(ASKED | {"parameters": msgspec.Raw(given)})
    sent = openai_body(read_asked(body))
    for spelled in (b'"temperature":0.50', b'"top_p":1e-1', b'"tools":[{"type":"function"}]', b'"x":null'):
        assert spelled in sent
    told = msgspec.json.decode(sent)
    assert (told["max_tokens"], told["model"], "maxTokens" in told) == (12, "deep", False)


def test_an_embedding_is_an_input_for_a_model_by_name() -> None:
    body = read(metadata={"requestType": "embedding"}, parameters={"model": "fast", "dimensions": 8})
    assert (body["input"], body["model"], body["dimensions"], "messages" in body) == ("Say hello.", "fast", 8, False)


def test_metadata_may_hold_anything() -> None:
    assert read(metadata={"requestType": "analysis", "trace": {"a": [1, None]}, "urgent": True})["model"] == "auto"


EMBEDDING = {"requestType": "embedding"}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"id": ""}, "id"),
        ({"id": "a b"}, "id"),
        ({"id": "é"}, "id"),
        ({"id": "x" * 129}, "id"),
        ({"id": 7}, "id"),
        ({"agentType": ""}, "agentType"),
        ({"agentType": " writer"}, "agentType"),
        ({"workspaceId": "a\nb"}, "workspaceId"),
        ({"workspaceId": None}, "workspaceId"),
        ({"userId": "u" * 129}, "userId"),
        ({"prompt": " \n"}, "prompt"),
        ({"prompt": ["hello"]}, "prompt"),
        ({"parameters": []}, "parameters"),
        ({"parameters": {"stream": True}}, "parameters.stream"),
        ({"parameters": {"stream": False}}, "parameters.stream"),
        ({"parameters": {"messages": []}}, "parameters.messages"),
        ({"parameters": {"octoroute": {}}}, "parameters.octoroute"),
        ({"parameters": {"model": 5}}, "parameters.model"),
        ({"parameters": {"maxTokens": 5, "max_tokens": 5}}, "parameters.maxTokens"),
        ({"metadata": {"requestType": "image"}}, "metadata.requestType"),
        ({"metadata": {"priority": "urgent"}}, "metadata.priority"),
        ({"metadata": None}, "metadata"),
        ({"metadata": EMBEDDING}, "parameters.model"),
        ({"metadata": EMBEDDING, "parameters": {"model": " Auto"}}, "parameters.model"),
        ({"tenant": "a"}, "tenant"),
    ],
)
def test_what_is_wrong_names_the_field(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(**changed)
    assert (caught.value.status, caught.value.param) == (400, field)


@pytest.mark.parametrize("missing", list(ASKED))
def test_every_field_is_required(missing: str) -> None:
    body = {name: value for name, value in ASKED.items() if name != missing}
    with pytest.raises(BadRequest) as caught:
        read_asked(msgspec.json.encode(body))
    assert caught.value.param == missing


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"7"])
def test_what_is_no_object_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        read_asked(body)


@pytest.mark.parametrize("value", [b"1", b"[[0]]", b'{"a":{}}', b'"text"'])
def test_too_many_parameters_are_refused_before_they_are_read(value: bytes) -> None:
    parameters = b"{%b}" % b",".join(b'"p%d":%b' % (at, value) for at in range(100_000))
    body = msgspec.json.encode(ASKED | {"parameters": "@"}).replace(b'"@"', parameters)
    with pytest.raises(BadRequest) as caught:
        read_asked(body)
    assert caught.value.param == "parameters"


def test_a_long_prompt_and_large_schemas_are_not_too_many_parameters() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"a": {"b": at}}}} for at in range(2_000)]
    asked = read(prompt='{"a":1},' * 10_000, parameters={"tools": tools, "seed": 1})
    assert asked["tools"] == tools
