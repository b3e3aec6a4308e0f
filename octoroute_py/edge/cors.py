"""Which web pages may read answers: `[cors]`, for every answer, errors and streams included.

Only exact origins, or `*` for all; never with credentials, which would be cookies, and there are none here: a page
sends its key in a header. One wrapper around everything else, so that a model call pays for a look at its headers and
no more.
"""

import re
from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from octoroute_py.core.errors import Denied
from octoroute_py.edge.wire_io import RawHeaders, request_id_of, send_bytes, send_error

ANY: Final = "*"
METHODS: Final = b"GET, POST, PUT, PATCH, DELETE"
KEPT_S: Final = 600
"""How long a browser may remember the answer to its question."""

_NAMES: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:[ \t]*,[ \t]*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")
_LONGEST: Final = 4096
_ASKED_BY: Final = b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


class Cors:
    """Answers the questions that browsers ask first, and tells them on every answer who may read it."""

    __slots__ = ("_app", "_origins", "_told_all")

    def __init__(self, app: ASGIApp, origins: Iterable[str]) -> None:
        allowed = frozenset(origins)
        self._app = app
        self._origins = frozenset(origin.encode() for origin in allowed)
        self._told_all = ANY in allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request; one without an Origin is none of a page's."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin = method = names = None
        for name, value in scope["headers"]:
            if name == b"origin":
                origin = value
            elif name == b"access-control-request-method":
                method = value
            elif name == b"access-control-request-headers":
                names = value
        told = self._told(origin)
        if method is not None and origin is not None and scope["method"] == "OPTIONS":
            await self._answer(scope, send, told, names)
            return

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *told]
            await send(message)

        await self._app(scope, receive, telling if told else send)

    def _told(self, origin: bytes | None) -> RawHeaders:
        """What goes with an answer to a page of this origin, and with that to no page at all."""
        told: RawHeaders = [] if self._told_all else [(b"vary", b"Origin")]
        if origin is not None and (self._told_all or origin in self._origins):
            allowed = b"*" if self._told_all else origin
            told += ((b"access-control-allow-origin", allowed), (b"access-control-expose-headers", b"*"))
        return told

    async def _answer(self, scope: Scope, send: Send, told: RawHeaders, names: bytes | None) -> None:
        """204 with what a page of this origin may send; it needs no key, for a browser sends none with its question."""
        allowed = [each for each in told if each[0] == b"access-control-allow-origin"]
        if not allowed:
            refusal = Denied("Web pages of this origin may not.", code="permission_denied", status=403)
            await send_error(scope, send, refusal, [(b"vary", _ASKED_BY)])
            return
        headers = [
            *allowed,
            (b"access-control-allow-methods", METHODS),
            (b"access-control-max-age", b"%d" % KEPT_S),
            (b"vary", _ASKED_BY),
            (b"x-request-id", request_id_of(scope).encode()),
        ]
        if names is not None and len(names) <= _LONGEST and _NAMES.fullmatch(names):
            headers.append((b"access-control-allow-headers", names))
        await send_bytes(send, 204, b"", headers)
