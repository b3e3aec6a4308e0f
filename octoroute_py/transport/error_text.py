"""What an upstream says went wrong: read out of any error body, and made fit to be shown to a client."""

import re
from collections.abc import Sequence

import msgspec

from octoroute_py.config.schema import EndpointConfig

MAX_MESSAGE_CHARS = 500
"""Longest upstream message a client gets to see."""
MAX_BODY_READ = 64 * 1024
"""Most bytes of a value of unknown shape that are turned into objects."""

_MAX_KEPT_CHARS = 2_000  # of the raw message; leaves room for what cleaning takes out
_MIN_SECRET_CHARS = 4
_LEAK_CHARS = 12  # this many characters of a secret in a row are as bad as the whole

_URL = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,15}://[^\s\"'<>]*")
_ADDRESS = re.compile(
    r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b|\[(?=[^\]]{0,45}:[^\]]{0,45}:)[0-9a-fA-F:.]{2,45}\](?::\d{1,5})?"
)
_KEY_LIKE = re.compile(
    r"\b(?:(?:sk|pk|rk|okr|gsk|xai|hf)[-_]|AIza)[A-Za-z0-9_*.-]{8,}|\bBearer\s+\S{8,}", re.IGNORECASE
)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
_HIDDEN = "[hidden]"


class ErrorDetail(msgspec.Struct, frozen=True):
    """The upstream's own words. Raw: nothing here may reach a client before `clean_message`."""

    message: str | None = None
    error_type: str | None = None
    code: str | None = None
    param: str | None = None
    status: int | None = None


NO_DETAIL = ErrorDetail()


def read_error_body(body: bytes) -> ErrorDetail:
    """What an error answer says, in any of the usual shapes; plain text counts, an HTML page does not."""
    try:
        value = msgspec.json.decode(body[:MAX_BODY_READ])
    except (msgspec.MsgspecError, RecursionError, ValueError):
        text = body[:_MAX_KEPT_CHARS].decode("utf-8", "replace").strip()
        return ErrorDetail(message=text) if text and text[0] not in "<{[" else NO_DETAIL
    return read_error_value(value)


def read_error_value(value: object) -> ErrorDetail:
    """The same from a parsed value: {"error": {...}}, {"error": "text"}, {"message"}, {"detail"} or a bare string."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return ErrorDetail(message=value[:_MAX_KEPT_CHARS])
    if not isinstance(value, dict):
        return NO_DETAIL
    inner = value.get("error")
    if isinstance(inner, str):
        return ErrorDetail(
            message=inner[:_MAX_KEPT_CHARS],
            error_type=_word(value.get("type")),
            code=_word(value.get("code")),
            status=_status(value.get("code")) or _status(value.get("status")),
        )
    source = inner if isinstance(inner, dict) else value
    detail = source.get("detail")
    message = next((text for text in (source.get("message"), detail, _first_detail(detail)) if _is_text(text)), None)
    return ErrorDetail(
        message=str(message)[:_MAX_KEPT_CHARS] if message is not None else None,
        error_type=_word(source.get("type")),
        code=_word(source.get("code")),
        param=_word(source.get("param")),
        status=_status(source.get("code")) or _status(source.get("status")) or _status(value.get("status")),
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _first_detail(detail: object) -> object:
    """FastAPI servers answer 422 with a list of problems; the first says enough."""
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        return detail[0].get("msg")
    return None


def _word(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**9 else None
    return value[:128] if isinstance(value, str) and value else None


def _status(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599 else None


def secrets_of(endpoint: EndpointConfig) -> tuple[str, ...]:
    """What must never leave the gateway of an endpoint: its key, its address in every spelling, its header values."""
    found: list[str] = [endpoint.base_url]
    authority = endpoint.base_url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    host = authority if authority.endswith("]") else re.sub(r":\d*$", "", authority)
    found.append(authority)
    if "." in host or ":" in host:  # a single label such as "model" is also a word that explanations need
        found.append(host)
    if endpoint.api_key is not None:
        found.append(endpoint.api_key.reveal())
    if endpoint.proxy is not None:
        found.append(endpoint.proxy.reveal())
    found += [value for _, value in endpoint.headers if len(value) >= 8]
    return tuple(sorted({text for text in found if len(text) >= _MIN_SECRET_CHARS}, key=len, reverse=True))


def clean_message(text: str, *, secrets: Sequence[str]) -> str:
    """The text with secrets, parts of them, URLs, addresses, key-like words and control characters taken out.

    At most MAX_MESSAGE_CHARS characters; may be empty.
    """
    text = _UNPRINTABLE.sub(" ", text[:_MAX_KEPT_CHARS])
    for secret in sorted(secrets, key=len, reverse=True):
        text = _without(text, secret)
    text = _URL.sub("[url]", text)
    text = _ADDRESS.sub("[address]", text)
    text = _KEY_LIKE.sub(_HIDDEN, text)
    text = text.encode("utf-8", "replace").decode("utf-8").strip()
    return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…"


def clean_word(word: str | None, *, secrets: Sequence[str]) -> str | None:
    """A code, type or param of an upstream error if it is a plain short word that cleaning leaves alone, else None."""
    if word is None or not re.fullmatch(r"[A-Za-z0-9_.\[\]-]{1,64}", word):
        return None
    return word if clean_message(word, secrets=secrets) == word else None


def _without(text: str, secret: str) -> str:
    """`text` without `secret` in any case, and without any run of it that is long enough to matter."""
    if len(secret) < _MIN_SECRET_CHARS:
        return text
    text = re.sub(re.escape(secret), _HIDDEN, text, flags=re.IGNORECASE)
    if len(secret) < _LEAK_CHARS:
        return text
    at = 0
    while at + _LEAK_CHARS <= len(secret):
        end = at + _LEAK_CHARS
        if secret[at:end] not in text:
            at += 1
            continue
        while end < len(secret) and secret[at : end + 1] in text:
            end += 1
        text = text.replace(secret[at:end], _HIDDEN)
    return text
