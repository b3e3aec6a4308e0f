"""The gate before the application: what never becomes a request, and who is cut off when (reliability F6, F7, F8)."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from octoroute_py.edge.gate import MAX_FIELDS, MAX_TARGET_BYTES, path_is_plain
from octoroute_py.edge.protocol import (
    BODY_PROGRESS_S,
    HEAD_DEADLINE_S,
    IDLE_S,
    LINGER_S,
    MAX_PIPELINED,
    PAUSE_ABOVE_BYTES,
    WRITE_STALL_S,
    GatewayProtocol,
    protocol_for,
)

HOST = b"host: gateway\r\n"


class Timer:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """The running loop, but its timers go by `pass_time` alone."""

    def __init__(self) -> None:
        self._real = asyncio.get_running_loop()
        self._timers: list[Timer] = []
        self._now = 0.0

    def __getattr__(self, name: str) -> Any:  # whatever else a loop can do
        return getattr(self._real, name)

    def call_later(self, delay: float, call: Callable[..., None], *args: Any) -> Timer:
        self._timers.append(Timer(self._now + delay, lambda: call(*args)))
        return self._timers[-1]

    def time(self) -> float:
        return self._now

    async def pass_time(self, seconds: float) -> None:
        until = self._now + seconds
        while due := [each for each in self._timers if not each.cancelled and each.at <= until]:
            timer = min(due, key=lambda each: each.at)
            self._timers.remove(timer)
            self._now = timer.at
            timer.call()
            await asyncio.sleep(0)
        self._now = until


class Socket(asyncio.Transport):
    """What a client sees: `written`, and how the connection ended: None, "closed" or "aborted"."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ending: str | None = None
        self.buffered = 0
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.ending is None:
            self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.ending in ("closed", "aborted")

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ending = self.ending or "half closed"

    def close(self) -> None:
        self.ending = "closed" if self.ending in (None, "half closed") else self.ending

    def abort(self) -> None:
        self.ending = "aborted"

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Client:
    """One connection to a protocol whose application records what reaches it."""

    def __init__(self, *, max_header_bytes: int = 32 * 1024) -> None:
        self.requests: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.answer_now = asyncio.Event()
        self.answer_now.set()
        self.loop = Loop()
        self.socket = Socket()
        config = uvicorn.Config(self._app, interface="asgi3", log_config=None)
        config.load()
        self.protocol: GatewayProtocol = protocol_for(max_header_bytes)(
            config,
            ServerState(),
            {},
            self.loop,  # type: ignore[arg-type]  # it stands in for the running loop
        )
        self.protocol.connection_made(self.socket)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests.append(dict(scope))
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        self.bodies.append(body)
        await self.answer_now.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def say(self, data: bytes) -> None:
        """Send bytes and let the application do what it can."""
        self.protocol.data_received(data)
        for _ in range(5):
            await asyncio.sleep(0)

    def leave(self) -> None:
        """The connection is gone."""
        self.protocol.connection_lost(None)

    @property
    def is_open(self) -> bool:
        """Whether the connection is still open."""
        return self.socket.ending is None

    @property
    def status(self) -> int:
        """Status of the last answer."""
        return int(re.findall(rb"HTTP/1\.1 (\d{3}) ", self.socket.written)[-1])

    @property
    def error(self) -> str:
        """The code in the last answer's envelope."""
        code: str = json.loads(self.socket.written.rpartition(b"\r\n\r\n")[2])["error"]["code"]
        return code


def get(target: bytes = b"/health", fields: bytes = HOST) -> bytes:
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (target, fields)


def post(fields: bytes, body: bytes = b"") -> bytes:
    return b"POST /v1/chat/completions HTTP/1.1\r\n%b%b\r\n%b" % (HOST, fields, body)


async def test_a_plain_request_passes_and_its_connection_is_kept() -> None:
    client = Client()
    await client.say(get(b"/info?family=%2f&x=1"))
    await client.say(post(b"content-length: 2\r\n", b"{}"))
    assert [(each["path"], each["query_string"]) for each in client.requests] == [
        ("/info", b"family=%2f&x=1"),
        ("/v1/chat/completions", b""),
    ]
    assert client.bodies == [b"", b"{}"]
    assert client.socket.written.count(b"HTTP/1.1 200 OK") == 2
    assert client.is_open


@pytest.mark.parametrize("host", [b"gateway", b"gateway:3000", b"10.0.0.7", b"[::1]:3000", b"a_b.example"])
async def test_ordinary_hosts_pass(host: bytes) -> None:
    client = Client()
    await client.say(get(fields=b"Host: %b\r\n" % host))
    assert client.status == 200


GATED = {
    "no host": get(fields=b""),
    "two hosts": get(fields=HOST + HOST),
    "an empty host": get(fields=b"host:\r\n"),
    "a path as host": get(fields=b"host: x/health?\r\n"),
    "credentials in the host": get(fields=b"host: a@b\r\n"),
    "an absolute target": get(b"http://gateway/health"),
    "a target without a slash": get(b"health"),
    "an encoded slash": get(b"/v1%2fmodels"),
    "an encoded backslash": get(b"/v1%5Cmodels"),
    "an encoded NUL": get(b"/v1/%00"),
    "an encoded dot": get(b"/v1/%2e%2E/admin"),
    "dot segments": get(b"/v1/../admin/reload"),
    "an empty segment": get(b"/v1//models"),
    "a backslash": get(b"/v1\\models"),
    "a fragment": get(b"/v1/models#x"),
    "length and chunked": post(b"content-length: 2\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\n"),
    "chunked and length": post(b"transfer-encoding: chunked\r\ncontent-length: 2\r\n", b"0\r\n\r\n"),
    "two lengths": post(b"content-length: 2\r\ncontent-length: 2\r\n", b"{}"),
    "another coding": post(b"transfer-encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
    "chunked twice": post(b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\n"),
    "chunked in 1.0": b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "no HTTP": b"hello there\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("data", GATED.values(), ids=GATED.keys())
async def test_what_is_ambiguous_is_answered_with_400_and_closed_before_the_application_sees_it(data: bytes) -> None:
    client = Client()
    await client.say(data)
    assert (client.status, client.error) == (400, "invalid_request_error")
    assert client.socket.ending == "closed"
    assert client.requests == []


async def test_what_is_refused_under_api_is_told_in_the_shape_of_the_api() -> None:
    client = Client()
    await client.say(get(b"/api/models/a%5Cb"))
    assert client.status == 400
    told = json.loads(client.socket.written.partition(b"\r\n\r\n")[2])
    assert told == {"error": "The request path is not a plain path.", "code": "invalid_request_error"}


async def test_headers_above_the_cap_are_431() -> None:
    for fields in (b"x: %b\r\n" % (b"y" * 2000), b"".join(b"h%d: x\r\n" % number for number in range(MAX_FIELDS))):
        client = Client(max_header_bytes=2000)
        await client.say(get(fields=HOST + fields))
        assert (client.status, client.error) == (431, "headers_too_large")
        assert (client.socket.ending, client.requests) == ("half closed", [])
        await client.loop.pass_time(LINGER_S)
        assert client.socket.ending == "closed"


async def test_a_client_that_was_refused_may_finish_its_sentence_but_not_go_on_for_ever() -> None:
    client = Client(max_header_bytes=2000)
    await client.say(get(fields=HOST + b"x: %b\r\n" % (b"y" * 2000)))
    told = client.socket.written
    await client.say(get() * 3)
    assert (client.socket.written, client.socket.ending, client.requests) == (told, "half closed", [])
    for _ in range(65):
        await client.say(b"y" * 1024 * 1024)
    assert client.socket.ending == "aborted"


async def test_an_endless_head_is_cut_while_it_comes() -> None:
    client = Client(max_header_bytes=2000)
    await client.say(b"GET / HTTP/1.1\r\n" + HOST)
    sent = 0
    while client.socket.ending is None and sent < 100:
        await client.say(b"x-%d: %b\r\n" % (sent, b"y" * 500))
        sent += 1
    assert client.status == 431
    assert sent * 500 <= 2000 + MAX_TARGET_BYTES + 1000


async def test_a_target_that_is_too_long_is_414() -> None:
    client = Client()
    await client.say(get(b"/" + b"a" * MAX_TARGET_BYTES))
    assert (client.status, client.error) == (414, "uri_too_long")


async def test_a_head_has_ten_seconds_whatever_trickles_in() -> None:
    client = Client()
    await client.say(b"GET / HTTP/1.1\r\n")
    await client.loop.pass_time(HEAD_DEADLINE_S - 1)
    await client.say(HOST)
    assert client.is_open
    await client.loop.pass_time(1)
    assert (client.socket.ending, client.requests) == ("closed", [])


async def test_a_connection_that_never_says_anything_is_closed() -> None:
    client = Client()
    await client.loop.pass_time(IDLE_S)
    assert client.socket.ending == "closed"


async def test_an_idle_connection_is_closed_and_one_in_use_is_not() -> None:
    client = Client()
    await client.say(get())
    await client.loop.pass_time(IDLE_S - 1)
    client.answer_now.clear()
    await client.say(get())
    await client.loop.pass_time(IDLE_S * 10)
    assert client.is_open
    client.answer_now.set()
    await asyncio.sleep(0.01)
    await client.loop.pass_time(IDLE_S)
    assert client.socket.ending == "closed"


async def test_a_body_that_makes_progress_may_take_its_time_and_one_that_does_not_is_cut() -> None:
    client = Client()
    await client.say(post(b"content-length: 9\r\n", b"{"))
    for _ in range(3):
        await client.loop.pass_time(BODY_PROGRESS_S - 1)
        await client.say(b" ")
    assert client.is_open
    await client.loop.pass_time(BODY_PROGRESS_S)
    assert client.socket.ending == "closed"
    assert client.bodies == []


async def test_while_we_do_not_read_the_body_its_pause_is_ours() -> None:
    client = Client()
    await client.say(post(b"content-length: 9\r\n", b"{"))
    client.protocol.pause_reading()
    await client.loop.pass_time(BODY_PROGRESS_S * 3)
    assert client.is_open


async def test_a_client_that_takes_nothing_for_a_minute_is_cut_off() -> None:
    client = Client()
    client.socket.buffered = 5000
    client.protocol.pause_writing()
    await client.loop.pass_time(WRITE_STALL_S)
    assert client.socket.ending == "aborted"


async def test_a_client_that_takes_a_little_is_waited_for() -> None:
    client = Client()
    client.answer_now.clear()
    await client.say(get())
    client.socket.buffered = 5000
    client.protocol.pause_writing()
    for _ in range(5):
        client.socket.buffered -= 1
        await client.loop.pass_time(WRITE_STALL_S)
        assert client.is_open
    client.protocol.resume_writing()
    await client.loop.pass_time(WRITE_STALL_S * 2)
    assert client.is_open


async def test_whoever_watches_is_told_once_that_the_client_left() -> None:
    client = Client()
    client.answer_now.clear()
    gone: list[str] = []
    await client.say(post(b"content-length: 2\r\n", b"{}"))
    client.protocol.watch(lambda: gone.append("gone"))
    client.leave()
    assert gone == ["gone"]


async def test_nobody_is_told_after_the_answer_or_after_watching_has_ended() -> None:
    client = Client()
    client.answer_now.clear()
    gone: list[str] = []
    await client.say(post(b"content-length: 2\r\n", b"{}"))
    client.protocol.watch(lambda: gone.append("gone"))
    client.answer_now.set()
    await asyncio.sleep(0.01)
    client.leave()
    assert gone == []


async def test_watching_resumes_a_paused_socket_and_tells_of_a_client_that_has_left_already() -> None:
    client = Client()
    client.answer_now.clear()
    await client.say(post(b"content-length: 2\r\n", b"{}"))
    client.protocol.pause_reading()
    client.protocol.watch(lambda: None)
    assert client.socket.reading
    gone: list[str] = []
    client.socket.close()
    client.protocol.watch(lambda: gone.append("gone"))
    await asyncio.sleep(0.01)
    assert gone == ["gone"]


async def test_a_connection_that_must_not_be_used_again_is_closed_after_its_answer() -> None:
    client = Client()
    client.answer_now.clear()
    await client.say(get())
    client.protocol.close_after_response()
    client.answer_now.set()
    await asyncio.sleep(0.01)
    assert (client.status, client.socket.ending) == (200, "closed")
    assert b"connection: close\r\n" in client.socket.written


async def test_garbage_after_a_request_under_way_closes_without_a_second_answer() -> None:
    client = Client()
    client.answer_now.clear()
    await client.say(get())
    await client.say(b"garbage\r\n\r\n")
    assert (client.socket.written, client.socket.ending) == (b"", "closed")


async def test_pipelined_requests_are_answered_one_after_the_other() -> None:
    client = Client()
    await client.say(get(b"/a") + get(b"/b") + get(b"/c"))
    await asyncio.sleep(0.01)
    assert [each["path"] for each in client.requests] == ["/a", "/b", "/c"]
    assert client.socket.written.count(b"200 OK") == 3


async def test_a_crowd_of_requests_on_one_connection_is_cut_off() -> None:
    client = Client()
    client.answer_now.clear()
    await client.say(get() * (MAX_PIPELINED + 2))
    assert (client.socket.ending, len(client.requests)) == ("closed", 1)


async def test_a_request_that_waits_its_turn_holds_further_reading_back() -> None:
    client = Client()
    client.answer_now.clear()
    await client.say(get() + get())
    assert not client.socket.reading
    client.answer_now.set()
    await asyncio.sleep(0.01)
    assert client.socket.reading


async def test_a_body_that_nobody_reads_is_held_back() -> None:
    client = Client()
    client.protocol.data_received(post(b"content-length: 200000\r\n", b"x" * (PAUSE_ABOVE_BYTES + 1)))
    assert not client.socket.reading
    await client.say(b"x" * (200_000 - PAUSE_ABOVE_BYTES - 1))
    await asyncio.sleep(0.01)
    assert [len(body) for body in client.bodies] == [200_000]
    assert client.socket.reading


async def test_an_upgrade_that_is_offered_is_passed_over_and_the_body_still_read() -> None:
    client = Client()
    offer = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAA\r\ncontent-length: 2\r\n"
    await client.say(post(offer, b"{"))
    await client.say(b"}")
    assert (client.bodies, client.status) == ([b"{}"], 200)


async def test_a_client_that_expects_a_continue_gets_it_before_its_body() -> None:
    client = Client()
    await client.say(post(b"content-length: 2\r\nexpect: 100-continue\r\n"))
    assert client.socket.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.say(b"{}")
    assert (client.bodies, client.status) == ([b"{}"], 200)


async def test_after_the_drain_began_the_answer_under_way_is_the_last() -> None:
    client = Client()
    client.answer_now.clear()
    await client.say(get())
    client.protocol.shutdown()
    assert not client.protocol.idle
    client.answer_now.set()
    await asyncio.sleep(0.01)
    assert (client.status, client.socket.ending) == (200, "closed")


async def test_a_connection_is_idle_between_its_requests() -> None:
    client = Client()
    assert client.protocol.idle
    await client.say(get())
    assert client.protocol.idle
    client.protocol.shutdown()
    await client.say(get())
    assert b"connection: close\r\n" in client.socket.written


@pytest.mark.parametrize(
    "path", [b"/", b"/v1/models/a.b", b"/v1/models/meta%2Fllama", b"/v1/models/qwen3:8b", b"/v1/models/...", b"/a%20b"]
)
def test_ordinary_paths_are_plain(path: bytes) -> None:
    assert path_is_plain(path)


@pytest.mark.parametrize("rest", [b"0\r\nx: " + b"y" * 40_000, b"1;" + b"z" * 40_000])
async def test_trailers_and_chunk_extensions_without_end_are_cut_off(rest: bytes) -> None:
    client = Client()
    await client.say(post(b"transfer-encoding: chunked\r\n") + b"1\r\na\r\n")
    for start in range(0, len(rest), 4096):
        await client.say(rest[start : start + 4096])
    assert not client.is_open


def connection(app: Any, state: ServerState, *, max_connections: int = 8) -> tuple[GatewayProtocol, Socket]:
    """A connection of a server with this application."""
    config = uvicorn.Config(app, interface="asgi3", log_config=None)
    config.load()
    protocol = protocol_for(32 * 1024, max_connections=max_connections)(config, state, {}, asyncio.get_running_loop())
    socket = Socket()
    protocol.connection_made(socket)
    return protocol, socket


async def answer_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


async def test_a_body_that_goes_on_after_its_answer_is_cut_off_in_the_end() -> None:
    protocol, socket = connection(answer_at_once, ServerState())
    protocol.data_received(b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 9000000\r\n\r\n")
    await asyncio.sleep(0.01)
    assert (socket.written[:12], socket.ending) == (b"HTTP/1.1 401", None)
    for _ in range(20):
        protocol.data_received(b"x" * 65_536)
    assert socket.ending == "closed"
    protocol.connection_lost(None)


async def test_a_content_length_of_thousands_of_digits_is_refused() -> None:
    client = Client()
    await client.say(post(b"content-length: " + b"24".rjust(4500, b"0") + b"\r\n"))
    assert (client.status, client.is_open) == (400, False)


async def test_connections_above_the_number_the_process_can_hold_are_cut_off() -> None:
    state = ServerState()
    made = [connection(answer_at_once, state, max_connections=2) for _ in range(3)]
    assert [socket.ending for _, socket in made] == [None, None, "aborted"]
    for protocol, _ in made:
        protocol.connection_lost(None)
