"""What is known of a request when its tier is chosen (contract §4)."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from octoroute_py.core.allowance import DEFAULT_WORKSPACE
from octoroute_py.core.rules import RequestType
from octoroute_py.core.words import Capability, Importance, Surface, TaskType
from octoroute_py.features.conversation import Conversation, read_conversation
from octoroute_py.features.messages import Reading, read_items, read_messages, read_prompt
from octoroute_py.features.metadata import read_metadata
from octoroute_py.features.tasks import infer_task_type, shows_code
from octoroute_py.features.tokens import CODE_POINTS_PER_TOKEN

CREDENTIALS: Final = frozenset({"authorization", "proxy-authorization", "x-api-key", "cookie"})
"""Headers that no rule ever sees."""
_REQUEST_TYPES: Final = {
    Surface.CHAT: RequestType.CHAT,
    Surface.RESPONSES: RequestType.CHAT,
    Surface.COMPLETIONS: RequestType.COMPLETION,
    Surface.EMBEDDINGS: RequestType.EMBEDDING,
}
_TIER_MEMBERS: Final = ("userTier", "user_tier")
"""Where the metadata may say the user's tier."""
_FILLED_ARRAY: Final = re.compile(rb"\s*\[\s*[^\s\]]")
_NO_TOOL: Final = re.compile(rb'\s*(?:null|"none")\s*')
_NO_REASONING: Final = re.compile(rb'\s*(?:null|false|"none")\s*')


class Facts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Typed observations of one request.

    `tokens` is the estimate code points / 4, floored, over all message text. `model` is the name the client asked
    for. `headers` are the request's headers (lower-case names, last value wins) as far as rules may look at them:
    credentials are never in it. `last_user_text` is the last user message's text, cut to its first 16,384 characters,
    for rules; never logged. `conversation` is there when it was asked for: a scorer or a judge reads it.

    `characters` are the code points of all message text. `agent_type` and `user_tier` are empty where nobody said
    them. `metadata` are the members of the body's object of that name, as text, when rules look at it; never logged.
    """

    tokens: int
    importance: Importance
    task_type: TaskType
    turns: int = 1
    has_tools: bool = False
    has_images: bool = False
    needs: frozenset[Capability] = frozenset()
    model: str = "auto"
    headers: dict[str, str] = {}
    last_user_text: str = ""
    conversation: Conversation | None = None
    characters: int = 0
    agent_type: str = ""
    workspace: str = DEFAULT_WORKSPACE
    request_type: RequestType = RequestType.CHAT
    user_tier: str = ""
    metadata: dict[str, str] = {}

    @property
    def has_code(self) -> bool:
        """Whether the last user message contains code itself; looked for when asked, as few requests need to know."""
        return shows_code(self.last_user_text)


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a request's client said about it beside the request, and whose it is; None and empty where nobody said.

    `metadata` is the raw object, None where no rule looks at it.
    """

    agent_type: str = ""
    workspace: str = DEFAULT_WORKSPACE
    request_type: RequestType | None = None
    user_tier: str | None = None
    metadata: msgspec.Raw | None = None


_NOTHING_SAID: Final = About()


class _Format(msgspec.Struct):
    type: str | None = None


class _TextOptions(msgspec.Struct):
    format: _Format | None = None


_FORMAT: Final = msgspec.json.Decoder(_Format | None)
_TEXT_OPTIONS: Final = msgspec.json.Decoder(_TextOptions | None)


def read_facts(
    surface: Surface,
    fields: Mapping[str, msgspec.Raw],
    *,
    importance: Importance,
    task_type: TaskType | None,
    model: str,
    headers: Mapping[str, str],
    stream: bool,
    words: bool = False,
    about: About = _NOTHING_SAID,
) -> Facts:
    """Looks at a request once, for everything that decides about its tier and endpoint.

    `fields` are the raw top-level values of the body; `headers` have lower-case names. A shape that is not understood
    counts as no text and never raises. `task_type` None means: tell it from the last user message. `words` asks for the
    conversation too.
    """
    reading = _read(surface, fields)
    metadata = read_metadata(about.metadata)
    needs = reading.needs | _needs(surface, fields, stream=stream)
    return Facts(
        tokens=reading.code_points // CODE_POINTS_PER_TOKEN,
        importance=importance,
        task_type=infer_task_type(reading.last_user_text) if task_type is None else task_type,
        turns=reading.turns,
        has_tools=Capability.TOOLS in needs,
        has_images=Capability.IMAGE_INPUT in needs,
        needs=needs,
        model=model,
        headers={name: value for name, value in headers.items() if name not in CREDENTIALS},
        last_user_text=reading.last_user_text,
        conversation=read_conversation(reading.messages, fields) if words else None,
        characters=reading.code_points,
        agent_type=about.agent_type,
        workspace=about.workspace,
        request_type=about.request_type or _REQUEST_TYPES[surface],
        user_tier=about.user_tier or next((metadata[name] for name in _TIER_MEMBERS if name in metadata), ""),
        metadata=metadata,
    )


def _read(surface: Surface, fields: Mapping[str, msgspec.Raw]) -> Reading:
    match surface:
        case Surface.CHAT:
            messages = fields.get("messages")
            return read_messages(messages) if messages is not None else Reading()
        case Surface.RESPONSES:
            return read_items(fields.get("input"), fields.get("instructions"))
        case Surface.COMPLETIONS:
            return read_prompt(fields.get("prompt"))
        case Surface.EMBEDDINGS:
            return read_prompt(fields.get("input"))


def _needs(surface: Surface, fields: Mapping[str, msgspec.Raw], *, stream: bool) -> set[Capability]:
    needs: set[Capability] = set()
    if stream:
        needs.add(Capability.STREAM)
    if _asks_for_tools(fields):
        needs.add(Capability.TOOLS)
    if _asks_for_structure(surface, fields):
        needs.add(Capability.STRUCTURED_OUTPUT)
    if any(
        name in fields and _NO_REASONING.fullmatch(fields[name]) is None
        for name in ("reasoning", "reasoning_effort", "include_reasoning")
    ):
        needs.add(Capability.REASONING)
    return needs


def _asks_for_tools(fields: Mapping[str, msgspec.Raw]) -> bool:
    if any(name in fields and _FILLED_ARRAY.match(fields[name]) is not None for name in ("tools", "functions")):
        return True
    choice = fields.get("tool_choice")
    return choice is not None and _NO_TOOL.fullmatch(choice) is None


def _asks_for_structure(surface: Surface, fields: Mapping[str, msgspec.Raw]) -> bool:
    raw = fields.get("text" if surface is Surface.RESPONSES else "response_format")
    if raw is None:
        return False
    try:
        if surface is Surface.RESPONSES:
            options = _TEXT_OPTIONS.decode(raw)
            wanted = options.format if options is not None else None
        else:
            wanted = _FORMAT.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False
    return wanted is not None and wanted.type is not None and wanted.type != "text"
