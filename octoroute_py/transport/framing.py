"""What counts as a clean HTTP/1.1 response head; everything else is refused, because framing tricks mix up answers."""

import httptools

from octoroute_py.transport.base import MAX_HEAD_FIELDS, BadFraming, Headers, TooLarge, TransportError


def runs_until_eof(status: int, version: str, headers: Headers) -> bool:
    """Judge a final response head; True when the body ends with the connection. Raises BadFraming or TooLarge.

    `version` is "1.0" or "1.1", `headers` have lower-case names.
    """
    if status > 599:
        raise BadFraming("status out of range")
    if version not in ("1.1", "1.0"):
        raise BadFraming("not HTTP/1.0 or 1.1")
    if len(headers) > MAX_HEAD_FIELDS:
        raise TooLarge("more response header fields than allowed")
    fields = dict(headers)
    if len(fields) != len(headers):
        _refuse_repeated_framing(headers)
    coding = fields.get(b"content-encoding")
    if coding is not None and coding.strip().lower() not in (b"", b"identity"):
        raise BadFraming("content coding nobody asked for")
    length = fields.get(b"content-length")
    transfer = fields.get(b"transfer-encoding")
    if transfer is None:
        if length is None:
            return status not in (204, 304)
        if not length.strip(b" \t").isdigit() or (status == 204 and int(length) != 0):
            raise BadFraming("content-length is no length")
        return False
    if length is not None or version == "1.0" or transfer.strip(b" \t").lower() != b"chunked":
        raise BadFraming("transfer-encoding is not plain chunked")
    return False


def _refuse_repeated_framing(headers: Headers) -> None:
    names = [name for name, _ in headers]
    for name in (b"content-length", b"transfer-encoding", b"content-encoding"):
        if names.count(name) > 1:
            raise BadFraming("repeated framing header")


def framing_error(exc: Exception) -> TransportError:
    """What our own callbacks raised comes back as the parser error's context; anything else is the parser's verdict."""
    cause = exc.__context__
    if isinstance(cause, TransportError):
        return cause
    if isinstance(exc, httptools.HttpParserUpgrade):
        return BadFraming("the upstream switched protocols")
    return BadFraming(f"no clean HTTP/1.1 answer: {exc}")
