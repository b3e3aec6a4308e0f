"""Streams that break after their commit point: whole events, then one error event, then the connection's end."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import psutil
import pytest

from tests.fakes import bodies, turns
from tests.fakes.client import Answer, Client, ask, chat, get, post
from tests.fakes.gateway import RunningGateway, gateway, rule_config
from tests.fakes.script import End, Fin, Framing, Hang, Pause, Rst, Script, Send, Turn, event_stream, head
from tests.fakes.upstream import FakeUpstream

IDLE_S = 0.5
MIB = 1024 * 1024
CONFIG_END = """tier_fallback = "none"
[health]
enabled = false
[breaker]
failure_threshold = 1000
min_requests = 1000
"""
STREAM = post(chat(stream=True))
EVENT = bodies.chat_chunk(text="日本語 part 0")


class Scene:
    """A gateway with one upstream, or two of which the first is preferred."""

    def __init__(self, running: RunningGateway, one: FakeUpstream, two: FakeUpstream) -> None:
        self.running = running
        self.one = one
        self.two = two

    async def broken(self, turn: Turn) -> Answer:
        """What a caller gets of a stream that plays this turn; the connection to the gateway must end after it."""
        self.one.enqueue(turn)
        async with await Client.connect(self.running.port) as client:
            answer = await client.ask(STREAM)
            assert await client.ended(2) == b""
        assert not answer.done
        return answer

    async def failures(self) -> int:
        """Failures in a row as the endpoint's breaker counts them."""
        models = (await ask(self.running.port, get("/models"))).json["models"]
        return int(models[0]["consecutive_failures"])


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with FakeUpstream() as one, FakeUpstream() as two:
        urls = [one.base_url, two.base_url]
        config = rule_config(urls, urls[1:], urls[1:], each=f"idle_seconds = {IDLE_S}", more=CONFIG_END)
        config = config.replace('name = "fast-0"', 'name = "fast-0"\npriority = 9')
        async with gateway(config, tmp_path) as running:
            yield Scene(running, one, two)


async def test_a_stall_ends_with_an_error_event_and_lets_go_of_the_upstream(scene: Scene) -> None:
    began = time.monotonic()
    answer = await scene.broken(turns.stall_after(3))
    took = time.monotonic() - began
    assert IDLE_S <= took <= 2 * IDLE_S
    assert answer.stream_error == "upstream_stalled"
    assert len(answer.events) == 1 + 3 + 1
    await scene.one.wait_closed(0, 1)
    assert await scene.failures() == 1
    assert scene.two.requests == []


async def test_a_caller_of_three_choices_is_told_when_one_of_them_is_cut(scene: Scene) -> None:
    finished = bodies.chat_chunk(finish_reason="stop")
    scene.one.enqueue(event_stream(EVENT, finished))
    answer = await ask(scene.running.port, post(chat(stream=True, n=3)))
    assert answer.stream_error == "upstream_truncated"


async def test_comments_put_a_stall_off_but_not_for_ever(scene: Scene) -> None:
    beats = [step for _ in range(60) for step in (b": still here\n\n", Pause(0.1))]
    began = time.monotonic()
    answer = await scene.broken(event_stream(EVENT, *beats))
    assert answer.stream_error == "upstream_stalled"
    assert 3 * IDLE_S - 0.2 <= time.monotonic() - began <= 2 * 3 * IDLE_S


CUTS: dict[str, Turn] = {
    "fin": turns.cut("after_events", after=3),
    "rst": turns.reset("after_events", after=3),
    "mid_event": turns.cut("mid_event", after=3),
    "mid_event_rst": turns.reset("mid_event", after=3),
    "mid_character": turns.cut("mid_character", after=3),
    "mid_chunk": turns.cut("mid_chunk", after=3),
    "close_framed": turns.cut("after_events", after=3, framing="close"),
    "close_framed_mid_event": turns.cut("mid_event", after=3, framing="close"),
    "close_framed_proper_end": turns.stream_answer("part 0 ", "part 1 ", "part 2 ", framing="close", then=Fin()),
    "length_framed": turns.cut("after_events", after=3, framing="length"),
    "chunked_end_without_done": event_stream(*[bodies.chat_chunk(text=f"part {n} ") for n in range(4)]),
}


async def test_a_cut_stream_gives_every_whole_event_and_no_part_of_one(scene: Scene) -> None:
    for point, turn in CUTS.items():
        answer = await scene.broken(turn)
        assert (point, answer.stream_error) == (point, "upstream_truncated")
        *events, _ = answer.events
        assert len(events) == 4  # the role and three words, or four words
        assert answer.body.startswith(b"data: {")
        assert b"part 2" in events[-1] or b"part 3" in events[-1]
        assert all(event.startswith(b'{"id":"chatcmpl-fake"') and event.endswith(b"}") for event in events)
        assert await scene.failures() == 1  # it had begun well
    assert scene.two.requests == []


async def test_a_cut_right_after_the_head_is_not_noticed(scene: Scene) -> None:
    for failures, turn in enumerate((turns.cut("after_headers"), turns.reset("after_headers")), 1):
        scene.one.enqueue(turn)
        answer = await ask(scene.running.port, STREAM)
        assert answer.status == 200
        assert answer.done
        assert answer.body.count(b"[DONE]") == 1
        assert answer.headers["x-octoroute-attempts"] == "2"
        assert await scene.failures() == failures


DIALECTS: tuple[Literal["openai", "vllm", "anthropic"], ...] = ("openai", "vllm", "anthropic")


async def test_an_error_event_fails_over_at_first_and_is_told_later(scene: Scene) -> None:
    for dialect in DIALECTS:
        scene.one.enqueue(turns.error_event_first(dialect))
        answer = await ask(scene.running.port, STREAM)
        assert answer.done
        assert answer.headers["x-octoroute-attempts"] == "2"
        answer = await scene.broken(turns.error_event_after(3, dialect))
        assert answer.stream_error == "upstream_error"
        assert len(answer.events) == 1 + 3 + 1
        assert await scene.failures() == 1  # the second stream had begun well


NO_OBJECTS = (
    b"data: {bad\n\n",
    b"data: <html>no</html>\n\n",
    b"data: 7\n\n",
    b"data: \xff\xfe\n\n",
    b"data: [1]\n\n",
)


async def test_an_event_that_is_no_json_object_fails_over_at_first_and_ends_the_stream_later(scene: Scene) -> None:
    for bad in NO_OBJECTS:
        scene.one.enqueue(event_stream(bad, EVENT, bodies.DONE))
        answer = await ask(scene.running.port, STREAM)
        assert answer.done
        assert answer.headers["x-octoroute-attempts"] == "2"
        answer = await scene.broken(turns.bad_event_after(3, bad))
        assert answer.stream_error == "upstream_error"
        assert len(answer.events) == 1 + 3 + 1
        assert bad.strip() not in answer.body


ENDS: tuple[End, ...] = (Fin(), Rst(), Hang())
FRAMINGS: tuple[Framing, ...] = ("chunked", "close", "length")


async def test_a_stream_whose_choices_are_all_finished_needs_no_done(scene: Scene) -> None:
    finished = bodies.chat_chunk(finish_reason="stop")
    for framing, end in itertools.product(FRAMINGS, ENDS):
        scene.one.enqueue(event_stream(EVENT, finished, framing=framing, then=end))
        answer = await ask(scene.running.port, STREAM)
        assert answer.whole
        assert answer.body == EVENT + finished, (framing, end)
        assert await scene.failures() == 0


async def test_bytes_after_done_are_nobodys_business(scene: Scene) -> None:
    scene.one.enqueue(event_stream(EVENT, bodies.DONE, b"data: {bad\n\n", then=Rst()))
    answer = await ask(scene.running.port, STREAM)
    assert answer.done
    assert b"bad" not in answer.body
    assert await scene.failures() == 0


async def test_an_answer_in_the_wrong_mode_is_never_passed_on(scene: Scene) -> None:
    scene.one.enqueue(event_stream(EVENT, bodies.DONE), turns.json_answer())
    buffered = await ask(scene.running.port, post(chat()))
    assert buffered.headers["content-type"] == "application/json"
    assert buffered.json["choices"]
    streamed = await ask(scene.running.port, STREAM)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.done
    assert len(scene.two.requests) == 2


LINE = Script((Send(head(200, [("content-type", "text/event-stream"), ("connection", "close")]) + EVENT),))
GIANT_LINE = Script((*LINE.steps, *turns.raw(b'data: {"x":"' + b"y" * (64 * MIB)).steps, Fin()))


async def test_a_giant_line_is_cut_at_its_cap(scene: Scene) -> None:
    process = psutil.Process(scene.running.process.pid)
    before = process.memory_info().rss
    answer = await scene.broken(GIANT_LINE)
    assert answer.stream_error == "upstream_error"
    assert len(answer.events) == 2
    await scene.one.wait_closed(0, 1)
    assert scene.one.connections[0].sent_bytes < 16 * MIB
    assert process.memory_info().rss - before < 3 * 1 * MIB + 8 * MIB


async def test_a_giant_body_is_cut_at_its_cap_and_fails_over(scene: Scene) -> None:
    process = psutil.Process(scene.running.process.pid)
    before = process.memory_info().rss
    piece = b'"' + b"x" * (256 * 1024 - 3) + b'",'
    scene.one.enqueue(turns.flood(1024 * MIB, piece=piece, content_type="application/json"))
    most = before

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    answer = await ask(scene.running.port, post(chat()))
    watching.cancel()
    assert answer.status == 200
    assert answer.headers["x-octoroute-attempts"] == "2"
    await scene.one.wait_closed(0, 1)
    assert scene.one.connections[0].sent_bytes < 80 * MIB
    assert most - before < 3 * 64 * MIB


async def test_a_flood_of_tiny_events_does_not_hold_up_other_streams(scene: Scene) -> None:
    tiny = bodies.chat_chunk(text="x") * 64
    scene.one.enqueue(turns.flood(24 * MIB, piece=tiny))
    scene.two.always(turns.stream_answer(*[word for n in range(40) for word in (f"{n} ", Pause(0.02))]))
    gaps: list[float] = []

    async def other() -> None:
        async with await Client.connect(scene.running.port) as client:
            client.write(post(chat(model="balanced", stream=True)))
            await client.head()
            last = time.monotonic()
            while await client.piece():
                gaps.append(time.monotonic() - last)
                last = time.monotonic()

    async with await Client.connect(scene.running.port) as flooded:
        flooded.write(STREAM)
        await flooded.head()
        reading = asyncio.create_task(flooded.ended(60))
        await other()
        reading.cancel()
        await asyncio.wait((reading,))
    assert len(gaps) > 10  # of 40 events; a busy machine reads several at once
    assert sorted(gaps)[-2] < 2 * 0.25


async def test_heads_that_no_server_should_send_fail_over(scene: Scene) -> None:
    good = bodies.chat_body("hi")
    fields = [("content-type", "application/json"), ("content-length", str(len(good)))]
    for headers in (
        [*fields, ("x-big", "y" * 300_000)],
        [*fields, *[(f"x-{number}", "y") for number in range(1000)]],
        [*fields, ("transfer-encoding", "chunked")],
        [*fields, ("content-length", "1")],
    ):
        scene.one.enqueue(Script((Send(head(200, headers) + good), Fin())))
        answer = await ask(scene.running.port, post(chat()))
        assert answer.status == 200
        assert answer.headers["x-octoroute-attempts"] == "2"


async def test_only_listed_answer_headers_reach_the_caller(scene: Scene) -> None:
    hidden = [("set-cookie", "a=b"), ("server", "secret/1"), ("openai-organization", "org"), ("x-internal-node", "n7")]
    scene.one.enqueue(turns.json_answer(headers=hidden), turns.stream_answer("x", headers=hidden))
    for stream in (False, True):
        answer = await ask(scene.running.port, post(chat(stream=stream)))
        assert answer.status == 200
        assert not {name for name, _ in hidden} & set(answer.headers)
