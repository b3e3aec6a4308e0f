"""What a whole answer says, found to be counted."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.core.words import Surface
from octoroute_py.transport.answers import read_answer
from octoroute_py.transport.faults import Fault
from octoroute_py.transport.said import text_within, texts_of_answer


def chat(**message: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}]}


CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        (chat(content="Hello."), ["Hello."]),
        (chat(content="Hi", reasoning_content="Hm, "), ["HiHm, "]),
        (chat(content="Hi", reasoning_content="Hm", reasoning="Hm"), ["HiHm"]),
        (chat(content=None, refusal="No."), ["No."]),
        (chat(content=None, tool_calls=[CALL, CALL]), ["look{}look{}"]),
        (chat(content=""), []),
        ({"choices": [{"text": "a"}, {"text": ""}, {"text": "b"}]}, ["a", "b"]),
        (chat(content=[{"type": "text", "text": "Hi"}, {"type": "thinking", "thinking": "Hm"}]), ["HiHm"]),
        ({"choices": ["odd", {"text": "a", "index": "0"}, {"message": 7}]}, ["a"]),
        (
            {
                "output": [
                    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]},
                    {"type": "message", "content": [{"type": "output_text", "text": "Hi"}, {"refusal": "No"}]},
                    {"type": "function_call", "name": "look", "arguments": "{}"},
                ]
            },
            ["Hm", "HiNo", "{}"],
        ),
        ({"output": [{"type": "message", "content": "odd"}]}, ["odd"]),
        ({"data": [{"embedding": [0.1, 0.2]}]}, []),
        ({"choices": None}, []),
    ],
)
def test_the_texts_of_every_kind_of_answer(answer: dict[str, object], texts: list[str]) -> None:
    body = json.dumps(answer).encode()
    assert texts_of_answer(body) == texts
    read = read_answer(body, b"application/json", Surface.CHAT)
    assert not isinstance(read, Fault)
    assert read.texts() == texts


def test_what_is_too_large_to_be_looked_at_closely_says_as_much_as_it_is_long() -> None:
    body = json.dumps(chat(content=["x" * 300_000])).encode()
    assert [len(text) for text in texts_of_answer(body)] == [len(body)]
    plain = json.dumps(chat(content="x" * 300_000)).encode()
    assert [len(text) for text in texts_of_answer(plain)] == [300_000]


def test_ids_and_types_are_nothing_said() -> None:
    assert text_within({"id": "x", "type": "text", "logprobs": {"content": "y"}, "text": "Hi"}) == "Hi"
    assert text_within([["a", {"content": ["b", {"text": "c"}]}], 7, None, "d"]) == "abcd"


@given(st.binary(max_size=100) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_nothing_raises(value: bytes | str) -> None:
    raw = value if isinstance(value, bytes) else value.encode()
    for body in (
        raw,
        b'{"choices":' + raw + b"}",
        b'{"choices":[{"message":' + raw + b"}]}",
        b'{"output":' + raw + b"}",
    ):
        assert all(texts_of_answer(body))
