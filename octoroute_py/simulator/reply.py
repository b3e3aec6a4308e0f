"""What a simulated model answers: short, plain, the same for the same question, and never pretending to be more."""

import hashlib
import json
import math
import re
from collections.abc import Iterator

import msgspec

from octoroute_py.simulator.bodies import JsonObject
from octoroute_py.simulator.model import Personality, SimulatedModel, tokens_in
from octoroute_py.simulator.schema import example

_WORD = re.compile(r"\w+")
_ONE_OF = re.compile(
    r"\bone (?:word|of)\b[^:\n]{0,40}: *((?:[\w-]{1,40}, *){0,20}[\w-]{1,40},? or [\w-]{1,40})", re.IGNORECASE
)
_LISTED = re.compile(r", *or +|, *| +or +")
_WORDS_A_RANK = 60
"""Where a question leaves a choice, each so many words of it lead to a later one."""
_PIECE = re.compile(r"\s*\S{1,16}|\s+")


class ToolSpec(msgspec.Struct, frozen=True):
    """A function offered to the model, with the JSON schema of its arguments."""

    name: str
    parameters: JsonObject


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request for text, the same whichever operation it came by.

    `question` is the last user text, `prompt` all text. `tool_result` is the output of a tool when that is the last
    message. `choice` is auto, none, required, or the name of a function. `form` is text, json_object or json_schema.
    """

    question: str
    prompt: str
    tool_result: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    choice: str = "auto"
    parallel: bool = True
    form: str = "text"
    schema: JsonObject | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None

    @property
    def prompt_tokens(self) -> int:
        """What the prompt counts for."""
        return max(1, tokens_in(self.prompt))


class ToolCall(msgspec.Struct, frozen=True):
    """A call the model wants made; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


class Reply(msgspec.Struct, frozen=True):
    """One choice: text or tool calls, and why it ended (`stop`, `length`, `tool_calls`)."""

    text: str
    calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"

    @property
    def tokens(self) -> int:
        """What the answer counts for."""
        return tokens_in(self.text) + sum(tokens_in(call.name + call.arguments) for call in self.calls)


def compose(model: SimulatedModel, ask: Ask, *, index: int = 0) -> Reply:
    """The model's answer number `index` to a request."""
    calls = _calls(ask, index)
    if calls:
        return Reply("", calls, "tool_calls")
    match ask.form:
        case "json_schema":
            text = json.dumps(example(ask.schema, every_property=True, rank=_rank(ask)), ensure_ascii=False)
        case "json_object":
            text = json.dumps({"model": model.name, "simulated": True, "answer": _sentence(model, ask, index)})
        case _:
            text = _one_word(ask) or _prose(model, ask, index)
    return _limited(text, ask)


def pieces(text: str) -> Iterator[str]:
    """A text in the portions in which it is streamed: words, long ones broken up."""
    return (found.group() for found in _PIECE.finditer(text))


def logprob(piece: str) -> float:
    """A plausible log probability, the same for the same text."""
    return -round(hashlib.blake2b(piece.encode(), digest_size=2).digest()[0] / 128, 4)


def embed(text: str, dimensions: int) -> list[float]:
    """A unit vector made of the text's words: the same text gives the same vector, shared words bring texts near."""
    total = [0.0] * dimensions
    for word in _WORD.findall(text.lower()) or [text]:
        noise = hashlib.shake_128(word.encode()).digest(dimensions)
        for place, byte in enumerate(noise):
            total[place] += byte - 127.5
    norm = math.sqrt(sum(value * value for value in total))
    return [value / norm for value in total] if norm else [1.0] + [0.0] * (dimensions - 1)


def digest(ask: Ask, index: int = 0) -> str:
    """Eight hex digits that stand for a question, its seed and the number of the choice."""
    told = json.dumps([ask.prompt, ask.seed, index]).encode()
    return hashlib.blake2b(told, digest_size=4).hexdigest()


def _calls(ask: Ask, index: int) -> tuple[ToolCall, ...]:
    if ask.choice == "none" or (ask.tool_result is not None and ask.choice in ("auto", "required")):
        return ()
    asked = " ".join(_WORD.findall(ask.question.lower().replace("_", " ")))
    named = [tool for tool in ask.tools if _spoken(tool.name) in asked]
    if ask.choice == "required":
        named = named or list(ask.tools[:1])
    elif ask.choice != "auto":
        named = [tool for tool in ask.tools if tool.name == ask.choice]
    return tuple(
        ToolCall(
            f"call_{digest(ask, index)}{number:02d}",
            tool.name,
            json.dumps(example({"type": "object"} | tool.parameters, every_property=False, rank=_rank(ask))),
        )
        for number, tool in enumerate(named if ask.parallel else named[:1])
    )


def _rank(ask: Ask) -> int:
    """Which of several choices a question gets: the longer it is, the later one."""
    return len(_WORD.findall(ask.question)) // _WORDS_A_RANK


def _one_word(ask: Ask) -> str | None:
    """One of the words that the question asks for ("answer with one word: YES or NO"); None when it does not."""
    asked = _ONE_OF.findall(ask.question)
    if not asked:
        return None
    words = [word for word in _LISTED.split(asked[-1]) if word]
    return words[min(_rank(ask), len(words) - 1)]


def _spoken(name: str) -> str:
    return " ".join(_WORD.findall(name.lower().replace("_", " ")))


def _sentence(model: SimulatedModel, ask: Ask, index: int) -> str:
    return f"This is {model.name}, a simulated model, answering question {digest(ask, index)}."


def _prose(model: SimulatedModel, ask: Ask, index: int) -> str:
    said = [_sentence(model, ask, index)]
    if ask.tool_result is not None:
        said.append(f"The tool returned: {_excerpt(ask.tool_result)}")
    words = _WORD.findall(ask.question)
    if model.personality is not Personality.TERSE:
        said.append(f"You asked: {_excerpt(ask.question)}")
        said.append(f"That is {len(words)} words in {len(ask.question)} characters.")
    if model.personality is Personality.THOROUGH:
        longest = max(words, key=len, default="")
        said.append(f"The longest of them is '{longest[:40]}', and {len({word.lower() for word in words})} differ.")
        said.append(f"The whole conversation comes to about {ask.prompt_tokens} tokens.")
        said.append("A real deep model would now reason at length; this one only takes its time.")
    return " ".join(said)


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return f'"{line}"' if len(line) <= 80 else f'"{line[:79]}…"'


def _limited(text: str, ask: Ask) -> Reply:
    ends = [place for place in (text.find(stop) for stop in ask.stop if stop) if place >= 0]
    kept = text[: min(ends)] if ends else text
    if ask.max_tokens is not None and tokens_in(kept) > ask.max_tokens:
        return Reply(kept[: ask.max_tokens * 4], (), "length")
    return Reply(kept)
