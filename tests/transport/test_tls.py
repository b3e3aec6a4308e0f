"""A key only ever goes to a server that proved who it is."""

import asyncio
import ssl
from pathlib import Path

import pytest

from octoroute_py.transport.base import ConnectFailed, TimedOut
from tests.fakes.certificates import Authority
from tests.fakes.rawserver import RawServer
from tests.fakes.transports import TransportKind, fetch, send


async def test_a_trusted_server_is_spoken_to_and_kept(kind: TransportKind, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with RawServer(tls=authority.server_context()) as server:
        transport = kind.make(server.url, ssl_context=authority.client_context)
        assert [await fetch(transport), await fetch(transport)] == [b"{}", b"{}"]
        await transport.aclose()
        async with asyncio.timeout(3):
            await server.peers[0].closed.wait()
        assert len(server.peers) == 1


@pytest.mark.parametrize("fault", ["untrusted", "wrong host", "expired"])
async def test_a_server_that_cannot_prove_its_name_gets_no_http_byte(
    kind: TransportKind, tmp_path: Path, fault: str
) -> None:
    authority = Authority(tmp_path)
    host = "127.0.0.2" if fault == "wrong host" else "127.0.0.1"
    trusted = Authority(tmp_path, "another authority") if fault == "untrusted" else authority
    async with RawServer(tls=authority.server_context(host, expired=fault == "expired")) as server:
        transport = kind.make(server.url, ssl_context=trusted.client_context)
        with pytest.raises(ConnectFailed):
            await fetch(transport)
        await transport.aclose()
        assert b"".join(bytes(peer.received) for peer in server.peers) == b""


async def test_the_default_context_trusts_no_private_authority(kind: TransportKind, tmp_path: Path) -> None:
    async with RawServer(tls=Authority(tmp_path).server_context()) as server:
        transport = kind.make(server.url, ssl_context=ssl.create_default_context)
        with pytest.raises(ConnectFailed):
            await fetch(transport)
        await transport.aclose()


async def test_the_connect_limit_covers_a_silent_tls_handshake(kind: TransportKind) -> None:
    async with RawServer() as server:
        transport = kind.make(server.url.replace("http:", "https:"))
        began = asyncio.get_running_loop().time()
        with pytest.raises(ConnectFailed):
            await send(transport, connect_s=0.1)
        assert asyncio.get_running_loop().time() - began < 1
        with pytest.raises(TimedOut):
            await send(transport, within_s=0.05, connect_s=3)
        await transport.aclose()
        async with asyncio.timeout(3):
            for peer in server.peers:
                await peer.closed.wait()
        assert all(b"authorization" not in peer.received for peer in server.peers)


async def test_a_call_cancelled_in_the_handshake_leaves_no_socket(kind: TransportKind) -> None:
    async with RawServer() as server:
        transport = kind.make(server.url.replace("http:", "https:"))
        call = asyncio.create_task(fetch(transport))
        async with asyncio.timeout(3):
            while not server.peers:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        async with asyncio.timeout(3):
            await server.peers[0].closed.wait()
        await transport.aclose()
