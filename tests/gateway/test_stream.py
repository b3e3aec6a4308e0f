from functools import partial

import msgspec
import pytest

from octoroute_py.core.words import Surface
from octoroute_py.gateway.stream import KEEP_ALIVE_COMMENT, Relay
from octoroute_py.transport.base import Disconnected
from octoroute_py.transport.faults import Fault, FaultKind, clean_fault
from octoroute_py.transport.stream_scan import StreamScan
from tests.fakes import bodies
from tests.fakes.scripted_transport import SSE, Clock, Part, Quiet, Reply, ScriptedAnswer, repeated

FIRST, NEXT = bodies.chat_chunk(text="He"), bodies.chat_chunk(text="llo")
LAST = bodies.chat_chunk(finish_reason="stop")
USAGE = bodies.usage_chunk(7, 5)
COMMENT = b": thinking\n\n"
KEY = "key-of-the-operator-1234"


class Stream:
    """A relay that has just been committed; `ends` is what it told at its end."""

    def __init__(
        self,
        *parts: Part,
        first: bytes = FIRST,
        silence_s: float = 20.0,
        limit_s: float = 300.0,
        withhold: bool = False,
    ) -> None:
        self.clock = Clock()
        self.ends: list[Fault | None] = []
        self.answer = ScriptedAnswer(self.clock, Reply(200, *parts, headers=SSE))
        self.scan = StreamScan(Surface.CHAT, withhold_usage=withhold)
        self.relay = Relay(
            self.answer,
            self.scan,
            self.scan.feed(first),
            now=self.clock,
            clean=partial(clean_fault, secrets=(KEY, "http://10.9.8.7:8000/v1")),
            silence_s=silence_s,
            deadline_s=self.clock.now + limit_s,
            on_end=self.ends.append,
        )

    async def all(self) -> list[bytes]:
        """Every piece until the end, as a client that takes them at once gets them."""
        pieces = []
        while True:
            pieces.append(await self.relay.next())
            if self.relay.ended:
                return pieces

    @property
    def end(self) -> FaultKind | None:
        """The fault it ended with, None for a whole stream; it must have ended once."""
        (fault,) = self.ends
        return None if fault is None else fault.kind


def code_of(event: bytes) -> str:
    code: str = msgspec.json.decode(event.removeprefix(b"data: "))["error"]["code"]
    return code


async def test_a_whole_stream_is_passed_on_byte_for_byte_and_ends_with_its_last_chunk() -> None:
    stream = Stream(NEXT, LAST, bodies.DONE)
    assert await stream.all() == [FIRST, NEXT, LAST, bodies.DONE]
    assert (stream.end, stream.relay.broken, stream.answer.ending) == (None, False, "finished")
    assert await stream.relay.next() == b""


async def test_a_stream_that_comes_in_one_piece_has_ended_before_its_only_chunk_is_taken() -> None:
    stream = Stream(first=FIRST + LAST + bodies.DONE)
    assert stream.relay.ended
    assert await stream.relay.next() == FIRST + LAST + bodies.DONE
    assert await stream.relay.next() == b""
    assert stream.end is None


async def test_events_are_never_torn() -> None:
    stream = Stream(NEXT[:9], NEXT[9:] + LAST[:3], LAST[3:], bodies.DONE)
    assert await stream.all() == [FIRST, NEXT, LAST, bodies.DONE]


async def test_bytes_after_done_are_dropped() -> None:
    stream = Stream(LAST + bodies.DONE + b"data: {}\n\n", b"data: {}\n\n")
    assert b"".join(await stream.all()) == FIRST + LAST + bodies.DONE
    assert stream.end is None


async def test_an_end_after_every_finish_reason_is_whole_without_done() -> None:
    stream = Stream(LAST)
    assert b"".join(await stream.all()) == FIRST + LAST
    assert (stream.end, stream.answer.ending) == (None, "closed")


async def test_a_stall_after_every_finish_reason_is_whole_too() -> None:
    stream = Stream(LAST, Quiet(1000.0))
    assert await stream.all() == [FIRST, LAST, KEEP_ALIVE_COMMENT, b""]
    assert (stream.end, stream.answer.ending) == (None, "closed")


@pytest.mark.parametrize("cut", [(), (Disconnected("reset"),)], ids=["closed", "reset"])
async def test_an_end_before_that_is_told_as_truncated(cut: tuple[Part, ...]) -> None:
    stream = Stream(NEXT, *cut)
    *passed, error = await stream.all()
    assert passed == [FIRST, NEXT]
    assert code_of(error) == "upstream_truncated"
    assert (stream.end, stream.relay.broken, stream.answer.ending) == (FaultKind.TRUNCATED, True, "closed")
    assert await stream.relay.next() == b""


async def test_an_error_event_is_forwarded_in_our_own_envelope() -> None:
    stream = Stream(NEXT + b'data: {"error":{"message":"GPU lost","code":500}}\n\n')
    *passed, error = await stream.all()
    assert passed == [FIRST, NEXT]
    assert code_of(error) == "upstream_error"
    assert stream.end is FaultKind.SERVER_ERROR


async def test_after_15_s_of_silence_the_client_gets_a_comment() -> None:
    stream = Stream(Quiet(40.0), LAST, bodies.DONE, silence_s=60.0)
    assert await stream.all() == [FIRST, KEEP_ALIVE_COMMENT, KEEP_ALIVE_COMMENT, LAST, bodies.DONE]
    assert stream.clock.now == 1040.0


async def test_silence_beyond_its_limit_is_a_stall() -> None:
    stream = Stream(Quiet(1000.0))
    pieces = await stream.all()
    assert pieces[:2] == [FIRST, KEEP_ALIVE_COMMENT]
    assert code_of(pieces[2]) == "upstream_stalled"
    assert (stream.end, stream.clock.now) == (FaultKind.STALLED, 1020.0)


async def test_a_pause_just_within_the_limit_is_no_stall() -> None:
    stream = Stream(Quiet(19.9), NEXT, Quiet(19.9), LAST, Quiet(19.9), bodies.DONE)
    await stream.all()
    assert stream.end is None


async def test_comments_of_the_upstream_put_a_stall_off_but_not_beyond_three_times_the_limit() -> None:
    stream = Stream(*repeated(Quiet(11.0), COMMENT))
    pieces = await stream.all()
    assert pieces.count(COMMENT) == 5
    assert (stream.end, stream.clock.now) == (FaultKind.STALLED, 1060.0)


async def test_an_upstreams_comments_are_passed_on_and_spare_ours() -> None:
    stream = Stream(Quiet(14.0), COMMENT, Quiet(14.0), LAST, bodies.DONE)
    assert await stream.all() == [FIRST, COMMENT, LAST, bodies.DONE]


async def test_half_an_event_is_life_but_no_event() -> None:
    stream = Stream(*repeated(Quiet(15.0), b"data: {"))
    await stream.all()
    assert (stream.end, stream.clock.now) == (FaultKind.STALLED, 1060.0)


async def test_the_time_a_slow_client_takes_is_not_the_upstreams_silence() -> None:
    stream = Stream(Quiet(19.0), NEXT, LAST, bodies.DONE)
    for expected in (FIRST, KEEP_ALIVE_COMMENT, NEXT, LAST, bodies.DONE):
        stream.clock.now += 50.0
        assert await stream.relay.next() == expected
    assert stream.end is None


async def test_the_deadline_of_the_request_ends_a_stream_that_still_talks() -> None:
    stream = Stream(*repeated(Quiet(10.0), NEXT), limit_s=35.0)
    *_, error = await stream.all()
    assert code_of(error) == "upstream_timeout"
    assert (stream.end, stream.clock.now) == (FaultKind.TIMEOUT, 1035.0)


async def test_a_wait_that_ends_a_millisecond_early_is_a_stall_all_the_same() -> None:
    stream = Stream(Quiet(1000.0), silence_s=10.0)
    await stream.relay.next()
    stream.clock.early_s = 0.001
    assert code_of(await stream.relay.next()) == "upstream_stalled"


async def test_a_usage_event_that_the_client_did_not_ask_for_is_counted_and_withheld() -> None:
    stream = Stream(LAST, USAGE, bodies.DONE, withhold=True)
    assert await stream.all() == [FIRST, LAST, bodies.DONE]
    assert stream.scan.usage is not None
    assert stream.scan.usage.completion == 5


async def test_a_withheld_last_event_ends_the_stream_with_nothing_more() -> None:
    stream = Stream(LAST, USAGE, withhold=True)
    assert await stream.all() == [FIRST, LAST, b""]
    assert stream.end is None


async def test_closing_lets_go_of_the_upstream_once_and_gives_no_verdict() -> None:
    stream = Stream(Quiet(5.0), NEXT)
    await stream.relay.next()
    stream.relay.close()
    stream.relay.close()
    assert stream.ends == [None]
    assert (stream.relay.ended, stream.relay.broken, stream.answer.ending) == (True, False, "closed")
    assert await stream.relay.next() == b""


async def test_closing_after_the_end_changes_nothing() -> None:
    stream = Stream(LAST, bodies.DONE)
    await stream.all()
    stream.relay.close()
    assert (stream.ends, stream.answer.ending) == ([None], "finished")


async def test_an_error_event_of_the_upstream_reaches_the_client_without_its_keys_and_addresses() -> None:
    told = {"message": f"refused by http://10.9.8.7:8000/v1 key {KEY}", "type": "server_error"}
    stream = Stream(b"data: " + msgspec.json.encode({"error": told}) + b"\n\n")
    last = (await stream.all())[-1]
    assert code_of(last) == "upstream_error"
    assert b"10.9.8.7" not in last
    assert KEY.encode() not in last
