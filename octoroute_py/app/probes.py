"""Asks endpoints whether they are there, over connections apart from those of their requests."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from octoroute_py.config.schema import EndpointConfig, TransportName
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.transport.base import Transport, UpstreamRequest

PROBE_CONNECT_S = 3.0
PROBE_MAX_BYTES = 4 * 1024 * 1024


class Probes:
    """One transport for each endpoint that was asked."""

    def __init__(self, make_transport: Callable[[EndpointConfig], Transport]) -> None:
        self._make_transport = make_transport
        self._transports: dict[str, Transport] = {}

    async def ask(self, endpoint: Endpoint, limit_s: float) -> int:
        """GET {base_url}/models with the endpoint's credential; the status. Raises TransportError."""
        transport = self._transports.get(endpoint.id)
        if transport is None:
            by_library = msgspec.structs.replace(endpoint.config, transport=TransportName.HTTPX)
            transport = self._transports[endpoint.id] = self._make_transport(by_library)
        deadline = asyncio.get_running_loop().time() + limit_s
        request = UpstreamRequest("GET", "/models", ((b"accept", b"application/json"),))
        answer = await transport.send(request, deadline=deadline, connect_s=PROBE_CONNECT_S)
        try:
            await answer.read(deadline=deadline, max_bytes=PROBE_MAX_BYTES)
        finally:
            answer.close()
        return answer.status

    def forget(self, endpoints: Iterable[Endpoint]) -> list[Transport]:
        """The transports of endpoints that are gone, for whoever closes them."""
        found = [self._transports.pop(endpoint.id, None) for endpoint in endpoints]
        return [transport for transport in found if transport is not None]

    def closing(self) -> list[Awaitable[None]]:
        """What closes all of them."""
        return [transport.aclose() for transport in self._transports.values()]
