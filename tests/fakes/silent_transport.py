"""A transport for endpoints whose upstream does not matter: it refuses every call and knows whether it was closed."""

from octoroute_py.transport.base import ConnectFailed, UpstreamAnswer, UpstreamRequest


class SilentTransport:
    def __init__(self) -> None:
        self.closed = False

    async def send(self, request: UpstreamRequest, *, deadline: float, connect_s: float) -> UpstreamAnswer:
        raise ConnectFailed("nobody is there")

    async def aclose(self) -> None:
        self.closed = True
