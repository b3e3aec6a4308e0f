"""What a judge said: a tier, or the way in which it failed to name one.

    JudgeFailed
    └── failure   one of JudgeFailure; the judge's own words are never part of it

A verdict is taken only when the whole answer is one: a tier's name alone (a label such as "Tier:" may stand before it),
a JSON object {"tier": name}, or one call of the function `choose_tier`. octoroute 1.0.0 took the first name anywhere in
the answer, so that "I would not say FAST" meant fast, and a judge that repeated the request obeyed it.
"""

import enum
import re
from typing import Final

import msgspec

from octoroute_py.core.words import TIERS, Tier

TOOL_NAME: Final = "choose_tier"
"""The function that a judge of strategy `tool` calls."""
MAX_ANSWER_BYTES: Final = 1024
"""Longest text or arguments of a verdict, as in octoroute 1.0.0."""


class JudgeFailure(enum.StrEnum):
    """Every way in which a judge can fail."""

    UNAVAILABLE = "unavailable"
    """No endpoint of the judge's tier may be asked now."""
    PAUSED = "paused"
    """The judge failed so often that it is left alone for a while."""
    UPSTREAM = "upstream"
    """The judge's server failed or could not be reached."""
    TIMEOUT = "timeout"
    REFUSED = "refused"
    """The judge declined to answer."""
    EMPTY = "empty"
    OVERSIZE = "oversize"
    UNREADABLE = "unreadable"
    """It said something else than one tier."""


class JudgeFailed(Exception):
    """There is no verdict."""

    def __init__(self, failure: JudgeFailure) -> None:
        super().__init__(failure.value)
        self.failure = failure


class _Function(msgspec.Struct, gc=False):
    name: str = ""
    arguments: str | dict[str, msgspec.Raw] = ""


class _Call(msgspec.Struct, gc=False):
    function: _Function | None = None


class _Part(msgspec.Struct, gc=False):
    text: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message | None = None
    finish_reason: str | None = None


class _Completion(msgspec.Struct, gc=False):
    choices: list[_Choice] = []


class _Named(msgspec.Struct, forbid_unknown_fields=True):
    tier: str


_TIER: Final = {tier.value: tier for tier in TIERS}
_decode_completion: Final = msgspec.json.Decoder(_Completion).decode
_decode_named: Final = msgspec.json.Decoder(_Named).decode
_BROKEN: Final = (msgspec.MsgspecError, ValueError, RecursionError)
_FENCED: Final = re.compile(r"```(?:json)?\s*(\{[^`]*\})\s*```", re.IGNORECASE)
"""Models that were asked for JSON like to put it in a code block."""
_ALONE: Final = re.compile(
    r"[\s\"'`*_#>-]*"
    r"(?:(?:the |my )?(?:tier|answer|choice|class|verdict)(?: is| would be)?[\s\"'`*_]*[:=]?[\s\"'`*_]*(?<!\w))?"
    r"(fast|balanced|deep)[\s\"'`*_.!]*",
    re.IGNORECASE,
)
_THOUGHT: Final = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_DECLINES: Final = re.compile(
    r"(?<!\w)(?:cannot|can['’]t|unable|sorry|refuse[sd]?|won['’]t|decline[sd]?)(?!\w)", re.IGNORECASE
)


def read_verdict(completion: bytes) -> Tier:
    """The tier that a chat completion names. Raises JudgeFailed."""
    try:
        choices = _decode_completion(completion).choices
    except _BROKEN:
        raise JudgeFailed(JudgeFailure.UNREADABLE) from None
    choice = choices[0] if choices else None
    message = choice.message if choice is not None else None
    if choice is None or message is None:
        raise JudgeFailed(JudgeFailure.EMPTY)
    if message.refusal or choice.finish_reason == "content_filter":
        raise JudgeFailed(JudgeFailure.REFUSED)
    if message.tool_calls:
        return _called(message.tool_calls)
    content = message.content
    if content is not None and not isinstance(content, str):
        content = "".join(part.text or "" for part in content)
    return read_words(content or "")


def read_words(text: str) -> Tier:
    """The tier that a judge's text names; what it thought aloud before is not part of it. Raises JudgeFailed."""
    if len(text) > MAX_ANSWER_BYTES or len(text.encode("utf-8", "replace")) > MAX_ANSWER_BYTES:
        raise JudgeFailed(JudgeFailure.OVERSIZE)
    thought = _THOUGHT.match(text)
    text = text[thought.end() if thought is not None else 0 :].strip()
    if not text:
        raise JudgeFailed(JudgeFailure.EMPTY)
    fenced = _FENCED.fullmatch(text)
    text = text if fenced is None else fenced[1]
    if text.startswith("{"):
        return _named(text)
    found = _ALONE.fullmatch(text)
    if found is not None:
        return _TIER[found[1].lower()]
    raise JudgeFailed(JudgeFailure.REFUSED if _DECLINES.search(text) else JudgeFailure.UNREADABLE)


def _called(calls: list[_Call]) -> Tier:
    function = calls[0].function
    if len(calls) > 1 or function is None or function.name != TOOL_NAME:
        raise JudgeFailed(JudgeFailure.UNREADABLE)
    arguments = function.arguments  # some servers give an object where OpenAI gives its text
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    if len(text) > MAX_ANSWER_BYTES:
        raise JudgeFailed(JudgeFailure.OVERSIZE)
    return _named(text)


def _named(text: str) -> Tier:
    try:
        tier = _TIER.get(_decode_named(text).tier.strip().lower())
    except _BROKEN:
        tier = None
    if tier is None:
        raise JudgeFailed(JudgeFailure.UNREADABLE)
    return tier
