"""Both transports, made the same way, and calls with everyday limits."""

import asyncio
import ssl
from collections.abc import Callable, Iterable

from octoroute_py.transport.base import Transport, UpstreamAnswer, UpstreamRequest
from octoroute_py.transport.headers import origin_of
from octoroute_py.transport.httpx import HttpxTransport
from octoroute_py.transport.wire import WireTransport

Fields = Iterable[tuple[bytes, bytes]]
FIELDS = ((b"authorization", b"Bearer sk-secret"), (b"accept-encoding", b"identity"))
CHAT = UpstreamRequest("POST", "/chat/completions", body=b'{"model":"m"}')


class TransportKind:
    """Makes one of the two transports; calls through it end after `limit_s`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def make(
        self,
        url: str,
        *,
        fields: Fields = FIELDS,
        ssl_context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        idle_s: float = 30.0,
        max_age_s: float = 300.0,
        max_idle: int = 64,
    ) -> Transport:
        """A transport to `url`."""
        made = WireTransport if self.name == "wire" else HttpxTransport
        return made(
            origin_of(url), fields, ssl_context=ssl_context, idle_s=idle_s, max_age_s=max_age_s, max_idle=max_idle
        )


def soon(seconds: float = 5.0) -> float:
    """A deadline."""
    return asyncio.get_running_loop().time() + seconds


async def send(
    transport: Transport, request: UpstreamRequest = CHAT, *, within_s: float = 5.0, connect_s: float = 2.0
) -> UpstreamAnswer:
    """Send a request and get the head of its answer."""
    return await transport.send(request, deadline=soon(within_s), connect_s=connect_s)


async def fetch(transport: Transport, request: UpstreamRequest = CHAT, *, within_s: float = 5.0) -> bytes:
    """Send a request and read its whole answer."""
    answer = await send(transport, request, within_s=within_s)
    try:
        return await answer.read(deadline=soon(within_s))
    finally:
        answer.close()


async def drain(answer: UpstreamAnswer) -> None:
    """Take chunks to the end."""
    while await answer.chunk(deadline=soon()):
        pass
