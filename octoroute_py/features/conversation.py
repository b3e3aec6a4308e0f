"""The words of a request that a scorer or a judge reads: the last user turn, and a little of what stands around it.

Everything here is bounded, however long the request is: of a long text its beginning and its end are kept, because that
is where people say what they want.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from octoroute_py.features.messages import MEDIA, Content, Message, texts_of

HEAD_CHARS: Final = 12_288
"""How much of the beginning of a long user turn is kept."""
TAIL_CHARS: Final = 4_096
"""How much of its end."""
CONTEXT_CHARS: Final = 2_048
"""How much of the system prompt's beginning is kept, and how much of the end of what was said before."""

_SYSTEM_ROLES: Final = frozenset({"system", "developer"})
_MOST_TOOL_BYTES: Final = 256 * 1024
_TOOLS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """What was said, cut to size.

    `text` is the last user turn; of one with more than `HEAD_CHARS + TAIL_CHARS` characters both ends, a line break
    between them, and `left_out` is how many characters of it are missing. `context` is the beginning of the system
    prompt and the end of the turns before the last user turn. `system_chars` counts the whole system prompt, `tools`
    the tools offered, `images` the images of the last user turn.
    """

    text: str = ""
    left_out: int = 0
    context: str = ""
    turns: int = 1
    system_chars: int = 0
    tools: int = 0
    images: int = 0


def read_conversation(messages: Sequence[Message], fields: Mapping[str, msgspec.Raw], *, turns: int) -> Conversation:
    """The conversation of a request from its messages and the other raw values of its body."""
    at = next((place for place in range(len(messages) - 1, -1, -1) if messages[place].role == "user"), None)
    last = messages[at].content if at is not None else None
    text, left_out = _ends("\n".join(texts_of(last)))
    system, earlier, system_chars = _around(messages[:at] if at is not None else messages)
    return Conversation(
        text=text,
        left_out=left_out,
        context="\n".join(part for part in (system, earlier) if part),
        turns=turns,
        system_chars=system_chars,
        tools=_tools(fields),
        images=_images(last),
    )


def _ends(text: str) -> tuple[str, int]:
    """The text or its two ends, and how many characters are missing; whatever it holds can be turned into UTF-8."""
    left_out = len(text) - HEAD_CHARS - TAIL_CHARS
    if left_out > 0:
        text = f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"
    return _whole(text), max(0, left_out)


def _around(messages: Sequence[Message]) -> tuple[str, str, int]:
    """The beginning of the system prompt, the end of all other turns, and how long the system prompt is."""
    system, system_chars = "", 0
    for message in messages:
        if message.role in _SYSTEM_ROLES:
            for text in texts_of(message.content):
                system_chars += len(text)
                if len(system) < CONTEXT_CHARS:
                    system = f"{system}\n{text[:CONTEXT_CHARS]}" if system else text[:CONTEXT_CHARS]
    earlier: list[str] = []
    room = CONTEXT_CHARS
    for message in reversed(messages):
        if room <= 0:
            break
        if message.role not in _SYSTEM_ROLES:
            said = "\n".join(text[-room:] for text in texts_of(message.content))[-room:]
            if said:
                earlier.append(said)
                room -= len(said) + 1
    return _whole(system[:CONTEXT_CHARS]), _whole("\n".join(reversed(earlier))), system_chars


def _tools(fields: Mapping[str, msgspec.Raw]) -> int:
    """How many tools are offered; a list too long or too odd to count is one."""
    raw = fields.get("tools") or fields.get("functions")
    if raw is None:
        return 0
    if len(raw) > _MOST_TOOL_BYTES:
        return 1
    try:
        return len(_TOOLS.decode(raw))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return 0


def _images(content: Content) -> int:
    if content is None or isinstance(content, str):
        return 0
    return sum(MEDIA.get(part.type) == "image_input" for part in content)


def _whole(text: str) -> str:
    # Half a surrogate pair would fail later, where the text is turned into bytes.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
