"""The X-Octoroute-* headers that tell how an answer came about (contract §3)."""

import math
from functools import lru_cache

from octoroute_py.admission.limits import Standing
from octoroute_py.core.money import usd_text
from octoroute_py.core.words import Reason, Strategy, Tier
from octoroute_py.gateway.context import RawHeaders, RequestContext
from octoroute_py.transport.base import Headers
from octoroute_py.transport.headers import forwardable_response_headers

MAX_WARNING_CHARS = 500

_TIER = {tier: (b"x-octoroute-tier", tier.value.encode()) for tier in Tier}
_STRATEGY = {strategy: (b"x-octoroute-strategy", strategy.value.encode()) for strategy in Strategy}
_REASON = {reason: (b"x-octoroute-reason", reason.value.encode()) for reason in Reason}


def answer_headers(ctx: RequestContext, upstream: Headers) -> RawHeaders:
    """All headers of a routed answer: what may pass of the upstream's, the request id, the route.

    And what it cost in USD, retries and fallbacks included, if it is whole and anything of it has a price.
    """
    headers = forwardable_response_headers(upstream)
    headers.append((b"x-request-id", ctx.request_id.encode()))
    headers.extend(route_headers(ctx))
    if ctx.priced and not ctx.stream:
        headers.append((b"x-octoroute-cost", usd_text(ctx.cost_uusd)))
    return headers


def route_headers(ctx: RequestContext) -> RawHeaders:
    """Tier, strategy, reason, endpoint, attempts; where there is one, confidence, warnings and how a limit stands."""
    decision = ctx.decision
    if decision is None:
        return []
    headers = [
        _TIER[decision.tier],
        _STRATEGY[decision.strategy],
        _REASON[decision.reason],
        (b"x-octoroute-attempts", b"%d" % ctx.sends),
    ]
    if ctx.endpoint_id is not None:
        headers.append((b"x-octoroute-endpoint", header_text(ctx.endpoint_id)))
    if decision.confidence is not None:
        headers.append((b"x-octoroute-confidence", b"%.4f" % decision.confidence))
    if ctx.warnings:
        headers.append((b"x-octoroute-warning", header_text("; ".join(ctx.warnings))[:MAX_WARNING_CHARS]))
    standing = None if ctx.permit is None else ctx.permit.standing(ctx.monotonic())
    if standing is not None:
        headers.extend(limit_headers(standing))
    return headers


def limit_headers(standing: Standing) -> RawHeaders:
    """How the limit that is nearest to its end stands: `RateLimit-Limit`, `-Remaining`, and `-Reset` in seconds."""
    return [
        (b"ratelimit-limit", b"%d" % standing.limit),
        (b"ratelimit-remaining", b"%d" % standing.remaining),
        (b"ratelimit-reset", b"%d" % math.ceil(standing.reset_s)),
    ]


@lru_cache(maxsize=1024)
def header_text(text: str) -> bytes:
    """Text as a header value: what is not visible ASCII becomes `?`."""
    return "".join(char if " " <= char <= "~" else "?" for char in text).encode("ascii")
