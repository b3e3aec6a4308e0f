"""The words of a request, for a scorer or a judge: the last user turn, and what stands around it."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from octoroute_py.core.words import Capability
from octoroute_py.features.messages import MEDIA, Message, texts_of

_SYSTEM_ROLES: Final = frozenset({"system", "developer"})
_MOST_TOOL_BYTES: Final = 256 * 1024
_TOOLS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """What was said, whole: whoever reads it looks at as much as it needs. Never logged, never kept.

    `text` is the last user turn, `context` the turns before it without the system prompt, of which `system_chars` is
    the length in code points. `turns` counts user turns, `tools` the tools offered, `images` those of all messages.
    """

    text: str = ""
    context: str = ""
    turns: int = 1
    tools: int = 0
    images: int = 0
    system_chars: int = 0


def read_conversation(messages: Sequence[Message], fields: Mapping[str, msgspec.Raw]) -> Conversation:
    """The conversation of a request from its messages and the other raw values of its body."""
    if len(messages) == 1 and messages[0].role == "user" and isinstance(messages[0].content, str):
        return Conversation(text=messages[0].content, tools=_tools(fields))
    last = max((place for place, message in enumerate(messages) if message.role == "user"), default=-1)
    earlier = [message for message in messages[: max(last, 0)] if message.role not in _SYSTEM_ROLES]
    return Conversation(
        text=_text(messages[last]) if last >= 0 else "",
        context="\n".join(map(_text, earlier)),
        turns=max(1, sum(message.role == "user" for message in messages)),
        tools=_tools(fields),
        images=sum(map(_images, messages)),
        system_chars=sum(len(_text(message)) for message in messages if message.role in _SYSTEM_ROLES),
    )


def _text(message: Message) -> str:
    return "\n".join(texts_of(message.content))


def _tools(fields: Mapping[str, msgspec.Raw]) -> int:
    """How many tools are offered; a list too long to be counted is one."""
    raw = fields.get("tools") or fields.get("functions")
    if raw is None:
        return 0
    if len(raw) > _MOST_TOOL_BYTES:
        return 1
    try:
        return len(_TOOLS.decode(raw))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return 0


def _images(message: Message) -> int:
    content = message.content
    if content is None or isinstance(content, str):
        return 0
    return sum(MEDIA.get(part.type) is Capability.IMAGE_INPUT for part in content)
