"""`GET /dashboard`: the page and its files, open to all because they say nothing of anybody.

A browser sends no bearer key with a navigation, so a guard here could only ask for a cookie or a password, which would
be the thing to steal. What the page shows comes from /api, with the key that its user typed in.
"""

from collections.abc import Mapping
from typing import Final

from starlette.types import Receive, Scope, Send

from octoroute_py.core.errors import BadRequest, NotFound
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.wire_io import RawHeaders, request_id_of, send_bytes, send_error
from octoroute_py.web.assets import INDEX, Asset

PAGE: Final = "/dashboard"
STATIC: Final = f"{PAGE}/static/"
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing inline, nothing from elsewhere, and nobody puts the page into a frame."""
_UNUSED: Final = ("camera", "display-capture", "geolocation", "microphone", "payment", "usb")
_PROTECTION: Final = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", ", ".join(f"{name}=()" for name in _UNUSED).encode()),
)
_MOST_TAGS: Final = 32


class Dashboard:
    """The page's routes over files that are in memory."""

    def __init__(self, assets: Mapping[str, Asset]) -> None:
        self._assets = assets

    def add_to(self, table: Table) -> None:
        """Add them."""
        for path in (PAGE, f"{PAGE}/", f"{STATIC}{{path:path}}"):
            table.add("GET", path, self._send, role=None)

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        asset = self._assets.get(path.removeprefix(STATIC) if path.startswith(STATIC) else INDEX)
        if asset is None:
            missing = NotFound("There is nothing at this path.", code="not_found")
            await send_error(scope, send, missing, _PROTECTION)
            return
        try:
            packs, known = _asked(scope["headers"])
        except BadRequest as error:
            await send_error(scope, send, error, _PROTECTION)
            return
        packed = asset.gzipped if packs else None
        etag = asset.etag if packed is None else asset.gzipped_etag
        headers: RawHeaders = [
            *_PROTECTION,
            (b"etag", etag.encode()),
            (b"cache-control", b"no-cache"),
            (b"vary", b"accept-encoding"),
            (b"x-request-id", request_id_of(scope).encode()),
        ]
        if "*" in known or etag in known:
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body"})
            return
        headers.append((b"content-type", asset.content_type.encode()))
        if packed is not None:
            headers.append((b"content-encoding", b"gzip"))
        await send_bytes(send, 200, asset.body if packed is None else packed, headers)


def _asked(headers: RawHeaders) -> tuple[bool, frozenset[str]]:
    """Whether the client unpacks gzip, and the ETags it has. Raises BadRequest for a list without end."""
    packs, tags = False, []
    for name, value in headers:
        if name == b"accept-encoding":
            packs = packs or any(_accepts_gzip(each) for each in value.decode("latin-1").split(","))
        elif name == b"if-none-match":
            tags += [each.strip().removeprefix("W/") for each in value.decode("latin-1").split(",")]
    if len(tags) > _MOST_TAGS:
        raise BadRequest("If-None-Match names too many versions.")
    return packs, frozenset(tags)


def _accepts_gzip(coding: str) -> bool:
    name, _, weight = coding.partition(";")
    return name.strip().lower() in ("gzip", "x-gzip", "*") and weight.replace(" ", "").rstrip("0.") != "q="
