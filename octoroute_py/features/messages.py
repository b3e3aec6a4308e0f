"""Reading the text of a request out of its raw JSON, whatever shape the client gave it.

The shapes OpenAI documents are decoded straight into typed values. Anything else takes a slower path that looks at what
it recognises and counts the rest as no text: a request is never refused for what is found here.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from octoroute_py.core.words import Capability
from octoroute_py.features.tasks import LOOKED_AT
from octoroute_py.features.tokens import CODE_POINTS_PER_TOKEN

MEDIA: Final[dict[str | None, Capability]] = {
    "image_url": Capability.IMAGE_INPUT,
    "input_image": Capability.IMAGE_INPUT,
    "input_audio": Capability.AUDIO_INPUT,
    "input_video": Capability.VIDEO_INPUT,
    "video_url": Capability.VIDEO_INPUT,
}
"""What each kind of content part needs of an endpoint."""
_TOOL_ROLES: Final = frozenset({"tool", "function"})
_TOOL_ITEMS: Final = frozenset({"function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"})
_MOST_MESSAGES: Final = 4_096
"""Of a longer list only the last ones are read, and its text is taken to be as long as its bytes."""
_MOST_ODD_BYTES: Final = 256 * 1024
"""Of a longer value of an odd shape nothing is read: it may be millions of objects."""
_ABSENT: Final = msgspec.Raw(b"")
_HEAD: Final = 64
_UNREADABLE: Final = (msgspec.DecodeError, ValueError, RecursionError)


class Part(msgspec.Struct, gc=False):
    """One part of a message's content."""

    type: str | None = None
    text: str | None = None


Content = str | list[Part] | None


class Message(msgspec.Struct, gc=False):
    """A chat message or a responses item; `output` is what a function call came to."""

    role: str | None = None
    type: str | None = None
    content: Content = None
    output: Content = None
    tool_calls: msgspec.Raw = _ABSENT
    function_call: msgspec.Raw = _ABSENT

    def has_calls(self) -> bool:
        """Whether a list of tool calls or an old function call stands in it, and is not empty."""
        return _is_filled(self.tool_calls, b"[") or _is_filled(self.function_call, b"{")


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What was read: `code_points` of all message text, the capped last user text, what the parts and roles need.

    `messages` are what it was read from, the last ones of a long list, for whoever wants their words: keep none of them
    longer than the reading.
    """

    code_points: int = 0
    turns: int = 1
    last_user_text: str = ""
    needs: frozenset[Capability] = frozenset()
    messages: Sequence[Message] = ()


_MESSAGES: Final = msgspec.json.Decoder(list[Message])
_TEXT: Final = msgspec.json.Decoder(str)
_TEXTS: Final = msgspec.json.Decoder(list[str])
_TOKEN_IDS: Final = msgspec.json.Decoder(list[int])
_TOKEN_ID_LISTS: Final = msgspec.json.Decoder(list[list[int]])


def read_messages(raw: msgspec.Raw) -> Reading:
    """Reads the `messages` of a chat request."""
    try:
        return _read(_MESSAGES.decode(raw), raw)
    except _UNREADABLE:
        if len(raw) > _MOST_ODD_BYTES:
            return Reading(code_points=len(raw))
        return _read(_recognised(any_value(raw)), raw)


def read_items(raw: msgspec.Raw | None, instructions: msgspec.Raw | None) -> Reading:
    """Reads the `input` (a string or items) and the `instructions` of a responses request."""
    reading = Reading()
    if raw is not None:
        text = _string(raw)
        reading = _of_text(text) if text is not None else read_messages(raw)
    extra = _string(instructions) if instructions is not None else None
    if extra is None:
        return reading
    said = (Message(role="system", content=extra), *reading.messages)
    return msgspec.structs.replace(reading, code_points=reading.code_points + len(extra), messages=said)


def read_prompt(raw: msgspec.Raw | None) -> Reading:
    """Reads a completions `prompt` or an embeddings `input`: a string, several, or token ids (one token each)."""
    if raw is None:
        return Reading()
    text = _string(raw)
    if text is not None:
        return _of_text(text)
    try:
        return _of_texts(_TEXTS.decode(raw))
    except _UNREADABLE:
        pass
    try:
        return Reading(code_points=len(_TOKEN_IDS.decode(raw)) * CODE_POINTS_PER_TOKEN)
    except _UNREADABLE:
        pass
    try:
        return Reading(code_points=sum(map(len, _TOKEN_ID_LISTS.decode(raw))) * CODE_POINTS_PER_TOKEN)
    except _UNREADABLE:
        pass
    if len(raw) > _MOST_ODD_BYTES:
        return Reading(code_points=len(raw))
    value = any_value(raw)
    return _of_texts([text for text in value if isinstance(text, str)]) if isinstance(value, list) else Reading()


def _of_text(text: str) -> Reading:
    said = (Message(role="user", content=text),)
    return Reading(code_points=len(text), last_user_text=_capped((text,)), messages=said)


def _of_texts(texts: list[str]) -> Reading:
    said = tuple(Message(role="user", content=text) for text in texts[-1:])
    return Reading(code_points=sum(map(len, texts)), last_user_text=_capped(texts[-1:]), messages=said)


def _string(raw: msgspec.Raw) -> str | None:
    """The value if it is a string, else None."""
    if not memoryview(raw)[:64].tobytes().lstrip().startswith(b'"'):
        return None
    try:
        return _TEXT.decode(raw)
    except _UNREADABLE:
        value = any_value(raw)
        return value if isinstance(value, str) else None


def _is_filled(raw: msgspec.Raw, opener: bytes) -> bool:
    """Whether the value begins with `opener` and holds something; what is long is taken to."""
    if not len(raw):
        return False
    head = memoryview(raw)[:_HEAD].tobytes()
    return head.startswith(opener) and (len(raw) > _HEAD or len(head[1:-1].strip()) > 0)


def any_value(raw: msgspec.Raw) -> object:
    """The value as plain Python objects, None when it cannot be read at all.

    The second try is for what msgspec refuses and some clients send: half a surrogate pair, bytes that are not UTF-8.
    """
    try:
        return msgspec.json.decode(raw)
    except _UNREADABLE:
        pass
    try:
        value: object = json.loads(bytes(raw).decode("utf-8", "replace"))
    except _UNREADABLE:
        return None
    return value


def _read(messages: list[Message], raw: msgspec.Raw) -> Reading:
    code_points = turns = 0
    last: Message | None = None
    needs: set[Capability] = set()
    if len(messages) > _MOST_MESSAGES:
        code_points = len(memoryview(raw))
        messages = messages[-_MOST_MESSAGES:]
    for message in messages:
        role = message.role
        if role == "user":
            turns += 1
            last = message
        elif role in _TOOL_ROLES or message.type in _TOOL_ITEMS or message.has_calls():
            needs.add(Capability.TOOLS)
        content = message.content
        if content is None:
            content = message.output
        if isinstance(content, str):
            code_points += len(content)
        elif content:
            code_points += sum([len(part.text) for part in content if part.text is not None])
            needs.update([MEDIA[part.type] for part in content if part.type in MEDIA])
    return Reading(
        code_points=code_points,
        turns=max(1, turns),
        last_user_text=_capped(texts_of(last.content)) if last is not None else "",
        needs=frozenset(needs),
        messages=messages,
    )


def texts_of(content: Content) -> Iterable[str]:
    """The texts of a message's content, one for each part that has any."""
    if isinstance(content, str):
        return (content,)
    return (part.text for part in content or () if part.text is not None)


def _capped(texts: Iterable[str]) -> str:
    """The texts, a line break between them, cut to the characters that are looked at."""
    taken: list[str] = []
    room = LOOKED_AT
    for text in texts:
        if room <= 0:
            break
        taken.append(text[:room])
        room -= len(text) + 1
    text = "\n".join(taken)[:LOOKED_AT]
    # Half a surrogate pair would fail later, where the text is turned into bytes.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _recognised(value: object) -> list[Message]:
    return [_message(item) for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _message(item: dict[str, object]) -> Message:
    calls, call = item.get("tool_calls"), item.get("function_call")
    return Message(
        role=_text_or_none(item.get("role")),
        type=_text_or_none(item.get("type")),
        content=_content(item.get("content")),
        output=_content(item.get("output")),
        tool_calls=msgspec.Raw(b"[0]") if isinstance(calls, list) and calls else _ABSENT,
        function_call=msgspec.Raw(b"{0}") if isinstance(call, dict) and call else _ABSENT,
    )


def _content(value: object) -> Content:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return None
    return [
        Part(type=_text_or_none(part.get("type")), text=_text_or_none(part.get("text")))
        for part in value
        if isinstance(part, dict)
    ]


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
