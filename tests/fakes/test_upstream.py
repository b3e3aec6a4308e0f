"""The scripted upstream does on the wire what its turns say."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.fakes import bodies, turns
from tests.fakes.upstream import FakeUpstream

ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
STREAM = ASK | {"stream": True}


@pytest.fixture
async def up() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
async def client(up: FakeUpstream) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=up.base_url, trust_env=False) as made:
        yield made


async def exchange(up: FakeUpstream, body: bytes = bodies.dump(ASK)) -> bytes:
    """Everything the upstream sends until it closes; ConnectionResetError if it resets."""
    reader, writer = await asyncio.open_connection(up.host, up.port)
    try:
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        return await reader.read(-1)
    finally:
        writer.close()


async def test_turns_are_taken_in_order_and_then_the_default(up: FakeUpstream, client: httpx.AsyncClient) -> None:
    up.enqueue(turns.status(503), turns.json_answer("second"))
    answers = [await client.post("/chat/completions", json=ASK) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 200, 200]
    assert answers[1].json()["choices"][0]["message"]["content"] == "second"
    assert answers[2].json()["model"] == "m"
    up.always(turns.rate_limited(3))
    assert (await client.post("/chat/completions", json=ASK)).headers["retry-after"] == "3"


async def test_requests_are_recorded_as_they_came_on_one_kept_connection(
    up: FakeUpstream, client: httpx.AsyncClient
) -> None:
    await client.post("/chat/completions?x=1", json=ASK, headers={"X-MiXed": "Value"})
    await client.post("/chat/completions", json=ASK)
    first, second = up.requests
    assert (first.method, first.path, first.json) == ("POST", "/v1/chat/completions?x=1", ASK)
    assert (b"X-MiXed", b"Value") in first.headers
    assert first.header("x-mixed") == b"Value"
    assert (first.connection, second.connection, len(up.connections)) == (0, 0, 1)
    assert up.open_connections == 1
    await client.aclose()
    connection = await up.wait_closed(0)
    assert connection.closed_by_peer
    assert connection.requests == 2
    assert up.open_connections == 0


async def test_probes_take_no_turns(up: FakeUpstream, client: httpx.AsyncClient) -> None:
    up.enqueue(turns.status(500))
    listing = await client.get("/models")
    assert listing.json()["data"][0]["id"] == "fake-model"
    up.models_turn = turns.status(500)
    assert (await client.get("/models")).status_code == 500
    assert (up.requests, len(up.probes), up.pending_turns) == ([], 2, 1)


@pytest.mark.parametrize("asked", [True, False])
async def test_a_stream_has_usage_only_when_it_was_asked_for(client: httpx.AsyncClient, asked: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if asked else {}
    answer = await client.post("/chat/completions", json=STREAM | options)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.text.endswith("data: [DONE]\n\n")
    assert ('"usage"' in answer.text) is asked
    assert answer.text.count('"content"') == 4


async def test_the_same_stream_survives_any_chunking(up: FakeUpstream, client: httpx.AsyncClient) -> None:
    up.enqueue(turns.stream_answer("日本", "語"))
    whole = (await client.post("/chat/completions", json=STREAM)).content
    for chunking in ([1, 7, 500, 10_000], turns.every(3), lambda data: [data[:40], data[40:]]):
        up.enqueue(turns.stream_answer("日本", "語", chunking=chunking))
        assert (await client.post("/chat/completions", json=STREAM)).content == whole
    for framing in ("length", "close"):
        up.enqueue(turns.stream_answer("日本", "語", framing=framing))
        assert (await client.post("/chat/completions", json=STREAM)).content == whole


@pytest.mark.parametrize("point", list(turns.Point))
async def test_cut_ends_and_reset_resets_at_every_point(up: FakeUpstream, point: turns.Point) -> None:
    up.enqueue(turns.cut(point, after=2), turns.reset(point, after=2))
    seen = await exchange(up)
    assert b"[DONE]" not in seen
    assert not seen.endswith(b"0\r\n\r\n")
    assert not up.connections[0].closed_by_peer
    if "event" in point or point is turns.Point.MID_CHARACTER:
        assert seen.count(b"part ") == 2
    with pytest.raises(ConnectionResetError):
        await exchange(up)


async def test_a_cut_inside_a_character_leaves_half_of_it(up: FakeUpstream) -> None:
    up.enqueue(turns.cut("mid_character", framing="close"))
    seen = await exchange(up)
    with pytest.raises(UnicodeDecodeError):
        seen.decode()


async def test_hang_and_stall_last_until_the_client_leaves(up: FakeUpstream) -> None:
    up.enqueue(turns.hang(), turns.stall_after(2))
    for number, events in enumerate((0, 3)):
        reader, writer = await asyncio.open_connection(up.host, up.port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}")
        for _ in range(events):
            await reader.readuntil(b"}]}\n\n")
        await up.wait_requests(number + 1)
        assert up.open_connections == 1
        writer.close()
        assert (await up.wait_closed(number)).closed_by_peer


async def test_a_flood_waits_for_its_reader(up: FakeUpstream) -> None:
    up.enqueue(turns.flood(64 * 1024 * 1024))
    reader, writer = await asyncio.open_connection(up.host, up.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}")
    await reader.readexactly(100_000)
    await up.wait_requests(1)
    assert up.connections[0].sent_bytes < 32 * 1024 * 1024
    writer.close()
    await up.wait_idle()


async def test_gates_and_holds_wait_for_the_test(up: FakeUpstream, client: httpx.AsyncClient) -> None:
    begin, go_on = asyncio.Event(), asyncio.Event()
    up.enqueue(turns.hold(turns.stream_answer("one", turns.Gate(go_on), "two"), begin))
    async with asyncio.TaskGroup() as group:
        call = group.create_task(client.post("/chat/completions", json=STREAM))
        await up.wait_requests(1)
        assert not call.done()
        begin.set()
        go_on.set()
    assert call.result().text.index("one") < call.result().text.index("two")


async def test_a_stopped_listener_refuses_and_comes_back_on_its_port(up: FakeUpstream) -> None:
    port = up.port
    await up.stop_listening()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(up.host, port)
    await up.start_listening()
    assert up.port == port
    assert (await _plain_post(up)).startswith(b"HTTP/1.1 200")


async def test_dropping_connections_resets_them(up: FakeUpstream) -> None:
    up.enqueue(turns.hang())
    call = asyncio.ensure_future(exchange(up))
    await up.wait_requests(1)
    up.drop_connections()
    with pytest.raises(ConnectionResetError):
        await call


async def test_bytes_that_are_no_http_are_kept_and_get_no_answer(up: FakeUpstream) -> None:
    _, writer = await asyncio.open_connection(up.host, up.port)
    writer.write(b"\x16\x03\x01\x02\x00hello")
    await writer.drain()
    await up.wait_connections(1)
    writer.close()
    connection = await up.wait_closed(0)
    assert connection.received.startswith(b"\x16\x03\x01")
    assert not connection.spoke_http
    assert connection.sent_bytes == 0


async def test_raw_and_drip_are_byte_exact(up: FakeUpstream, client: httpx.AsyncClient) -> None:
    up.enqueue(turns.raw(b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 2\r\n\r\n", b"hi", then=turns.Fin()))
    assert (await exchange(up)).endswith(b"\r\n\r\nhi")
    up.enqueue(turns.drip(piece_bytes=9, pause_s=0.0))
    assert (await client.post("/chat/completions", json=ASK)).json()["choices"][0]["finish_reason"] == "stop"


async def test_a_broken_script_fails_the_test_that_wrote_it() -> None:
    def broken(request: turns.Recorded) -> tuple[turns.Step, ...]:
        raise ValueError(request.path)

    upstream = await FakeUpstream().__aenter__()
    upstream.enqueue(broken)
    assert await exchange(upstream) == b""
    with pytest.raises(ValueError, match="/v1/chat"):
        await upstream.__aexit__(None, None, None)


async def test_another_loopback_address_can_be_used() -> None:
    async with FakeUpstream("127.0.0.2") as upstream:
        assert upstream.base_url.startswith("http://127.0.0.2:")
        assert (await _plain_post(upstream)).startswith(b"HTTP/1.1 200")


async def _plain_post(up: FakeUpstream) -> bytes:
    reader, writer = await asyncio.open_connection(up.host, up.port)
    try:
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
        return await reader.read(-1)
    finally:
        writer.close()
