"""What an endpoint is asked to see whether it is there."""

import random
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from octoroute_py.app.probes import Probes, question
from octoroute_py.config.schema import BreakerConfig, EndpointConfig, NetworkRules, Registered, Secret, TransportName
from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.words import Tier
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.live import Live
from octoroute_py.transport.base import NotPermitted
from octoroute_py.transport.connect import TransportMaker
from tests.fakes.names import Names
from tests.fakes.rawserver import RawServer, ok

LOOPBACK = ("127.0.0.1/32",)


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with RawServer() as running:
        yield running


def config(url: str, *, health_url: str | None = None, networks: tuple[str, ...] = LOOPBACK) -> EndpointConfig:
    registered = Registered(
        model_id="m", status=ModelStatus.ACTIVE, rules=NetworkRules(networks=networks), health_url=health_url
    )
    return EndpointConfig(
        id="m-1", tier=Tier.FAST, name="m", model="m", base_url=url, api_key=Secret("sk-own"), registered=registered
    )


def endpoint(config: EndpointConfig) -> Endpoint:
    transport: Any = None
    return Endpoint(config, transport=transport, live=Live(BreakerConfig(), rng=random.Random(1)))


async def ask(config: EndpointConfig, maker: TransportMaker | None = None) -> int:
    probes = Probes((maker or TransportMaker()).make_transport)
    try:
        return await probes.ask(endpoint(config), 2.0)
    finally:
        for closing in probes.closing():
            await closing


def test_an_endpoint_of_the_file_is_asked_for_its_models_by_the_library() -> None:
    plain = msgspec.structs.replace(config("http://127.0.0.1:1/v1"), registered=None)
    asked = question(plain)
    assert asked.path == "/models"
    assert asked.config == msgspec.structs.replace(plain, transport=TransportName.HTTPX)


async def test_a_registered_endpoint_is_asked_for_its_models_with_its_credential(server: RawServer) -> None:
    assert await ask(config(server.url)) == 200
    request = server.requests[0]
    assert request.line == b"GET /v1/models HTTP/1.1"
    assert request.header(b"authorization") == b"Bearer sk-own"


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/health", b"GET /health HTTP/1.1"),
        ("/health/", b"GET /health/ HTTP/1.1"),
        ("/", b"GET / HTTP/1.1"),
        ("", b"GET / HTTP/1.1"),
    ],
)
async def test_a_health_url_is_asked_as_it_stands(server: RawServer, path: str, line: bytes) -> None:
    server.enqueue(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")
    assert await ask(config(server.url, health_url=f"http://127.0.0.1:{server.port}{path}")) == 503
    assert server.requests[0].line == line
    assert server.requests[0].header(b"authorization") == b"Bearer sk-own"


async def test_a_health_url_elsewhere_is_asked_without_the_credential(server: RawServer) -> None:
    async with RawServer() as elsewhere:
        assert await ask(config(server.url, health_url=f"http://127.0.0.1:{elsewhere.port}/health")) == 200
        assert elsewhere.requests[0].header(b"authorization") is None
        assert server.peers == []
    same_host = question(config("https://a.example/v1", health_url="http://a.example/health"))
    assert same_host.config.api_key is None
    default_port = question(config("https://a.example:443/v1", health_url="https://A.example/health"))
    assert default_port.config.api_key == Secret("sk-own")


async def test_a_probe_goes_where_the_endpoint_may_be_and_nowhere_else(server: RawServer) -> None:
    with pytest.raises(NotPermitted):
        await ask(config(server.url, networks=()))
    with pytest.raises(NotPermitted):
        await ask(config("http://8.8.8.8/v1", health_url=f"{server.url}/health", networks=()))
    with pytest.raises(NotPermitted):
        await ask(config(server.url, health_url="http://0x7f.1/health"))
    moved = TransportMaker(resolve=Names("127.0.0.1"))
    with pytest.raises(NotPermitted):
        await ask(config(f"http://models.example:{server.port}/v1", networks=()), moved)
    assert server.peers == []


async def test_a_probe_follows_no_redirect(server: RawServer) -> None:
    async with RawServer() as elsewhere:
        location = elsewhere.url.encode()
        server.enqueue(b"HTTP/1.1 302 Found\r\nlocation: " + location + b"\r\ncontent-length: 0\r\n\r\n")
        assert await ask(config(server.url)) == 302
        assert elsewhere.peers == []


async def test_what_is_asked_follows_the_endpoint_and_a_late_round_of_the_old_one_changes_nothing() -> None:
    async with RawServer(default=ok()) as server:
        probes = Probes(TransportMaker().make_transport)
        old, new = endpoint(config(server.url)), endpoint(config(server.url, health_url=f"{server.url}/health"))
        await probes.ask(old, 2.0)
        (gone,) = probes.forget([old])
        await gone.aclose()
        await probes.ask(old, 2.0)
        await probes.ask(new, 2.0)
        assert [each.line.split()[1] for each in server.requests] == [b"/v1/models", b"/v1/models", b"/v1/health"]
        for closing in probes.closing():
            await closing
