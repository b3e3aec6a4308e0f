"""Connections of registered endpoints go only where their rules permit."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from octoroute_py.config.schema import EndpointConfig, NetworkRules, Registered, TransportName
from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.words import Tier
from octoroute_py.transport.base import ConnectFailed, NotPermitted, Transport
from octoroute_py.transport.connect import TransportMaker
from octoroute_py.transport.guard import Guard
from octoroute_py.transport.headers import origin_of
from octoroute_py.transport.wire import WireTransport
from tests.fakes.blackhole import BlackHole
from tests.fakes.certificates import Authority
from tests.fakes.names import Names
from tests.fakes.rawserver import RawServer
from tests.fakes.transports import FIELDS, fetch, send
from tests.fakes.waiting import until

ALLOWED, FORBIDDEN, ANOTHER = "127.0.0.1", "127.0.0.2", "127.0.0.3"


class Told:
    """What was told of endpoints."""

    def __init__(self) -> None:
        self.said: list[tuple[str, bool]] = []

    def __call__(self, endpoint_id: str, forbidden: bool) -> None:
        self.said.append((endpoint_id, forbidden))


class Trap:
    """A listener at a forbidden address whose connections nobody takes: the kernel keeps them, and they are counted."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server((FORBIDDEN, port))
        self._listener.setblocking(False)

    def caught(self) -> int:
        """How many connections came since the last look."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()
                count += 1
        return count

    def close(self) -> None:
        self._listener.close()


def endpoint(url: str, *, port: int, allowed: str = f"{ALLOWED}/32") -> EndpointConfig:
    rules = NetworkRules(networks=(allowed,), ports=(port,))
    registered = Registered(model_id="m", status=ModelStatus.ACTIVE, rules=rules)
    return EndpointConfig(id="m-1", tier=Tier.FAST, name="m", model="m", base_url=url, registered=registered)


def guarded(port: int, names: Names, *, max_age_s: float = 300.0) -> WireTransport:
    """The transport of an endpoint at models.example, where only ALLOWED is permitted."""
    rules = NetworkRules(networks=(f"{ALLOWED}/32",), ports=(port,))
    guard = Guard(rules, resolve=names, tell=lambda _: None)
    origin = origin_of(f"http://models.example:{port}/v1")
    return WireTransport(origin, FIELDS, open_connection=guard.open, max_age_s=max_age_s)


@pytest.fixture
async def trap(server: RawServer) -> AsyncIterator[Trap]:
    """A listener at the port of the server, at the forbidden address."""
    one = Trap(server.port)
    yield one
    one.close()


async def test_a_name_that_moves_to_a_forbidden_address_is_not_followed(server: RawServer, trap: Trap) -> None:
    names, told = Names(ALLOWED), Told()
    maker = TransportMaker(resolve=names, tell=told)
    config = endpoint(f"http://models.example:{server.port}/v1", port=server.port)
    transport = maker.make_transport(config)
    assert await fetch(transport) == b"{}"
    names.addresses = [FORBIDDEN]
    assert await fetch(transport) == b"{}"  # on the connection that was kept, to where it was allowed
    server.peers[0].hang_up()
    await server.peers[0].closed.wait()
    for _ in range(3):
        with pytest.raises(NotPermitted) as caught:
            await fetch(transport)
        assert FORBIDDEN not in str(caught.value)
    assert trap.caught() == 0
    names.addresses = [ALLOWED]
    assert await fetch(transport) == b"{}"
    assert told.said == [("m-1", True), ("m-1", False)]
    assert len(names.asked) == 5
    await transport.aclose()


async def test_kept_connections_end_with_their_age(server: RawServer, trap: Trap) -> None:
    names = Names(ALLOWED)
    transport = guarded(server.port, names, max_age_s=0.0)
    assert await fetch(transport) == b"{}"
    names.addresses = [FORBIDDEN]
    with pytest.raises(NotPermitted):
        await fetch(transport)
    assert (trap.caught(), len(server.peers)) == (0, 1)
    await transport.aclose()


async def test_a_kept_connection_asks_for_no_address(server: RawServer) -> None:
    names = Names(ALLOWED)
    transport = guarded(server.port, names)
    for _ in range(5):
        await fetch(transport)
    assert (len(names.asked), len(server.peers)) == (1, 1)
    await transport.aclose()


async def test_forbidden_addresses_among_permitted_ones_are_left_out(server: RawServer, trap: Trap) -> None:
    names = Names("169.254.169.254", FORBIDDEN, f"::ffff:{FORBIDDEN}", "fe80::1%1", ALLOWED, FORBIDDEN)
    transport = guarded(server.port, names)
    assert await fetch(transport) == b"{}"
    assert trap.caught() == 0
    await transport.aclose()


async def test_the_next_permitted_address_is_tried_when_one_does_not_take_the_connection(server: RawServer) -> None:
    rules = NetworkRules(networks=("127.0.0.0/8",), ports=(server.port,))
    guard = Guard(rules, resolve=Names(ANOTHER, ALLOWED), tell=lambda _: None)
    origin = origin_of(f"http://models.example:{server.port}/v1")
    transport = WireTransport(origin, FIELDS, open_connection=guard.open)
    assert await fetch(transport) == b"{}"
    await transport.aclose()


async def test_addresses_of_ipv6_are_connected_to() -> None:
    async with RawServer(host="::1") as server:
        rules = NetworkRules(networks=("::1/128",), ports=(server.port,))
        guard = Guard(rules, resolve=Names("127.0.0.1", "::1"), tell=lambda _: None)
        for host in ("models.example", "[::1]"):
            origin = origin_of(f"http://{host}:{server.port}/v1")
            transport = WireTransport(origin, FIELDS, open_connection=guard.open)
            assert await fetch(transport) == b"{}"
            await transport.aclose()
        assert [each.header(b"host") for each in server.requests] == [
            f"models.example:{server.port}".encode(),
            f"[::1]:{server.port}".encode(),
        ]


async def test_an_ipv4_address_written_as_ipv6_is_connected_to_where_it_is_permitted(server: RawServer) -> None:
    transport = guarded(server.port, Names(f"::ffff:{ALLOWED}"))
    assert await fetch(transport) == b"{}"
    await transport.aclose()


async def test_the_host_header_keeps_the_name(server: RawServer) -> None:
    transport = guarded(server.port, Names(ALLOWED))
    await fetch(transport)
    assert server.requests[0].header(b"host") == f"models.example:{server.port}".encode()
    assert server.requests[0].line == b"POST /v1/chat/completions HTTP/1.1"
    await transport.aclose()


async def test_tls_asks_for_the_name_and_believes_no_other(tmp_path: Path) -> None:
    authority, asked = Authority(tmp_path), list[str | None]()

    def remember(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        asked.append(name)

    for certified, fine in (("models.example", True), ("127.0.0.1", False)):
        context = authority.server_context(certified)
        context.sni_callback = remember
        async with RawServer(tls=context) as server:
            rules = NetworkRules(networks=(f"{ALLOWED}/32",), ports=(server.port,))
            guard = Guard(rules, resolve=Names(ALLOWED), tell=lambda _: None)
            transport = WireTransport(
                origin_of(f"https://models.example:{server.port}/v1"),
                FIELDS,
                ssl_context=authority.client_context,
                open_connection=guard.open,
            )
            if fine:
                assert [await fetch(transport), await fetch(transport)] == [b"{}", b"{}"]
            else:
                with pytest.raises(ConnectFailed, match="Hostname mismatch"):
                    await fetch(transport)
            await transport.aclose()
            assert len(server.requests) == (2 if fine else 0)
    assert asked == ["models.example", "models.example"]


async def test_a_redirect_to_another_address_is_handed_over(server: RawServer, trap: Trap) -> None:
    location = f"http://{FORBIDDEN}:{server.port}/latest/meta-data".encode()
    server.enqueue(b"HTTP/1.1 307 T\r\nlocation: " + location + b"\r\ncontent-length: 0\r\n\r\n")
    transport = guarded(server.port, Names(ALLOWED))
    answer = await send(transport)
    assert answer.status == 307
    answer.close()
    assert (trap.caught(), len(server.peers)) == (0, 1)
    await transport.aclose()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.2:{}/v1", "http://[::ffff:127.0.0.2]:{}/v1", "http://0x7f.2:{}/v1", "http://a@127.0.0.1:{}"]
)
async def test_a_url_that_its_rules_do_not_permit_gets_no_connection(server: RawServer, trap: Trap, url: str) -> None:
    told = Told()
    transport = TransportMaker(tell=told).make_transport(endpoint(url.format(server.port), port=server.port))
    for _ in range(2):
        with pytest.raises(NotPermitted) as caught:
            await fetch(transport)
        assert "127.0" not in str(caught.value)
    assert told.said == [("m-1", True)]
    assert (trap.caught(), server.peers) == (0, [])
    await transport.aclose()


async def test_a_port_that_is_not_allowed_any_more_gets_no_connection(server: RawServer) -> None:
    transport = TransportMaker().make_transport(endpoint(server.url, port=1))
    with pytest.raises(NotPermitted):
        await fetch(transport)
    assert server.peers == []


async def test_an_address_needs_no_resolver(server: RawServer) -> None:
    names = Names(error=OSError("not to be asked"))
    transport = TransportMaker(resolve=names).make_transport(endpoint(server.url, port=server.port))
    assert await fetch(transport) == b"{}"
    await transport.aclose()


async def test_a_name_without_an_address_is_a_connect_failure() -> None:
    for names in (Names(), Names(error=OSError("unknown")), Names(error=UnicodeError("empty label")), Names("rubbish")):
        transport = guarded(8000, names)
        with pytest.raises(ConnectFailed) as caught:
            await fetch(transport)
        assert not isinstance(caught.value, NotPermitted)
        await transport.aclose()


async def test_a_refused_connection_is_a_connect_failure() -> None:
    with socket.create_server((ALLOWED, 0)) as listener:
        port = listener.getsockname()[1]
    transport = guarded(port, Names(ALLOWED))
    with pytest.raises(ConnectFailed):
        await fetch(transport)
    await transport.aclose()


async def test_a_listener_that_does_not_accept_fails_within_the_connect_limit() -> None:
    with BlackHole(ALLOWED) as hole:
        transport = guarded(hole.port, Names(ALLOWED))
        began = asyncio.get_running_loop().time()
        with pytest.raises(ConnectFailed):
            await send(transport, connect_s=0.1)
        assert asyncio.get_running_loop().time() - began < 1
        await transport.aclose()


@pytest.mark.parametrize("tls", [False, True], ids=["while it connects", "in the handshake"])
async def test_a_cancelled_connect_leaves_no_socket(server: RawServer, tls: bool, tmp_path: Path) -> None:
    with BlackHole(ALLOWED) as hole:
        port = server.port if tls else hole.port
        rules = NetworkRules(networks=(f"{ALLOWED}/32",), ports=(port,))
        guard = Guard(rules, resolve=(names := Names(ALLOWED)), tell=lambda _: None)
        origin = origin_of(f"http{'s' if tls else ''}://models.example:{port}/v1")
        transport = WireTransport(
            origin, FIELDS, ssl_context=Authority(tmp_path).client_context, open_connection=guard.open
        )

        async def arrived() -> bool:
            return len(server.peers) == 1

        async def begun() -> bool:
            return names.asked != []

        call = asyncio.create_task(fetch(transport))
        await until(arrived if tls else begun)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        async with asyncio.timeout(3):
            for peer in server.peers:
                await peer.closed.wait()
        await transport.aclose()


async def test_guarded_connections_do_not_wait_for_more_to_send(server: RawServer) -> None:
    seen: list[int] = []
    transport = guarded(server.port, Names(ALLOWED))
    answer = await send(transport)
    for made in transport._live:  # the option stands on the socket alone
        raw = made._transport.get_extra_info("socket")  # type: ignore[union-attr]
        seen.append(raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    answer.close()
    assert seen == [1]
    await transport.aclose()


def test_registered_endpoints_get_the_lean_pool_whatever_they_ask_for() -> None:
    config = msgspec.structs.replace(endpoint("http://127.0.0.1:8000/v1", port=8000), transport=TransportName.HTTPX)
    made: Transport = TransportMaker().make_transport(config)
    assert isinstance(made, WireTransport)
