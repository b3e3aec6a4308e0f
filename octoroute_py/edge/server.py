"""Running the app: uvicorn with our protocol, our signals and our drain (reliability §1.6).

SIGTERM or SIGINT: `/health/ready` turns 503, listeners close, new requests on kept connections are refused and these
closed, requests under way have `drain_seconds` to finish, what is left then gets its error and the process ends with 0.
A second signal forces the end within two seconds. SIGHUP reloads the configuration.
"""

import asyncio
import contextlib
import resource
import signal
import socket
import ssl
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Protocol, cast

import uvicorn
from starlette.types import ASGIApp

from octoroute_py.config.schema import Config
from octoroute_py.core.errors import ConfigError
from octoroute_py.edge.protocol import IDLE_S, GatewayProtocol, protocol_for

BACKLOG = 4096
MAX_DESCRIPTORS = 200_000
RESERVED_DESCRIPTORS = 64
CUT_GRACE_S = 2.0
"""What requests get to send their last error after the drain limit."""


class CannotListen(Exception):
    """The address is taken or not ours to take; the message says which."""


class Hooks(Protocol):
    """What the server tells the application about its life."""

    def ready(self) -> None:
        """Requests are accepted from now on."""
        ...

    def reload(self) -> None:
        """SIGHUP: read the configuration again."""
        ...

    def begin_drain(self) -> None:
        """No new work from now on; readiness turns 503."""
        ...

    def cut(self) -> None:
        """The drain limit has come: every request still under way ends with an error now."""
        ...


class GatewayServer(uvicorn.Server):
    """One or two listeners (the second for `[admin]`) around one application."""

    def __init__(self, config: uvicorn.Config, hooks: Hooks, *, drain_s: float) -> None:
        super().__init__(config)
        self._hooks = hooks
        self._drain_s = drain_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then the listeners, then say so."""
        await super().startup(sockets)
        if self.started:
            self._hooks.ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours instead of uvicorn's, which ends with the signal (exit code -15) and ignores a second SIGTERM."""
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sig, self.handle_exit, sig, None)
        loop.add_signal_handler(signal.SIGHUP, self._hooks.reload)
        try:
            yield
        finally:
            for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(sig)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, a second one forces."""
        if self.should_exit:
            self.force_exit = True
        else:
            self.should_exit = True
            self._hooks.begin_drain()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listeners, wait for requests under way, cut what is left, end the application.

        Idle connections stay until then, so that whoever uses one is told with an answer.
        """
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in self._connections():
            connection.shutdown()
        if not await self._quiet_within(self._drain_s):
            self._hooks.cut()
            if not await self._quiet_within(CUT_GRACE_S, forced_too=True):
                for connection in self._connections():
                    connection.transport.abort()
        for connection in self._connections():
            connection.transport.close()
        await self.lifespan.shutdown()

    def _connections(self) -> list[GatewayProtocol]:
        return cast("list[GatewayProtocol]", list(self.server_state.connections))

    async def _quiet_within(self, limit_s: float, *, forced_too: bool = False) -> bool:
        """Wait until no request and no unsent answer is left; a second signal ends the wait at once."""
        loop = asyncio.get_running_loop()
        until = loop.time() + limit_s
        while not all(each.idle for each in self._connections()):
            if loop.time() >= until or (self.force_exit and not forced_too):
                return False
            await asyncio.sleep(0.02)
        return True


def bind(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for a host and port (0 picks one); CannotListen with the reason when that cannot be.

    ConfigError for a host that is no address of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(f"server.host: {host!r} is not an address of this machine ({error.strerror})") from None
    sockets: list[socket.socket] = []
    for family, kind, proto, _, address in dict.fromkeys(found):
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        wanted = sockets[0].getsockname()[1] if port == 0 and sockets else port
        try:
            listener.bind((address[0], wanted, *address[2:]))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            if sockets:  # `localhost` may name an IPv6 address on a machine without IPv6
                continue
            raise CannotListen(
                f"cannot listen on {host} port {wanted}: {error.strerror}; --port chooses another"
            ) from None
        listener.setblocking(False)
        sockets.append(listener)
    return sockets


def connections_allowed() -> int:
    """Client connections that leave a descriptor upstream for each, after the soft limit was raised to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY:
        soft = wanted
    elif soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return max(1, (soft - RESERVED_DESCRIPTORS) // 2)


async def run(
    app: ASGIApp,
    config: Config,
    hooks: Hooks,
    *,
    sockets: Sequence[socket.socket],
    tls: ssl.SSLContext | None = None,
) -> None:
    """Serve on the sockets, all of them with TLS or none, until a signal ends it."""
    settings = uvicorn.Config(
        app,
        http=protocol_for(config.limits.max_header_bytes, max_connections=connections_allowed()),
        ws="none",
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(IDLE_S),
        access_log=False,
        log_config=None,
        backlog=BACKLOG,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )
    await GatewayServer(settings, hooks, drain_s=config.server.drain_seconds).serve(sockets=list(sockets))
