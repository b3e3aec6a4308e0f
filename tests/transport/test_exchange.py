"""What both transports promise about one call and the next, against real sockets."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from octoroute_py.transport.base import (
    BadFraming,
    ConnectFailed,
    Disconnected,
    TimedOut,
    TooLarge,
    TransportError,
    UpstreamAnswer,
    UpstreamRequest,
)
from tests.fakes.rawserver import CLOSE, RESET, Pause, RawServer, Until, chunk, chunked, ok
from tests.fakes.transports import CHAT, TransportKind, fetch, send, soon

CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture(params=["wire", "httpx"])
def kind(request: pytest.FixtureRequest) -> TransportKind:
    return TransportKind(request.param)


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with RawServer() as running:
        yield running


async def gone(server: RawServer, count: int) -> None:
    """Wait until so many connections have been closed by the client."""
    async with asyncio.timeout(3):
        for peer in server.peers[:count]:
            await peer.closed.wait()


async def drain(answer: UpstreamAnswer) -> None:
    """Take chunks to the end."""
    while await answer.chunk(deadline=soon()):
        pass


async def test_a_request_arrives_whole_with_the_fields_of_the_endpoint(kind: TransportKind, server: RawServer) -> None:
    transport = kind.make(server.url)
    request = UpstreamRequest("POST", "/chat/completions", ((b"accept", b"*/*"), (b"x-request-id", b"r1")), b"{}")
    assert await fetch(transport, request) == b"{}"
    await transport.aclose()
    (seen,) = server.requests
    assert seen.line == b"POST /v1/chat/completions HTTP/1.1"
    assert sorted(seen.headers) == [
        (b"accept", b"*/*"),
        (b"accept-encoding", b"identity"),
        (b"authorization", b"Bearer sk-secret"),
        (b"content-length", b"2"),
        (b"host", b"127.0.0.1:%d" % server.port),
        (b"x-request-id", b"r1"),
    ]
    assert seen.body == b"{}"


async def test_a_get_request_works(kind: TransportKind, server: RawServer) -> None:
    transport = kind.make(server.url)
    await fetch(transport, UpstreamRequest("GET", "/models"))
    await transport.aclose()
    assert server.requests[0].line == b"GET /v1/models HTTP/1.1"


async def test_a_large_request_arrives_whole(kind: TransportKind, server: RawServer) -> None:
    transport = kind.make(server.url)
    body = bytes(range(256)) * 4096 * 3
    await fetch(transport, UpstreamRequest("POST", "/chat/completions", body=body))
    await fetch(transport)
    await transport.aclose()
    assert server.requests[0].body == body
    assert len(server.peers) == 1


async def test_status_and_headers_are_as_sent_with_lower_case_names(kind: TransportKind, server: RawServer) -> None:
    server.enqueue(b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 2\r\n\r\nno")
    transport = kind.make(server.url)
    answer = await send(transport)
    assert answer.status == 429
    assert answer.headers == [(b"retry-after", b"7"), (b"x-a", b"1"), (b"x-a", b"2"), (b"content-length", b"2")]
    assert await answer.read(deadline=soon()) == b"no"
    await transport.aclose()


async def test_connections_are_used_again_last_in_first_out(kind: TransportKind, server: RawServer) -> None:
    transport = kind.make(server.url)
    first, second = await send(transport), await send(transport)
    for answer in (first, second):
        await answer.read(deadline=soon())
        answer.close()
    await fetch(transport)
    await fetch(transport)
    await transport.aclose()
    assert [peer.requests for peer in server.peers] == [1, 3]


async def test_a_chunked_body_is_read_whole_and_the_connection_kept(kind: TransportKind, server: RawServer) -> None:
    server.enqueue(chunked(b"one", b"two"))
    server.enqueue(CHUNKED_HEAD, b"3;ext=1\r\nab", Pause(0.01), b"c\r\n0\r\nTrailer: x\r\n\r\n")
    transport = kind.make(server.url)
    assert await fetch(transport) == b"onetwo"
    assert await fetch(transport) == b"abc"
    await transport.aclose()
    assert len(server.peers) == 1


async def test_an_empty_body_and_204_keep_the_connection(kind: TransportKind, server: RawServer) -> None:
    server.enqueue(ok(b""))
    server.enqueue(b"HTTP/1.1 204 No Content\r\n\r\n")
    transport = kind.make(server.url)
    assert [await fetch(transport), await fetch(transport), await fetch(transport)] == [b"", b"", b"{}"]
    await transport.aclose()
    assert len(server.peers) == 1


async def test_a_body_without_length_ends_with_its_connection(kind: TransportKind, server: RawServer) -> None:
    server.enqueue(b"HTTP/1.1 200 OK\r\n\r\npart", Pause(0.01), b"ial", CLOSE)
    transport = kind.make(server.url)
    assert await fetch(transport) == b"partial"
    assert await fetch(transport) == b"{}"
    await transport.aclose()
    assert len(server.peers) == 2


async def test_a_body_without_length_that_ends_in_a_reset_is_cut_off(kind: TransportKind, server: RawServer) -> None:
    server.enqueue(b"HTTP/1.1 200 OK\r\n\r\npart", Pause(0.02), RESET)
    transport = kind.make(server.url)
    with pytest.raises(Disconnected):
        await fetch(transport)
    await transport.aclose()


async def test_connection_close_and_http_10_are_not_kept(kind: TransportKind, server: RawServer) -> None:
    server.enqueue(ok(b"a", b"connection: close\r\n"))
    server.enqueue(b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nb")
    transport = kind.make(server.url)
    assert [await fetch(transport), await fetch(transport), await fetch(transport)] == [b"a", b"b", b"{}"]
    await gone(server, 2)
    await transport.aclose()
    assert len(server.peers) == 3


async def test_interim_answers_are_skipped(kind: TransportKind, server: RawServer) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    server.enqueue(interim, Pause(0.01), interim + ok(b"end"))
    transport = kind.make(server.url)
    answer = await send(transport)
    assert (answer.status, await answer.read(deadline=soon())) == (200, b"end")
    assert b"link" not in dict(answer.headers)
    await fetch(transport)
    await transport.aclose()
    assert len(server.peers) == 1


HEADS_THAT_ARE_REFUSED = {
    "no HTTP": b"hello there, this is no answer\r\n\r\n",
    "another protocol": b"ICE/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    "length and chunked": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x",
    "no number as length": b"HTTP/1.1 200 OK\r\ncontent-length: 2x\r\n\r\n{}",
    "signed length": b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n{}",
    "endless length": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n{}",
    "other transfer coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    "gzip": ok(b"{}", b"content-encoding: gzip\r\n"),
    "status 99": b"HTTP/1.1 099 X\r\ncontent-length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 X\r\ncontent-length: 0\r\n\r\n",
    "space before colon": b"HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\n{}",
    "NUL in a value": ok(b"{}", b"a: b\0c\r\n"),
    "204 with a body": b"HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("head", HEADS_THAT_ARE_REFUSED.values(), ids=HEADS_THAT_ARE_REFUSED.keys())
async def test_a_head_that_is_not_clean_http_is_refused_and_the_connection_closed(
    kind: TransportKind, server: RawServer, head: bytes
) -> None:
    server.enqueue(head)
    transport = kind.make(server.url)
    with pytest.raises(BadFraming):
        await fetch(transport)
    await gone(server, 1)
    assert await fetch(transport) == b"{}"
    await transport.aclose()


@pytest.mark.parametrize("bad", [b"zz\r\nx\r\n", b"-1\r\nx\r\n", b"1\r\nxyz\r\n", b"f" * 25 + b"\r\nx"])
async def test_a_broken_chunk_ends_the_body_badly(kind: TransportKind, server: RawServer, bad: bytes) -> None:
    server.enqueue(CHUNKED_HEAD + chunk(b"good"), Pause(0.02), bad)
    transport = kind.make(server.url)
    answer = await send(transport)
    assert await answer.chunk(deadline=soon()) == b"good"
    with pytest.raises(BadFraming):
        await drain(answer)
    answer.close()
    await gone(server, 1)
    await transport.aclose()


@pytest.mark.parametrize(
    "head",
    [
        ok(b"", b"big: " + b"x" * 300_000 + b"\r\n"),
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: x\r\n" % number for number in range(1000)) + b"\r\n",
        b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" * 5000 + ok(),
    ],
    ids=["one field of 300 KB", "1,000 fields", "endless interim answers"],
)
async def test_a_head_above_its_caps_is_refused(server: RawServer, head: bytes) -> None:
    server.enqueue(head)
    transport = TransportKind("wire").make(server.url)
    with pytest.raises(TooLarge):
        await fetch(transport)
    await gone(server, 1)
    await transport.aclose()


async def test_httpx_refuses_heads_above_the_caps_too(server: RawServer) -> None:
    server.enqueue(ok(b"", b"big: " + b"x" * 300_000 + b"\r\n"))
    server.enqueue(b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: x\r\n" % number for number in range(1000)) + b"\r\n")
    transport = TransportKind("httpx").make(server.url)
    for _ in range(2):
        with pytest.raises((TooLarge, BadFraming)):
            await fetch(transport)
    await transport.aclose()


async def test_endless_trailers_are_cut(server: RawServer) -> None:
    trailer = (b"t: " + b"y" * 30_000 + b"\r\n", Pause(0.001))
    server.enqueue(CHUNKED_HEAD + chunk(b"x") + b"0\r\n", *trailer * 20)
    transport = TransportKind("wire").make(server.url)
    with pytest.raises(TooLarge):
        await fetch(transport)
    await gone(server, 1)
    await transport.aclose()


async def test_a_refused_connection_sends_nothing(kind: TransportKind) -> None:
    async with RawServer() as server:
        url = server.url
    transport = kind.make(url)
    with pytest.raises(ConnectFailed):
        await fetch(transport)
    await transport.aclose()


async def test_a_host_that_does_not_resolve_is_a_connect_failure(kind: TransportKind) -> None:
    transport = kind.make("http://no-such-host.invalid/v1")
    with pytest.raises(ConnectFailed):
        await fetch(transport)
    await transport.aclose()


@pytest.mark.parametrize("cut", [b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n", b""])
@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["close", "reset"])
async def test_a_new_connection_that_dies_before_its_head_is_an_error(
    kind: TransportKind, server: RawServer, cut: bytes, end: object
) -> None:
    server.enqueue(*((cut, Pause(0.01)) if cut else ()), RESET if end is RESET else CLOSE)
    transport = kind.make(server.url)
    with pytest.raises(Disconnected):
        await fetch(transport)
    assert len(server.peers) == 1
    await transport.aclose()


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["close", "reset"])
@pytest.mark.parametrize(
    "head", [ok(b"x" * 100)[:-50], CHUNKED_HEAD + chunk(b"a") + b"9\r\nxx"], ids=["length", "chunked"]
)
async def test_a_body_cut_short_is_an_error_after_the_bytes_that_came(
    kind: TransportKind, server: RawServer, head: bytes, end: object
) -> None:
    for _ in range(2):
        server.enqueue(head, Pause(0.02), RESET if end is RESET else CLOSE)
    transport = kind.make(server.url)
    with pytest.raises(Disconnected):
        await fetch(transport)
    answer = await send(transport)
    assert await answer.chunk(deadline=soon())
    with pytest.raises(Disconnected):
        await drain(answer)
    answer.close()
    await transport.aclose()


async def test_a_kept_connection_that_was_closed_is_replaced_silently(kind: TransportKind, server: RawServer) -> None:
    transport = kind.make(server.url)
    await fetch(transport)
    server.peers[0].hang_up()
    await gone(server, 1)
    assert await fetch(transport) == b"{}"
    await transport.aclose()
    assert [peer.requests for peer in server.peers] == [1, 1]


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["close", "reset"])
async def test_a_kept_connection_that_dies_without_a_byte_is_tried_once_more(
    kind: TransportKind, server: RawServer, end: object
) -> None:
    transport = kind.make(server.url)
    await fetch(transport)
    server.enqueue(RESET if end is RESET else CLOSE)
    assert await fetch(transport) == b"{}"
    server.enqueue(RESET if end is RESET else CLOSE)
    server.enqueue(RESET if end is RESET else CLOSE)
    with pytest.raises(Disconnected):
        await fetch(transport)
    await transport.aclose()
    assert [peer.requests for peer in server.peers] == [2, 2, 1]


async def test_a_kept_connection_that_dies_after_a_byte_is_not_tried_again(server: RawServer) -> None:
    transport = TransportKind("wire").make(server.url)
    await fetch(transport)
    server.enqueue(b"H", Pause(0.01), CLOSE)
    with pytest.raises(Disconnected):
        await fetch(transport)
    await transport.aclose()
    assert len(server.requests) == 2


async def test_bytes_nobody_asked_for_end_a_kept_connection(kind: TransportKind, server: RawServer) -> None:
    transport = kind.make(server.url)
    await fetch(transport)
    server.peers[0].say(ok(b"poison"))
    if kind.name == "wire":
        await gone(server, 1)
    else:
        await asyncio.sleep(0.02)  # httpx looks only when it wants the connection again
    assert await fetch(transport) == b"{}"
    await transport.aclose()
    assert len(server.peers) == 2


@pytest.mark.parametrize("extra", [ok(b"poison"), b"x", b"HTTP/1.1 2"], ids=["answer", "byte", "half an answer"])
async def test_bytes_after_the_end_never_reach_another_request(
    kind: TransportKind, server: RawServer, extra: bytes
) -> None:
    server.enqueue(ok(b"mine") + extra)
    transport = kind.make(server.url)
    if kind.name == "wire":
        with pytest.raises(BadFraming):
            await fetch(transport)
    else:
        assert await fetch(transport) == b"mine"
    assert await fetch(transport) == b"{}"
    await gone(server, 1)
    await transport.aclose()


async def test_a_second_answer_later_in_the_exchange_closes_the_connection(server: RawServer) -> None:
    more = asyncio.Event()
    server.enqueue(CHUNKED_HEAD + chunk(b"a"), Until(more), chunk(b"b") + b"0\r\n\r\n" + ok(b"poison"))
    transport = TransportKind("wire").make(server.url)
    answer = await send(transport)
    assert await answer.chunk(deadline=soon()) == b"a"
    more.set()
    assert await answer.chunk(deadline=soon()) == b"b"
    with pytest.raises(BadFraming):
        await answer.chunk(deadline=soon())
    await gone(server, 1)
    await transport.aclose()


async def test_the_deadline_before_the_head_closes_the_connection(kind: TransportKind, server: RawServer) -> None:
    server.enqueue(Until(asyncio.Event()))
    transport = kind.make(server.url)
    began = asyncio.get_running_loop().time()
    with pytest.raises(TimedOut):
        await send(transport, within_s=0.05)
    assert asyncio.get_running_loop().time() - began < 1
    await gone(server, 1)
    assert await fetch(transport) == b"{}"
    await transport.aclose()


async def test_an_earlier_long_deadline_does_not_delay_a_later_short_one(
    kind: TransportKind, server: RawServer
) -> None:
    transport = kind.make(server.url)
    await fetch(transport, within_s=60)
    server.enqueue(Until(asyncio.Event()))
    began = asyncio.get_running_loop().time()
    with pytest.raises(TimedOut):
        await send(transport, within_s=0.05)
    assert asyncio.get_running_loop().time() - began < 1
    await transport.aclose()


async def test_an_earlier_short_deadline_does_not_cut_a_later_long_one(kind: TransportKind, server: RawServer) -> None:
    transport = kind.make(server.url)
    await fetch(transport, within_s=0.06)
    server.enqueue(Pause(0.12), ok(b"late"))
    assert await fetch(transport) == b"late"
    await transport.aclose()


async def test_the_deadline_in_the_body_closes_the_connection(kind: TransportKind, server: RawServer) -> None:
    server.enqueue(ok(b"x" * 10)[:-5], Until(asyncio.Event()))
    transport = kind.make(server.url)
    answer = await send(transport)
    with pytest.raises(TimedOut):
        await answer.read(deadline=soon(0.05))
    await gone(server, 1)
    with pytest.raises(TransportError):
        await answer.chunk(deadline=soon())
    await transport.aclose()


async def test_a_chunk_that_timed_out_can_be_waited_for_again(kind: TransportKind, server: RawServer) -> None:
    more = asyncio.Event()
    server.enqueue(CHUNKED_HEAD + chunk(b"a"), Until(more), chunk(b"b"), b"0\r\n\r\n")
    transport = kind.make(server.url)
    answer = await send(transport)
    assert await answer.chunk(deadline=soon()) == b"a"
    for _ in range(2):
        with pytest.raises(TimedOut):
            await answer.chunk(deadline=soon(0.02))
    more.set()
    assert await answer.chunk(deadline=soon()) == b"b"
    assert await answer.chunk(deadline=soon()) == b""
    assert await answer.chunk(deadline=soon()) == b""
    answer.close()
    await fetch(transport)
    await transport.aclose()
    assert len(server.peers) == 1


async def test_an_answer_closed_early_takes_its_connection_along(kind: TransportKind, server: RawServer) -> None:
    server.enqueue(CHUNKED_HEAD + chunk(b"a"), Until(asyncio.Event()))
    transport = kind.make(server.url)
    answer = await send(transport)
    answer.close()
    answer.close()
    await gone(server, 1)
    assert await fetch(transport) == b"{}"
    await transport.aclose()


async def test_a_late_close_does_not_touch_the_next_exchange(kind: TransportKind, server: RawServer) -> None:
    transport = kind.make(server.url)
    first = await send(transport)
    await first.read(deadline=soon())
    second = await send(transport)
    first.close()
    first.finish()
    assert await second.read(deadline=soon()) == b"{}"
    await transport.aclose()
    assert len(server.peers) == 1


async def test_finish_waits_for_the_end_and_keeps_the_connection(kind: TransportKind, server: RawServer) -> None:
    more = asyncio.Event()
    server.enqueue(CHUNKED_HEAD + chunk(b"data: [DONE]\n\n"), Until(more), b"0\r\n\r\n", CLOSE)
    server.enqueue(CHUNKED_HEAD + chunk(b"data: [DONE]\n\n"), Until(more), b"0\r\n\r\n")
    transport = kind.make(server.url)
    for _ in range(2):
        more.clear()
        answer = await send(transport)
        await answer.chunk(deadline=soon())
        answer.finish()
        answer.close()
        more.set()
        await asyncio.sleep(0.05)
    assert await fetch(transport) == b"{}"
    await transport.aclose()
    assert [peer.requests for peer in server.peers] == [1, 2]


async def test_finish_gives_up_on_an_end_that_does_not_come(kind: TransportKind, server: RawServer) -> None:
    server.enqueue(CHUNKED_HEAD + chunk(b"data: [DONE]\n\n"), Until(asyncio.Event()))
    transport = kind.make(server.url)
    answer = await send(transport)
    await answer.chunk(deadline=soon())
    answer.finish()
    await gone(server, 1)
    await transport.aclose()


async def test_finish_does_not_swallow_an_endless_rest(kind: TransportKind, server: RawServer) -> None:
    server.enqueue(CHUNKED_HEAD, *[chunk(b"x" * 65536)] * 400)
    transport = kind.make(server.url)
    answer = await send(transport)
    answer.finish()
    await gone(server, 1)
    await transport.aclose()
    assert server.peers[0].sent_bytes < 20_000_000


async def test_a_body_above_its_cap_is_refused(kind: TransportKind, server: RawServer) -> None:
    transport = kind.make(server.url)
    for script in (ok(b"x" * 2000), ok(b"x" * 600_000), chunked(*[b"x" * 100_000] * 6), chunked(b"x" * 2000)):
        server.enqueue(script)
        answer = await send(transport)
        with pytest.raises(TooLarge):
            await answer.read(deadline=soon(), max_bytes=1000)
    await gone(server, 4)
    await transport.aclose()


async def test_a_large_body_is_read_whole(kind: TransportKind, server: RawServer) -> None:
    body = bytes(range(256)) * 10_000
    server.enqueue(ok(body))
    server.enqueue(chunked(body, body))
    transport = kind.make(server.url)
    assert await fetch(transport) == body
    assert await fetch(transport) == body + body
    await transport.aclose()
    assert len(server.peers) == 1


async def test_a_flood_nobody_reads_is_held_back(kind: TransportKind, server: RawServer) -> None:
    piece = chunk(b"x" * 262_144)
    server.enqueue(CHUNKED_HEAD, *[piece] * 256, b"0\r\n\r\n")
    transport = kind.make(server.url)
    answer = await send(transport)
    await asyncio.sleep(0.2)
    held_back_at = server.peers[0].sent_bytes
    assert held_back_at < 20_000_000  # the kernel's buffers and a little of ours
    size = 0
    while data := await answer.chunk(deadline=soon()):
        assert len(data) < 2_000_000
        size += len(data)
    assert size == 256 * 262_144
    await fetch(transport)
    await transport.aclose()
    assert len(server.peers) == 1


async def test_a_cancelled_call_closes_its_connection(kind: TransportKind, server: RawServer) -> None:
    server.enqueue(ok(b"abc")[:-1], Until(asyncio.Event()))
    server.enqueue(CHUNKED_HEAD, Until(asyncio.Event()))
    server.enqueue(Until(asyncio.Event()))
    transport = kind.make(server.url)
    reading = asyncio.create_task((await send(transport)).read(deadline=soon()))
    streaming = asyncio.create_task((await send(transport)).chunk(deadline=soon()))
    waiting = asyncio.create_task(send(transport))
    await asyncio.sleep(0.02)
    for task in (waiting, reading, streaming):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await gone(server, 3)
    assert await fetch(transport) == b"{}"
    await transport.aclose()


async def test_idle_connections_expire(kind: TransportKind, server: RawServer) -> None:
    transport = kind.make(server.url, idle_s=0.05)
    first, second = await send(transport), await send(transport)
    for answer in (first, second):
        await answer.read(deadline=soon())
    await gone(server, 2)
    assert await fetch(transport) == b"{}"
    await transport.aclose()


async def test_a_connection_past_its_age_is_not_kept(kind: TransportKind, server: RawServer) -> None:
    transport = kind.make(server.url, max_age_s=0.0)
    await fetch(transport)
    await fetch(transport)
    await gone(server, 2)
    await transport.aclose()


async def test_only_so_many_connections_are_kept(kind: TransportKind, server: RawServer) -> None:
    transport = kind.make(server.url, max_idle=1)
    first, second = await send(transport), await send(transport)
    for answer in (first, second):
        await answer.read(deadline=soon())
    async with asyncio.timeout(3):
        await server.peers[1].closed.wait()
    assert len(server.open_peers) == 1
    await transport.aclose()


async def test_aclose_ends_idle_connections_now_and_busy_ones_as_they_end(
    kind: TransportKind, server: RawServer
) -> None:
    transport = kind.make(server.url)
    busy, idle = await send(transport), await send(transport)
    await idle.read(deadline=soon())
    await transport.aclose()
    async with asyncio.timeout(3):
        await server.peers[1].closed.wait()
    assert await busy.read(deadline=soon()) == b"{}"
    busy.close()
    await gone(server, 2)
    with pytest.raises(ConnectFailed):
        await send(transport)


async def test_a_header_that_would_break_its_line_is_never_sent(kind: TransportKind, server: RawServer) -> None:
    transport = kind.make(server.url)
    for value in (b"a\r\nx: y", b"a\nb", b"a\0b"):
        with pytest.raises(ValueError, match="line break"):
            await send(transport, UpstreamRequest("POST", "/chat/completions", ((b"x-request-id", value),), b"{}"))
    await transport.aclose()
    assert server.peers == []


async def test_a_path_that_would_break_the_request_line_is_never_sent(server: RawServer) -> None:
    transport = TransportKind("wire").make(server.url)
    for path in ("/a b", "/a\r\nx: y", "/a\0"):
        with pytest.raises(ValueError, match="request line"):
            await send(transport, UpstreamRequest("POST", path))
    assert server.peers == []


async def test_random_cancels_leave_a_working_pool(kind: TransportKind) -> None:
    async with RawServer(delay_s=0.002) as server:
        transport = kind.make(server.url)

        async def cancelled_after(seconds: float) -> None:
            task = asyncio.create_task(fetch(transport, CHAT))
            await asyncio.sleep(seconds)
            task.cancel()
            await asyncio.wait((task,))

        for _ in range(10):
            await asyncio.gather(*[cancelled_after(number * 0.0002) for number in range(30)])
        assert [await fetch(transport) for _ in range(20)] == [b"{}"] * 20
        await transport.aclose()
        async with asyncio.timeout(3):
            for peer in server.peers:
                await peer.closed.wait()
