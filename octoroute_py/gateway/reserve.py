"""The most a request may cost before it is sent: what a budget sets aside for it."""

import math
from collections.abc import Iterable
from typing import Final

import msgspec

from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.words import Surface, Tier
from octoroute_py.gateway.context import RequestContext
from octoroute_py.ledger.pricing import reserve_uusd
from octoroute_py.transport.envelope import Envelope
from octoroute_py.transport.openai import honoured_limit

UNLIMITED_OUTPUT: Final = {Tier.FAST: 2_048, Tier.BALANCED: 4_096, Tier.DEEP: 8_192}
"""Tokens that a choice is taken to have where neither the client nor the endpoint sets a limit."""
_MOST_CANDIDATES: Final = 1_000_000


def attempt_reserve_uusd(ctx: RequestContext, endpoints: Iterable[EndpointConfig]) -> int:
    """The most that one attempt of the request can cost at any of the endpoints; 0 when there is none."""
    prompt, envelope, surface = ctx.prompt_tokens(), ctx.envelope, ctx.surface
    return max(
        (reserve_uusd(each, prompt, output_limit(envelope, each, surface=surface)) for each in endpoints), default=0
    )


def output_limit(envelope: Envelope, endpoint: EndpointConfig, *, surface: Surface) -> int:
    """The most tokens the endpoint's answer is taken to have, all choices together.

    The client's limit, lowered to the endpoint's as it is when sent; else the endpoint's; else UNLIMITED_OUTPUT. A
    request that has a budget is sent with that limit (`transport.openai.patch`).
    """
    if surface is Surface.EMBEDDINGS:
        return 0
    asked, most = honoured_limit(envelope, surface), endpoint.max_tokens
    if asked is None:
        limit = UNLIMITED_OUTPUT[endpoint.tier] if most is None else most
    else:
        limit = asked if most is None else min(asked, most)
    return limit * _candidates(envelope)


def _candidates(envelope: Envelope) -> int:
    """How many choices are generated, those included that `best_of` throws away."""
    raw = envelope.fields.get("best_of")
    if raw is None:
        return envelope.choices
    try:
        best_of = float(msgspec.json.decode(raw, type=float | str) or 0.0)  # some servers take it as a string
    except (msgspec.MsgspecError, ValueError):
        return envelope.choices
    best = min(math.ceil(best_of), _MOST_CANDIDATES) if math.isfinite(best_of) else 1
    return envelope.choices // envelope.n * max(envelope.n, best)
