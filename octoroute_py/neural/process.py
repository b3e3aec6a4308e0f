"""The router in a process of its own, as the event loop sees it.

Reading a body of many embeddings, importing numpy and computing hold Python's lock for milliseconds, from whatever
thread: here they hold another process's. It is started by the first question, answers one after the other, ends when
the gateway does, however that ends, and is started again when it dies: only the question it died over is lost.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import NamedTuple

from octoroute_py.config.schema import ObservabilityConfig
from octoroute_py.neural.frame import HEAD, LENGTH, read_head
from octoroute_py.telemetry.dancer_counts import Ranked

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
WAITING = 64
"""How many questions may wait for their turn."""
ANSWER_S = 30.0
CLOSE_S = 5.0
CHUNK_BYTES = 256 * 1024
LARGEST_REPLY_BYTES = 64 * 1024 * 1024

_MAIN = (
    "import os, sys; os.environ.setdefault('OPENBLAS_NUM_THREADS', '1'); sys.path.insert(0, sys.argv.pop(1)); "
    "from octoroute_py.neural.worker import main; main()"
)
"""What the process runs: this very package, on one core, for the others belong to the gateway."""


class Busy(Exception):
    """Too many questions are waiting."""


class Broken(Exception):
    """The process died, or did not answer in time; the next question starts a new one."""


class Answer(NamedTuple):
    """The worker's reply; `retry_after_s` is 0 where it says nothing about trying again, `ranked` is for metrics."""

    status: int
    body: bytes
    retry_after_s: int
    ranked: Ranked | None = None


class _Worker(NamedTuple):
    process: "subprocess.Popen[bytes]"
    to: asyncio.StreamWriter
    back: asyncio.StreamReader


class RouterProcess:
    """Asks the process; `database` is the file it keeps candidates and history in, None for no file.

    It logs as `logs` says, to the gateway's own stderr. `answer_s` is how long an answer may take once its turn has
    come, the start of the process included.
    """

    def __init__(
        self, database: Path | None = None, *, logs: ObservabilityConfig | None = None, waiting: int = WAITING
    ) -> None:
        self.answer_s = ANSWER_S
        logs = logs or ObservabilityConfig()
        level = dict(logs.log_levels).get("octoroute.neural", logs.log_level)
        self._arguments = ["" if database is None else str(database), logs.log_format.value, level.value]
        self._places = waiting
        self._turn = asyncio.Lock()
        self._asked: set[asyncio.Task[Answer]] = set()
        self._worker: _Worker | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process's id while there is one."""
        return None if self._worker is None else self._worker.process.pid

    @property
    def lost(self) -> bool:
        """Whether the process died with nothing to do; the next question starts another one."""
        return self._worker is not None and self._worker.back.at_eof()

    async def ask(self, body: bytes) -> Answer:
        """The answer to a request body. Raises Busy, or Broken.

        A caller that is cancelled leaves its question to end by itself, so that the next one gets its own answer.
        """
        if self._closed or len(self._asked) >= self._places:
            raise Busy
        return await asyncio.shield(self._later(self._exchange(body)))

    async def close(self, *, within_s: float = CLOSE_S) -> None:
        """End the process once what was asked is answered, or `within_s`; nothing can be asked from now on."""
        self._closed = True
        if self._asked:
            _, late = await asyncio.wait(self._asked, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._end()

    def _later(self, work: Coroutine[None, None, Answer]) -> asyncio.Task[Answer]:
        task = asyncio.ensure_future(work)
        self._asked.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Answer]) -> None:
        self._asked.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have left; an error is not news to anybody else

    async def _exchange(self, body: bytes) -> Answer:
        try:
            async with self._turn:
                return await self._in_turn(body)
        except asyncio.CancelledError as error:  # by `close`, which has waited long enough
            raise Broken from error

    async def _in_turn(self, body: bytes) -> Answer:
        try:
            async with asyncio.timeout(self.answer_s):
                return await self._talk(body)
        except (OSError, EOFError, TimeoutError, asyncio.CancelledError) as error:
            await self._end(kill=True)
            raise Broken from error

    async def _talk(self, body: bytes) -> Answer:
        if self.lost:
            await self._end(kill=True)
        if self._worker is None:
            self._worker = await _start(self._arguments)
        to, back = self._worker.to, self._worker.back
        to.write(LENGTH.pack(len(body)))
        for at in range(0, len(body), CHUNK_BYTES):
            to.write(body[at : at + CHUNK_BYTES])
            await to.drain()
            await asyncio.sleep(0)  # a socket that takes all of it must not hold the event loop for all of it
        (length,) = LENGTH.unpack(await back.readexactly(LENGTH.size))
        if not HEAD.size <= length <= LARGEST_REPLY_BYTES:
            raise EOFError
        reply = await back.readexactly(length)
        status, retry_after_s, ranked = read_head(reply)
        return Answer(status, reply[HEAD.size :], retry_after_s, ranked)

    async def _end(self, *, kill: bool = False) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        worker.to.close()
        if kill:
            worker.process.kill()
        with contextlib.suppress(OSError):
            await worker.to.wait_closed()
        try:
            await asyncio.to_thread(worker.process.wait, CLOSE_S)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            await asyncio.to_thread(worker.process.wait)


async def _start(arguments: list[str]) -> _Worker:
    here, there = socket.socketpair()
    with there:
        process = _spawn(there, arguments)
    back, to = await asyncio.open_connection(sock=here)
    return _Worker(process, to, back)


def _spawn(end: socket.socket, arguments: list[str]) -> "subprocess.Popen[bytes]":
    """Half a millisecond; asyncio's own way holds the event loop for ten."""
    argv = [sys.executable, "-P", "-c", _MAIN, str(PACKAGE_ROOT), *arguments]
    return subprocess.Popen(argv, stdin=end.fileno(), stdout=end.fileno(), start_new_session=True)  # noqa: S603 - our own module
