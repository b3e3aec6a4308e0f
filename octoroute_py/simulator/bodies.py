"""The request bodies the simulator understands, as typed values; unknown fields are ignored.

Field names and limits follow the public OpenAI API reference, narrowed to what a simulated model acts upon.
"""

import re
from typing import Annotated, TypeAlias, TypeVar

import msgspec

from octoroute_py.core.errors import BadRequest

JsonObject: TypeAlias = dict[str, object]
Choices: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=16)]
Tokens: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Temperature: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=2)]
TopLogprobs: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=20)]
Texts: TypeAlias = str | list[str | int | list[int]]
"""One text, several texts, or texts given as token numbers."""


class Part(msgspec.Struct):
    """A content part; only text parts are read."""

    type: str = "text"
    text: str | None = None


class Message(msgspec.Struct):
    """A chat message."""

    role: str
    content: str | list[Part] | None = None

    def text(self) -> str:
        """All of its text."""
        return content_text(self.content)


class Function(msgspec.Struct):
    """A function the model may call."""

    name: str
    parameters: JsonObject | None = None


class Tool(msgspec.Struct):
    """A tool; kinds other than functions are ignored."""

    type: str = "function"
    function: Function | None = None


class NamedSchema(msgspec.Struct):
    """The JSON schema of a structured answer."""

    schema: JsonObject | None = None


class ResponseFormat(msgspec.Struct):
    """The form of answer asked for: `text`, `json_object` or `json_schema`."""

    type: str = "text"
    json_schema: NamedSchema | None = None


class StreamOptions(msgspec.Struct):
    """Options of a stream."""

    include_usage: bool | None = None


class Common(msgspec.Struct, kw_only=True):
    """Fields of every operation that makes text."""

    model: str
    stream: bool | None = None
    temperature: Temperature | None = None


class ChatBody(Common, kw_only=True):
    """The body of `POST /v1/chat/completions`."""

    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    stream_options: StreamOptions | None = None
    n: Choices | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    tools: list[Tool] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: TopLogprobs | None = None


class CompletionBody(Common, kw_only=True):
    """The body of `POST /v1/completions`."""

    prompt: Texts
    stream_options: StreamOptions | None = None
    n: Choices | None = None
    max_tokens: Tokens | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    logprobs: TopLogprobs | None = None
    echo: bool | None = None


class EmbeddingsBody(msgspec.Struct):
    """The body of `POST /v1/embeddings`."""

    model: str
    input: Texts
    encoding_format: str = "float"
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 256


class InputItem(msgspec.Struct):
    """An item of a Responses input: a message, or the output of a function call."""

    type: str = "message"
    role: str | None = None
    content: str | list[Part] | None = None
    output: str | list[Part] | None = None

    def text(self) -> str:
        """All of its text."""
        return content_text(self.output if self.type == "function_call_output" else self.content)


class FlatTool(msgspec.Struct):
    """A tool as the Responses API spells it."""

    type: str = "function"
    name: str | None = None
    parameters: JsonObject | None = None


class TextFormat(msgspec.Struct):
    """The form of a Responses answer."""

    type: str = "text"
    schema: JsonObject | None = None


class TextOptions(msgspec.Struct):
    """The `text` object of a Responses request."""

    format: TextFormat | None = None


class ResponsesBody(Common, kw_only=True):
    """The body of `POST /v1/responses`."""

    input: str | list[InputItem]
    instructions: str | None = None
    max_output_tokens: Tokens | None = None
    tools: list[FlatTool] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None


def content_text(content: str | list[Part] | None) -> str:
    """The text of a message's content, parts joined by line ends."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content if part.text)


def texts_of(texts: Texts) -> list[str]:
    """Each text on its own; token numbers become words so that equal tokens give equal text."""
    if isinstance(texts, str):
        return [texts]
    if texts and all(isinstance(item, int) for item in texts):
        return [" ".join(map(str, texts))]
    return [item if isinstance(item, str) else " ".join(map(str, item)) for item in texts if not isinstance(item, int)]


_T = TypeVar("_T")
_BLAMED = re.compile(r"`\$\.?([^`]*)`|field `([^`]*)`")


def decode(raw: bytes, kind: type[_T]) -> _T:
    """The body as a value of `kind`. Raises BadRequest that names the field to blame."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        found = _BLAMED.search(str(error))
        param = next((group for group in found.groups() if group), None) if found else None
        raise BadRequest(f"The request body is not valid: {error}.", param=param) from None
    except (msgspec.DecodeError, RecursionError):
        raise BadRequest("The request body is not valid JSON.") from None
