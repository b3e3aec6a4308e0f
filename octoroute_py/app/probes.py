"""Asks endpoints whether they are there, over connections apart from those of their requests."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable

import msgspec

from octoroute_py.config.addresses import Wrong
from octoroute_py.config.schema import EndpointConfig, TransportName
from octoroute_py.tiers.endpoint import Endpoint, identity
from octoroute_py.transport.base import NotPermitted, Transport, UpstreamRequest
from octoroute_py.transport.reach import read_url, url_of

PROBE_CONNECT_S = 3.0
PROBE_MAX_BYTES = 4 * 1024 * 1024


class Question(msgspec.Struct, frozen=True):
    """What an endpoint is asked: `path` is appended to the base URL of `config`."""

    config: EndpointConfig
    path: str


class Probes:
    """One transport for each endpoint that was asked."""

    def __init__(self, make_transport: Callable[[EndpointConfig], Transport]) -> None:
        self._make_transport = make_transport
        # by identity: a round that began before a reload still asks endpoints as they were
        self._asked: dict[Hashable, tuple[Transport, str]] = {}

    async def ask(self, endpoint: Endpoint, limit_s: float) -> int:
        """GET what `question` says; the status. Raises TransportError."""
        reached = identity(endpoint.config)
        known = self._asked.get(reached)
        if known is None:
            asked = question(endpoint.config)
            known = self._asked[reached] = (self._make_transport(asked.config), asked.path)
        transport, path = known
        deadline = asyncio.get_running_loop().time() + limit_s
        request = UpstreamRequest("GET", path, ((b"accept", b"application/json"),))
        answer = await transport.send(request, deadline=deadline, connect_s=PROBE_CONNECT_S)
        try:
            await answer.read(deadline=deadline, max_bytes=PROBE_MAX_BYTES)
        finally:
            answer.close()
        return answer.status

    def forget(self, endpoints: Iterable[Endpoint]) -> list[Transport]:
        """The transports of endpoints that are gone, for whoever closes them."""
        found = [self._asked.pop(identity(endpoint.config), None) for endpoint in endpoints]
        return [known[0] for known in found if known is not None]

    def closing(self) -> list[Awaitable[None]]:
        """What closes all of them."""
        return [transport.aclose() for transport, _ in self._asked.values()]


def question(config: EndpointConfig) -> Question:
    """{base_url}/models with the endpoint's credential, or the health URL it was registered with.

    The health URL of another origin gets no credential. Registered endpoints are asked through the transport that
    keeps them where they may be. Raises NotPermitted for a health URL that cannot be read.
    """
    registered = config.registered
    if registered is None:
        return Question(msgspec.structs.replace(config, transport=TransportName.HTTPX), "/models")
    if registered.health_url is None:
        return Question(config, "/models")
    try:
        own, asked = read_url(config.base_url), read_url(registered.health_url)
    except Wrong:
        raise NotPermitted("the health URL is none that can be asked") from None
    root = msgspec.structs.replace(asked, path="")
    key = config.api_key if root == msgspec.structs.replace(own, path="") else None
    path = asked.path + ("/" if registered.health_url.endswith("/") else "")
    return Question(msgspec.structs.replace(config, base_url=url_of(root), api_key=key), path or "/")
