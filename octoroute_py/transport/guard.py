"""Connections of registered endpoints: only to addresses that their rules permit, whatever their names say by then.

A name is resolved for every connection, here and nowhere else; the socket goes to an address that was judged, while
TLS and the Host header keep the name. A connection that is kept for the next request costs nothing more.
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from octoroute_py.config.schema import NetworkRules
from octoroute_py.transport.base import NotPermitted, UpstreamRequest
from octoroute_py.transport.connection import Connection
from octoroute_py.transport.headers import Origin
from octoroute_py.transport.reach import Address, permitted_address
from octoroute_py.transport.resolve import Resolve, addresses_of
from octoroute_py.transport.wire import CLOSE_S

Tell: TypeAlias = Callable[[str, bool], None]
"""Hears of an endpoint, by its id, that it leads where it may not be (True), or no more (False)."""


def tell_nobody(endpoint_id: str, forbidden: bool) -> None:
    """For whoever keeps no log."""


class Guard:
    """Opens the connections of one endpoint; see `wire.Open`. `tell` hears when it begins or ends to be forbidden."""

    __slots__ = ("_forbidden", "_resolve", "_rules", "_tell")

    def __init__(self, rules: NetworkRules, *, resolve: Resolve, tell: Callable[[bool], None]) -> None:
        self._rules = rules
        self._resolve = resolve
        self._tell = tell
        self._forbidden = False

    async def open(self, connection: Connection, origin: Origin, context: ssl.SSLContext | None) -> None:
        """Connect to the first permitted address that takes the connection.

        Raises NotPermitted when none is permitted, OSError or UnicodeError as the resolver and the sockets do.
        """
        found = await addresses_of(origin, self._resolve)
        permitted = [address for address in found if permitted_address(address, self._rules)]
        forbidden = not permitted
        if forbidden is not self._forbidden:
            self._forbidden = forbidden
            self._tell(forbidden)
        if forbidden:
            raise NotPermitted("the endpoint has no address that its rules permit")
        taken = await _first_taken(permitted, origin.port)
        await connection.loop.create_connection(
            lambda: connection,
            sock=taken,
            ssl=context,
            server_hostname=origin.host if context is not None else None,
            ssl_shutdown_timeout=CLOSE_S if context is not None else None,
        )


class Forbidden:
    """The transport of an endpoint whose own URL its rules do not permit any more; see `Transport`."""

    __slots__ = ("_tell", "_told")

    def __init__(self, tell: Callable[[bool], None]) -> None:
        self._tell = tell
        self._told = False

    async def send(self, request: UpstreamRequest, *, deadline: float, connect_s: float) -> NoReturn:
        """Raises NotPermitted."""
        if not self._told:
            self._told = True
            self._tell(True)
        raise NotPermitted("the endpoint has an address or a port that its rules do not permit")

    async def aclose(self) -> None:
        """There is nothing to close."""


async def _first_taken(addresses: list[Address], port: int) -> socket.socket:
    *others, last = addresses
    for address in others:
        with contextlib.suppress(OSError):
            return await _connected(address, port)
    return await _connected(last, port)


async def _connected(address: Address, port: int) -> socket.socket:
    """A socket whose other end is this address, looked at before a byte is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # the loop sends at once on TCP only
    try:
        taken.setblocking(False)
        await asyncio.get_running_loop().sock_connect(taken, (str(address), port))
        if ipaddress.ip_address(taken.getpeername()[0]) != address:
            raise NotPermitted("another address answered than the one that was judged")
    except BaseException:
        taken.close()
        raise
    return taken
