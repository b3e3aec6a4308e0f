"""How a call may end: in time, late, cut off, cancelled, too large, or left alone."""

import asyncio

import pytest

from octoroute_py.transport.base import Disconnected, TimedOut, TooLarge, TransportError
from tests.fakes.rawserver import CHUNKED_HEAD, CLOSE, RESET, Pause, RawServer, Until, chunk, chunked, gone, ok
from tests.fakes.transports import CHAT, TransportKind, drain, fetch, send, soon


async def test_a_body_without_length_that_ends_in_a_reset_is_cut_off(kind: TransportKind, server: RawServer) -> None:
    server.enqueue(b"HTTP/1.1 200 OK\r\n\r\npart", Pause(0.02), RESET)
    transport = kind.make(server.url)
    with pytest.raises(Disconnected):
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


async def test_the_deadline_before_the_head_closes_the_connection(kind: TransportKind, server: RawServer) -> None:
    server.enqueue(Until(asyncio.Event()))
    transport = kind.make(server.url)
    began = asyncio.get_running_loop().time()
    with pytest.raises(TimedOut):
        await send(transport, within_s=0.3)
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
    await fetch(transport, within_s=0.3)
    server.enqueue(Pause(0.4), ok(b"late"))
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


async def test_an_answer_nobody_closed_does_not_keep_its_socket(server: RawServer) -> None:
    server.enqueue(CHUNKED_HEAD, Until(asyncio.Event()))
    transport = TransportKind("wire").make(server.url)
    await send(transport)
    await gone(server, 1)
    await transport.aclose()
