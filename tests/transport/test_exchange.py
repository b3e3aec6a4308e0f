"""What both transports promise about one call and the next, against real sockets."""

import asyncio
import contextlib
import os
import resource
from collections.abc import Iterator

import pytest

from octoroute_py.transport.base import ConnectFailed, NoSocket, UpstreamRequest
from tests.fakes.rawserver import CHUNKED_HEAD, CLOSE, Pause, RawServer, chunked, gone, ok
from tests.fakes.transports import TransportKind, fetch, send, soon


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


async def test_connection_close_and_http_10_are_not_kept(kind: TransportKind, server: RawServer) -> None:
    server.enqueue(ok(b"a", b"connection: close\r\n"))
    server.enqueue(b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nb")
    transport = kind.make(server.url)
    assert [await fetch(transport), await fetch(transport), await fetch(transport)] == [b"a", b"b", b"{}"]
    await gone(server, 2)
    await transport.aclose()
    assert len(server.peers) == 3


async def test_a_refused_connection_sends_nothing(kind: TransportKind) -> None:
    async with RawServer() as server:
        url = server.url
    transport = kind.make(url)
    with pytest.raises(ConnectFailed):
        await fetch(transport)
    await transport.aclose()


@contextlib.contextmanager
def out_of_descriptors() -> Iterator[None]:
    """As if everything this process may open were open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)


async def test_our_own_lack_of_sockets_is_told_apart_from_an_upstream_that_is_down(
    kind: TransportKind, server: RawServer
) -> None:
    transport = kind.make(server.url)
    with out_of_descriptors(), pytest.raises(NoSocket):
        await fetch(transport)
    assert await fetch(transport) == b"{}"
    await transport.aclose()


async def test_a_host_that_does_not_resolve_is_a_connect_failure(kind: TransportKind) -> None:
    transport = kind.make("http://no-such-host.invalid/v1")
    with pytest.raises(ConnectFailed):
        await fetch(transport)
    await transport.aclose()


async def test_a_kept_connection_that_was_closed_is_replaced_silently(kind: TransportKind, server: RawServer) -> None:
    transport = kind.make(server.url)
    await fetch(transport)
    server.peers[0].hang_up()
    await gone(server, 1)
    assert await fetch(transport) == b"{}"
    await transport.aclose()
    assert [peer.requests for peer in server.peers] == [1, 1]


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


async def test_an_answer_before_the_request_was_read_is_taken_but_not_its_connection() -> None:
    async with RawServer(reads_bodies=False, default=b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno") as server:
        transport = TransportKind("wire").make(server.url)
        big = UpstreamRequest("POST", "/chat/completions", body=b"x" * 10_000_000)
        assert [await fetch(transport, big), await fetch(transport, big)] == [b"no", b"no"]
        assert len(server.peers) == 2
        await transport.aclose()
