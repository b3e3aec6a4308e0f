"""What one attempt means for its endpoint, and what it sends and commits to."""

import asyncio
from typing import Any

import msgspec
import pytest

from octoroute_py.config.schema import BreakerConfig
from octoroute_py.core.errors import GatewayError
from octoroute_py.gateway.attempt import MAX_UNCOMMITTED_BYTES
from octoroute_py.tiers.live import Unavailability
from octoroute_py.transport.base import BadFraming, ConnectFailed, Disconnected, TimedOut, TooLarge
from tests.fakes import bodies
from tests.fakes.scripted_transport import JSON, SSE, Never, Quiet, Reply, Turn, repeated
from tests.fakes.stage import ANSWER, EVENTS, GOOD, Stage, refusal, stream

FAST = "fast/a#1"


async def failures_after(turn: Turn, *, streamed: bool = False, **each: Any) -> tuple[int, Stage]:
    """The breaker's count after a request whose only endpoint did this every time, once a send."""
    stage = Stage({FAST: turn}, each={FAST: each}, breaker=BreakerConfig(failure_threshold=100, min_requests=100))
    ctx = stage.context(stream=streamed)
    with pytest.raises(GatewayError):
        await stage.run(ctx)
    assert stage.holds == 0
    assert len(ctx.attempts) == ctx.sends
    return stage[FAST].breaker.consecutive_failures - (ctx.sends - 1), stage


@pytest.mark.parametrize(
    "turn",
    [
        ConnectFailed("refused"),
        Disconnected("reset"),
        BadFraming("no HTTP"),
        TooLarge("head"),
        refusal(500),
        refusal(502),
        refusal(503),
        refusal(504),
        refusal(529),
        refusal(408),
        Reply(302, headers=[(b"location", b"http://elsewhere/")]),
        Reply(200, b"not json"),
        Reply(200, b"[]"),
        Reply(200, b"{", Disconnected("cut")),
        Reply(204),
    ],
)
async def test_what_speaks_against_the_endpoint_is_a_failure_each_time(turn: Turn) -> None:
    assert (await failures_after(turn))[0] == 1


@pytest.mark.parametrize(
    "turn",
    [
        Reply(200, b"{}", headers=JSON),
        stream(),
        stream(b": only\n\n", b": comments\n\n"),
        stream(b"data: no json\n\n"),
        stream(b'data: {"error":{"message":"boom"}}\n\n'),
        stream(b": still thinking\n\n", Disconnected("cut")),
    ],
)
async def test_before_the_commit_point_a_stream_fails_over_like_a_buffered_call(turn: Reply) -> None:
    if turn.parts == EVENTS:
        turn = Reply(200, *EVENTS, headers=[(b"content-type", b"text/html")])
    assert (await failures_after(turn, streamed=True))[0] == 1


@pytest.mark.parametrize(
    ("turn", "out"),
    [
        (refusal(401), Unavailability.AUTH),
        (refusal(403), Unavailability.AUTH),
        (refusal(404, code="model_not_found"), Unavailability.AUTH),
        (refusal(402), Unavailability.QUOTA),
        (refusal(429, code="insufficient_quota"), Unavailability.QUOTA),
        (refusal(429, retry_after="9"), Unavailability.COOLDOWN),
        (refusal(400), None),
        (refusal(422), None),
    ],
)
async def test_what_speaks_against_key_quota_or_request_takes_it_out_or_nothing_and_is_no_failure(
    turn: Turn, out: Unavailability | None
) -> None:
    failures, stage = await failures_after(turn)
    assert failures == 0
    assert stage[FAST].unavailable(stage.clock.now) is out


@pytest.mark.parametrize(("retry_after", "at_least"), [("9", 9.0), ("100000", 300.0)])
async def test_a_rate_limit_is_kept_with_jitter_and_within_five_minutes(retry_after: str, at_least: float) -> None:
    _, stage = await failures_after(refusal(429, retry_after=retry_after))
    wait_s = stage[FAST].eligible_at(stage.clock.now) - stage.transports[FAST].sends[-1]
    assert at_least <= wait_s <= min(1.25 * at_least, 300.0) + 0.1


async def test_an_upstream_that_had_its_whole_limit_failed() -> None:
    assert (await failures_after(Reply(delay_s=90.0), timeout_seconds=5.0))[0] == 1
    assert (await failures_after(stream(Quiet(90.0)), streamed=True, timeout_seconds=5.0))[0] == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_upstream_that_the_requests_own_deadline_cut_short_did_not_fail(streamed: bool) -> None:
    stage = Stage({FAST: Reply(delay_s=90.0)}, each={FAST: {"timeout_seconds": 5.0}})
    with pytest.raises(GatewayError) as caught:
        await stage.run(stage.context(stream=streamed, limit_s=4.0))
    assert caught.value.status == 504
    assert stage[FAST].breaker.consecutive_failures == 0


async def test_a_time_out_of_the_transport_itself_is_one_too() -> None:
    assert (await failures_after(TimedOut("deadline")))[0] == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_cancelled_attempt_is_no_verdict(streamed: bool) -> None:
    never = Never()
    stage = Stage({FAST: never})
    ctx = stage.context(stream=streamed)
    task = asyncio.create_task(stage.run(ctx))
    await asyncio.wait_for(never.waiting.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (stage[FAST].breaker.consecutive_failures, stage.holds) == (0, 0)
    assert [(attempt.status, attempt.fault) for attempt in ctx.attempts] == [(None, None)]


async def test_a_buffered_answer_is_read_whole_and_its_usage_kept() -> None:
    stage = Stage({FAST: Reply(200, ANSWER[:9], ANSWER[9:])})
    ctx = stage.context()
    sent = await stage.run(ctx)
    assert sent.whole is not None
    assert sent.whole.body == ANSWER
    assert ctx.usage is not None
    assert (ctx.usage.prompt, ctx.usage.completion) == (7, 5)
    assert stage.transports[FAST].answers[0].ending == "closed"


async def test_a_stream_holds_its_place_until_the_relay_ends() -> None:
    stage = Stage({FAST: stream(b": hello\n\n", Quiet(2.0), *EVENTS)})
    ctx = stage.context(stream=True)
    sent = await stage.run(ctx)
    assert sent.relay is not None
    assert ctx.first_event_s == 2.0
    assert (stage[FAST].in_flight, ctx.attempts) == (1, [])
    got = b""
    while not sent.relay.ended:
        got += await sent.relay.next()
    assert got == b": hello\n\n" + b"".join(EVENTS)
    assert stage.holds == 0
    (attempt,) = ctx.attempts
    assert (attempt.endpoint_id, attempt.status, attempt.fault) == (FAST, 200, None)


async def test_a_stream_that_breaks_after_its_success_adds_a_failure() -> None:
    stage = Stage({FAST: stream(EVENTS[0])})
    ctx = stage.context(stream=True)
    sent = await stage.run(ctx)
    assert sent.relay is not None
    while not sent.relay.ended:
        await sent.relay.next()
    assert stage[FAST].breaker.consecutive_failures == 1
    assert (ctx.broken_stream, ctx.error_code, ctx.attempts[0].fault) == (True, "upstream_truncated", "truncated")


async def test_a_stream_that_outlives_the_request_is_no_failure_of_its_endpoint() -> None:
    stage = Stage({FAST: stream(*repeated(EVENTS[0], Quiet(9.0)))})
    ctx = stage.context(stream=True, limit_s=30.0)
    sent = await stage.run(ctx)
    assert sent.relay is not None
    while not sent.relay.ended:
        await sent.relay.next()
    assert (ctx.error_code, stage[FAST].breaker.consecutive_failures) == ("upstream_timeout", 0)


async def test_a_client_that_leaves_a_stream_costs_its_endpoint_nothing() -> None:
    stage = Stage({FAST: stream(*EVENTS)})
    ctx = stage.context(stream=True)
    sent = await stage.run(ctx)
    assert sent.relay is not None
    sent.relay.close()
    assert (stage.holds, stage[FAST].breaker.consecutive_failures, ctx.broken_stream) == (0, 0, False)
    assert stage.transports[FAST].answers[0].ending == "closed"


async def test_the_wait_for_the_first_event_ends_at_the_limit_of_a_stream() -> None:
    stage = Stage({FAST: stream(*repeated(Quiet(4.0), b": thinking\n\n")), "deep/a#1": stream()})
    began = stage.clock.now
    await stage.run(stage.context(stream=True))
    assert stage.transports["deep/a#1"].sends[0] - began == pytest.approx(15.0, abs=0.1)


async def test_endless_comments_before_the_first_event_are_given_up() -> None:
    piece = b":" + b"x" * 65_000 + b"\n\n"
    failures, _ = await failures_after(stream(*[piece] * (2 * MAX_UNCOMMITTED_BYTES // len(piece))), streamed=True)
    assert failures == 1


async def test_a_buffered_error_in_json_where_a_stream_was_asked_for_says_what_it_is() -> None:
    error = Reply(200, bodies.error_body("slow down", code="rate_limit_exceeded"), headers=JSON)
    stage = Stage({FAST: error})
    with pytest.raises(GatewayError) as caught:
        await stage.run(stage.context(stream=True, limit_s=0.5))
    assert caught.value.code == "rate_limit_exceeded"


async def test_the_upstream_gets_the_request_with_its_own_model_and_our_headers_only() -> None:
    stage = Stage({FAST: GOOD}, each={FAST: {"model": "qwen3:8b", "max_tokens": 50}})
    headers = [(b"authorization", b"Bearer client"), (b"cookie", b"a=b"), (b"openai-beta", b"x"), (b"host", b"h")]
    ctx = stage.context(headers=headers, max_tokens=90, octoroute={"tag": "t"}, seed=1)
    await stage.run(ctx)
    (request,) = stage.transports[FAST].requests
    assert (request.method, request.path) == ("POST", "/chat/completions")
    assert dict(request.headers) == {b"accept": b"application/json", b"x-request-id": b"req-1", b"openai-beta": b"x"}
    assert msgspec.json.decode(request.body) == {
        "model": "qwen3:8b",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": False,
        "max_tokens": 50,
        "seed": 1,
    }
    assert ctx.warnings == ["max_tokens lowered from 90 to 50"]


async def test_a_stream_asks_for_events_and_for_its_usage() -> None:
    stage = Stage({FAST: stream()})
    sent = await stage.run(stage.context(stream=True))
    assert sent.headers == SSE
    (request,) = stage.transports[FAST].requests
    assert dict(request.headers)[b"accept"] == b"text/event-stream"
    assert msgspec.json.decode(request.body)["stream_options"] == {"include_usage": True}
    assert sent.relay is not None
    sent.relay.close()


async def test_only_the_answer_that_was_taken_leaves_its_warning() -> None:
    stage = Stage({FAST: refusal(500), "deep/a#1": GOOD}, each={FAST: {"max_tokens": 50}})
    ctx = stage.context(max_tokens=90)
    await stage.run(ctx)
    assert ctx.warnings == []
