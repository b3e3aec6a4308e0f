"""What the journal costs a request: python scripts/bench/journal.py [--switch-ms 5] [--synchronous full] [--intents]

Requests go through sockets of this process and are kept as a gateway keeps them. CPU is that of the whole process, the
writer's thread included, less that of the same traffic which keeps nothing. The acknowledgement is the time from the
row to the word that it is on disk.

idle: one request, or 32 at once, and then a pause. busy: other traffic keeps the event loop at work all the time.
"""

import argparse
import asyncio
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, cast

import msgspec
import uvloop

from octoroute_py.config.schema import Synchronous
from octoroute_py.core.ids import new_request_id
from octoroute_py.ledger.keeper import Keeper
from octoroute_py.storage.db import Database
from octoroute_py.storage.entries import Intent, JournalEntry
from octoroute_py.storage.spool import Spool

ROW = JournalEntry(
    request_id="",
    entry=0,
    started_ms=1_790_000_000_000,
    duration_us=812_345,
    first_event_us=51_234,
    routing_us=123,
    latency_bucket=700,
    surface="chat",
    status=200,
    error_code=None,
    stream=True,
    workspace="default",
    key_id="key-12345678",
    agent_type="coder",
    user_id=None,
    request_type="code",
    tag=None,
    strategy="hybrid",
    reason="rule_matched",
    rule="code",
    confidence=0.87,
    decided_tier=None,
    tier="balanced",
    endpoint="balanced/b#1",
    sends=1,
    attempts=None,
    prompt_tokens=1234,
    completion_tokens=567,
    cached_tokens=0,
    estimated=False,
    cost_uusd=1234,
    baseline_uusd=5678,
)
BODY = b"x" * 1024
WORK_S = 50e-6
"""What a request computes on the event loop."""
PAUSE_S = 0.002
CLIENTS = 32

Keep = Callable[[], Awaitable[None]]


class Echo(asyncio.Protocol):
    """The other end of a socket."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        """Answer."""
        self.transport.write(data)


class Client:
    """A connection that asks and is answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls) -> "Client":
        """A pair of sockets with an echo at one end."""
        ours, theirs = socket.socketpair()
        await asyncio.get_running_loop().create_unix_connection(Echo, sock=theirs)
        return cls(*await asyncio.open_unix_connection(sock=ours))

    async def ask(self) -> None:
        """One exchange, and some work."""
        self._writer.write(BODY)
        await self._reader.readexactly(len(BODY))
        until = time.perf_counter() + WORK_S
        while time.perf_counter() < until:
            pass

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


class Figures(NamedTuple):
    """Seconds of CPU, and how long each acknowledgement took."""

    cpu_s: float
    taken_s: list[float]

    def at(self, share: float) -> float:
        """A percentile of the acknowledgements, in milliseconds."""
        return sorted(self.taken_s)[min(int(len(self.taken_s) * share), len(self.taken_s) - 1)] * 1e3


async def rounds(clients: list[Client], keep: Keep, *, times: int, pause_s: float) -> Figures:
    """All clients together, again and again."""
    taken: list[float] = []

    async def one(client: Client) -> None:
        await client.ask()
        start = time.perf_counter()
        await keep()
        taken.append(time.perf_counter() - start)

    cpu_s = 0.0
    for _ in range(times):
        start = time.process_time()
        await asyncio.gather(*map(one, clients))
        cpu_s += time.process_time() - start
        await asyncio.sleep(pause_s)
    return Figures(cpu_s, taken)


async def stream(clients: list[Client], keep: Keep, *, times: int) -> Figures:
    """Each client at its own pace, never pausing."""
    taken: list[float] = []

    async def one(client: Client) -> None:
        for _ in range(times):
            await client.ask()
            start = time.perf_counter()
            await keep()
            taken.append(time.perf_counter() - start)

    start = time.process_time()
    await asyncio.gather(*map(one, clients))
    return Figures(time.process_time() - start, taken)


@asynccontextmanager
async def traffic() -> AsyncIterator[None]:
    """Eight clients that ask all the time."""
    clients = [await Client.connect() for _ in range(8)]

    async def forever(client: Client) -> None:
        while True:
            await client.ask()

    tasks = [asyncio.create_task(forever(client)) for client in clients]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for client in clients:
        client.close()


async def measure(folder: Path, options: argparse.Namespace) -> None:
    """All cases on one database."""
    database = Database.open("sqlite:///bench.db", base_dir=folder, synchronous=Synchronous(options.synchronous))
    keeper = Keeper(database, Spool(folder / "bench.db.spool"))
    await keeper.start()

    async def keep() -> None:
        id = new_request_id()
        if options.intents:
            await keeper.reserve(Intent(id, 0, ROW.started_ms, "chat", "default", ROW.key_id, "", "fast", 99))
        await keeper.keep(msgspec.structs.replace(ROW, request_id=id))

    async def nothing() -> None:
        msgspec.structs.replace(ROW, request_id=new_request_id())

    clients = [await Client.connect() for _ in range(CLIENTS)]
    await stream(clients, keep, times=20)
    for count in (1, CLIENTS):
        times = options.requests // count
        with_it = await rounds(clients[:count], keep, times=times, pause_s=PAUSE_S)
        without = await rounds(clients[:count], nothing, times=times, pause_s=PAUSE_S)
        show(f"idle, {count} at once", with_it, without)
    with_it, without = [await stream(clients, each, times=options.requests // CLIENTS) for each in (keep, nothing)]
    show(f"busy by itself, {CLIENTS} clients", with_it, without)
    async with traffic():
        figures = await rounds(clients[:1], keep, times=options.requests // 8, pause_s=PAUSE_S)
        show("busy by others, 1 at once", figures, None)
    print(f"state {keeper.state.value}, waiting {keeper.waiting}, lost {keeper.lost}")
    await keeper.close()
    database.close()


def show(name: str, with_it: Figures, without: Figures | None) -> None:
    """A line of the report."""
    cpu = f"{(with_it.cpu_s - without.cpu_s) / len(with_it.taken_s) * 1e6:6.1f} us" if without else "      -  "
    print(f"{name:26} cpu {cpu}   acknowledged p50 {with_it.at(0.5):6.2f} ms   p99 {with_it.at(0.99):6.2f} ms")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=8_000)
    parser.add_argument("--switch-ms", type=float, default=sys.getswitchinterval() * 1e3)
    parser.add_argument("--synchronous", choices=[each.value for each in Synchronous], default="normal")
    parser.add_argument("--intents", action="store_true", help="reserve before, as a key with a budget does")
    parser.add_argument("--folder", type=Path, help="where the database is made (default: a temporary one)")
    options = parser.parse_args()
    sys.setswitchinterval(options.switch_ms / 1e3)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        uvloop.run(measure(Path(folder), options))


if __name__ == "__main__":
    main()
