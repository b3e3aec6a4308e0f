"""What stands before a model call whose clients may send a request twice: by `Idempotency-Key`, or by its own id.

The first request of a key goes through, and its answer is noted on its way out. Whoever asks again while it runs is
told to wait, and afterwards gets the very same answer; no model is asked, nothing is billed and no row is written.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from octoroute_py.admission.principal import Principal
from octoroute_py.core.errors import BadRequest, Denied, GatewayError
from octoroute_py.core.words import Surface
from octoroute_py.edge.cycle import BODY_FOLLOWS
from octoroute_py.edge.guard import PRINCIPAL
from octoroute_py.edge.model_call import CONTEXT
from octoroute_py.edge.wire_io import ClientGone, RawHeaders, read_body, send_error
from octoroute_py.gateway.context import RequestContext
from octoroute_py.gateway.idempotency import FORGOTTEN, Answer, Claim, Idempotency, Key, not_kept, replayable
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.gateway.scope import workspace_of
from octoroute_py.routing.policy import HEADERS, header_text

_log = structlog.stdlib.get_logger("octoroute.edge")

HEADER = "Idempotency-Key"
_HEADER = HEADER.lower().encode()
_TEXT = re.compile(rb"[!-~]{1,255}")
_WORKSPACE = HEADERS["workspace"].lower().encode()
_TELLING = frozenset(
    {b"openai-beta", *(header.lower().encode() for name, header in HEADERS.items() if name != "timeout")}
)
"""Headers that say what is asked for; how long somebody would wait is no part of it."""
_HASHED_AT_ONCE = 256 * 1024
_PIECE = 64 * 1024
_REPLAYED = (b"x-octoroute-replayed", b"true")

Answered = Callable[[str, str], Awaitable[bool]]
"""Whether a request of this id was answered well before, in this workspace; looked up where rows are kept."""


class KeySource(Protocol):
    """Where requests of one route have their key."""

    named: str
    """What clients call it."""

    def is_there(self, scope: Scope) -> bool:
        """Whether a request may have one, before its body is read."""
        ...

    def key(self, scope: Scope, body: bytes) -> Key | None:
        """The key, None when the request cannot be read or its workspace used. Raises BadRequest for a wrong one."""
        ...


class ByHeader:
    """The header `Idempotency-Key` of the OpenAI operations."""

    named = HEADER

    def __init__(self, surface: Surface) -> None:
        self._surface = surface

    def is_there(self, scope: Scope) -> bool:
        """Whether the header is given."""
        for name, _ in scope["headers"]:  # noqa: SIM110 - every request pays for this look, any() twice as much
            if name == _HEADER:
                return True
        return False

    def key(self, scope: Scope, body: bytes) -> Key | None:
        """1 to 255 visible ASCII characters, for the workspace that the request is booked on."""
        given = {value for name, value in scope["headers"] if name == _HEADER}
        text = given.pop()
        if given or not _TEXT.fullmatch(text):
            raise BadRequest(f"{HEADER} must be one text of 1 to 255 visible ASCII characters.", param=HEADER)
        return _key(scope[PRINCIPAL], _named_workspace(scope["headers"], body), self._surface, text.decode("ascii"))


class _Id(msgspec.Struct, rename="camel"):
    id: str
    workspace_id: str


class ById:
    """The id in the body of POST /api/route."""

    named = "id"

    def is_there(self, scope: Scope) -> bool:
        """Every request has one."""
        return True

    def key(self, scope: Scope, body: bytes) -> Key | None:
        """The id in its workspace."""
        try:
            asked = _decode_id(body)
        except _BROKEN:
            return None
        return _key(scope[PRINCIPAL], asked.workspace_id, "route", asked.id)


class Idempotent:
    """A model call behind the memory. `answered` is asked for keys that the memory does not know."""

    __slots__ = ("_answered", "_call", "_gateway", "_memory", "_source")

    def __init__(
        self,
        call: ASGIApp,
        gateway: Gateway,
        *,
        memory: Idempotency,
        source: KeySource,
        answered: Answered | None = None,
    ) -> None:
        self._call = call
        self._gateway = gateway
        self._memory = memory
        self._source = source
        self._answered = answered

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve a request, which without a key costs no more than a look at its headers."""
        if self._source.is_there(scope):
            return self._once(scope, receive, send)
        return self._call(scope, receive, send)

    async def _once(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(scope, receive, self._gateway.config.limits.max_request_bytes)
            claim = await self._claim(scope, body)
        except ClientGone:
            return
        except GatewayError as error:
            self._gateway.metrics.refused(error.code)
            await send_error(scope, send, error)
            return
        again = _Again(body, receive)
        if claim is None:
            await self._call(scope, again, send)
        elif isinstance(claim, Answer):
            await _replay(claim, send)
        else:
            try:
                await self._call(scope, again, _Noting(scope, send, claim))
            finally:
                claim.release()

    async def _claim(self, scope: Scope, body: bytes) -> Claim | Answer | None:
        key = self._source.key(scope, body)
        if key is None:
            return None
        digest = await _digest(scope["headers"], body)
        found = self._memory.claim(key, digest, named=self._source.named)
        if self._answered is None or isinstance(found, Answer):
            return found
        # It counts as running meanwhile, so that nobody who sends it too gets past.
        try:
            answered = await self._answered(key.text, key.workspace)
        except BaseException:
            found.release()
            raise
        if answered:
            found.release()
            raise not_kept(self._source.named, FORGOTTEN)
        return found


class _Again:
    """A request whose body was read: gives it once more, then what else the client does."""

    __slots__ = ("_body", "_receive")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        body, self._body = self._body, None
        if body is None:
            return await self._receive()
        return {"type": "http.request", "body": body, "more_body": False}


class _Noting:
    """The way out of an answer, which is noted as it passes.

    It is done with before its last byte is sent: whoever has seen that byte may ask again at once.
    """

    __slots__ = ("_claim", "_headers", "_scope", "_send", "_status")

    def __init__(self, scope: Scope, send: Send, claim: Claim) -> None:
        self._scope = scope
        self._send = send
        self._claim = claim
        self._status = 0
        self._headers: RawHeaders = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = list(message["headers"])
        elif self._status == 200:
            self._claim.add(message["body"])
            ctx: RequestContext = self._scope[CONTEXT]
            if not message.get("more_body", False) and ctx.error_code is None:
                self._claim.finish(self._status, replayable(self._headers))
        await self._send(message)


async def _replay(answer: Answer, send: Send) -> None:
    """The answer as it was, marked as one that was given before."""
    request_id = next((value.decode() for name, value in answer.headers if name == b"x-request-id"), None)
    _log.info("answer given again", request_id=request_id)
    headers = [*answer.headers, _REPLAYED]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers, BODY_FOLLOWS: True})
    body = answer.body
    for at in range(0, len(body), _PIECE):
        more = at + _PIECE < len(body)
        await send({"type": "http.response.body", "body": body[at : at + _PIECE], "more_body": more})
    if not body:
        await send({"type": "http.response.body", "body": b""})


async def _digest(headers: RawHeaders, body: bytes) -> bytes:
    """What stands for all that a request asks: its body byte for byte, and its hints."""
    if len(body) <= _HASHED_AT_ONCE:
        return _hash(headers, body)
    return await asyncio.to_thread(_hash, headers, body)


def _hash(headers: RawHeaders, body: bytes) -> bytes:
    digest = hashlib.sha256(b"%d:" % len(body))
    digest.update(body)
    for name, value in sorted(field for field in headers if field[0] in _TELLING):
        digest.update(b"%b:%d:%b" % (name, len(value), value))
    return digest.digest()


class _Hint(msgspec.Struct):
    workspace: str | None = None


class _Hinted(msgspec.Struct):
    octoroute: _Hint | None = None


_decode_hinted = msgspec.json.Decoder(_Hinted).decode
_decode_id = msgspec.json.Decoder(_Id).decode
_BROKEN = (msgspec.MsgspecError, RecursionError, ValueError)


def _named_workspace(headers: RawHeaders, body: bytes) -> str | None:
    """The workspace that a request asks for; what is wrong with it is told by whoever reads the request."""
    for name, value in headers:
        if name == _WORKSPACE:
            return header_text(value).strip(" \t")
    if b'"octoroute"' not in body:
        return None
    try:
        hint = _decode_hinted(body).octoroute
    except _BROKEN:
        return None
    return None if hint is None or hint.workspace is None else hint.workspace.strip()


def _key(principal: Principal, workspace: str | None, surface: str, text: str) -> Key | None:
    """The key, None for a workspace that is not the principal's: the call itself refuses that."""
    try:
        return Key(principal.key_id, workspace_of(principal, workspace), surface, text)
    except Denied:
        return None
