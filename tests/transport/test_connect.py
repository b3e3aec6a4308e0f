"""Which transport serves which endpoint."""

import asyncio
import logging
import socket
from pathlib import Path

import httpx
import pytest
import respx

from octoroute_py.config.schema import EndpointConfig, Secret, TransportName
from octoroute_py.core.words import Tier
from octoroute_py.transport.base import ConnectFailed, Disconnected, TimedOut, Transport, UpstreamRequest
from octoroute_py.transport.connect import TransportMaker
from octoroute_py.transport.headers import origin_of
from octoroute_py.transport.httpx import HttpxTransport
from octoroute_py.transport.wire import WireTransport
from tests.fakes.certificates import Authority
from tests.fakes.rawserver import CLOSE, RawServer, ok
from tests.fakes.transports import FIELDS, fetch, send, soon

KEY = "sk-very-secret"


def endpoint(
    base_url: str,
    *,
    transport: TransportName = TransportName.AUTO,
    proxy: str | None = None,
    http2: bool = False,
    ca_file: Path | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> EndpointConfig:
    return EndpointConfig(
        id="fast/m#1",
        tier=Tier.FAST,
        name="m",
        model="m",
        base_url=base_url,
        api_key=Secret(KEY),
        transport=transport,
        proxy=Secret(proxy) if proxy is not None else None,
        http2=http2,
        ca_file=ca_file,
        headers=headers,
    )


def test_the_lean_pool_serves_unless_something_needs_the_library() -> None:
    maker = TransportMaker()
    url = "https://api.example.com/v1"
    assert isinstance(maker.make_transport(endpoint(url)), WireTransport)
    for config in (
        endpoint(url, transport=TransportName.HTTPX),
        endpoint(url, proxy="http://127.0.0.1:1"),
        endpoint(url, http2=True),
        endpoint(url, ca_file=Path("ca.pem")),
    ):
        assert isinstance(maker.make_transport(config), HttpxTransport)


def test_an_endpoint_that_cannot_be_called_is_refused_at_once() -> None:
    for config in (endpoint("gopher://x"), endpoint("http://h/v1", headers=(("host", "x"),))):
        with pytest.raises(ValueError):  # noqa: PT011 - the wording is tested with the headers
            TransportMaker().make_transport(config)


@pytest.mark.parametrize("name", [TransportName.AUTO, TransportName.HTTPX])
async def test_a_made_transport_carries_the_key_upstream_and_into_no_log(
    name: TransportName, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    async with RawServer() as server:
        transport = TransportMaker().make_transport(endpoint(server.url, transport=name))
        await fetch(transport)
        server.enqueue(b"garbage\r\n\r\n")
        server.enqueue(CLOSE)
        for _ in range(2):
            with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, it must not show the key
                await send(await _fresh(transport, server, name))
            assert KEY not in repr(caught.value)
            assert KEY not in str(caught.value)
        await transport.aclose()
        assert server.requests[0].header(b"authorization") == b"Bearer " + KEY.encode()
    assert KEY not in repr(transport)
    assert KEY not in caplog.text


async def _fresh(transport: Transport, server: RawServer, name: TransportName) -> Transport:
    await transport.aclose()
    return TransportMaker().make_transport(endpoint(server.url, transport=name))


async def test_an_own_ca_is_trusted_and_only_there(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with RawServer(tls=authority.server_context()) as server:
        maker = TransportMaker()
        trusting = maker.make_transport(endpoint(server.url, ca_file=authority.ca_file))
        assert [await fetch(trusting), await fetch(trusting)] == [b"{}", b"{}"]
        assert len(server.peers) == 1
        plain = maker.make_transport(endpoint(server.url))
        with pytest.raises(ConnectFailed):
            await fetch(plain)
        await trusting.aclose()
        await plain.aclose()


async def test_a_ca_file_that_is_not_there_is_a_connect_failure(tmp_path: Path) -> None:
    transport = TransportMaker().make_transport(endpoint("https://127.0.0.1:1", ca_file=tmp_path / "none.pem"))
    with pytest.raises(ConnectFailed):
        await fetch(transport)
    await transport.aclose()


async def test_a_proxy_from_the_environment_is_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawServer() as server, RawServer() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for name in (TransportName.AUTO, TransportName.HTTPX):
            transport = TransportMaker().make_transport(endpoint(server.url, transport=name))
            await fetch(transport)
            await transport.aclose()
        assert (len(server.requests), proxy.peers) == (2, [])


async def test_a_configured_proxy_is_used() -> None:
    async with RawServer() as proxy:
        config = endpoint("http://upstream.invalid/v1", proxy=f"http://127.0.0.1:{proxy.port}")
        transport = TransportMaker().make_transport(config)
        assert [await fetch(transport), await fetch(transport)] == [b"{}", b"{}"]
        await transport.aclose()
        assert proxy.requests[0].line == b"POST http://upstream.invalid/v1/chat/completions HTTP/1.1"
        assert len(proxy.peers) == 1


@pytest.mark.parametrize("name", [TransportName.AUTO, TransportName.HTTPX])
async def test_a_listener_that_does_not_accept_fails_within_the_connect_limit(name: TransportName) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        transport = TransportMaker().make_transport(endpoint(f"http://127.0.0.1:{port}/v1", transport=name))
        began = asyncio.get_running_loop().time()
        with pytest.raises(ConnectFailed):
            await send(transport, connect_s=0.1)
        assert asyncio.get_running_loop().time() - began < 1
        await transport.aclose()
        for filler in fillers:
            filler.close()


async def test_redirects_are_handed_over_not_followed() -> None:
    async with RawServer() as server, RawServer() as elsewhere:
        for name in (TransportName.AUTO, TransportName.HTTPX):
            location = f"http://127.0.0.1:{elsewhere.port}/".encode()
            server.enqueue(b"HTTP/1.1 307 T\r\nlocation: " + location + b"\r\ncontent-length: 0\r\n\r\n")
            transport = TransportMaker().make_transport(endpoint(server.url, transport=name))
            answer = await send(transport)
            assert answer.status == 307
            answer.close()
            await transport.aclose()
        assert elsewhere.peers == []


async def test_cookies_are_not_kept() -> None:
    async with RawServer(default=ok(b"{}", b"set-cookie: a=b; path=/\r\n")) as server:
        transport = TransportMaker().make_transport(endpoint(server.url, transport=TransportName.HTTPX))
        await fetch(transport)
        await fetch(transport)
        await transport.aclose()
        assert server.requests[1].header(b"cookie") is None


async def test_a_mock_transport_stands_in_for_the_network() -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/slow"):
            raise httpx.ReadTimeout("slow", request=request)
        if request.url.path.endswith("/cut"):
            raise httpx.ReadError("cut", request=request)
        return httpx.Response(200, json={"path": request.url.path})

    origin = origin_of("http://upstream.invalid/v1")
    transport = HttpxTransport(origin, FIELDS, transport=httpx.MockTransport(reply))
    for _ in range(2):
        assert await fetch(transport) == b'{"path":"/v1/chat/completions"}'
    with pytest.raises(TimedOut):
        await send(transport, UpstreamRequest("POST", "/slow"))
    with pytest.raises(Disconnected):
        await send(transport, UpstreamRequest("POST", "/cut"))
    await transport.aclose()


async def test_respx_stands_in_for_the_network() -> None:
    transport = TransportMaker().make_transport(endpoint("http://upstream.invalid/v1", transport=TransportName.HTTPX))
    with respx.mock(base_url="http://upstream.invalid/v1") as mock:
        mock.post("/chat/completions").mock(
            side_effect=[httpx.Response(200, json={"a": 1}), httpx.ConnectError, httpx.Response(503)]
        )
        assert await fetch(transport) == b'{"a":1}'
        with pytest.raises(ConnectFailed):
            await fetch(transport)
        answer = await send(transport)
        assert (answer.status, await answer.read(deadline=soon())) == (503, b"")
        assert mock.calls[0].request.headers["authorization"] == f"Bearer {KEY}"
    await transport.aclose()
