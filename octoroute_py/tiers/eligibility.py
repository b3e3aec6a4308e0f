"""Whether an endpoint could serve a request at all, whatever its health (contract §4)."""

import enum

from octoroute_py.config.schema import EndpointConfig, Location
from octoroute_py.core.words import Capability

_ALWAYS = frozenset({Capability.CHAT, Capability.STREAM})


class Misfit(enum.StrEnum):
    """Why an endpoint is no candidate for a request."""

    LOCATION = "location"
    CAPABILITY = "capability"
    CONTEXT_WINDOW = "context_window"


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
    if needs and config.capabilities is not None and not needs <= (config.capabilities | _ALWAYS):
        return Misfit.CAPABILITY
    if config.context_window is not None:
        output = output_tokens or 0
        if config.max_tokens is not None:
            output = min(output, config.max_tokens)
        if tokens + output > config.context_window:
            return Misfit.CONTEXT_WINDOW
    return None
