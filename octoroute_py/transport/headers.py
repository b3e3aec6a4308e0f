"""Which headers go to an upstream and which come back: both are allow-lists, everything else stays where it was."""

import re
import secrets
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

import msgspec

from octoroute_py import __version__
from octoroute_py.config.schema import EndpointConfig
from octoroute_py.transport.base import Headers

VIA: Final = b"octoroute-via"
"""Names every gateway that a request came through, one field each."""
OWN_MARK: Final = secrets.token_hex(8).encode("ascii")
"""What this process is called there."""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BREAKS_LINES = re.compile(rb"[\r\n\0]")
_TARGET = re.compile(r"[!-~]*")

# Framing, connection control and the coding promise belong to the transport, never to a configuration file.
_OWNED_BY_TRANSPORT = frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"accept-encoding",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"upgrade",
        b"expect",
        VIA,
    )
)

_MAX_VALUE_BYTES = 256

_TO_UPSTREAM = frozenset((b"openai-beta", VIA))

_TO_CLIENT = frozenset(
    (
        b"content-type",
        b"cache-control",
        b"openai-processing-ms",
        b"openai-version",
        b"openai-request-id",
        b"x-generation-id",
    )
)


class Origin(msgspec.Struct, frozen=True):
    """Where an endpoint lives. `authority` is the Host header, `path` the base path without a trailing slash."""

    tls: bool
    host: str
    port: int
    authority: bytes
    path: str


def origin_of(base_url: str) -> Origin:
    """Take a base URL apart. Raises ValueError for anything but http(s)://host[:port][/path]."""
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("base_url must be an http or https URL with a host")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("base_url must not hold credentials, a query or a fragment")
    path = parts.path.rstrip("/")
    if not _TARGET.fullmatch(path):
        raise ValueError("the path of base_url must be percent-encoded ASCII")
    tls = parts.scheme == "https"
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode("ascii")
    if not _TARGET.fullmatch(host):
        raise ValueError("the host of base_url is no host name")
    port = parts.port or (443 if tls else 80)
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port == (443 if tls else 80) else f"{shown}:{port}"
    return Origin(tls, host, port, authority.encode("ascii"), path)


def request_fields(config: EndpointConfig) -> Headers:
    """The header fields of every request to this endpoint: content type, codings, agent, credential, extras.

    The endpoint's own `headers` replace fields of the same name. Host, content-length and the fields that vary by
    request are added by the transport. Raises ValueError (which never shows a value) for a field that is not allowed.
    """
    fields = {
        b"content-type": b"application/json",
        b"accept-encoding": b"identity",
        b"user-agent": b"octoroute/" + __version__.encode("ascii"),
    }
    if config.registered is not None:  # whoever registers endpoints may name this gateway itself, knowing or not
        fields[VIA] = OWN_MARK
    if config.api_key is not None:
        fields[b"authorization"] = b"Bearer " + _value("authorization", config.api_key.reveal())
    for name, value in config.headers:
        key = name.encode("latin-1", "replace").lower()
        if not _TOKEN.fullmatch(key):
            raise ValueError(f"{name!r} is no header name")
        if key in _OWNED_BY_TRANSPORT:
            raise ValueError(f"header {name!r} is set by the gateway itself")
        fields[key] = _value(name, value)
    return list(fields.items())


def field_lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Header fields as they stand on the wire. Raises ValueError when a name or value would break its line."""
    lines = [b"%b: %b\r\n" % field for field in fields]
    block = b"".join(lines)
    if block.count(b"\n") != len(lines) or block.count(b"\r") != len(lines) or b"\0" in block:
        raise ValueError("a header field holds a line break or NUL")
    return block


def forwardable_request_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """The client's headers that go upstream; `headers` have lower-case names, as ASGI gives them.

    A field the client's `Connection` header names is meant for this hop and stays here.
    """
    found = [(name, value) for name, value in headers if name in _TO_UPSTREAM and not _BREAKS_LINES.search(value)]
    if not found:
        return ()
    this_hop = {
        token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")
    }
    return tuple(field for field in found if field[0] not in this_hop)


def forwardable_response_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The upstream's headers that reach the client, each once and of bounded length; names are lower-case."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if (name in _TO_CLIENT or name.startswith(b"x-ratelimit-")) and len(value) <= _MAX_VALUE_BYTES:
            found.setdefault(name, value)
    return list(found.items())


def _value(name: str, value: str) -> bytes:
    try:
        encoded = value.strip(" \t").encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"the value of header {name!r} holds characters outside Latin-1") from None
    if _BREAKS_LINES.search(encoded):
        raise ValueError(f"the value of header {name!r} holds a line break or NUL")
    return encoded
