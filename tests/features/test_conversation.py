import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.core.words import Importance, Surface
from octoroute_py.features.conversation import Conversation
from octoroute_py.features.facts import Facts, read_facts


def read(surface: Surface = Surface.CHAT, *, words: bool = True, **body: Any) -> Facts:
    fields = msgspec.json.decode(json.dumps(body).encode(), type=dict[str, msgspec.Raw])
    return read_facts(
        surface,
        fields,
        importance=Importance.NORMAL,
        task_type=None,
        model="auto",
        headers={},
        stream=False,
        words=words,
    )


def said(*messages: tuple[str, Any], **body: Any) -> Conversation:
    found = read(messages=[{"role": role, "content": content} for role, content in messages], **body).conversation
    assert found is not None
    return found


def test_nothing_is_kept_unless_it_is_asked_for() -> None:
    assert read(words=False, messages=[{"role": "user", "content": "Hi"}]).conversation is None


def test_a_single_message_is_the_text() -> None:
    assert said(("user", "Hi")) == Conversation(text="Hi")


def test_the_last_user_turn_is_the_text_and_what_was_said_before_the_context() -> None:
    found = said(
        ("system", "Be brief."),
        ("user", "Tell me a story."),
        ("assistant", "Once upon a time"),
        ("developer", "In verse."),
        ("user", "And then?"),
        ("assistant", "The end"),
    )
    assert found == Conversation(
        text="And then?", context="Tell me a story.\nOnce upon a time", turns=2, system_chars=len("Be brief.In verse.")
    )


def test_parts_are_joined_and_images_and_tools_counted() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    found = said(("user", [{"type": "text", "text": "a"}, image, {"type": "text", "text": "b"}]), tools=[{}, {}])
    assert found == Conversation(text="a\nb", images=1, tools=2)


@pytest.mark.parametrize(("tools", "count"), [([], 0), ({"a": 1}, 0), ([1, 2, 3], 3), (["x" * 300_000], 1)])
def test_tools_of_any_shape_are_counted(tools: Any, count: int) -> None:
    assert said(("user", "Hi"), tools=tools).tools == count


def test_a_conversation_without_a_user_has_no_text() -> None:
    assert said(("assistant", "Hello.")) == Conversation()


@pytest.mark.parametrize(
    ("surface", "body", "expected"),
    [
        (Surface.COMPLETIONS, {"prompt": "Once"}, Conversation(text="Once")),
        (Surface.COMPLETIONS, {"prompt": ["a", "b"]}, Conversation(text="b")),
        (Surface.RESPONSES, {"input": "Hi", "instructions": "Brief."}, Conversation(text="Hi", system_chars=6)),
        (
            Surface.RESPONSES,
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]},
            Conversation(text="Hi"),
        ),
    ],
)
def test_other_operations_have_words_too(surface: Surface, body: dict[str, Any], expected: Conversation) -> None:
    assert read(surface, **body).conversation == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=4),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["role", "content", "text", "type"]), inner),
        max_leaves=8,
    )
)
def test_no_shape_of_messages_is_an_error(messages: Any) -> None:
    found = read(messages=messages).conversation
    assert found is not None
    assert found.turns >= 1
