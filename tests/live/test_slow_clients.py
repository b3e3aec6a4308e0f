"""Clients that are slow, huge, or try to be taken for two: bounded memory, one clear refusal, a closed connection."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.fakes import turns
from tests.fakes.client import Client, ask, chat, get, post
from tests.fakes.gateway import RunningGateway, gateway, rule_config
from tests.fakes.upstream import FakeUpstream

MIB = 1024 * 1024
HEAD_DEADLINE_S = 10.0
BODY = chat()
LENGTH = f"content-length: {len(BODY)}\r\n".encode()
LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST = b"host: gateway\r\n"
SECOND = b"GET /v1/models HTTP/1.1\r\nhost: gateway\r\n\r\n"


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as up:
        yield up


@pytest.fixture
async def running(upstream: FakeUpstream, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    urls = [upstream.base_url]
    more = '[health]\nenabled = false\n[auth]\nkeys = [{name = "boss", role = "admin", env = "BOSS"}]\n'
    config = rule_config(urls, urls, urls, more=more)
    async with gateway(config, tmp_path, env={"BOSS": "key-of-the-boss-0123456789"}) as started:
        yield started


async def said(running: RunningGateway, request: bytes, timeout_s: float = 5.0) -> bytes:
    """All that the gateway says to these bytes before it closes the connection."""
    async with await Client.connect(running.port) as client:
        client.write(request)
        return await client.ended(timeout_s)


def rss(running: RunningGateway) -> int:
    return int(psutil.Process(running.process.pid).memory_info().rss)


async def test_clients_that_read_slowly_hold_their_upstream_back(
    running: RunningGateway, upstream: FakeUpstream
) -> None:
    upstream.always(turns.flood(400_000_000))
    before = rss(running)
    clients = [await Client.connect(running.port, receive_buffer=4096) for _ in range(5)]
    for client in clients:
        client.write(post(chat(stream=True)))
        await client.head()
    await asyncio.sleep(1.0)
    sent = [connection.sent_bytes for connection in upstream.connections]
    assert max(sent) < 32 * MIB
    grown = rss(running) - before
    await asyncio.sleep(0.5)
    assert [connection.sent_bytes for connection in upstream.connections] == sent  # the senders are blocked
    assert grown < len(clients) * 2 * 2 * MIB
    began = time.monotonic()
    upstream.enqueue(turns.good_answer)
    assert (await ask(running.port, post(BODY))).status == 200
    assert time.monotonic() - began < 0.5
    for client in clients:
        client.abort()
    await asyncio.sleep(0)


async def test_slow_heads_and_half_bodies_do_not_stay_for_ever(running: RunningGateway) -> None:
    async def drip() -> float:
        async with await Client.connect(running.port) as client:
            began = time.monotonic()
            client.write(LINE + HOST)
            closed = asyncio.create_task(client.ended(2 * HEAD_DEADLINE_S))
            while not closed.done():
                client.write(b"x-slow: 1\r\n")
                await asyncio.wait((closed,), timeout=1.0)
            await closed
            return time.monotonic() - began

    async def silent() -> float:
        began = time.monotonic()
        await said(running, b"POST /v1/chat", 2 * HEAD_DEADLINE_S)
        return time.monotonic() - began

    lasted = await asyncio.gather(*[drip() for _ in range(20)], *[silent() for _ in range(20)])
    assert max(lasted) < 2 * HEAD_DEADLINE_S
    assert min(lasted) > 0.9 * HEAD_DEADLINE_S
    assert (await ask(running.port, post(BODY))).status == 200


TOO_MUCH = {
    "20 MB in one field": (LINE + HOST + b"x-big: " + b"y" * 20_000_000 + b"\r\n\r\n", 431),
    "20 MB of fields": (LINE + HOST + b"x-some: y\r\n" * 2_000_000 + b"\r\n", 431),
    "101 fields": (LINE + HOST + LENGTH + b"x-some: y\r\n" * 99 + b"\r\n" + BODY, 431),
    "a long target": (b"GET /v1/models?x=" + b"y" * 10_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "a 1 MB target": (b"GET /v1/models?x=" + b"y" * 1_000_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
    "a long told body": (LINE + HOST + b"content-length: 11000000\r\n\r\n", 413),
    "a chunked long body": (
        LINE + HOST + b"transfer-encoding: chunked\r\n\r\n" + b"100000\r\n%b\r\n" % (b"x" * MIB) * 12 + b"0\r\n\r\n",
        413,
    ),
}


async def test_requests_that_are_too_large_are_refused_before_they_are_held(
    running: RunningGateway, upstream: FakeUpstream
) -> None:
    await ask(running.port, post(BODY))
    before = rss(running)
    for kind, (request, status) in TOO_MUCH.items():
        answer = await said(running, request)
        # Only a body can be left unread for good: its sender may be told by a reset.
        assert answer.startswith(b"HTTP/1.1 %d " % status) or (status == 413 and answer == b""), (kind, answer[:100])
        assert rss(running) - before < 2 * 10 * MIB, kind
    assert len(upstream.requests) == 1


async def test_a_refusal_of_a_long_head_is_told_before_the_connection_is_closed(running: RunningGateway) -> None:
    # Few enough bytes that no reset can overtake the answer.
    for kind in ("101 fields", "a long target", "a long told body"):
        request, status = TOO_MUCH[kind]
        answer = await said(running, request)
        assert answer.startswith(b"HTTP/1.1 %d " % status), (kind, answer[:100])
        assert answer.count(b"connection: close\r\n") == 1
        assert b'{"error":{' in answer
    answer = await said(running, LINE + HOST + b"x-big: " + b"y" * 40_000 + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b'"headers_too_large"' in answer


ANSWER_LINE = re.compile(rb"HTTP/1\.1 [0-9]{3} ")
CHUNKED = b"transfer-encoding: chunked\r\n"
REFUSED = {
    "no host": LINE + LENGTH + b"\r\n" + BODY,
    "two hosts": LINE + HOST + b"host: other\r\n" + LENGTH + b"\r\n" + BODY,
    "two equal hosts": LINE + HOST + HOST + LENGTH + b"\r\n" + BODY,
    "host with a path": LINE + b"host: x/health?\r\n" + LENGTH + b"\r\n" + BODY,
    "host with a fragment": LINE + b"host: x#\r\n" + LENGTH + b"\r\n" + BODY,
    "host with credentials": LINE + b"host: a@b\r\n" + LENGTH + b"\r\n" + BODY,
    "empty host": LINE + b"host:\r\n" + LENGTH + b"\r\n" + BODY,
    "absolute form": b"GET http://other/v1/models HTTP/1.1\r\n" + HOST + b"\r\n",
    "authority form": b"CONNECT gateway:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "length and chunked": LINE + HOST + LENGTH + CHUNKED + b"\r\n0\r\n\r\n" + SECOND,
    "chunked and length": LINE + HOST + CHUNKED + b"content-length: 4\r\n\r\n0\r\n\r\n" + SECOND,
    "chunked in 1.0": LINE.replace(b"1.1", b"1.0") + HOST + CHUNKED + b"\r\n0\r\n\r\n" + SECOND,
    "two lengths": LINE + HOST + LENGTH + b"content-length: 0\r\n\r\n" + BODY,
    "two equal lengths": LINE + HOST + LENGTH + LENGTH + b"\r\n" + BODY,
    "listed lengths": LINE + HOST + b"content-length: 5, 5\r\n\r\nabcde" + SECOND,
    "signed length": LINE + HOST + b"content-length: +5\r\n\r\nabcde" + SECOND,
    "negative length": LINE + HOST + b"content-length: -5\r\n\r\nabcde" + SECOND,
    "hex length": LINE + HOST + b"content-length: 0x5\r\n\r\nabcde" + SECOND,
    "spaced length": LINE + HOST + b"content-length: 1 0\r\n\r\nabcde" + SECOND,
    "empty length": LINE + HOST + b"content-length:\r\n\r\n" + SECOND,
    "huge length": LINE + HOST + b"content-length: 99999999999999999999999\r\n\r\n" + SECOND,
    "chunked, identity": LINE + HOST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SECOND,
    "identity": LINE + HOST + b"transfer-encoding: identity\r\n\r\n" + SECOND,
    "xchunked": LINE + HOST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + SECOND,
    "vertical tab chunked": LINE + HOST + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SECOND,
    "two codings": LINE + HOST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n" + SECOND,
    "folded field": LINE + HOST + b"x-a: b\r\n c\r\n" + LENGTH + b"\r\n" + BODY,
    "folded coding": LINE + HOST + b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "bare LF": b"POST /v1/chat/completions HTTP/1.1\nhost: gateway\n" + LENGTH.replace(b"\r", b"") + b"\n" + BODY,
    "bare LF in a field": LINE + HOST + b"x-a: b\n" + LENGTH + b"\r\n" + BODY,
    "bare CR": LINE + HOST + b"x-a: b\rx: y\r\n" + LENGTH + b"\r\n" + BODY,
    "NUL in a field": LINE + HOST + b"x-a: b\x00c\r\n" + LENGTH + b"\r\n" + BODY,
    "space before the colon": LINE + HOST + b"content-length : 5\r\n\r\nabcde" + SECOND,
    "bad field name": LINE + HOST + b"x(a): b\r\n" + LENGTH + b"\r\n" + BODY,
    "no field name": LINE + HOST + b": b\r\n" + LENGTH + b"\r\n" + BODY,
    "bad chunk size": LINE + HOST + CHUNKED + b"\r\nxyz\r\nabc\r\n0\r\n\r\n" + SECOND,
    "signed chunk size": LINE + HOST + CHUNKED + b"\r\n+5\r\nabcde\r\n0\r\n\r\n" + SECOND,
    "huge chunk size": LINE + HOST + CHUNKED + b"\r\nfffffffffffffffff\r\nabc" + SECOND,
    "bad chunk end": LINE + HOST + CHUNKED + b"\r\n5\r\nabcdeXX0\r\n\r\n" + SECOND,
    "chunk size ended by LF": LINE + HOST + CHUNKED + b"\r\n5\nabcde\r\n0\r\n\r\n" + SECOND,
    "no version": b"GET /v1/models\r\n" + HOST + b"\r\n",
    "odd version": b"GET /v1/models HTTP/1.9\r\n" + HOST + b"\r\n",
    "version 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
}


async def test_requests_that_could_be_read_in_two_ways_get_one_refusal_and_the_connection_ends(
    running: RunningGateway, upstream: FakeUpstream
) -> None:
    wrong = {}
    for kind, request in REFUSED.items():
        answer = await said(running, request)
        if ANSWER_LINE.findall(answer) != [b"HTTP/1.1 400 "] or not answer.startswith(b"HTTP/1.1 400 "):
            wrong[kind] = answer
    assert wrong == {}
    assert upstream.requests == []
    assert (await ask(running.port, post(BODY))).status == 200


async def test_pipelined_requests_are_answered_one_by_one(running: RunningGateway, upstream: FakeUpstream) -> None:
    async with await Client.connect(running.port) as client:
        client.write(post(BODY) + get("/health") + post(BODY) + post(b"{", path="/v1/chat/completions"))
        assert [(await client.answer()).status for _ in range(4)] == [200, 200, 200, 400]
        assert (await client.ask(get("/health"))).status == 200
    assert len(upstream.requests) == 2


SPELLINGS = (
    "//admin/reload",
    "/admin//reload",
    "/admin%2freload",
    "/admin%2Freload",
    "/%61dmin/reload",
    "/v1/../admin/reload",
    "/v1/%2e%2e/admin/reload",
    "/v1/..%2fadmin/reload",
    "/./admin/reload",
    "/admin/reload/",
    "/admin/reload/.",
    "/admin/reload%00",
    "/admin/reload;x",
    "/ADMIN/RELOAD",
    "/admin\\reload",
    "/admin%5creload",
    "/admin/reload#/health",
    "/admin/reload?/health",
    "/health/../admin/reload",
    "/admin/reload",
)


async def test_no_spelling_of_a_guarded_path_goes_past_its_guard(running: RunningGateway) -> None:
    for path in SPELLINGS:
        for method in ("POST", "GET", "PUT"):
            headers = (
                f"host: gateway\r\ncontent-length: 0\r\nx-http-method-override: POST\r\nx-original-url: {path}\r\n"
            )
            answer = await said(running, f"{method} {path} HTTP/1.1\r\n{headers}connection: close\r\n\r\n".encode())
            status = int(answer.split()[1])
            assert status in (400, 401, 404, 405), (method, path, answer[:60])
            assert b"generation" not in answer
    assert "reloaded" not in running.log
