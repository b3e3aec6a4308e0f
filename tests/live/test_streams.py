"""A stream's bytes survive the gateway, however TCP, chunked coding and the upstream's line ends cut them up."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

import msgspec
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes import bodies, turns
from tests.fakes.client import Client, ask, chat, get, post
from tests.fakes.house import House
from tests.fakes.house import house as build
from tests.fakes.script import Framing, cut_up, framing_fields, head, http_chunk

pytestmark = pytest.mark.asyncio(loop_scope="module")

CASES_PER_SEED = 40
TEXTS = (
    "plain",
    "日本語 Þórður ñ",
    "\u2028 and \u2029 and \u0085 end no line",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467",
    'tab\tquote"back\\slash\r\n',
    "data: {not an event}\n\n",
    "x" * 5000,
    "",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    config = (
        '[[models.fast]]\nname = "asks"\nbase_url = "{fast}"\n'
        '[[models.balanced]]\nname = "quiet"\nbase_url = "{balanced}"\ninclude_usage = false\n'
        '[[models.deep]]\nname = "d"\nbase_url = "{deep}"\n[routing]\nstrategy = "rule"\n'
    )
    async with build(tmp_path_factory.mktemp("streams"), config) as made:
        yield made


@pytest.fixture
def house(running: House) -> Iterator[House]:
    running.forget()
    yield running
    assert [upstream.pending_turns for upstream in running.upstreams] == [0, 0, 0]


class Spelled:
    """A stream as some server would write it: its bytes, and the same without its usage event."""

    def __init__(self, rng: random.Random, *, with_usage: bool) -> None:
        self._rng = rng
        self._ends = rng.choice([[b"\n"], [b"\r\n"], [b"\r"], [b"\n", b"\r\n", b"\r"]])
        blocks = [b"\xef\xbb\xbf" if rng.random() < 0.1 else b"", *self._content()]
        usage = [self._event(usage_chunk())] if with_usage else []
        end = [self._block([b"data: [DONE]"])]
        self.whole = b"".join([*blocks, *usage, *end])
        self.without_usage = b"".join([*blocks, *end])

    def _content(self) -> Iterable[bytes]:
        rng = self._rng
        yield self._event(chunk({"role": "assistant", "content": ""}))
        for _ in range(rng.randrange(1, 8)):
            if rng.random() < 0.3:
                yield self._block([rng.choice([b": ping", b":", b": \xe2\x80\xa8", b"retry: 10", b"id: 7", b"odd"])])
            if rng.random() < 0.1:
                yield self._end()
            yield self._event(chunk({"content": rng.choice(TEXTS)}))
        yield self._event(chunk({}, finish="stop"))

    def _event(self, value: bodies.JsonObject) -> bytes:
        rng = self._rng
        payload = bodies.dump(value)
        data = rng.choice([b"data: ", b"data:"])
        lines = [data + payload]
        if rng.random() < 0.2:  # several data lines are one event, joined by a line feed
            lines = [data + b"{", data + payload[1:-1], data + b"}"]
        if rng.random() < 0.2:
            lines.insert(rng.randrange(len(lines) + 1), rng.choice([b"event: message", b"id: 1", b": inside"]))
        return self._block(lines)

    def _block(self, lines: list[bytes]) -> bytes:
        return b"".join(line + self._end() for line in lines) + self._end()

    def _end(self) -> bytes:
        # A lone CR followed by LF would be one line end, not two, so a mixed stream settles on one end a block.
        return self._ends[0] if len(self._ends) == 1 else self._rng.choice([b"\r\n", b"\n"])


def chunk(delta: bodies.JsonObject, *, finish: str | None = None) -> bodies.JsonObject:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def usage_chunk() -> bodies.JsonObject:
    return {**chunk({}), "choices": [], "usage": bodies.usage_object(13, 8, cached=2)}


def one_byte(data: bytes, rng: random.Random) -> list[bytes]:
    """Each byte on its own; only a stretch of a long stream, or a test would take minutes."""
    at = rng.randrange(max(1, len(data) - 600))
    return [data[:at], *(data[n : n + 1] for n in range(at, min(at + 600, len(data)))), data[at + 600 :]]


def anywhere(data: bytes, rng: random.Random) -> list[bytes]:
    return cut_up(data, [rng.randrange(len(data)) for _ in range(rng.randrange(1, 30))])


def inside_line_ends(data: bytes, rng: random.Random) -> list[bytes]:
    return cut_up(data, [at + 1 for at, byte in enumerate(data) if byte in b"\r\n"][:300])


def inside_characters(data: bytes, rng: random.Random) -> list[bytes]:
    return cut_up(data, [at for at, byte in enumerate(data) if 0x80 <= byte < 0xC0][:300])


def in_one_piece(data: bytes, rng: random.Random) -> list[bytes]:
    return [data]


Cut = Callable[[bytes, random.Random], list[bytes]]
CUTS: tuple[Cut, ...] = (one_byte, anywhere, anywhere, inside_line_ends, inside_characters, in_one_piece)


def wire(body: bytes, rng: random.Random) -> turns.Script:
    """The stream under some framing, cut into HTTP chunks one way and into TCP writes another."""
    framing: Framing = rng.choice(["chunked", "chunked", "length", "close"])
    sent = body
    if framing == "chunked":
        sent = b"".join(http_chunk(piece) for piece in rng.choice(CUTS)(body, rng) if piece) + b"0\r\n\r\n"
    fields = [("content-type", "text/event-stream; charset=utf-8"), *framing_fields(framing, len(body))]
    pieces = rng.choice(CUTS)(head(200, fields) + sent, rng)
    return turns.raw(*[piece for piece in pieces if piece], then=turns.Fin() if framing == "close" else None)


async def streamed(client: Client, request: bytes) -> bytes:
    """The body of a good stream, complete by its framing."""
    answer = await client.ask(request)
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.whole, answer
    return answer.body


@pytest.mark.parametrize("seed", range(6))
async def test_a_stream_loses_nothing_but_the_usage_event_we_asked_for(house: House, seed: int) -> None:
    rng = random.Random(seed)
    async with await Client.connect(house.gateway.port) as client:
        for number in range(CASES_PER_SEED):
            spelled = Spelled(rng, with_usage=True)
            house.fast.enqueue(wire(spelled.whole, rng))
            got = await streamed(client, post(chat(model="fast", stream=True)))
            assert got == spelled.without_usage, (seed, number)
    assert {request.json["stream_options"]["include_usage"] for request in house.fast.requests} == {True}


@pytest.mark.parametrize("seed", range(6, 9))
async def test_a_stream_loses_nothing_for_a_client_that_asked_for_usage(house: House, seed: int) -> None:
    rng = random.Random(seed)
    request = post(chat(model="fast", stream=True, stream_options={"include_usage": True}))
    async with await Client.connect(house.gateway.port) as client:
        for number in range(CASES_PER_SEED):
            spelled = Spelled(rng, with_usage=True)
            house.fast.enqueue(wire(spelled.whole, rng))
            assert await streamed(client, request) == spelled.whole, (seed, number)


@pytest.mark.parametrize("seed", range(9, 11))
async def test_an_endpoint_that_is_not_asked_for_usage_may_still_tell_it(house: House, seed: int) -> None:
    rng = random.Random(seed)
    async with await Client.connect(house.gateway.port) as client:
        for number in range(CASES_PER_SEED):
            spelled = Spelled(rng, with_usage=rng.random() < 0.5)
            house.balanced.enqueue(wire(spelled.whole, rng))
            got = await streamed(client, post(chat(model="quiet", stream=True)))
            assert got == spelled.whole, (seed, number)
    assert {"stream_options" in request.json for request in house.balanced.requests} == {False}


async def test_many_streams_at_once_do_not_mix(house: House) -> None:
    rng = random.Random(11)
    made = {f"stream {number}": Spelled(rng, with_usage=True) for number in range(60)}
    scripts = {name: wire(spelled.whole, rng) for name, spelled in made.items()}
    house.fast.always(lambda request: scripts[request.json["messages"][0]["content"]](request))
    try:
        answers = await asyncio.gather(
            *[ask(house.gateway.port, post(chat(name, model="fast", stream=True))) for name in made]
        )
    finally:
        house.fast.always(turns.good_answer)
    assert [answer.body for answer in answers] == [spelled.without_usage for spelled in made.values()]


async def test_every_event_is_passed_on_before_the_next_one_is_made(house: House) -> None:
    gates = [asyncio.Event() for _ in range(4)]
    events = [bodies.chat_chunk(text=f"{number} \u2028") for number in range(5)]
    gated: list[bytes | turns.Step] = []
    for event, gate in zip(events, gates, strict=False):
        gated += [event, turns.Gate(gate)]
    house.fast.enqueue(turns.event_stream(*gated, events[4], bodies.DONE))
    async with await Client.connect(house.gateway.port) as client:
        client.write(post(chat(model="fast", stream=True)))
        await client.head()
        for event, gate in zip(events, gates, strict=False):
            assert await client.piece() == event
            gate.set()
        assert b"".join([await client.piece(), await client.piece()]) == events[4] + bodies.DONE


async def test_usage_on_other_events_is_not_withheld(house: House) -> None:
    usage = bodies.usage_object(3, 2)
    events = [
        bodies.sse({**chunk({"content": "a"}), "usage": None}),
        bodies.sse({**chunk({"content": "b"}), "usage": usage}),
        bodies.sse({**chunk({}, finish="stop"), "usage": usage}),
        bodies.DONE,
    ]
    house.fast.enqueue(turns.event_stream(*events))
    answer = await house.ask(post(chat(model="fast", stream=True)))
    assert answer.body == b"".join(events)


async def test_a_text_completion_stream_is_passed_on_as_it_came(house: House) -> None:
    row = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
    events = [
        bodies.sse({**row, "choices": [{"index": 0, "text": "日", "finish_reason": None}]}),
        bodies.sse({**row, "choices": [{"index": 0, "text": "\u2028", "finish_reason": "stop"}]}),
    ]
    usage = bodies.sse({**row, "choices": [], "usage": bodies.usage_object(1, 1)})
    house.fast.enqueue(turns.event_stream(*events, usage, bodies.DONE, chunking=turns.every(1)))
    body = msgspec.json.encode({"model": "fast", "prompt": "x", "stream": True})
    answer = await house.ask(post(body, path="/v1/completions"))
    assert answer.body == b"".join([*events, bodies.DONE])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_a_responses_stream_is_passed_on_as_it_came(house: House, size: int) -> None:
    events = bodies.response_events("Reykjavík \u2028 日本語")
    house.fast.enqueue(turns.event_stream(*events, chunking=turns.every(size)))
    body = msgspec.json.encode({"model": "fast", "input": "x", "stream": True})
    answer = await house.ask(post(body, path="/v1/responses"))
    assert answer.body == b"".join(events)
    assert "stream_options" not in house.fast.requests[0].json


async def tokens(house: House, endpoint: str) -> dict[str, float]:
    """What `/metrics` says an endpoint has counted."""
    page = (await house.ask(get("/metrics"))).body.decode()
    return {
        sample.labels["kind"]: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "octoroute_tokens_total" and sample.labels["endpoint"] == endpoint
    }


@pytest.mark.parametrize("options", [None, {"include_usage": True}, {"include_usage": False}])
async def test_usage_is_counted_whoever_gets_to_see_it(house: House, options: dict[str, bool] | None) -> None:
    before = await tokens(house, "fast/asks#1")
    spelled = Spelled(random.Random(12), with_usage=True)
    house.fast.enqueue(turns.event_stream(spelled.whole))
    answer = await house.ask(post(chat(model="fast", stream=True, stream_options=options)))
    shown = options is not None and options["include_usage"]
    assert answer.body == (spelled.whole if shown else spelled.without_usage)
    after = await tokens(house, "fast/asks#1")
    assert {kind: after[kind] - before[kind] for kind in after} == {"prompt": 13, "completion": 8, "cached": 2}
