"""One send to one endpoint, up to its commit point: a whole valid answer, or a stream's first valid data event.

What happened is told to the endpoint exactly once: success, failure, cooldown, or nothing at all when the client left
(a cancelled attempt is no verdict). A stream's attempt goes on until its relay ends.
"""

import random
from collections.abc import Iterator

import msgspec

from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.ending import GIVEN_UP
from octoroute_py.core.trace import new_span_id
from octoroute_py.gateway.charge import Charge, charge_answer, charge_failure, charge_stream
from octoroute_py.gateway.context import RequestContext
from octoroute_py.gateway.failures import stream_error
from octoroute_py.gateway.reserve import UNLIMITED_OUTPUT
from octoroute_py.gateway.stream import Relay
from octoroute_py.ledger.outcome import Attempt, Hop
from octoroute_py.ledger.pricing import baseline_uusd, cost_uusd, has_prices
from octoroute_py.tiers.endpoint import Endpoint, Hold
from octoroute_py.transport.base import Headers, TransportError, UpstreamAnswer, UpstreamRequest
from octoroute_py.transport.faults import (
    Fault,
    FaultKind,
    classify_exception,
    classify_response,
    clean_fault,
    secrets_of,
)
from octoroute_py.transport.headers import forwardable_request_headers
from octoroute_py.transport.heard import Heard
from octoroute_py.transport.openai import BufferedFacts, Patched, patch, read_answer, upstream_path
from octoroute_py.transport.stream_scan import StreamScan

MAX_ERROR_BYTES = 1024 * 1024
"""Largest body of an upstream's error that is read for its kind and message."""
MAX_UNCOMMITTED_BYTES = 1024 * 1024
"""Most bytes of comments before a stream's first data event."""
_ACCEPT = {True: (b"accept", b"text/event-stream"), False: (b"accept", b"application/json")}


class Sent(msgspec.Struct, frozen=True):
    """A committed answer: `whole`, or a `relay` that is pulled."""

    endpoint: Endpoint
    headers: Headers
    whole: BufferedFacts | None = None
    relay: Relay | None = None


class Attempting:
    """One attempt; `run` it once. `last_chance` stretches our own default limit to the request's deadline.

    `rng` lengthens the pause a rate-limited upstream asks for by up to a quarter: not everybody is back at once.
    """

    __slots__ = (
        "_ctx",
        "_endpoint",
        "_hold",
        "_hop",
        "_limit_at",
        "_own_limit",
        "_rng",
        "_scan",
        "_started_s",
        "_status",
        "_whole",
    )

    def __init__(self, ctx: RequestContext, endpoint: Endpoint, *, last_chance: bool, rng: random.Random) -> None:
        self._ctx = ctx
        self._endpoint = endpoint
        self._started_s = ctx.monotonic()
        limit_s, by_operator = ctx.snapshot.timers.attempt(endpoint.id, stream=ctx.stream)
        full_at = self._started_s + limit_s
        self._limit_at = ctx.deadline_s if last_chance and not by_operator else min(ctx.deadline_s, full_at)
        self._rng = rng
        self._own_limit = self._limit_at >= full_at
        """Whether a time-out says something of the upstream: it had its full limit, not what our deadline left."""
        self._status: int | None = None
        ctx.endpoint_id = endpoint.id
        self._hop = None if ctx.trail is None else hop_to(endpoint.config)
        self._scan: StreamScan | None = None
        self._whole: BufferedFacts | None = None
        self._hold = endpoint.begin(self._started_s)

    async def run(self) -> Sent | Fault:
        """Send once and wait for the commit point."""
        relayed = False
        fault: Fault | None = None
        try:
            try:
                result = await self._exchange()
            except TransportError as error:
                result = classify_exception(error)
            if isinstance(result, Fault):
                result = fault = self._clean(result)
            else:
                relayed = result.relay is not None
            return result
        finally:
            if not relayed:
                self._end(fault)

    async def _exchange(self) -> Sent | Fault:
        ctx, endpoint = self._ctx, self._endpoint
        at_most = UNLIMITED_OUTPUT[endpoint.tier] if ctx.capped else None
        patched = patch(ctx.envelope, endpoint=endpoint.config, surface=ctx.surface, at_most=at_most)
        headers = (
            _ACCEPT[ctx.stream],
            (b"x-request-id", ctx.request_id.encode()),
            *forwardable_request_headers(ctx.raw_headers),
        )
        if self._hop is not None and ctx.trail is not None:
            headers = (*headers, *ctx.trail.trace.headers(self._hop.span_id))
        answer = await endpoint.transport.send(
            UpstreamRequest("POST", upstream_path(ctx.surface), headers, patched.body),
            deadline=self._limit_at,
            connect_s=ctx.snapshot.timers.connect_s[endpoint.id],
        )
        self._status = answer.status
        relayed = False
        try:
            if answer.status != 200:
                return await self._refused(answer)
            result = await (self._stream(answer, patched) if ctx.stream else self._buffered(answer))
            if isinstance(result, Sent):
                relayed = result.relay is not None
                ctx.warnings.extend(_warnings(endpoint, patched))
            return result
        finally:
            if not relayed:
                answer.close()

    async def _refused(self, answer: UpstreamAnswer) -> Fault:
        """An answer that is no success; its body tells which kind of trouble it is."""
        body = b""
        if answer.status >= 400:
            body = await answer.read(deadline=self._limit_at, max_bytes=MAX_ERROR_BYTES)
        return classify_response(answer.status, answer.headers, body, wall=self._ctx.wall())

    async def _buffered(self, answer: UpstreamAnswer) -> Sent | Fault:
        body = await answer.read(deadline=self._limit_at)
        read = read_answer(body, content_type(answer.headers), self._ctx.surface)
        if isinstance(read, Fault):
            return read
        now = self._ctx.monotonic()
        self._hold.success(now, answer_s=now - self._started_s)
        self._whole = read
        if self._ctx.heard is not None:
            self._ctx.heard.whole = read
        return Sent(self._endpoint, answer.headers, read)

    async def _stream(self, answer: UpstreamAnswer, patched: Patched) -> Sent | Fault:
        ctx = self._ctx
        kind = content_type(answer.headers) or b""
        if not kind.lower().startswith(b"text/event-stream"):
            return await self._not_a_stream(answer, kind)
        scan = self._scan = StreamScan(ctx.surface, choices=ctx.envelope.choices, withhold_usage=patched.withhold_usage)
        if ctx.heard is not None:
            ctx.heard = scan.heard = Heard()
        held = b""
        while not scan.started:
            chunk = await answer.chunk(deadline=self._limit_at)
            held += scan.feed(chunk)
            if not scan.started and scan.fault is not None:
                return scan.fault
            if not chunk:
                return Fault(kind=FaultKind.TRUNCATED)
            if len(held) > MAX_UNCOMMITTED_BYTES:
                return Fault(kind=FaultKind.MALFORMED)
        now = ctx.monotonic()
        ctx.first_event_s = now - ctx.started_s
        self._hold.success(now, now - self._started_s)
        relay = Relay(
            answer,
            scan,
            held,
            now=ctx.monotonic,
            clean=self._clean,
            silence_s=ctx.snapshot.timers.silence_s[self._endpoint.id],
            deadline_s=ctx.deadline_s,
            on_end=self._end,
        )
        return Sent(self._endpoint, answer.headers, relay=relay)

    async def _not_a_stream(self, answer: UpstreamAnswer, kind: bytes) -> Fault:
        """A 200 that is no event stream: an error in JSON says what it is, anything else is malformed."""
        body = await answer.read(deadline=self._limit_at, max_bytes=MAX_ERROR_BYTES)
        read = read_answer(body, kind, self._ctx.surface)
        return read if isinstance(read, Fault) else Fault(kind=FaultKind.MALFORMED)

    def _clean(self, fault: Fault) -> Fault:
        """The fault with nothing in it that a client may not see: no URL, no key."""
        return clean_fault(fault, secrets=secrets_of(self._endpoint.config))

    def _end(self, fault: Fault | None) -> None:
        """The attempt is over: tell the endpoint, the metrics and the request's own record."""
        ctx, scan = self._ctx, self._scan
        now = ctx.monotonic()
        if fault is not None:
            self._tell(fault, now)
            if scan is not None and scan.started:
                ctx.broken_stream = True
                ctx.error_code = stream_error(fault).code
        self._hold.close()
        charge = self._charge(fault)
        ctx.attempts.append(
            Attempt(
                endpoint_id=self._endpoint.id,
                tier=self._endpoint.tier,
                status=self._status,
                fault=None if fault is None else GIVEN_UP if self._given_up_by_client(fault) else fault.kind.value,
                started_s=self._started_s,
                ended_s=now,
                usage=charge.usage,
                estimated=charge.estimated,
                cost_uusd=self._settle(charge),
                hop=self._hop,
            )
        )

    def _charge(self, fault: Fault | None) -> Charge:
        ctx, scan = self._ctx, self._scan
        if self._whole is not None:
            return charge_answer(self._whole, ctx.prompt_tokens)
        if scan is not None and scan.started:
            return charge_stream(scan, ctx.prompt_tokens)
        return charge_failure(
            fault,
            status=self._status,
            bills_on_accept=self._endpoint.config.bills_on_accept or self._given_up_by_client(fault),
            prompt=ctx.prompt_tokens,
        )

    def _given_up_by_client(self, fault: Fault | None) -> bool:
        """Whether nobody waited any longer: that is paid, or whoever leaves in time would spend for free."""
        if fault is None:
            return True
        theirs = not self._own_limit or (self._scan is not None and self._scan.started)
        return fault.kind is FaultKind.TIMEOUT and theirs and self._ctx.hints.timeout_s is not None

    def _settle(self, charge: Charge) -> int:
        """Add the price of this attempt to the request's, and return it; the answer's tokens are the request's too."""
        ctx, config, usage = self._ctx, self._endpoint.config, charge.usage
        ctx.priced = ctx.priced or has_prices(config)
        if usage is None:
            return 0
        paid_uusd = cost_uusd(config, usage)
        ctx.cost_uusd += paid_uusd
        if self._whole is not None or (self._scan is not None and self._scan.started):
            ctx.usage, ctx.estimated = usage, charge.estimated
            ctx.baseline_uusd = baseline_uusd(usage, tier=config.tier, paid_uusd=paid_uusd, deep=ctx.snapshot.baseline)
        return paid_uusd

    def _tell(self, fault: Fault, now: float) -> None:
        whole_limit = self._own_limit and not (self._scan and self._scan.started)
        tell_endpoint(self._endpoint, self._hold, fault, now, time_out_counts=whole_limit, rng=self._rng)


def tell_endpoint(
    endpoint: Endpoint, hold: Hold, fault: Fault, now: float, *, time_out_counts: bool, rng: random.Random
) -> None:
    """What an endpoint learns of a failed attempt: a penalty for what it said of our account, else its breaker's turn.

    `time_out_counts`: it had its whole limit, so that a time-out says something of it. `rng` lengthens the pause a
    rate-limited upstream asks for by up to a quarter.
    """
    kind = fault.kind
    if kind is FaultKind.RATE_LIMITED:
        asked_s = fault.retry_after_s
        endpoint.cool_down(now, None if asked_s is None else asked_s * rng.uniform(1.0, 1.25))
    elif kind is FaultKind.QUOTA:
        endpoint.quota_out(now)
    elif kind in (FaultKind.AUTH, FaultKind.MODEL_MISSING):
        endpoint.auth_out(now)
    elif kind.counts_for_breaker and (time_out_counts or kind is not FaultKind.TIMEOUT):
        hold.failure(now)


def _warnings(endpoint: Endpoint, patched: Patched) -> Iterator[str]:
    """What a client should know that was answered by this endpoint."""
    if patched.warning is not None:
        yield patched.warning
    registered = endpoint.config.registered
    if registered is not None and registered.status is ModelStatus.DEPRECATED:
        yield f"The model '{registered.model_id}' is deprecated."


def hop_to(config: EndpointConfig) -> Hop:
    """A span for an attempt at this endpoint."""
    return Hop(new_span_id(), config.model, config.base_url)


def content_type(headers: Headers) -> bytes | None:
    """The content type of an answer, or None."""
    return next((value for name, value in headers if name == b"content-type"), None)
