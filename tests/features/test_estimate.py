"""What a prompt is taken for: the documented estimate for plain text, never below it for anything else."""

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.core.words import Importance, Surface
from octoroute_py.features.estimate import TOKENS_A_MEDIUM, prompt_estimate, text_quarters
from octoroute_py.features.facts import read_facts

ASCII = st.text(st.characters(max_codepoint=127))
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def fields(**body: Any) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(json.dumps(body), type=dict[str, msgspec.Raw])


def chat(*contents: Any, **body: Any) -> dict[str, msgspec.Raw]:
    return fields(messages=[{"role": "user", "content": content} for content in contents], **body)


def documented(surface: Surface, given_fields: dict[str, msgspec.Raw]) -> int:
    facts = read_facts(
        surface, given_fields, importance=Importance.NORMAL, task_type=None, model="auto", headers={}, stream=False
    )
    return facts.tokens


@given(st.lists(ASCII, max_size=5))
def test_ascii_chat_is_exactly_the_documented_estimate(texts: list[str]) -> None:
    expected = sum(map(len, texts)) // 4
    parts = [[{"type": "text", "text": text}] for text in texts]
    assert prompt_estimate(Surface.CHAT, chat(*texts)) == documented(Surface.CHAT, chat(*texts)) == expected
    assert prompt_estimate(Surface.CHAT, chat(*parts)) == expected


@given(st.lists(TEXT, max_size=5))
def test_every_code_point_beyond_ascii_is_a_token(texts: list[str]) -> None:
    narrow = sum(char.isascii() for text in texts for char in text)
    wide = sum(map(len, texts)) - narrow
    expected = (narrow + 4 * wide) // 4
    assert prompt_estimate(Surface.CHAT, chat(*texts)) == expected
    assert prompt_estimate(Surface.COMPLETIONS, fields(prompt=texts)) == expected
    assert prompt_estimate(Surface.EMBEDDINGS, fields(input=texts)) == expected
    said = [{"role": "user", "content": [{"type": "input_text", "text": text}]} for text in texts]
    assert prompt_estimate(Surface.RESPONSES, fields(input=said)) == expected
    assert text_quarters(texts) == narrow + 4 * wide


@given(TEXT, TEXT)
def test_a_single_text_counts_like_a_list_of_one(text: str, more: str) -> None:
    alone = prompt_estimate(Surface.COMPLETIONS, fields(prompt=text))
    assert alone == prompt_estimate(Surface.COMPLETIONS, fields(prompt=[text]))
    assert alone == prompt_estimate(Surface.RESPONSES, fields(input=text))
    both = prompt_estimate(Surface.RESPONSES, fields(input=text, instructions=more))
    assert both == text_quarters((text, more)) // 4


@pytest.mark.parametrize("surface", list(Surface))
def test_tools_and_schemas_count_by_their_bytes(surface: Surface) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    shape = {"type": "json_schema", "json_schema": {"name": "x"}}
    empty = prompt_estimate(surface, fields(tools=None, functions=None, response_format=None))
    assert empty == 0
    raw = fields(tools=tools, functions=tools, response_format=shape)
    assert prompt_estimate(surface, raw) == sum(map(len, raw.values())) // 4


def test_the_format_of_a_response_counts_too() -> None:
    raw = fields(text={"format": {"type": "json_schema", "schema": {"type": "object"}}})
    assert prompt_estimate(Surface.RESPONSES, raw) == len(raw["text"]) // 4
    assert prompt_estimate(Surface.CHAT, raw) == 0


def test_what_is_no_text_counts_a_fixed_figure() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 90_000}}
    assert prompt_estimate(Surface.CHAT, chat([picture, {"type": "text", "text": "What?"}, picture])) == (
        2 * TOKENS_A_MEDIUM + 1
    )
    items = [{"role": "user", "content": [{"type": "input_file", "file_data": "x"}]}]
    assert prompt_estimate(Surface.RESPONSES, fields(input=items)) == TOKENS_A_MEDIUM


def test_earlier_tool_calls_and_their_results_count() -> None:
    call = [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    said = [{"role": "assistant", "content": None, "tool_calls": call}, {"role": "tool", "content": "12345678"}]
    raw = fields(messages=said)
    size = len(json.dumps(call))
    assert prompt_estimate(Surface.CHAT, raw) == (size + 8) // 4
    old = {"name": "look", "arguments": "{}"}
    assert prompt_estimate(Surface.CHAT, fields(messages=[{"role": "assistant", "function_call": old}])) == (
        len(json.dumps(old)) // 4
    )
    items = [
        {"type": "function_call", "name": "look", "arguments": "x" * 38},
        {"type": "function_call_output", "output": "y" * 40},
    ]
    assert prompt_estimate(Surface.RESPONSES, fields(input=items)) == (38 + 2 + 40) // 4


@pytest.mark.parametrize(
    ("ids", "tokens"), [([1, 2, 3], 3), ([[1, 2], [3, 4, 5]], 5), ([[7]], 1), ([], 0), (["12", "3456"], 1)]
)
def test_token_ids_are_a_token_each(ids: list[Any], tokens: int) -> None:
    assert prompt_estimate(Surface.EMBEDDINGS, fields(input=ids)) == tokens
    assert prompt_estimate(Surface.COMPLETIONS, fields(prompt=ids)) == tokens
    assert documented(Surface.EMBEDDINGS, fields(input=ids)) == tokens


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT, st.lists
    )
)
def test_odd_shapes_never_raise(value: object) -> None:
    for surface in Surface:
        for name in ("messages", "prompt", "input", "instructions", "tools"):
            assert prompt_estimate(surface, fields(**{name: value})) >= 0
    assert prompt_estimate(Surface.CHAT, {}) == 0


BIG = 10 * 1024 * 1024


@pytest.mark.parametrize(
    ("surface", "raw"),
    [
        (Surface.CHAT, b'[{"role":"user","content":"' + b"x" * BIG + b'"}]'),
        (Surface.CHAT, b'[{"role":"user","content":"' + "\u6f22".encode() * (BIG // 3) + b'"}]'),
        (Surface.CHAT, b'[{"role":"user","content":"' + b"\\u6f22" * (BIG // 6) + b'"}]'),
        (Surface.CHAT, b'[{"role":"user","content":"' + "\u6f22 a".encode() * (BIG // 5) + b'"}]'),
        (Surface.EMBEDDINGS, b"[" + b"1," * (BIG // 2) + b"1]"),
        (Surface.EMBEDDINGS, b"[" + b'"a",' * (BIG // 4) + b'"a"]'),
    ],
)
def test_ten_megabytes_are_looked_at_in_little_time(surface: Surface, raw: bytes) -> None:
    given_fields = {"messages" if surface is Surface.CHAT else "input": msgspec.Raw(raw)}
    began = time.process_time()
    assert prompt_estimate(surface, given_fields) > BIG // 8
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize("name", ["chat_template", "documents", "prediction", "instructions", "whatever"])
def test_a_long_value_of_an_unknown_field_is_taken_for_prompt(name: str) -> None:
    fields = {"messages": msgspec.Raw(b'[{"role":"user","content":"abcd"}]')}
    long, short = msgspec.Raw(b'"' + b"x" * 3998 + b'"'), msgspec.Raw(b'{"a":"b"}')
    assert prompt_estimate(Surface.CHAT, {**fields, name: long}) == 1001
    assert prompt_estimate(Surface.CHAT, {**fields, name: short}) == 1
    assert prompt_estimate(Surface.CHAT, {**fields, "metadata": long}) == 1
