"""How long things may take: the timers of reliability §1.2 and the limit of one attempt (contract §2). Pure."""

from octoroute_py.config.schema import Config, EndpointConfig
from octoroute_py.core.words import Location, Tier

FIRST_EVENT_S = {Tier.FAST: 15.0, Tier.BALANCED: 45.0, Tier.DEEP: 120.0}
"""A stream's attempt ends here when its first data event has not come."""
WHOLE_ANSWER_S = {Tier.FAST: 60.0, Tier.BALANCED: 150.0, Tier.DEEP: 450.0}
"""A buffered attempt ends here when its answer is not whole."""
SILENCE_S = {Tier.FAST: 20.0, Tier.BALANCED: 30.0, Tier.DEEP: 60.0}
"""Longest pause between two data events of a committed stream."""
STREAM_DEADLINE_S = {Tier.FAST: 300.0, Tier.BALANCED: 900.0, Tier.DEEP: 3600.0}
BUFFERED_DEADLINE_S = {Tier.FAST: 120.0, Tier.BALANCED: 300.0, Tier.DEEP: 900.0}
"""The whole request: attempts, back-off and the answer itself."""

COMMENTS_STRETCH = 3.0
"""Comment bytes reset the silence timer, but never beyond this multiple of it."""
KEEP_ALIVE_COMMENT_S = 15.0
"""A committed stream that is silent this long gets a comment, so that proxies between keep it open."""

EARLY_WAKE_S = 0.002
"""A wait may end this much before its time: event loops count timers in milliseconds."""

CONNECT_LOCAL_S = 3.0
CONNECT_REMOTE_S = 5.0


class Timers:
    """Every limit of a configuration, worked out once when its snapshot is made."""

    def __init__(self, config: Config) -> None:
        self._attempt = {
            (endpoint.id, stream): _attempt_limit(config, endpoint, stream=stream)
            for endpoint in config.endpoints
            for stream in (False, True)
        }
        self._deadline = {
            (tier, stream): self._whole(config, tier, stream) for tier in Tier for stream in (False, True)
        }
        self.silence_s = {
            e.id: SILENCE_S[e.tier] if e.idle_seconds is None else e.idle_seconds for e in config.endpoints
        }
        """Seconds a committed stream may pause between data events, by endpoint id."""
        self.connect_s = {e.id: _connect_limit(e) for e in config.endpoints}
        """Seconds for DNS, TCP and TLS together, by endpoint id."""

    def _whole(self, config: Config, tier: Tier, stream: bool) -> float:
        default = (STREAM_DEADLINE_S if stream else BUFFERED_DEADLINE_S)[tier]
        return max([default, *(self._attempt[e.id, stream][0] for e in config.endpoints if e.tier is tier)])

    def attempt(self, endpoint_id: str, *, stream: bool) -> tuple[float, bool]:
        """Seconds one attempt may take, and whether the operator set them.

        Only our own defaults may be stretched to the request's deadline when nothing else is left to try: a limit
        that an operator wrote is a promise.
        """
        return self._attempt[endpoint_id, stream]

    def deadline(self, tier: Tier, *, stream: bool, asked_s: float | None) -> float:
        """Seconds the whole request may take; a configured attempt limit above the default lengthens it,
        `X-Request-Timeout` (`asked_s`) only shortens it."""
        whole = self._deadline[tier, stream]
        return whole if asked_s is None or asked_s > whole else asked_s


def _attempt_limit(config: Config, endpoint: EndpointConfig, *, stream: bool) -> tuple[float, bool]:
    """Endpoint, then tier, then server, as in octoroute 1.0.0; else our default by tier."""
    by_tier = {
        Tier.FAST: config.timeouts.fast,
        Tier.BALANCED: config.timeouts.balanced,
        Tier.DEEP: config.timeouts.deep,
    }
    for limit in (endpoint.timeout_seconds, by_tier[endpoint.tier], config.server.request_timeout_seconds):
        if limit is not None:
            return limit, True
    return (FIRST_EVENT_S if stream else WHOLE_ANSWER_S)[endpoint.tier], False


def _connect_limit(endpoint: EndpointConfig) -> float:
    if endpoint.connect_seconds is not None:
        return endpoint.connect_seconds
    return CONNECT_LOCAL_S if endpoint.location is Location.LOCAL else CONNECT_REMOTE_S
