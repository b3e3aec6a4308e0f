"""What the simulator's connections do with clients that break the rules."""

import asyncio

from octoroute_py.simulator.server import Simulator
from octoroute_py.simulator.wire import MAX_BODY_BYTES, MAX_HEAD_BYTES

BODY = b'{"model":"sim-test","messages":[{"role":"user","content":"x"}]}'


async def talk(simulator: Simulator, *sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    try:
        for data in sent:
            writer.write(data)
        async with asyncio.timeout(5):
            return await reader.read(-1)
    finally:
        writer.close()


async def test_bytes_that_are_no_http_get_a_400(simulator: Simulator) -> None:
    assert (await talk(simulator, b"\x16\x03\x01hello\r\n\r\n")).startswith(b"HTTP/1.1 400 Bad Request")


async def test_a_head_without_end_is_refused(simulator: Simulator) -> None:
    answer = await talk(simulator, b"GET /v1/models HTTP/1.1\r\nx: " + b"y" * (MAX_HEAD_BYTES + 10_000))
    assert answer.startswith(b"HTTP/1.1 431")


async def test_a_body_above_the_cap_is_refused(simulator: Simulator) -> None:
    head = b"POST /v1/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (MAX_BODY_BYTES * 2)
    assert (await talk(simulator, head, b" " * (MAX_BODY_BYTES + 1))).startswith(b"HTTP/1.1 413")


async def test_requests_sent_together_are_answered_in_order(simulator: Simulator) -> None:
    post = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
    last = b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n"
    answer = await talk(simulator, post + post + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.endswith(b'{"status":"ok"}')


async def test_far_too_many_requests_at_once_end_the_connection(simulator: Simulator) -> None:
    hang = BODY.replace(b"sim-test", b"sim-test:hang")
    post = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(hang), hang)
    assert await talk(simulator, post * 40) == b""


async def test_an_old_client_gets_a_stream_without_chunks(simulator: Simulator) -> None:
    asked = BODY[:-1] + b',"stream":true}'
    answer = await talk(
        simulator, b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n%b" % (len(asked), asked)
    )
    assert b"transfer-encoding" not in answer
    assert answer.endswith(b"data: [DONE]\n\n")
