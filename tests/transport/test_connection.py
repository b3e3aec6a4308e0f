"""The answer is the same however the network cuts its bytes."""

import asyncio
import random

import pytest

from octoroute_py.transport.base import TransportError
from octoroute_py.transport.connection import DONE, Connection
from tests.fakes.rawserver import CHUNKED_HEAD, chunk, chunked, ok


class _Sink(asyncio.Transport):
    """Takes what is written and remembers being closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Swallow it."""

    def is_closing(self) -> bool:
        return self.gone

    def close(self) -> None:
        self.gone = True

    abort = close


INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
ANSWERS = {
    "length": ok(b"hello world"),
    "chunked": chunked(b"one", b"two", b"x" * 40),
    "extensions and trailers": CHUNKED_HEAD + b"3;a=b\r\nabc\r\n0\r\nT: u\r\n\r\n",
    "interim": INTERIM + ok(b"end"),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "closing": ok(b"bye", b"connection: close\r\n"),
    "bad length": b"HTTP/1.1 200 OK\r\ncontent-length: 1,1\r\n\r\na",
    "coding": ok(b"a", b"content-encoding: br\r\n"),
    "bad chunk": CHUNKED_HEAD + chunk(b"good") + b"zz\r\n",
    "two answers": chunked(b"a") + ok(b"b"),
    "other protocol": b"HTTP/2.0 200 OK\r\ncontent-length: 1\r\n\r\na",
}


def _outcome(pieces: list[bytes], loop: asyncio.AbstractEventLoop) -> tuple[object, ...]:
    connection = Connection(loop, lambda _: None)
    sink = _Sink()
    connection.connection_made(sink)
    head = connection.start(b"", b"", loop.time() + 60)
    for piece in pieces:
        if not sink.gone:
            connection.data_received(piece)
    error: TransportError | None = connection.error
    seen = (
        connection.status,
        connection.headers if connection.status else None,
        b"".join(connection.chunks),
        type(error),
        connection.state == DONE,
        connection.reusable,
        head.done(),
    )
    connection.abort()
    return seen


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_cutting_the_bytes_anywhere_changes_nothing(answer: bytes) -> None:
    loop = asyncio.get_running_loop()
    whole = _outcome([answer], loop)
    assert whole == _outcome([answer[at : at + 1] for at in range(len(answer))], loop)
    for cut in range(1, len(answer)):
        assert whole == _outcome([answer[:cut], answer[cut:]], loop)


async def test_random_bytes_end_in_an_answer_or_a_named_error() -> None:
    loop = asyncio.get_running_loop()
    chance = random.Random(7)
    seeds = list(ANSWERS.values())
    for _ in range(3000):
        mangled = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 4)):
            mangled[chance.randrange(len(mangled))] = chance.choice(b"\r\n\0 :;,0159aHT/\xff")
        _outcome([bytes(mangled)], loop)
