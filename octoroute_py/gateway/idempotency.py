"""A request that is sent twice is done once: the memory of whole answers, by the key their requests came with.

In memory only, and bounded: no text of a prompt or an answer is ever stored. What runs is never forgotten; what has
ended is, after an hour, or earlier, least recently used first, when there is no more room.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from octoroute_py.core.clock import Monotonic
from octoroute_py.core.errors import BadRequest, GatewayError, Refused
from octoroute_py.gateway.context import RawHeaders

KEPT_S = 3600.0
MAX_BYTES = 64 * 1024 * 1024
MAX_ANSWER_BYTES = 1024 * 1024
MAX_KEYS = 100_000
SWEEP_S = 60.0
RETRY_AFTER_S = 1.0
"""When it is worth asking again for what is being done."""
ENTRY_BYTES = 1024
"""What an entry takes beside the text in it, roughly."""
FIELD_BYTES = 160
"""What a header field takes beside its text, roughly."""

TOO_LARGE = "Its answer was too large to be kept."
FORGOTTEN = "Its answer is no longer kept."


class Key(NamedTuple):
    """What tells requests apart: two that agree in all of these are meant to be one."""

    principal: str
    workspace: str
    surface: str
    text: str


class Answer(msgspec.Struct, frozen=True):
    """A whole good answer, as it was sent."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class _Kept(msgspec.Struct, frozen=True):
    digest: bytes
    answer: Answer | None
    size: int


class Claim:
    """The right to do a request, until it is finished or released."""

    __slots__ = ("_body", "_key", "_memory", "digest")

    def __init__(self, memory: "Idempotency", key: Key, digest: bytes) -> None:
        self._memory = memory
        self._key = key
        self._body: bytearray | None = bytearray()
        self.digest = digest

    def add(self, chunk: bytes) -> None:
        """The next piece of the answer's body."""
        if self._body is None:
            return
        if self._memory._has_room(len(self._body), len(chunk)):
            self._body += chunk
            self._memory._bytes += len(chunk)
        else:
            self._drop()

    def finish(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """The answer is whole and good: it is given to whoever asks again."""
        body = self._body
        self._drop()
        answer = None if body is None else Answer(status, tuple(headers), bytes(body))
        self._memory._keep(self._key, self, answer)

    def release(self) -> None:
        """There was no good answer: the next request with this key is done afresh. Too late after `finish`."""
        self._drop()
        self._memory._forget(self._key, self)

    def _drop(self) -> None:
        if self._body is not None:
            self._memory._bytes -= len(self._body)
            self._body = None


class Idempotency:
    """The memory. For one thread; nothing in it waits."""

    def __init__(
        self,
        now: Monotonic,
        *,
        kept_s: float = KEPT_S,
        max_bytes: int = MAX_BYTES,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        max_keys: int = MAX_KEYS,
    ) -> None:
        self._now = now
        self._kept_s = kept_s
        self._max_bytes = max_bytes
        self._max_answer_bytes = max_answer_bytes
        self._max_keys = max_keys
        self._bytes = 0
        self._running: dict[Key, Claim] = {}
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()  # least recently used first
        self._until: OrderedDict[Key, float] = OrderedDict()  # the same keys, oldest first

    @property
    def size_bytes(self) -> int:
        """What the answers and their keys take, those that are on their way included."""
        return self._bytes

    @property
    def keys(self) -> int:
        """How many requests are known, running or done."""
        return len(self._running) + len(self._kept)

    def claim(self, key: Key, digest: bytes, *, named: str) -> Claim | Answer:
        """The right to do the request of this key, or the answer that it had.

        `digest` stands for all that was asked; `named` is what clients call the key. Raises Refused 409 while the
        request is being done, and when it was done but its answer is not there; BadRequest 422 when another request
        came with this key.
        """
        self.sweep()
        running = self._running.get(key)
        if running is not None:
            if running.digest != digest:
                raise _mismatch(named)
            raise Refused(
                f"A request with this {named} is being worked on.",
                code="idempotency_in_progress",
                status=409,
                error_type="invalid_request_error",
                retry_after_s=RETRY_AFTER_S,
            )
        kept = self._kept.get(key)
        if kept is None:
            claim = self._running[key] = Claim(self, key, digest)
            return claim
        if kept.digest != digest:
            raise _mismatch(named)
        self._kept.move_to_end(key)
        if kept.answer is None:
            raise not_kept(named, TOO_LARGE)
        return kept.answer

    def sweep(self) -> None:
        """Forget what is too old."""
        now = self._now()
        while self._until:
            key, until = next(iter(self._until.items()))
            if now < until:
                return
            self._evict(key)

    async def run(self, *, every_s: float = SWEEP_S) -> None:
        """Forget what is too old, also while nobody asks for anything, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            self.sweep()

    # for claims

    def _has_room(self, size: int, more: int) -> bool:
        return size + more <= self._max_answer_bytes and self._make_room(more)

    def _make_room(self, more: int) -> bool:
        while self._bytes + more > self._max_bytes and self._kept:
            self._evict(next(iter(self._kept)))
        return self._bytes + more <= self._max_bytes

    def _keep(self, key: Key, claim: Claim, answer: Answer | None) -> None:
        if self._running.get(key) is not claim:
            return
        del self._running[key]
        size = ENTRY_BYTES + sum(map(len, key))
        if answer is not None:
            text = len(answer.body) + _headers_bytes(answer.headers)
            if self._make_room(size + text):
                size += text
            else:
                answer = None
        self._make_room(size)
        while len(self._kept) >= self._max_keys:
            self._evict(next(iter(self._kept)))
        self._kept[key] = _Kept(claim.digest, answer, size)
        self._until[key] = self._now() + self._kept_s
        self._bytes += size

    def _forget(self, key: Key, claim: Claim) -> None:
        if self._running.get(key) is claim:
            del self._running[key]

    def _evict(self, key: Key) -> None:
        self._bytes -= self._kept.pop(key).size
        del self._until[key]


def not_kept(named: str, why: str) -> GatewayError:
    """The request was done before, so it is not done again, but its answer cannot be given."""
    return Refused(
        f"A request with this {named} was answered before and is not sent again. {why}",
        code="idempotency_not_kept",
        status=409,
        error_type="invalid_request_error",
        final=True,
    )


def _mismatch(named: str) -> GatewayError:
    return BadRequest(
        f"This {named} came with another request before; give each request its own.",
        code="idempotency_mismatch",
        status=422,
        param=named,
    )


def _headers_bytes(headers: Iterable[tuple[bytes, bytes]]) -> int:
    return sum(FIELD_BYTES + len(name) + len(value) for name, value in headers)


def replayable(headers: RawHeaders) -> tuple[tuple[bytes, bytes], ...]:
    """The fields of an answer that are as true later; what is left of a rate limit is not."""
    return tuple(
        (name, value) for name, value in headers if not name.startswith((b"ratelimit", b"x-ratelimit", b"retry-after"))
    )
