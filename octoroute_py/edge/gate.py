"""Which request heads pass: one Host, a plain path, unambiguous framing, bounded fields (reliability F8, F9). Pure."""

import re
from functools import lru_cache

from octoroute_py.core.errors import BadRequest, GatewayError

MAX_FIELDS = 100
MAX_TARGET_BYTES = 8 * 1024
MAX_LENGTH_DIGITS = 19

_HOST = re.compile(rb"(?:[A-Za-z0-9_.~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_TRICKS = re.compile(rb"%2f|%5c|%00|//|[\\#]|(?:^|/)\.\.?(?:/|$)|%2e", re.IGNORECASE)
_MODELS = b"/v1/models/"


def refusal_of(
    headers: list[tuple[bytes, bytes]], target: bytes, *, version: str, max_header_bytes: int
) -> GatewayError | None:
    """Why a head is refused, or None; `headers` have lower-case names. Checked in one pass over the fields."""
    size = hosts = lengths = 0
    chunked = False
    for name, value in headers:
        size += len(name) + len(value) + 4
        if name == b"host":
            hosts += 1
            if _HOST.fullmatch(value) is None:
                return BadRequest("The Host header is not valid.")
        elif name == b"content-length":
            lengths += 1
            if len(value) > MAX_LENGTH_DIGITS:
                return BadRequest("The Content-Length header is not valid.")
        elif name == b"transfer-encoding":
            if chunked or value.strip().lower() != b"chunked":
                return BadRequest("Only the transfer coding 'chunked' is understood.")
            chunked = True
    if size > max_header_bytes or len(headers) > MAX_FIELDS:
        return too_large_head()
    if version not in ("1.1", "1.0"):
        return BadRequest("This is not a valid HTTP/1.1 request.")
    if hosts != 1:
        return BadRequest("A request needs exactly one Host header.")
    if lengths > 1 or (chunked and (lengths or version == "1.0")):
        return BadRequest("The length of the body is ambiguous.")
    if len(target) > MAX_TARGET_BYTES:
        return BadRequest("The request target is too long.", status=414, code="uri_too_long")
    if not path_is_plain(target.partition(b"?")[0]):
        return BadRequest("The request path is not a plain path.")
    return None


def too_large_head() -> GatewayError:
    """The refusal of a head above its cap."""
    return BadRequest("The request's headers are too large.", status=431, code="headers_too_large")


@lru_cache(maxsize=128)
def path_is_plain(raw_path: bytes) -> bool:
    """Whether a raw path is free of encoded slashes, NUL, empty and dot segments (reliability F9).

    Below /v1/models/ an encoded slash counts as a slash: OpenAI's clients encode the ones in a model's name, and
    everything there is one route.
    """
    if raw_path.startswith(_MODELS):
        raw_path = raw_path.replace(b"%2f", b"/").replace(b"%2F", b"/")
    return raw_path.startswith(b"/") and _TRICKS.search(raw_path) is None
