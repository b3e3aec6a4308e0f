"""A client's body, parsed once: the few fields the gateway reads, and every other value as it was spelled.

Whatever the bytes are, the outcome is an `Envelope` or a 400 that names the field to blame.
"""

import re

import msgspec

from octoroute_py.core.errors import BadRequest
from octoroute_py.core.words import Surface
from octoroute_py.transport.nesting import (
    MAX_CONTAINERS,
    MAX_DEPTH,
    TooComplex,
    has_more_members,
    has_more_openers,
    is_too_deep,
    skeleton,
)

MAX_MESSAGES = 10_000
MAX_FIELDS = 1_000
MAX_NAME_CHARS = 1_024
"""Longest name of a top-level field."""
MAX_HINT_BYTES = 4 * 1024
"""Largest `octoroute` object."""
MAX_TOKEN_LIMIT = 2**32 - 1
MAX_CHOICES = 128
TOKEN_LIMIT_FIELDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")

_ABSENT = msgspec.Raw(b"")
_NULL = b"null"
_BOOL_OR_NULL = (b"true", b"false", _NULL)
_BROKEN = (msgspec.MsgspecError, RecursionError, ValueError)
_OPEN = re.compile(rb"[ \t\r\n]*\{[ \t\r\n]*")
_KEY = re.compile(rb'("(?:[^"\\]++|\\.)*+")[ \t\r\n]*+:[ \t\r\n]*+', re.DOTALL)
_NEXT = re.compile(rb"[ \t\r\n]*([,}])[ \t\r\n]*")
_NUMBER_START = frozenset(b"-0123456789")
_FIELDS_COUNTED_ABOVE = 20_000  # up to here it costs less to read the fields than to count them first
_BYTES_OF_MANY_FIELDS = 4 * _FIELDS_COUNTED_ABOVE
_FLAT_BYTES = 2 * (MAX_DEPTH - 4)  # too few for the levels left inside a message
_QUOTE, _BRACE, _BRACKET = b'"{['


class _Options(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class _Message(msgspec.Struct, gc=False):
    role: msgspec.Raw = _ABSENT
    content: msgspec.Raw = _ABSENT


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class _PlainChat(msgspec.Struct, gc=False):
    """The fields of a chat body that are read, of the types they should have."""

    model: str
    messages: list[_Message]
    stream: bool | None = None
    n: int | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    max_output_tokens: int | None = None
    stream_options: _StreamOptions | None = None
    octoroute: msgspec.Raw = _ABSENT

    def token_limits(self) -> tuple[tuple[str, int], ...]:
        """The limits that are given, by name."""
        if self.max_completion_tokens is None and self.max_output_tokens is None:
            return () if self.max_tokens is None else (("max_tokens", self.max_tokens),)
        given = (self.max_completion_tokens, self.max_tokens, self.max_output_tokens)
        return tuple((name, value) for name, value in zip(TOKEN_LIMIT_FIELDS, given, strict=True) if value is not None)


_decode_plain_chat = msgspec.json.Decoder(_PlainChat).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_messages = msgspec.json.Decoder(list[_Message]).decode
_decode_options = msgspec.json.Decoder(_Options).decode
_decode_text = msgspec.json.Decoder(str).decode


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What the gateway knows of a request body.

    `fields` maps every top-level name to its value as spelled, in the client's order. `choices` is how many choices
    the answer will have (`n` times the number of prompts of a completion). `token_limit` is the largest of the token
    limits given, `token_limits` each of them by name. `include_usage_asked`: the client wants the usage event.
    `octoroute` is the routing hints object, {} when absent.
    """

    body: bytes
    fields: dict[str, msgspec.Raw]
    model: str
    stream: bool = False
    n: int = 1
    choices: int = 1
    token_limit: int | None = None
    token_limits: tuple[tuple[str, int], ...] = ()
    include_usage_asked: bool = False
    octoroute: dict[str, object] = {}


def parse_body(body: bytes, surface: Surface) -> Envelope:
    """Read a request body for `surface`. Raises BadRequest (400), whatever the bytes are."""
    if surface is Surface.CHAT and (envelope := _read_plain_chat(body)) is not None:
        return envelope
    _check_field_count(body)
    fields = _parse_fields(body)
    _check_members(body, fields)
    model = _model(fields)
    _check_depth(fields, _check_content(fields, surface))
    stream = _stream(fields)
    has_n = "n" in fields and (surface is Surface.CHAT or surface is Surface.COMPLETIONS)
    n = (_whole_number(fields, "n", 1, MAX_CHOICES) or 1) if has_n else 1
    limits = _token_limits(fields, surface) if surface is not Surface.EMBEDDINGS else ()
    return Envelope(
        body,
        fields,
        model,
        stream,
        n,
        n * _count_prompts(fields["prompt"]) if surface is Surface.COMPLETIONS else n,
        max(value for _, value in limits) if limits else None,
        limits,
        _include_usage(fields),
        _hints(fields),
    )


def _check_field_count(body: bytes) -> None:
    """Refuse a body of so many fields that reading them would be costly in itself."""
    try:
        if len(body) > _BYTES_OF_MANY_FIELDS and has_more_members(body, limit=_FIELDS_COUNTED_ABOVE):
            raise _too_many_fields()
    except TooComplex as error:
        raise BadRequest("The request body holds too many values.") from error


def _read_plain_chat(body: bytes) -> Envelope | None:
    """The envelope of a chat body in which nothing is out of the ordinary, at half the price; None: look closely.

    It only ever takes what the close look would take too, and tells nothing about what is wrong.
    """
    if has_more_openers(body, limit=MAX_DEPTH):
        return None
    try:
        chat = _decode_plain_chat(body)
        if len(body) > _BYTES_OF_MANY_FIELDS and _bytes_beside_content(body, chat) > _BYTES_OF_MANY_FIELDS:
            return None
        fields = _decode_fields(body)
        if not body.isascii():
            body.decode()
    except _BROKEN:
        return None
    n, most = chat.n or 1, None
    limits = chat.token_limits()
    for _, value in limits:
        if not 0 < value <= MAX_TOKEN_LIMIT:
            return None
        most = value if most is None else max(most, value)
    ordinary = chat.messages and not len(chat.octoroute) and chat.n != 0 and 0 < n <= MAX_CHOICES
    if len(fields) > MAX_FIELDS:
        return None
    if not ordinary or not chat.model.strip() or not _is_plainly_spelled(body, fields):
        return None
    options = chat.stream_options
    asked = options is not None and options.include_usage is True
    return Envelope(body, fields, chat.model, chat.stream is True, n, n, most, limits, asked)


def _bytes_beside_content(body: bytes, chat: _PlainChat) -> int:
    """How much of the body is not the content of its messages, and may be fields."""
    return len(body) - sum([len(message.content) for message in chat.messages])


def _is_plainly_spelled(body: bytes, fields: dict[str, msgspec.Raw]) -> bool:
    """Whether every field stands once, with no NUL in its name and no number that is long enough to overflow."""
    size = 1 + 4 * len(fields)
    for name, raw in fields.items():
        length = len(raw)
        size += len(name) + length
        if len(name) > MAX_NAME_CHARS or "\0" in name or _is_disguised(name):
            return False
        if length > 4 and name not in _READ_ELSEWHERE and memoryview(raw)[0] in _NUMBER_START:
            return False
    return size == len(body) or _is_evenly_spaced(body, fields, size)


def _parse_fields(body: bytes) -> dict[str, msgspec.Raw]:
    try:
        fields = _decode_fields(body)
        if not body.isascii():
            body.decode()
    except msgspec.ValidationError as error:
        raise BadRequest("The request body must be a JSON object.") from error
    except RecursionError as error:
        raise _too_deep() from error
    except _BROKEN as error:
        if body[:2] in {b"\xff\xfe", b"\xfe\xff"} or body.startswith(b"\xef\xbb\xbf") or b"\0" in body[:4]:
            message = "The request body must be UTF-8 without a byte order mark."
        elif isinstance(error, UnicodeError):
            message = "The request body is not valid UTF-8."
        else:
            message = "The request body is not valid JSON."
        raise BadRequest(message) from error
    if len(fields) > MAX_FIELDS:
        raise _too_many_fields()
    if max(map(len, fields), default=0) > MAX_NAME_CHARS:
        raise BadRequest(f"A field name is longer than {MAX_NAME_CHARS} characters.")
    return fields


def _too_many_fields() -> BadRequest:
    return BadRequest(f"The request body has more than {MAX_FIELDS} fields.")


def _too_deep(name: str | None = None) -> BadRequest:
    return BadRequest(f"The request is nested more than {MAX_DEPTH} levels deep.", param=name)


def _check_members(body: bytes, fields: dict[str, msgspec.Raw]) -> None:
    """Refuse names that are repeated, disguised or hold NUL, and numbers no double can hold."""
    size = 1 + 4 * len(fields)  # braces, and two quotes, a colon and a comma a field, without the last comma
    for name, raw in fields.items():
        length = len(raw)
        size += len(name) + length
        if length > 4 and name not in _READ_ELSEWHERE:
            _check_number(name, raw)
        if "\0" in name:
            raise BadRequest("A field name holds a NUL character.")
        if _is_disguised(name):
            raise BadRequest(f"{name!r} must be spelled {name.casefold()!r}.", param=name)
    # A body of exactly the least size its fields can take has no room for a second spelling of any of them.
    if size == len(body) or _is_evenly_spaced(body, fields, size):
        return
    if (name_twice := _first_repeated(body, fields)) is not None:
        raise BadRequest(f"The field {name_twice[:64]!r} is given more than once.", param=name_twice[:64])


def _is_disguised(name: str) -> bool:
    """Whether the name differs from one that is read in its letters' case only: many servers take both for the same."""
    return name not in _MEANING and name.casefold() in _MEANING


def _is_evenly_spaced(body: bytes, fields: dict[str, msgspec.Raw], least: int) -> bool:
    """Whether the body is these fields once each, with a blank after every colon and comma, as Python's json writes."""
    if len(body) != least + 2 * len(fields) - 1:
        return False
    return body == b"{%b}" % b", ".join([b'"%b": %b' % (name.encode(), raw) for name, raw in fields.items()])


def _check_number(name: str, raw: msgspec.Raw) -> None:
    if memoryview(raw)[0] in _NUMBER_START and abs(float(bytes(raw))) == float("inf"):
        raise BadRequest(f"{name[:64]!r} is out of range.", param=name[:64])


def _first_repeated(body: bytes, fields: dict[str, msgspec.Raw]) -> str | None:
    """The first name that stands twice, found by reading the body as exactly these fields in this order."""
    opened = _OPEN.match(body)
    at = opened.end() if opened else 0
    more = bool(fields)
    for name, raw in fields.items():
        key = _KEY.match(body, at)
        if key is None:
            return name
        if key[1] != b'"%b"' % name.encode() and (spelled := _decode_text(key[1])) != name:
            return spelled
        value = bytes(raw)
        end = _NEXT.match(body, key.end() + len(value)) if body.startswith(value, key.end()) else None
        if end is None:
            return name
        at = end.end()
        more = end[1] == b","
    if not more:
        return None
    key = _KEY.match(body, at)
    return _decode_text(key[1]) if key else next(iter(fields))


def _model(fields: dict[str, msgspec.Raw]) -> str:
    raw = fields.get("model")
    if raw is None:
        raise BadRequest("'model' is required.", param="model")
    try:
        model = _decode_text(raw)
    except _BROKEN as error:
        raise BadRequest("'model' must be a string.", param="model") from error
    if not model.strip():
        raise BadRequest("'model' must not be blank.", param="model")
    return model


def _check_content(fields: dict[str, msgspec.Raw], surface: Surface) -> bool:
    """Refuse an unusable prompt of the surface; whether `messages` is known to be shallow."""
    if surface is Surface.CHAT:
        return _check_messages(fields)
    name = "prompt" if surface is Surface.COMPLETIONS else "input"
    raw = fields.get(name)
    if raw is None or raw_is_null(raw):
        if surface is Surface.RESPONSES:
            return False  # a stored prompt or a previous response may stand in for it
        raise BadRequest(f"{name!r} is required.", param=name)
    if memoryview(raw)[0] not in {_QUOTE, _BRACKET}:
        raise BadRequest(f"{name!r} must be a string or an array.", param=name)
    return False


def _check_messages(fields: dict[str, msgspec.Raw]) -> bool:
    raw = fields.get("messages")
    if raw is None:
        raise BadRequest("'messages' is required.", param="messages")
    if memoryview(raw)[0] != _BRACKET:
        raise BadRequest("'messages' must be an array.", param="messages")
    if len(raw) > 2 * MAX_CONTAINERS and _has_too_many_objects(bytes(raw)):
        raise BadRequest("'messages' holds too many values.", param="messages")
    try:
        messages = _decode_messages(raw)
    except _BROKEN as error:
        raise BadRequest("Every element of 'messages' must be an object.", param="messages") from error
    if not messages:
        raise BadRequest("'messages' must not be empty.", param="messages")
    if len(messages) > MAX_MESSAGES:
        raise BadRequest(f"'messages' has more than {MAX_MESSAGES} elements.", param="messages")
    return _are_shallow(messages, len(raw))


def _has_too_many_objects(text: bytes) -> bool:
    """Whether millions of objects would have to be built to count them."""
    try:
        return text.count(b"{") > MAX_CONTAINERS and skeleton(text).count(b"{") > MAX_CONTAINERS
    except TooComplex:
        return True


def _are_shallow(messages: list[_Message], size: int) -> bool:
    """Whether the messages are too small for deep nesting once their texts are left out.

    A level takes two bytes. What is subtracted is certainly there (braces, commas, names) and certainly flat: content
    that is a string, and a role too short to go deep.
    """
    size -= 3 * len(messages)
    for message in messages:
        role, content = len(message.role), len(message.content)
        if 0 < role <= _FLAT_BYTES:
            size -= role + 7
        if content and memoryview(message.content)[0] == _QUOTE:
            size -= content + 10
    return size <= _FLAT_BYTES


def _check_depth(fields: dict[str, msgspec.Raw], messages_are_shallow: bool) -> None:
    for name, raw in fields.items():
        if len(raw) <= 2 * (MAX_DEPTH - 1) or (messages_are_shallow and name == "messages"):
            continue
        if memoryview(raw)[0] == _QUOTE:
            continue
        try:
            if is_too_deep(bytes(raw), limit=MAX_DEPTH - 1):
                raise _too_deep(name[:64])
        except TooComplex as error:
            raise BadRequest(f"{name[:64]!r} holds too many values.", param=name[:64]) from error


def raw_is_null(raw: msgspec.Raw) -> bool:
    """Whether a value is spelled `null`."""
    return len(raw) == 4 and bytes(raw) == _NULL


def _stream(fields: dict[str, msgspec.Raw]) -> bool:
    raw = fields.get("stream")
    if raw is None:
        return False
    text = bytes(raw) if len(raw) <= 5 else b""
    if text not in _BOOL_OR_NULL:
        raise BadRequest("'stream' must be true or false.", param="stream")
    return text == b"true"


def _whole_number(fields: dict[str, msgspec.Raw], name: str, least: int, most: int) -> int | None:
    raw = fields.get(name)
    if raw is None:
        return None
    text = bytes(raw) if len(raw) <= 20 else b""
    if text == _NULL:
        return None
    # The spelling decides: 1.0 and 1e3 are no whole numbers to every upstream.
    value = int(text) if text.isdigit() else -1
    if not least <= value <= most:
        raise BadRequest(f"{name!r} must be a whole number from {least} to {most}.", param=name)
    return value


def _token_limits(fields: dict[str, msgspec.Raw], surface: Surface) -> tuple[tuple[str, int], ...]:
    least = 0 if surface is Surface.COMPLETIONS else 1
    return tuple(
        [
            (name, value)
            for name in TOKEN_LIMIT_FIELDS
            if name in fields and (value := _whole_number(fields, name, least, MAX_TOKEN_LIMIT)) is not None
        ]
    )


def _count_prompts(raw: msgspec.Raw) -> int:
    """How many prompts a completion has: a string or an array of tokens is one, arrays of those are many."""
    text = bytes(raw)
    inner = text[1:].lstrip(b" \t\r\n")[:1]
    if text[0] != _BRACKET or inner not in {b'"', b"["}:
        return 1
    try:
        bare = skeleton(text)
    except TooComplex as error:
        raise BadRequest("'prompt' holds too many values.", param="prompt") from error
    return bare.count(b"[") - 1 if inner == b"[" else bare.count(b",") + 1


def _include_usage(fields: dict[str, msgspec.Raw]) -> bool:
    raw = fields.get("stream_options")
    if raw is None or raw_is_null(raw):
        return False
    try:
        return _decode_options(raw).include_usage is True
    except _BROKEN as error:
        raise BadRequest(
            "'stream_options' must be an object and its 'include_usage' true or false.", param="stream_options"
        ) from error


def _hints(fields: dict[str, msgspec.Raw]) -> dict[str, object]:
    raw = fields.get("octoroute")
    if raw is None:
        return {}
    if memoryview(raw)[0] != _BRACE:
        raise BadRequest("'octoroute' must be an object.", param="octoroute")
    if len(raw) > MAX_HINT_BYTES:
        raise BadRequest(f"'octoroute' is larger than {MAX_HINT_BYTES} bytes.", param="octoroute")
    try:
        return msgspec.json.decode(raw, type=dict[str, object])
    except _BROKEN as error:
        raise BadRequest("'octoroute' holds a value that cannot be read.", param="octoroute") from error


_READ_ELSEWHERE = frozenset(
    {"model", "messages", "prompt", "input", "stream", "n", "stream_options", "octoroute", "tools", *TOKEN_LIMIT_FIELDS}
)

_MEANING = _READ_ELSEWHERE | {"best_of", "background", "deferred", "n_predict"}
"""Names that decide where a request goes or what it costs."""
