"""How many tokens a prompt may be taken for where no upstream has counted them: for reservations and for charges.

At least the documented estimate (code points / 4), which it is exactly for ASCII text alone. Looked at only when
somebody needs it; the plain request does not.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from octoroute_py.core.words import Surface
from octoroute_py.features.messages import MEDIA, Message, read_items, read_messages, read_prompt, texts_of
from octoroute_py.features.tokens import CODE_POINTS_PER_TOKEN

TOKENS_A_MEDIUM: Final = 1_000
"""What an image, a recording or a file counts for."""

_SCHEMAS: Final = ("tools", "functions", "response_format")
_MEDIA_TYPES: Final = frozenset({*MEDIA, "file", "input_file"})
_LOOKED_AT: Final = {
    Surface.CHAT: frozenset({"messages"}),
    Surface.COMPLETIONS: frozenset({"prompt"}),
    Surface.EMBEDDINGS: frozenset({"input"}),
    Surface.RESPONSES: frozenset({"input", "instructions"}),
}
_NO_PROMPT: Final = frozenset({*_SCHEMAS, "text", "model", "octoroute", "logit_bias", "metadata"})
_SHORT: Final = 256
"""A longer value of a field that we do not know is taken for prompt: a template, documents, a prediction."""
_CALLS: Final = frozenset({"function_call", "custom_tool_call"})
_MOST_TEXTS: Final = 100_000
"""A longer list of texts is taken to be as long as its bytes."""
_LIST: Final = re.compile(rb"\s*\[")
_TOKEN_IDS: Final = re.compile(rb"\s*\[[\s\[]*[0-9]")
_ABSENT: Final = msgspec.Raw(b"")
_UNREADABLE: Final = (msgspec.DecodeError, ValueError, RecursionError)
_TEXTS: Final = msgspec.json.Decoder(str | list[str])


class _Call(msgspec.Struct, gc=False):
    """What a responses item says a tool was called with."""

    arguments: msgspec.Raw = _ABSENT
    input: msgspec.Raw = _ABSENT


_CALL_ITEMS: Final = msgspec.json.Decoder(list[_Call])


def prompt_estimate(surface: Surface, fields: Mapping[str, msgspec.Raw]) -> int:
    """The tokens of a request's prompt, from the raw top-level values of its body; never raises.

    A quarter token for each ASCII code point of the text and each byte of tools, schemas and earlier tool calls; a
    whole one for every other code point; TOKENS_A_MEDIUM for whatever is no text. A quarter for each byte of a long
    value that we do not know, too.
    """
    if surface is Surface.CHAT or surface is Surface.RESPONSES:
        quarters = _conversation(surface, fields)
    else:
        quarters = _prompts(fields.get("prompt" if surface is Surface.COMPLETIONS else "input"))
    for name in _SCHEMAS if surface is not Surface.RESPONSES else (*_SCHEMAS, "text"):
        raw = fields.get(name)
        if raw is not None and len(raw) > len(b"null"):
            quarters += len(raw)
    known = _NO_PROMPT | _LOOKED_AT[surface]
    quarters += sum([len(raw) for name, raw in fields.items() if len(raw) > _SHORT and name not in known])
    return quarters // CODE_POINTS_PER_TOKEN


def text_quarters(texts: Iterable[str]) -> int:
    """Four times the tokens of these texts, not rounded: 1 a code point of ASCII, 4 of any other."""
    return sum([len(text) if text.isascii() else _with_wide(text) for text in texts])


def _with_wide(text: str) -> int:
    narrow = len(text.encode("ascii", "ignore"))
    return narrow + CODE_POINTS_PER_TOKEN * (len(text) - narrow)


def _conversation(surface: Surface, fields: Mapping[str, msgspec.Raw]) -> int:
    if surface is Surface.CHAT:
        messages = fields.get("messages")
        if messages is None:
            return 0
        reading = read_messages(messages)
    else:
        reading = read_items(fields.get("input"), fields.get("instructions"))
    quarters, calls = reading.code_points, False
    for message in reading.messages:
        calls = calls or message.type in _CALLS
        quarters += _beyond_code_points(message)
    return quarters + _called_with(fields.get("input")) if calls else quarters


def _beyond_code_points(message: Message) -> int:
    """What a message counts for beside its code points: more for some of them, its media, the calls in it."""
    content = message.output if message.content is None else message.content
    quarters = len(message.tool_calls) + len(message.function_call) if message.has_calls() else 0
    for text in texts_of(content):
        if not text.isascii():
            quarters += _with_wide(text) - len(text)
    if content and not isinstance(content, str):
        media = sum([part.type in _MEDIA_TYPES for part in content])
        quarters += media * TOKENS_A_MEDIUM * CODE_POINTS_PER_TOKEN
    return quarters


def _called_with(items: msgspec.Raw | None) -> int:
    try:
        return sum([len(item.arguments) + len(item.input) for item in _CALL_ITEMS.decode(items or b"[]")])
    except _UNREADABLE:
        return len(items or b"")


def _prompts(raw: msgspec.Raw | None) -> int:
    """A string or a list of them; token ids, or lists of them, are a token each and need not be read."""
    if raw is None:
        return 0
    spelled = bytes(raw)
    if _TOKEN_IDS.match(spelled):
        return (spelled.count(b",") + 1) * CODE_POINTS_PER_TOKEN
    if spelled.count(b'"') > 2 * _MOST_TEXTS and _LIST.match(spelled):
        return len(spelled)
    try:
        texts = _TEXTS.decode(spelled)
    except _UNREADABLE:
        return read_prompt(raw).code_points
    return text_quarters((texts,) if isinstance(texts, str) else texts)
