"""A plain HTTP/1.1 client on asyncio streams, so that a test sees what really came over the wire and how it ended.

async with await Client.connect(gateway.port) as client:
    answer = await client.ask(post(chat("hello")))
    assert answer.status == 200
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import msgspec

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_LIMIT = 4 * 1024 * 1024


def chat(text: str = "hello", *, model: str = "fast", stream: bool = False, **more: object) -> bytes:
    """The body of a chat completion request."""
    body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": text}]}
    if stream:
        body["stream"] = True
    return msgspec.json.encode(body | more)


def post(body: bytes, *, path: str = "/v1/chat/completions", headers: Mapping[str, str] | None = None) -> bytes:
    """A whole POST request."""
    fields = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\nhost: gateway\r\n{lines}\r\n".encode() + body


def get(path: str, *, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole GET request."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return f"GET {path} HTTP/1.1\r\nhost: gateway\r\n{lines}\r\n".encode()


class Answer:
    """A response; `whole` tells that its body ended as its framing says and not with the connection."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes = b"", *, whole: bool = False) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.whole = whole

    def __repr__(self) -> str:
        return f"<Answer {self.status} whole={self.whole} {self.headers} {self.body[:300]!r}>"

    @property
    def json(self) -> Any:
        """The decoded body."""
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """`error.code` of an error."""
        return str(self.json["error"]["code"])

    @property
    def events(self) -> list[bytes]:
        """The `data` of each event of a stream; whatever follows the last blank line counts as one, too."""
        blocks = [block for block in self.body.split(b"\n\n") if block and not block.startswith(b":")]
        return [block.removeprefix(b"data: ") for block in blocks]

    @property
    def done(self) -> bool:
        """Whether the stream's last event is `[DONE]`."""
        return self.events[-1:] == [b"[DONE]"]

    @property
    def stream_error(self) -> str | None:
        """The code of the error event a broken stream ends with, or None."""
        last: dict[str, Any] = {} if self.done or not self.events else msgspec.json.decode(self.events[-1])
        return str(last["error"]["code"]) if "error" in last else None


class Client:
    """One connection, kept alive as long as the other side keeps it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._answer = Answer(0, {})

    @classmethod
    async def connect(cls, port: int, *, receive_buffer: int | None = None) -> "Client":
        """A connection to a loopback port; with `receive_buffer` the kernel takes hardly more than that unread."""
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        limit = _LIMIT if receive_buffer is None else receive_buffer
        return cls(*await asyncio.open_connection(sock=sock, limit=limit))

    async def ask(self, request: bytes) -> Answer:
        """Send a request, read its whole answer."""
        self.write(request)
        return await self.answer()

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    async def drain(self) -> None:
        """Wait until the other side takes what was written."""
        await self._writer.drain()

    async def answer(self) -> Answer:
        """The next whole answer; ConnectionError if there is none."""
        answer = await self.head()
        pieces = []
        while piece := await self.piece():
            pieces.append(piece)
        answer.body = b"".join(pieces)
        return answer

    async def head(self) -> Answer:
        """The next answer without its body; read that by `piece`."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError(f"closed after {error.partial!r}") from None
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields if field)
        }
        self._answer = Answer(int(line.split()[1]), headers)
        self._left = int(headers.get("content-length", "0"))
        return self._answer

    async def piece(self) -> bytes:
        """The next piece of the body; b"" at its end, proper or not (see `whole`)."""
        answer = self._answer
        try:
            if answer.headers.get("transfer-encoding") == "chunked":
                size = int(await self._reader.readuntil(b"\r\n"), 16)
                piece = (await self._reader.readexactly(size + 2))[:-2]
                answer.whole = not piece
                return piece
            piece = await self._reader.readexactly(self._left)
            self._left, answer.whole = 0, True
            return piece
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def ended(self, timeout_s: float = 5.0) -> bytes:
        """What else the other side sends before it closes; TimeoutError if it does not close."""
        async with asyncio.timeout(timeout_s):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""

    def close(self) -> None:
        """Leave in the ordinary way (FIN)."""
        self._writer.close()

    def abort(self) -> None:
        """Leave at once, whatever is unsent or unread."""
        self._writer.transport.abort()

    def reset(self) -> None:
        """Leave with a reset (RST)."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._writer.transport.abort()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.transport.abort()
        await asyncio.sleep(0)


async def ask(port: int, request: bytes) -> Answer:
    """One request on a connection of its own."""
    async with await Client.connect(port) as client:
        return await client.ask(request)


async def ask_many(port: int, request: bytes | Callable[[], bytes], *, count: int, at_once: int = 40) -> list[Answer]:
    """So many requests over `at_once` kept connections; one that breaks is replaced and its request counts as 0."""
    answers: list[Answer] = []
    left = count

    async def worker() -> None:
        nonlocal left
        client = await Client.connect(port)
        while left > 0:
            left -= 1
            try:
                answers.append(await client.ask(request if isinstance(request, bytes) else request()))
            except ConnectionError as error:
                answers.append(Answer(0, {}, str(error).encode()))
            if not answers[-1].whole or answers[-1].headers.get("connection") == "close":
                client.close()
                client = await Client.connect(port)
        client.close()

    await asyncio.gather(*[worker() for _ in range(at_once)])
    return answers
