"""HTTP/2 endpoints, through the library."""

import asyncio
import ssl
from pathlib import Path
from typing import cast

import h2.config
import h2.connection
import h2.events
import pytest

from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.words import Tier
from octoroute_py.transport.base import BadFraming, Transport
from octoroute_py.transport.connect import TransportMaker
from tests.fakes.certificates import Authority
from tests.fakes.rawserver import RawServer
from tests.fakes.transports import fetch, send, soon


class _Http2Peer(asyncio.Protocol):
    """Answers every request with its body, after the given extra fields."""

    def __init__(self, made: list["_Http2Peer"], extra: list[tuple[str, str]]) -> None:
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self._extra = extra
        self._bodies: dict[int, bytes] = {}
        self.requests = 0
        made.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._h2.initiate_connection()
        self._transport.write(self._h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                self._bodies[event.stream_id] = self._bodies.get(event.stream_id, b"") + event.data
            elif isinstance(event, h2.events.StreamEnded):
                self.requests += 1
                self._h2.send_headers(event.stream_id, [(":status", "200"), *self._extra])
                self._h2.send_data(event.stream_id, self._bodies.pop(event.stream_id, b""), end_stream=True)
        self._transport.write(self._h2.data_to_send())


async def _serve(context: ssl.SSLContext, extra: list[tuple[str, str]]) -> tuple[asyncio.Server, list[_Http2Peer]]:
    peers: list[_Http2Peer] = []
    context.set_alpn_protocols(["h2"])
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Http2Peer(peers, extra), "127.0.0.1", 0, ssl=context), peers


def _transport(port: int, authority: Authority) -> Transport:
    config = EndpointConfig(
        id="fast/m#1",
        tier=Tier.FAST,
        name="m",
        model="m",
        base_url=f"https://127.0.0.1:{port}/v1",
        http2=True,
        ca_file=authority.ca_file,
    )
    return TransportMaker().make_transport(config)


async def test_http2_is_spoken_and_the_connection_kept(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, peers = await _serve(authority.server_context(), [("x-a", "1")])
    transport = _transport(server.sockets[0].getsockname()[1], authority)
    for _ in range(3):
        answer = await send(transport)
        assert answer.headers == [(b"x-a", b"1")]
        assert await answer.read(deadline=soon()) == b'{"model":"m"}'
    await transport.aclose()
    server.close()
    assert [peer.requests for peer in peers] == [3]


async def test_http2_with_a_content_coding_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, _ = await _serve(authority.server_context(), [("content-encoding", "gzip")])
    transport = _transport(server.sockets[0].getsockname()[1], authority)
    with pytest.raises(BadFraming):
        await fetch(transport)
    await transport.aclose()
    server.close()


async def test_a_server_without_http2_is_spoken_to_in_http11(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with RawServer(tls=authority.server_context()) as server:
        transport = _transport(server.port, authority)
        assert await fetch(transport) == b"{}"
        await transport.aclose()
