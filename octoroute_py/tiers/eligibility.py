"""Whether an endpoint could serve a request at all: what it is able to, and what it is allowed to (contract §4, §7).

Health is not looked at here, but for `Quality`: that is a workspace's own idea of which endpoints are well enough.
"""

import enum
import math
from collections.abc import Collection

import msgspec

from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.allowance import Grant, WorkspacePolicy
from octoroute_py.core.words import Capability, Location
from octoroute_py.tiers.recent import Recent

BASIC = frozenset({Capability.CHAT, Capability.STREAM})
"""What every endpoint is able to, whatever it declares."""


class Misfit(enum.StrEnum):
    """Why an endpoint is no candidate for a request."""

    POLICY = "policy"
    LOCATION = "location"
    CAPABILITY = "capability"
    CONTEXT_WINDOW = "context_window"
    PRICE = "price"


def misfit(
    config: EndpointConfig,
    *,
    needs: frozenset[Capability],
    tokens: int,
    output_tokens: int | None,
    local_only: bool,
) -> Misfit | None:
    """What keeps this endpoint from serving the request, or None.

    `tokens` is the prompt's estimate, `output_tokens` the limit the client asked for (None: it set none). An endpoint
    without declared capabilities is taken to have all of them. Privacy comes first, so that it is the cause told.
    """
    if local_only and config.location is not Location.LOCAL:
        return Misfit.LOCATION
    if not able(config, needs=needs, local_only=local_only):
        return Misfit.CAPABILITY
    if tokens > room_of(config, output_tokens):
        return Misfit.CONTEXT_WINDOW
    return None


def able(config: EndpointConfig, *, needs: frozenset[Capability], local_only: bool) -> bool:
    """Whether an endpoint has what a request needs, and is where it may go."""
    if local_only and config.location is not Location.LOCAL:
        return False
    return not needs or config.capabilities is None or needs <= (config.capabilities | BASIC)


def room_of(config: EndpointConfig, output_tokens: int | None) -> float:
    """The longest prompt that fits beside the output the client asked for; infinite for an unknown context window."""
    if config.context_window is None:
        return math.inf
    output = output_tokens or 0
    return config.context_window - (output if config.max_tokens is None else min(output, config.max_tokens))


def granted(grant: Grant, config: EndpointConfig) -> bool:
    """Whether a key with this grant may use the endpoint."""
    if grant.tiers is not None and config.tier not in grant.tiers:
        return False
    return grant.endpoints is None or config.name in grant.endpoints or config.id in grant.endpoints


def permitted(policy: WorkspacePolicy, config: EndpointConfig) -> bool:
    """Whether requests of a workspace with this policy may go to the endpoint."""
    if policy.restrictions is not None:
        named = any(word in policy.restrictions for word in (config.tier.value, config.name, config.id))
        if named is policy.deny:
            return False
    return complies(policy.compliance, config)


def complies(tags: Collection[str], config: EndpointConfig) -> bool:
    """Whether the endpoint has every one of these tags (lower case)."""
    return not tags or set(tags) <= {tag.lower() for tag in config.compliance}


class Shortfall(enum.StrEnum):
    """Which requirement an endpoint does not meet, by the name that clients know it by."""

    MAX_LATENCY = "maxLatency"
    MIN_SUCCESS_RATE = "minSuccessRate"


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """What a workspace asks of an endpoint as measured lately; None asks for nothing."""

    max_latency_s: float | None = None
    min_success_rate: float | None = None

    def shortfall(self, recent: Recent, *, stream: bool, now: float) -> Shortfall | None:
        """Which requirement is not met at `now`, or None.

        A stream's latency is the time to its first event, a buffered answer's the time until it was whole. An endpoint
        with too few measurements meets everything: else nobody could ever find out.
        """
        if self.min_success_rate is not None:
            rate = recent.success_rate(now)
            if rate is not None and rate < self.min_success_rate:
                return Shortfall.MIN_SUCCESS_RATE
        if self.max_latency_s is not None:
            latency_s = recent.first_event_s(now) if stream else recent.answer_s(now)
            if latency_s is not None and latency_s > self.max_latency_s:
                return Shortfall.MAX_LATENCY
        return None
