"""One of two endpoints fails in every way there is: no caller notices, it is soon left alone, and it comes back."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from tests.fakes import bodies, turns
from tests.fakes.blackhole import BlackHole
from tests.fakes.client import Answer, ask, ask_many, chat, get, post
from tests.fakes.gateway import RunningGateway, gateway, rule_config
from tests.fakes.script import Fin, Hang, Pause, Recorded, Rst, Script, Send, Step, Turn, event_stream, head
from tests.fakes.upstream import FakeUpstream

REQUESTS = 1000
AT_ONCE = 40
THRESHOLD = 5
OPEN_S = 0.4
MORE = f"""
[breaker]
failure_threshold = {THRESHOLD}
open_seconds = {OPEN_S}
max_open_seconds = {OPEN_S}
[health]
enabled = false
"""

GZIP = Script((Send(head(200, [("content-type", "application/json"), ("content-encoding", "gzip"),
                               ("content-length", "10")]) + b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"),))  # fmt: skip
GZIP_STREAM = event_stream(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", headers=[("content-encoding", "gzip")])


def by_mode(buffered: Turn, streamed: Turn) -> Turn:
    """One way to fail for each way to ask."""

    def turn(request: Recorded) -> Iterable[Step]:
        return (streamed if request.json.get("stream") else buffered)(request)

    return turn


COUNTED: dict[str, Turn] = {
    "reset": Script((Rst(),)),
    "closed": Script((Fin(),)),
    "500": turns.status(500, bodies.error_body()),
    "502": turns.status(502),
    "503": turns.status(503, bodies.error_body(), headers=[("retry-after", "1")]),
    "504": turns.status(504),
    "529": turns.status(529, bodies.error_body(error_type="overloaded_error")),
    "302": turns.redirect("http://127.0.0.1:1/elsewhere", 302),
    "bad_json": by_mode(turns.bad_json(), event_stream(b"data: {bad\n\n")),
    "html_200": turns.html_200(),
    "empty_200": by_mode(turns.empty_200(), turns.empty_stream()),
    "wrong_type": by_mode(event_stream(bodies.chat_chunk(text="x"), bodies.DONE), turns.json_answer()),
    "gzip": by_mode(GZIP, GZIP_STREAM),
    "cut_early": by_mode(turns.cut("mid_body"), turns.cut("after_headers")),
    "reset_early": by_mode(turns.reset("mid_body"), turns.reset("after_headers")),
    "error_event": by_mode(turns.status(500), turns.error_event_first()),
}
"""Ways to fail that the breaker counts and that take no time."""


async def answers_of(running: RunningGateway, *, stream: bool, count: int = REQUESTS) -> list[Answer]:
    """So many answers, every one of them sound."""
    answers = await ask_many(running.port, post(chat(stream=stream)), count=count, at_once=AT_ONCE)
    bad = [answer for answer in answers if not sound(answer, stream=stream)]
    assert bad == []
    assert len(answers) == count
    return answers


def sound(answer: Answer, *, stream: bool) -> bool:
    if answer.status != 200 or not answer.whole:
        return False
    return answer.done if stream else bool(answer.json["choices"])


async def state_of(running: RunningGateway, endpoint: str) -> dict[str, object]:
    models = (await ask(running.port, get("/models"))).json["models"]
    row: dict[str, object] = next(each for each in models if each["name"] == endpoint)
    return row


async def comes_back(running: RunningGateway, healed: FakeUpstream) -> None:
    """The endpoint is asked again by trial, its breaker closes, and it gets its share of requests."""
    async with asyncio.timeout(10):
        while (await state_of(running, "fast-0"))["breaker"] != "closed":
            await answers_of(running, stream=False, count=AT_ONCE)
    seen = len(healed.requests)
    async with asyncio.timeout(10):
        while len(healed.requests) == seen:
            await answers_of(running, stream=False, count=AT_ONCE)


def most_calls(seconds: float) -> int:
    """Failures until the breaker opens, those in flight by then, and one trial after each opening."""
    return THRESHOLD + AT_ONCE + int(seconds / (OPEN_S / 2)) + 1


def two_endpoints(failing: FakeUpstream, sound: FakeUpstream, *, each: str = "", more: str = MORE) -> str:
    return rule_config([failing.base_url, sound.base_url], [sound.base_url], [sound.base_url], each=each, more=more)


async def fails_unnoticed(running: RunningGateway, failing: FakeUpstream, *, stream: bool, count: int) -> None:
    """The failing endpoint costs no caller anything, gets few calls, and takes part again once it has healed."""
    seen, began = len(failing.requests), time.monotonic()
    await answers_of(running, stream=stream, count=count)
    calls = len(failing.requests) - seen
    assert THRESHOLD <= calls <= most_calls(time.monotonic() - began)


class Pair(NamedTuple):
    """A gateway in front of two upstreams."""

    failing: FakeUpstream
    running: RunningGateway


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """One for all tests that leave it as they found it: both endpoints are well at the end."""
    folder = tmp_path_factory.mktemp("pair")
    async with (
        FakeUpstream() as failing,
        FakeUpstream() as good,
        gateway(two_endpoints(failing, good), folder) as running,
    ):
        yield Pair(failing, running)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", COUNTED)
async def test_no_caller_notices_a_failing_endpoint_and_it_comes_back_once_it_has_healed(
    kind: str, shared: Pair
) -> None:
    failing, running = shared
    assert (await state_of(running, "fast-0"))["breaker"] == "closed"
    for stream in (False, True):
        failing.always(COUNTED[kind])
        await fails_unnoticed(running, failing, stream=stream, count=REQUESTS)
        failing.always(turns.good_answer)
        await comes_back(running, failing)


async def test_no_caller_notices_an_endpoint_that_refuses_connections(tmp_path: Path) -> None:
    async with (
        FakeUpstream() as failing,
        FakeUpstream() as good,
        gateway(two_endpoints(failing, good), tmp_path) as running,
    ):
        for stream in (False, True):
            await failing.stop_listening()
            failing.drop_connections()
            seen = len(failing.requests)
            await answers_of(running, stream=stream)
            assert len(failing.requests) == seen
            assert (await state_of(running, "fast-0"))["breaker"] in ("open", "half_open")
            await failing.start_listening()
            await comes_back(running, failing)


@pytest.mark.parametrize("stream", [False, True], ids=["buffered", "streamed"])
async def test_no_caller_notices_an_endpoint_that_hangs(stream: bool, tmp_path: Path) -> None:
    async with FakeUpstream() as failing, FakeUpstream() as good:
        failing.always(turns.hang())
        async with gateway(two_endpoints(failing, good, each="timeout_seconds = 0.5"), tmp_path) as running:
            began = time.monotonic()
            await fails_unnoticed(running, failing, stream=stream, count=REQUESTS)
            assert time.monotonic() - began < 30
            async with asyncio.timeout(2):
                await failing.wait_idle()  # no call that was given up is left open
            failing.always(turns.good_answer)
            await comes_back(running, failing)


@pytest.mark.parametrize("stream", [False, True], ids=["buffered", "streamed"])
async def test_an_endpoint_that_asks_for_a_pause_gets_it_and_its_breaker_stays_closed(
    stream: bool, tmp_path: Path
) -> None:
    async with FakeUpstream() as failing, FakeUpstream() as good:
        failing.always(turns.rate_limited(2))
        async with gateway(two_endpoints(failing, good), tmp_path) as running:
            await answers_of(running, stream=stream)
            row = await state_of(running, "fast-0")
            assert row["breaker"] == "closed"
            # Asked by those in flight at first, and again after each pause of two seconds or more.
            first = failing.requests[0].at
            late = [request.at - first for request in failing.requests if request.at - first > 1.0]
            assert all(at >= 1.9 for at in late)
            assert len(failing.requests) - len(late) <= AT_ONCE
            failing.always(turns.good_answer)
            seen = len(failing.requests)
            async with asyncio.timeout(10):
                while len(failing.requests) < seen + 5:
                    await answers_of(running, stream=stream, count=AT_ONCE)


@pytest.mark.parametrize("stream", [False, True], ids=["buffered", "streamed"])
@pytest.mark.parametrize(
    ("turn", "why"),
    [
        (turns.unauthorized(), "auth_failed"),
        (turns.unauthorized(code=403), "auth_failed"),
        (turns.quota_exhausted(), "quota_exhausted"),
    ],
    ids=["401", "403", "quota"],
)
async def test_an_endpoint_that_refuses_our_account_is_out_and_its_breaker_stays_closed(
    turn: Turn, why: str, stream: bool, tmp_path: Path
) -> None:
    async with FakeUpstream() as failing, FakeUpstream() as good:
        failing.always(turn)
        async with gateway(two_endpoints(failing, good), tmp_path) as running:
            await answers_of(running, stream=stream)
            row = await state_of(running, "fast-0")
            assert (row["breaker"], row["out_because"]) == ("closed", why)
            assert len(failing.requests) <= AT_ONCE


async def test_a_breaker_that_is_half_open_lets_one_call_through_at_a_time(tmp_path: Path) -> None:
    async with FakeUpstream() as failing, FakeUpstream() as good:
        failing.always(turns.status(500))
        async with gateway(two_endpoints(failing, good), tmp_path) as running:
            await answers_of(running, stream=False, count=100)
            slow = Script((Pause(1.0), *turns.json_answer().steps))
            failing.always(slow)
            await asyncio.sleep(OPEN_S + 0.1)
            seen = len(failing.requests)
            await answers_of(running, stream=False, count=200)
            assert len(failing.requests) - seen == 1
            assert (await state_of(running, "fast-0"))["breaker"] == "half_open"


async def test_a_black_hole_costs_the_first_caller_the_connect_limit_and_the_later_ones_nothing(
    tmp_path: Path,
) -> None:
    with BlackHole() as hole:
        async with FakeUpstream() as good:
            each = "connect_seconds = 0.5"
            config = rule_config([hole.base_url, good.base_url], [good.base_url], [good.base_url], each=each, more=MORE)
            config = config.replace("[breaker]", "[breaker]\n", 1).replace(
                f"open_seconds = {OPEN_S}", "open_seconds = 60"
            )
            async with gateway(config, tmp_path) as running:
                began = time.monotonic()
                await answers_of(running, stream=False, count=AT_ONCE)
                assert time.monotonic() - began < 2 * 0.5 + 0.5
                began = time.monotonic()
                await answers_of(running, stream=False, count=10)
                assert time.monotonic() - began < 0.5


async def test_a_hanging_call_is_cut_off_at_its_limit_and_its_socket_closed(tmp_path: Path) -> None:
    async with FakeUpstream() as failing, FakeUpstream() as good:
        failing.always(Script((Hang(),)))
        each = "timeout_seconds = 0.5"
        async with gateway(two_endpoints(failing, good, each=each + "\npriority = 1"), tmp_path) as running:
            while not failing.connections:
                await answers_of(running, stream=True, count=2)
            connection = failing.connections[0]
            await failing.wait_closed(connection, 2)
            assert connection.closed_at is not None
            assert 0.4 < connection.closed_at - connection.opened_at < 1.5
