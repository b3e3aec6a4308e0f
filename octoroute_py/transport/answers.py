"""A buffered 200 answer: is it one at all, what did it use, what does it say."""

from functools import lru_cache

import msgspec

from octoroute_py.core.usage import Usage
from octoroute_py.core.words import Surface
from octoroute_py.transport.error_text import MAX_BODY_READ
from octoroute_py.transport.faults import Fault, fault_from_error_event, malformed
from octoroute_py.transport.said import texts_of_answer
from octoroute_py.transport.usage import ChatUsage, ResponsesUsage, read_usage

_ABSENT = msgspec.Raw(b"")
_NOTHING = (b"", b"null", b"{}", b'""', b"false")
_QUOTE = ord('"')
_BROKEN = (msgspec.MsgspecError, RecursionError, ValueError)


class _Answer(msgspec.Struct, gc=False):
    usage: ChatUsage | None = None
    error: msgspec.Raw = _ABSENT
    choices: msgspec.Raw = _ABSENT
    data: msgspec.Raw = _ABSENT
    output: msgspec.Raw = _ABSENT
    object: msgspec.Raw = _ABSENT


class _ResponsesAnswer(_Answer, gc=False):
    usage: ResponsesUsage | None = None  # type: ignore[assignment]  # the same name, another spelling inside


class _Loose(_Answer, gc=False):
    usage: msgspec.Raw = _ABSENT  # type: ignore[assignment]  # decoded apart, whatever it is


class _Message(msgspec.Struct, gc=False):
    content: msgspec.Raw = _ABSENT


class _TextChoice(msgspec.Struct, gc=False):
    message: _Message | None = None


class _Texts(msgspec.Struct, gc=False):
    choices: list[_TextChoice] | None = None


_decoders = {
    surface: msgspec.json.Decoder(_ResponsesAnswer if surface is Surface.RESPONSES else _Answer) for surface in Surface
}
_decode_loose = msgspec.json.Decoder(_Loose).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_texts = msgspec.json.Decoder(_Texts).decode


class BufferedFacts(msgspec.Struct, frozen=True, gc=False):
    """What is known of a whole, good answer; the body itself goes out as it came."""

    body: bytes
    usage: Usage | None = None

    def texts(self) -> list[str]:
        """All that was generated, a text a choice or item: for counting where the upstream did not."""
        return texts_of_answer(self.body)

    def text(self) -> str | None:
        """The text of the first choice's message, None when there is none (a tool call, an odd shape)."""
        try:
            choices = _decode_texts(self.body).choices
        except _BROKEN:
            return None
        message = choices[0].message if choices else None
        if message is None or not len(message.content) or memoryview(message.content)[0] != _QUOTE:
            return None
        try:
            return _decode_text(message.content)
        except _BROKEN:
            return None


@lru_cache(maxsize=256)
def is_json_type(content_type: bytes | None) -> bool:
    """Whether a Content-Type says JSON; an absent one is given the benefit of the doubt."""
    kind = (content_type or b"").partition(b";")[0].strip().lower()
    return kind in {b"", b"application/json", b"text/json"} or kind.endswith(b"+json")


def read_answer(body: bytes, content_type: bytes | None, surface: Surface) -> BufferedFacts | Fault:
    """Check the whole body of a 200: a JSON object that is an answer, else the fault it amounts to."""
    if not is_json_type(content_type):
        return malformed("The answer is not JSON.")
    try:
        if not body.isascii():
            body.decode()
        try:
            answer = _decoders[surface].decode(body)
            usage = answer.usage.counted() if answer.usage is not None else None
        except msgspec.ValidationError:
            answer = _decode_loose(body)
            usage = _loose_usage(answer)
    except _BROKEN:
        return malformed("The answer is not a JSON object.")
    if _is_error_alone(answer):
        return fault_from_error_event(body)
    return BufferedFacts(body, usage)


def _loose_usage(answer: _Answer) -> Usage | None:
    raw: object = answer.usage
    if not isinstance(raw, msgspec.Raw) or len(raw) > MAX_BODY_READ:
        return None
    try:
        return read_usage(msgspec.json.decode(raw))
    except _BROKEN:
        return None


def _is_error_alone(answer: _Answer) -> bool:
    if len(answer.choices) or len(answer.data) or len(answer.output):
        return False
    return bytes(answer.error) not in _NOTHING or bytes(answer.object) == b'"error"'
