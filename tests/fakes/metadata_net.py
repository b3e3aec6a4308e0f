"""A network of its own in which a metadata service listens, and what this package's transports do there.

    unshare --user --map-root-user --net python -m tests.fakes.metadata_net

Prints as JSON how many connections reached the listener, from endpoints that were registered and, to show that it can
be reached at all, from one of a configuration file.
"""

import asyncio
import json
import socket
import subprocess
import sys

import msgspec

from octoroute_py.config.addresses import Wrong
from octoroute_py.config.schema import EndpointConfig, NetworkRules, Registered
from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.words import Tier
from octoroute_py.transport.base import ConnectFailed, TransportError
from octoroute_py.transport.connect import TransportMaker
from octoroute_py.transport.resolve import check_endpoint_url
from tests.fakes.names import Names
from tests.fakes.transports import send

METADATA = "169.254.169.254"
PORT = 80
EVERYTHING = NetworkRules(networks=("0.0.0.0/0", "::/0", f"{METADATA}/32"))
URLS = (
    f"http://{METADATA}/",
    f"http://{METADATA}:80/latest/meta-data",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[::a9fe:a9fe]/",
    "http://[64:ff9b::169.254.169.254]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0xa9.254.43518/",
    "http://0251.0376.0251.0376/",
    "http://169.254.43518/",
    "http://169.254.169.254./",
    "http://user@169.254.169.254/",
    "http://ok\\@169.254.169.254/",
    "http://169。254。169。254/",
    "http://\uff11\uff16\uff19.254.169.254/",
)
SPELLED_BY_A_RESOLVER = (METADATA, "::ffff:169.254.169.254", "::ffff:a9fe:a9fe")


class Findings(msgspec.Struct, frozen=True):
    """What happened: URLs that passed the registration, and connections that reached the service."""

    passed: list[str]
    reached: int
    reached_by_the_file: int


def main() -> None:
    """Run in a network namespace of its own."""
    for command in (("link", "set", "lo", "up"), ("addr", "add", f"{METADATA}/32", "dev", "lo")):
        subprocess.run(["ip", *command], check=True)
    with socket.create_server((METADATA, PORT)) as listener:
        listener.setblocking(False)
        sys.stdout.write(json.dumps(msgspec.to_builtins(asyncio.run(_look(listener)))))


async def _look(listener: socket.socket) -> Findings:
    passed = []
    for url in URLS:
        try:
            await check_endpoint_url(url, EVERYTHING)
        except Wrong:
            pass
        else:
            passed.append(url)
        await _try(_endpoint(url))
    for address in SPELLED_BY_A_RESOLVER:
        await _try(_endpoint("http://models.example/v1"), Names(address))
    reached = _caught(listener)
    await _try(msgspec.structs.replace(_endpoint(f"http://{METADATA}/v1"), registered=None))
    return Findings(passed, reached, _caught(listener))


def _endpoint(url: str) -> EndpointConfig:
    registered = Registered(model_id="m", status=ModelStatus.ACTIVE, rules=EVERYTHING)
    return EndpointConfig(id="m-1", tier=Tier.FAST, name="m", model="m", base_url=url, registered=registered)


async def _try(config: EndpointConfig, names: Names | None = None) -> None:
    maker = TransportMaker() if names is None else TransportMaker(resolve=names)
    transport = maker.make_transport(config)
    try:
        (await send(transport, within_s=0.3, connect_s=0.3)).close()
    except ConnectFailed:
        pass
    except TransportError:
        assert config.registered is None, "a registered endpoint was connected to"
    finally:
        await transport.aclose()


def _caught(listener: socket.socket) -> int:
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


if __name__ == "__main__":
    main()
