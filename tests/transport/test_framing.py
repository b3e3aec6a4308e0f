"""Bytes that are no clean HTTP/1.1 answer are refused, and never reach another request."""

import asyncio

import pytest

from octoroute_py.transport.base import BadFraming, TooLarge
from tests.fakes.rawserver import CHUNKED_HEAD, Pause, RawServer, Until, chunk, gone, ok
from tests.fakes.transports import TransportKind, drain, fetch, send, soon


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
