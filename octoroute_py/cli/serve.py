"""`octoroute serve`: run the gateway."""

import asyncio
import contextlib
import gc
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
import structlog
import uvloop

from octoroute_py.admission.auth import is_loopback
from octoroute_py.admission.first_key import ensure_admin_key
from octoroute_py.app import Application, LoadConfig, listening_hosts, refuse_unbuilt
from octoroute_py.cli.options import config_option, read_config
from octoroute_py.config.environment import Overrides
from octoroute_py.config.exposed import exposed
from octoroute_py.config.schema import AuthMode, Config, KeyConfig
from octoroute_py.core import clock
from octoroute_py.edge.server import CannotListen, bind, run
from octoroute_py.routing.artifact import load_neural
from octoroute_py.telemetry.logs import configure_logs
from octoroute_py.telemetry.scrub import Scrubber
from octoroute_py.telemetry.sink import Sink

_log = structlog.stdlib.get_logger("octoroute.cli")

SWITCH_S = 0.0005
"""A thread that wants the interpreter gets it after so long: the journal's writer wants it several times a commit, and
with Python's 5 ms a busy event loop would keep every answer waiting."""


@click.command(help="Run the gateway.")
@config_option
@click.option("--host", metavar="H", help="Address to listen on, over the file and the environment.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="P", help="Port to listen on; 0 picks a free one.")
@click.option("--workers", type=int, metavar="N", help="Only 1: one process holds the state of all requests.")
def command(config_path: Path | None, host: str | None, port: int | None, workers: int | None) -> None:
    """Read the configuration, serve until a signal ends it."""
    overrides = Overrides(host=host, port=port, workers=workers)

    def load() -> Config:
        return read_config(config_path, overrides=overrides)

    serve_forever(load(), load)


def serve_forever(config: Config, load: LoadConfig, *, announce: Callable[[str], None] | None = None) -> None:
    """Serve this configuration; `announce` gets the URL once requests are accepted (default: print one line)."""
    sys.setswitchinterval(SWITCH_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(config, load, announce=announce or _say_listening))


async def serve(config: Config, load: LoadConfig, *, announce: Callable[[str], None]) -> None:
    """The same inside an event loop."""
    refuse_unbuilt(config)
    neural = load_neural(config)
    sockets, management_port = _listen(config)
    generated = _first_key(config)
    if config.admin is not None and management_port is not None:
        config = _with_management_port(config, management_port)
    scrubber = Scrubber()
    with open(2, "wb", buffering=0, closefd=False) as stderr:  # noqa: ASYNC230 - a descriptor we already hold
        sink = Sink(stderr)
        configure_logs(
            sink=sink,
            level=config.observability.log_level,
            fmt=config.observability.log_format,
            scrubber=scrubber,
            now=clock.wall,
            levels=config.observability.log_levels,
        )
        try:
            application = Application(
                config, load=load, sink=sink, scrubber=scrubber, neural=neural, generated=generated
            )
            await application.start()
            if management_port is not None:
                _log.info("management routes listen apart", url=_url(config, sockets[-1]))
            _warn_of_open_doors(config)
            url = _url(config, sockets[0])
            hooks = _Hooks(application, lambda: announce(url), drain_s=config.server.drain_seconds)
            tls = None if application.tls is None else application.tls.context
            await run(application.app, config, hooks, sockets=sockets, tls=tls)
        finally:
            sink.close()


class _Hooks:
    """Passes the server's signals on to the application."""

    def __init__(self, application: Application, on_ready: Callable[[], None], *, drain_s: float) -> None:
        self._application = application
        self._on_ready = on_ready
        self._drain_s = drain_s
        self._preparing: asyncio.Task[None] | None = None

    def ready(self) -> None:
        """The listeners are open; what is ready is said once the scorer is, if there is one."""
        self._preparing = asyncio.create_task(self._announce_prepared())

    async def _announce_prepared(self) -> None:
        await self._application.prepared()
        # What start-up left behind is never looked at again by the collector: its pauses fall on requests.
        gc.collect()
        gc.freeze()
        self._on_ready()

    def reload(self) -> None:
        self._application.reload_on_signal()

    def begin_drain(self) -> None:
        gateway = self._application.gateway
        gateway.begin_drain()
        _log.info("draining", in_flight=gateway.in_flight, up_to_s=self._drain_s)

    def cut(self) -> None:
        self._application.gateway.cut()


def _listen(config: Config) -> tuple[list[socket.socket], int | None]:
    """The listening sockets, and the port of the management listener if there is one."""
    try:
        sockets = bind(config.server.host, config.server.port)
        if config.admin is None:
            return sockets, None
        management = bind(config.admin.host, config.admin.port)
    except CannotListen as error:
        raise click.ClickException(str(error)) from None
    return [*sockets, *management], int(management[0].getsockname()[1])


def _with_management_port(config: Config, port: int) -> Config:
    """The configuration with the port that `port = 0` came to."""
    if config.admin is None:
        return config
    return msgspec.structs.replace(config, admin=msgspec.structs.replace(config.admin, port=port))


def _first_key(config: Config) -> KeyConfig | None:
    """The admin key of a gateway that others can reach and that has no key configured (contract §7)."""
    if config.auth.mode is AuthMode.NONE or config.auth.has_keys or all(map(is_loopback, listening_hosts(config))):
        return None
    folder = config.path.parent if config.path is not None else Path()
    key, clear = ensure_admin_key(folder)
    if clear is not None:
        _say(f"admin key: {clear}")
    return key


def _warn_of_open_doors(config: Config) -> None:
    """What others may read or use, perhaps more of them than the operator thinks."""
    for line in exposed(config):
        _log.warning(line)
    reachable = [host for host in dict.fromkeys(listening_hosts(config)) if not is_loopback(host)]
    if config.auth.mode is AuthMode.NONE and reachable:
        _log.warning("everybody who can reach this address may use every route, /admin included", address=reachable)


def _url(config: Config, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "http" if config.server.tls is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _say_listening(url: str) -> None:
    _say(f"listening on {url}")


def _say(line: str) -> None:
    """A line on stdout; whoever closed it does not want to read it."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(line)
