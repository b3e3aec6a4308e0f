import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.core.rules import RequestType
from octoroute_py.core.words import Capability, Importance, Surface, TaskType
from octoroute_py.features.facts import About, Facts, read_facts
from octoroute_py.features.tasks import LOOKED_AT

NOTHING_SAID = About()
NO_HEADERS: dict[str, str] = {}


def raw_fields(body: dict[str, Any]) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in body.items()}


def facts_of(
    surface: Surface = Surface.CHAT, *, stream: bool = False, about: About = NOTHING_SAID, **body: Any
) -> Facts:
    return read_facts(
        surface,
        raw_fields(body),
        importance=Importance.NORMAL,
        task_type=None,
        model="auto",
        headers=NO_HEADERS,
        stream=stream,
        about=about,
    )


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_text_of_all_messages_counts() -> None:
    facts = facts_of(
        messages=[
            {"role": "system", "content": "s" * 10},
            user([{"type": "text", "text": "u" * 5}, {"type": "image_url", "image_url": {"url": "data:,"}}]),
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "tool", "tool_call_id": "1", "content": "é" * 8},
        ]
    )
    assert facts.tokens == 23 // 4


def test_fractions_of_messages_add_up_before_rounding() -> None:
    assert facts_of(messages=[user("abc"), user("abc"), user("ab")]).tokens == 2


def test_turns_are_user_messages() -> None:
    assert facts_of(messages=[user("a"), {"role": "assistant", "content": "b"}, user("c")]).turns == 2
    assert facts_of(messages=[{"role": "system", "content": "a"}]).turns == 1


def test_the_task_is_told_from_the_last_user_message_only() -> None:
    messages = [user("write code"), {"role": "assistant", "content": "compare"}, user("a poem"), user("hello")]
    assert facts_of(messages=messages).task_type is TaskType.CASUAL_CHAT
    assert facts_of(messages=[{"role": "system", "content": "write code"}]).task_type is TaskType.QUESTION_ANSWER


def test_a_given_task_type_is_kept() -> None:
    facts = read_facts(
        Surface.CHAT,
        raw_fields({"messages": [user("write code")]}),
        importance=Importance.HIGH,
        task_type=TaskType.DOCUMENT_SUMMARY,
        model="deep",
        headers=NO_HEADERS,
        stream=False,
    )
    assert (facts.task_type, facts.importance, facts.model) == (TaskType.DOCUMENT_SUMMARY, Importance.HIGH, "deep")


def test_parts_are_joined_and_the_last_user_text_is_capped() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert facts_of(messages=[user(parts)]).last_user_text == "a\nb"
    long = facts_of(messages=[user([{"type": "text", "text": "a" * 10_000}] * 3)])
    assert len(long.last_user_text) == LOOKED_AT
    assert long.tokens == 30_000 // 4
    assert len(facts_of(messages=[user("a" * 20_000)]).last_user_text) == LOOKED_AT


def test_credentials_are_never_among_the_headers() -> None:
    headers = {"authorization": "Bearer x", "x-api-key": "x", "cookie": "x", "proxy-authorization": "x", "x-app": "a"}
    facts = read_facts(
        Surface.CHAT,
        raw_fields({"messages": [user("a")]}),
        importance=Importance.NORMAL,
        task_type=None,
        model="auto",
        headers=headers,
        stream=False,
    )
    assert facts.headers == {"x-app": "a"}


@pytest.mark.parametrize(
    ("extra", "needed"),
    [
        ({}, None),
        ({"tools": []}, None),
        ({"tools": None}, None),
        ({"tools": [{"type": "function"}]}, Capability.TOOLS),
        ({"functions": [{"name": "f"}]}, Capability.TOOLS),
        ({"tool_choice": "none"}, None),
        ({"tool_choice": None}, None),
        ({"tool_choice": "auto"}, Capability.TOOLS),
        ({"tool_choice": {"type": "function"}}, Capability.TOOLS),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": None}, None),
        ({"response_format": {}}, None),
        ({"response_format": 7}, None),
        ({"response_format": {"type": "json_object"}}, Capability.STRUCTURED_OUTPUT),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, Capability.STRUCTURED_OUTPUT),
        ({"reasoning_effort": "low"}, Capability.REASONING),
        ({"reasoning_effort": "none"}, None),
        ({"reasoning_effort": None}, None),
        ({"reasoning": {}}, Capability.REASONING),
        ({"include_reasoning": True}, Capability.REASONING),
        ({"include_reasoning": False}, None),
    ],
)
def test_fields_tell_what_is_needed(extra: dict[str, Any], needed: Capability | None) -> None:
    facts = facts_of(messages=[user("a")], **extra)
    assert facts.needs == (frozenset() if needed is None else {needed})
    assert facts.has_tools is (needed is Capability.TOOLS)


@pytest.mark.parametrize(
    ("message", "needed"),
    [
        ({"role": "tool", "content": "a"}, Capability.TOOLS),
        ({"role": "function", "content": "a"}, Capability.TOOLS),
        ({"role": "assistant", "tool_calls": [{"id": "1"}]}, Capability.TOOLS),
        ({"role": "assistant", "function_call": {"name": "f"}}, Capability.TOOLS),
        (user([{"type": "image_url", "image_url": {"url": "x"}}]), Capability.IMAGE_INPUT),
        (user([{"type": "input_image"}]), Capability.IMAGE_INPUT),
        (user([{"type": "input_audio"}]), Capability.AUDIO_INPUT),
        (user([{"type": "input_video"}]), Capability.VIDEO_INPUT),
        (user([{"type": "video_url"}]), Capability.VIDEO_INPUT),
        # The same in messages that hold something odd, so that they are read by the tolerant path.
        ({"role": "tool", "content": 5}, Capability.TOOLS),
        ({"role": 5, "tool_calls": [{"id": "1"}]}, Capability.TOOLS),
        ({"role": 5, "function_call": {"name": "f"}}, Capability.TOOLS),
        (user([5, {"type": "image_url"}]), Capability.IMAGE_INPUT),
    ],
)
def test_messages_tell_what_is_needed(message: dict[str, Any], needed: Capability) -> None:
    facts = facts_of(messages=[message])
    assert facts.needs == {needed}
    assert facts.has_images is (needed is Capability.IMAGE_INPUT)


def test_a_stream_is_needed_when_it_is_asked_for() -> None:
    assert facts_of(messages=[user("a")], stream=True).needs == {Capability.STREAM}


def test_code_is_looked_for_in_the_last_user_message() -> None:
    assert facts_of(messages=[user("```x```")]).has_code
    assert not facts_of(messages=[user("```x```"), user("thanks")]).has_code


def test_what_is_odd_counts_as_no_text_beside_what_is_not() -> None:
    messages = [user(17), 5, None, {"content": "abcd"}, user(["x", {"text": "efgh"}, {"text": 3}]), {"role": ["user"]}]
    facts = facts_of(messages=messages)
    assert (facts.tokens, facts.turns, facts.last_user_text) == (2, 2, "efgh")


def facts_of_raw(surface: Surface, name: str, raw: bytes) -> Facts:
    return read_facts(
        surface,
        {name: msgspec.Raw(raw)},
        importance=Importance.NORMAL,
        task_type=None,
        model="auto",
        headers=NO_HEADERS,
        stream=False,
    )


@pytest.mark.parametrize(
    ("surface", "name", "start", "end"),
    [
        (Surface.CHAT, "messages", b'[{"role":"user","content":"hello"},{"role":"user","content":[1', b"]}]"),
        (Surface.RESPONSES, "input", b'[{"role":"user","content":"hello"},{"role":"user","content":[1', b"]}]"),
        (Surface.COMPLETIONS, "prompt", b'["hello",1', b"]"),
    ],
)
def test_a_large_value_of_an_odd_shape_is_taken_by_its_bytes(
    surface: Surface, name: str, start: bytes, end: bytes
) -> None:
    small = facts_of_raw(surface, name, start + b",1" * 100 + end)
    assert (small.tokens, small.last_user_text) == (1, "hello" if surface is Surface.COMPLETIONS else "")
    raw = start + b",1" * 1_000_000 + end
    large = facts_of_raw(surface, name, raw)
    assert (large.tokens, large.turns, large.last_user_text) == (len(raw) // 4, 1, "")


@pytest.mark.parametrize("calls", [b'"tool_calls":[0%b]', b'"function_call":{"a":0%b}'])
def test_calls_need_tools_however_many_there_are(calls: bytes) -> None:
    for more in (b"", b',"b":0' * 1_000 if b"{" in calls else b",0" * 1_000):
        facts = facts_of_raw(Surface.CHAT, "messages", b'[{"role":"assistant",' + calls % more + b"}]")
        assert Capability.TOOLS in facts.needs


@pytest.mark.parametrize(
    "calls", [b'"tool_calls":[ ]', b'"function_call":{ }', b'"tool_calls":null', b'"tool_calls":"x"']
)
def test_no_calls_need_no_tools(calls: bytes) -> None:
    facts = facts_of_raw(Surface.CHAT, "messages", b'[{"role":"assistant",' + calls + b"}]")
    assert Capability.TOOLS not in facts.needs


def test_text_that_is_not_unicode_is_still_counted() -> None:
    for content in (b'"abcdefg\\ud83d"', b'"abcdefg\xff"'):
        fields = {"messages": msgspec.Raw(b'[{"role":"user","content":' + content + b"}]")}
        facts = read_facts(
            Surface.CHAT,
            fields,
            importance=Importance.LOW,
            task_type=None,
            model="auto",
            headers=NO_HEADERS,
            stream=False,
        )
        assert facts.tokens == 2
        assert facts.last_user_text.encode().startswith(b"abcdefg")


def test_a_list_too_long_to_read_is_taken_by_its_bytes() -> None:
    facts = facts_of(messages=[user("a")] * 5000 + [user("hello")])
    assert facts.tokens > 5000
    assert facts.task_type is TaskType.CASUAL_CHAT


@pytest.mark.parametrize(
    ("prompt", "tokens", "last"),
    [
        ("a poem..", 2, "a poem.."),
        (["abcd", "efgh"], 2, "efgh"),
        ([1, 2, 3], 3, ""),
        ([[1, 2], [3]], 3, ""),
        (["abcd", 7, "efgh"], 2, "efgh"),
        ({"a": 1}, 0, ""),
        (None, 0, ""),
    ],
)
def test_prompts_of_completions_and_inputs_of_embeddings(prompt: Any, tokens: int, last: str) -> None:
    for surface, field in ((Surface.COMPLETIONS, "prompt"), (Surface.EMBEDDINGS, "input")):
        facts = facts_of(surface, **{field: prompt})
        assert (facts.tokens, facts.turns, facts.last_user_text) == (tokens, 1, last)


def test_input_of_responses_is_a_string_or_items() -> None:
    facts = facts_of(Surface.RESPONSES, input="write a story", instructions="abc")
    assert (facts.tokens, facts.task_type) == (4, TaskType.CREATIVE_WRITING)
    facts = facts_of(
        Surface.RESPONSES,
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image"}]},
            {"type": "function_call", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "output": "abcdef"},
        ],
        text={"format": {"type": "json_schema"}},
    )
    assert (facts.tokens, facts.task_type) == (2, TaskType.CASUAL_CHAT)
    assert facts.needs == {Capability.TOOLS, Capability.IMAGE_INPUT, Capability.STRUCTURED_OUTPUT}


@pytest.mark.parametrize("text", [{"format": {"type": "text"}}, {"format": None}, {}, None, 7])
def test_plain_text_of_responses_needs_nothing(text: Any) -> None:
    assert facts_of(Surface.RESPONSES, input="a", text=text).needs == frozenset()


@pytest.mark.parametrize("surface", Surface)
def test_an_empty_body_has_no_text(surface: Surface) -> None:
    assert facts_of(surface).tokens == 0


NAMES = st.sampled_from(
    ["role", "content", "type", "text", "tool_calls", "function_call", "output", "format", "user", "image_url"]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)
FIELDS = st.sampled_from(
    ["messages", "input", "prompt", "instructions", "tools", "functions", "tool_choice", "response_format", "text"]
)


@settings(max_examples=300, deadline=None)
@given(surface=st.sampled_from(Surface), body=st.dictionaries(FIELDS, JSON, max_size=5))
def test_no_json_makes_reading_raise(surface: Surface, body: dict[str, Any]) -> None:
    assert facts_of(surface, **body).tokens >= 0


@settings(max_examples=200, deadline=None)
@given(surface=st.sampled_from(Surface), name=FIELDS, data=st.binary(max_size=60))
def test_no_bytes_make_reading_raise(surface: Surface, name: str, data: bytes) -> None:
    for raw in (data, b'[{"role":"user","content":"' + data, b"[" * 30_000 + data):
        facts = read_facts(
            surface,
            {name: msgspec.Raw(raw)},
            importance=Importance.NORMAL,
            task_type=None,
            model="auto",
            headers=NO_HEADERS,
            stream=False,
        )
        assert facts.last_user_text.encode().decode() == facts.last_user_text


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(), max_size=6))
def test_the_estimate_is_the_code_points_of_all_messages_by_four(texts: list[str]) -> None:
    assert facts_of(messages=[user(text) for text in texts]).tokens == sum(map(len, texts)) // 4


def test_what_was_said_about_a_request_is_among_its_facts() -> None:
    about = About(
        agent_type="crawler",
        workspace="shop",
        request_type=RequestType.ANALYSIS,
        user_tier="gold",
        metadata=msgspec.Raw(b'{"plan": "pro", "userTier": "free"}'),
    )
    facts = facts_of(messages=[user("héllo"), user("é" * 7)], about=about)
    assert (facts.characters, facts.agent_type, facts.workspace, facts.user_tier) == (12, "crawler", "shop", "gold")
    assert (facts.request_type, facts.metadata) == (RequestType.ANALYSIS, {"plan": "pro", "userTier": "free"})


@pytest.mark.parametrize(
    ("surface", "request_type"),
    [
        (Surface.CHAT, RequestType.CHAT),
        (Surface.RESPONSES, RequestType.CHAT),
        (Surface.COMPLETIONS, RequestType.COMPLETION),
        (Surface.EMBEDDINGS, RequestType.EMBEDDING),
    ],
)
def test_the_operation_is_the_kind_of_request_where_nobody_said_it(surface: Surface, request_type: RequestType) -> None:
    facts = facts_of(surface)
    assert (facts.request_type, facts.agent_type, facts.user_tier, facts.metadata) == (request_type, "", "", {})


@pytest.mark.parametrize("name", ["userTier", "user_tier"])
def test_the_metadata_may_say_the_tier_of_the_user(name: str) -> None:
    raw = msgspec.Raw(msgspec.json.encode({name: "gold"}))
    assert facts_of(about=About(metadata=raw)).user_tier == "gold"
