"""What each way an attempt can end is charged for: the table of faults, row by row, to the micro-dollar."""

import asyncio
from typing import Any

import msgspec
import pytest

from octoroute_py.config.schema import RetryConfig
from octoroute_py.core.errors import GatewayError
from octoroute_py.core.usage import Usage
from octoroute_py.core.words import Surface, Tier
from octoroute_py.gateway.charge import charge_answer, charge_stream
from octoroute_py.gateway.context import RequestContext
from octoroute_py.transport.answers import BufferedFacts
from octoroute_py.transport.base import BadFraming, ConnectFailed, Disconnected, NoSocket, TimedOut, TooLarge
from octoroute_py.transport.stream_scan import StreamScan
from tests.fakes import bodies
from tests.fakes.scripted_transport import Never, Part, Quiet, Reply, Turn, repeated
from tests.fakes.stage import Stage, refusal, stream

FAST, DEEP = "fast/a#1", "deep/a#1"
PRICES = {"input_cost_per_mtok": 2.0, "output_cost_per_mtok": 10.0}
DEAR = {"input_cost_per_mtok": 20.0, "output_cost_per_mtok": 100.0}
PROMPT = "x" * 40
ONCE = RetryConfig(max_attempts=1, max_total=1)

THREE = tuple(bodies.chat_chunk(text=text) for text in ("One ", "two ", "three"))
STOP = bodies.chat_chunk(finish_reason="stop")
USED = bodies.usage_chunk(12, 6)

Bill = tuple[Usage | None, bool, int]
"""Tokens, whether any of them is an estimate, micro-USD."""
NOTHING: Bill = (None, False, 0)
PROMPT_ALONE: Bill = (Usage(10), True, 20)
PROMPT_AND_THREE: Bill = (Usage(10, 3), True, 50)
AS_COUNTED: Bill = (Usage(12, 6), False, 84)


def told(prompt: int, completion: int, text: str | None = None) -> bytes:
    """An event with text and a usage so far."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return bodies.sse({"choices": [choice], "usage": bodies.usage_object(prompt, completion)})


def stage(turn: Turn, **each: Any) -> Stage:
    return Stage({FAST: turn}, each={FAST: {**PRICES, **each}}, retry=ONCE)


def context(on: Stage, *, streamed: bool, **body: Any) -> RequestContext:
    return on.context(stream=streamed, messages=[{"role": "user", "content": PROMPT}], **body)


async def serve(on: Stage, ctx: RequestContext) -> None:
    """Run a request to its end, as a client that takes all of it."""
    try:
        sent = await on.run(ctx)
    except GatewayError:
        return
    while sent.relay is not None and not sent.relay.ended:
        await sent.relay.next()


def bill(ctx: RequestContext) -> Bill:
    (attempt,) = ctx.attempts
    assert ctx.cost_uusd == attempt.cost_uusd
    return attempt.usage, attempt.estimated, attempt.cost_uusd


async def billed(turn: Turn, *, streamed: bool, **each: Any) -> Bill:
    on = stage(turn, **each)
    ctx = context(on, streamed=streamed)
    await serve(on, ctx)
    return bill(ctx)


NEVER_SENT_OR_REFUSED = [
    ConnectFailed("refused"),
    NoSocket("none"),
    refusal(429, retry_after="9"),
    refusal(429, code="insufficient_quota"),
    refusal(402),
    refusal(500),
    refusal(502),
    refusal(503),
    refusal(504),
    refusal(529),
    refusal(408),
    refusal(400),
    refusal(400, code="context_length_exceeded"),
    refusal(413),
    refusal(422),
    refusal(401),
    refusal(403),
    refusal(404, code="model_not_found"),
    Reply(302, headers=[(b"location", b"http://elsewhere/")]),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("bills_on_accept", [False, True])
@pytest.mark.parametrize("turn", NEVER_SENT_OR_REFUSED)
async def test_what_was_never_sent_or_was_refused_costs_nothing(
    turn: Turn, bills_on_accept: bool, streamed: bool
) -> None:
    assert await billed(turn, streamed=streamed, bills_on_accept=bills_on_accept) == NOTHING


SILENCE: list[tuple[Turn, bool]] = [
    (Reply(delay_s=900.0), False),
    (Reply(delay_s=900.0), True),
    (stream(Quiet(900.0)), True),
    (stream(*repeated(Quiet(10.0), b": thinking\n\n")), True),
    (Reply(200, b"{", Quiet(900.0)), False),
    (TimedOut("deadline"), False),
    (Disconnected("reset before a head"), False),
    (BadFraming("no HTTP"), True),
]


@pytest.mark.parametrize(("turn", "streamed"), SILENCE)
async def test_silence_costs_the_prompt_where_the_provider_bills_what_it_accepts(turn: Turn, streamed: bool) -> None:
    assert await billed(turn, streamed=streamed) == NOTHING
    assert await billed(turn, streamed=streamed, bills_on_accept=True) == PROMPT_ALONE


ACCEPTED_IN_VAIN: list[tuple[Turn, bool]] = [
    (Reply(200, b"{", Disconnected("cut")), False),
    (Reply(200, b"not json"), False),
    (Reply(200, b"<html>", headers=[(b"content-type", b"text/html")]), False),
    (Reply(200, TooLarge("over the cap")), False),
    (Reply(200, bodies.error_body("boom")), False),
    (Reply(204), False),
    (stream(b": only comments\n\n"), True),
    (stream(b"data: {bad\n\n"), True),
    (stream(b'data: {"error":{"message":"boom"}}\n\n'), True),
    (stream(Disconnected("after the head")), True),
    (Reply(200, bodies.chat_body("Hello.")), True),
]


@pytest.mark.parametrize(("turn", "streamed"), ACCEPTED_IN_VAIN)
async def test_a_200_that_comes_to_nothing_costs_the_prompt(turn: Turn, streamed: bool) -> None:
    assert await billed(turn, streamed=streamed) == PROMPT_ALONE


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "insufficient_quota", "invalid_api_key", "model_not_found"])
async def test_a_refusal_that_comes_as_an_event_of_a_200_costs_nothing(code: str) -> None:
    event = bodies.sse(msgspec.json.decode(bodies.error_body("no", code=code)))
    assert await billed(stream(event), streamed=True, bills_on_accept=True) == NOTHING


BREAKS: list[tuple[Part, ...]] = [
    (Quiet(900.0),),
    (Disconnected("reset"),),
    (),
    (b'data: {"choices":[{"delta":{"content":"fo',),
    (b"data: {bad\n\n",),
    (b"data: " + b"x" * (1024 * 1024 + 8) + b"\n\n",),
    (b'data: {"error":{"message":"boom"}}\n\n',),
    tuple(repeated(Quiet(19.0), b": busy\n\n")),
]


@pytest.mark.parametrize("after", BREAKS)
async def test_a_stream_that_breaks_costs_the_prompt_and_what_was_seen(after: tuple[Part, ...]) -> None:
    assert await billed(stream(*THREE, *after), streamed=True) == PROMPT_AND_THREE


async def test_a_stream_that_outlives_the_request_costs_what_was_seen() -> None:
    on = stage(stream(*repeated(THREE[0], Quiet(9.0))))
    ctx = on.context(stream=True, limit_s=30.0, messages=[{"role": "user", "content": PROMPT}])
    await serve(on, ctx)
    assert (ctx.error_code, bill(ctx)) == ("upstream_timeout", (Usage(10, 4), True, 60))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((told(12, 1, "One "), told(12, 2, "two ")), (Usage(12, 2), False, 44)),
        ((told(12, 9, "One two three"), *THREE), (Usage(12, 9), False, 114)),
        ((told(12, 0), *THREE), (Usage(12, 3), True, 54)),
        ((told(12, 0, "One "),), (Usage(12, 1), True, 34)),
        ((told(0, 0), *THREE), PROMPT_AND_THREE),
        ((told(0, 1, "One "), *THREE), (Usage(10, 4), True, 60)),
    ],
)
async def test_of_running_count_and_last_usage_a_broken_stream_costs_the_larger(
    events: tuple[bytes, ...], expected: Bill
) -> None:
    assert await billed(stream(*events), streamed=True) == expected


@pytest.mark.parametrize(
    ("taken", "expected"),
    [(1, (Usage(10, 1), True, 30)), (3, PROMPT_AND_THREE), (4, PROMPT_AND_THREE), (5, AS_COUNTED)],
)
async def test_a_client_that_leaves_a_stream_pays_for_what_came_and_usage_wins(taken: int, expected: Bill) -> None:
    on = stage(stream(*THREE, STOP, USED, bodies.DONE))
    ctx = context(on, streamed=True, stream_options={"include_usage": True})
    sent = await on.run(ctx)
    assert sent.relay is not None
    for _ in range(taken):
        await sent.relay.next()
    sent.relay.close()
    assert bill(ctx) == expected
    assert (ctx.usage, ctx.estimated) == expected[:2]


@pytest.mark.parametrize("bills_on_accept", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_leaves_before_the_answer_pays_for_the_prompt(
    streamed: bool, bills_on_accept: bool
) -> None:
    never = Never()
    on = stage(never, bills_on_accept=bills_on_accept)
    ctx = context(on, streamed=streamed)
    task = asyncio.create_task(on.run(ctx))
    await asyncio.wait_for(never.waiting.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bill(ctx) == PROMPT_ALONE
    assert ctx.usage is None


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("headers", "expected"), [([], NOTHING), ([(b"x-request-timeout", b"1")], PROMPT_ALONE)])
async def test_a_client_that_would_not_wait_pays_for_the_prompt_too(
    streamed: bool, headers: list[tuple[bytes, bytes]], expected: Bill
) -> None:
    on = stage(TimedOut())
    ctx = on.context(stream=streamed, limit_s=1.0, headers=headers, messages=[{"role": "user", "content": PROMPT}])
    await serve(on, ctx)
    assert bill(ctx) == expected


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_whole_answer_costs_what_the_upstream_counted(streamed: bool) -> None:
    answer = stream(*THREE, STOP, USED, bodies.DONE) if streamed else Reply(200, bodies.chat_body("Hi", usage=(12, 6)))
    assert await billed(answer, streamed=streamed) == AS_COUNTED


@pytest.mark.parametrize(
    ("answer", "streamed", "expected"),
    [
        (stream(*THREE, STOP, bodies.DONE), True, PROMPT_AND_THREE),
        (stream(*THREE, STOP), True, PROMPT_AND_THREE),
        (stream(bodies.chat_chunk(text="y" * 80), STOP, bodies.DONE), True, (Usage(10, 20), True, 220)),
        (Reply(200, bodies.chat_body("y" * 80, usage=None)), False, (Usage(10, 20), True, 220)),
        (Reply(200, bodies.chat_body("y" * 80, usage=(0, 0))), False, (Usage(10, 20), True, 220)),
        (Reply(200, bodies.chat_body("Hi", usage=None)), False, (Usage(10, 1), True, 30)),
        (Reply(200, bodies.chat_body("\u4f60\u597d", usage=None)), False, (Usage(10, 2), True, 40)),
        (Reply(200, bodies.chat_body("", usage=None)), False, PROMPT_ALONE),
    ],
)
async def test_a_whole_answer_that_nobody_counted_is_estimated(answer: Turn, streamed: bool, expected: Bill) -> None:
    assert await billed(answer, streamed=streamed) == expected


async def test_a_whole_stream_costs_its_last_usage_even_if_more_events_came() -> None:
    letters = [bodies.chat_chunk(text=letter) for letter in "abcdefghij"]
    assert await billed(stream(*letters, STOP, USED, bodies.DONE), streamed=True) == AS_COUNTED


async def test_a_usage_told_at_the_start_does_not_stand_for_the_rest() -> None:
    first = told(12, 1, "One ")
    assert await billed(stream(first, *THREE, STOP, bodies.DONE), streamed=True) == (Usage(12, 4), True, 64)


async def test_cached_tokens_have_their_own_price() -> None:
    usage = {"usage": bodies.usage_object(1000, 10, cached=600)}
    answer = Reply(200, bodies.chat_body("Hi", extra=usage))
    cost = 400 * 2 + 300 + 100
    found = await billed(answer, streamed=False, cached_input_cost_per_mtok=0.5)
    assert found == (Usage(1000, 10, 600), False, cost)


async def test_a_request_costs_all_of_its_attempts_each_at_its_own_price() -> None:
    cut = Reply(200, b"{", Disconnected("cut"))
    on = Stage(
        {FAST: cut, "fast/b#1": refusal(503), DEEP: Reply(200, bodies.chat_body("Hi", usage=(12, 6)))},
        each={FAST: PRICES | {"priority": 9}, "fast/b#1": PRICES, DEEP: DEAR},
    )
    ctx = context(on, streamed=False)
    await serve(on, ctx)
    assert [(a.endpoint_id, a.cost_uusd) for a in ctx.attempts] == [(FAST, 20), ("fast/b#1", 0), (DEEP, 840)]
    assert (ctx.cost_uusd, ctx.usage, ctx.estimated, ctx.priced) == (860, Usage(12, 6), False, True)
    assert ctx.baseline_uusd == 840


@pytest.mark.parametrize(
    ("scripts", "tier", "expected"),
    [
        ({FAST: PRICES, DEEP: DEAR}, Tier.FAST, (84, 840)),
        ({FAST: {}, DEEP: DEAR}, Tier.FAST, (0, 840)),
        ({FAST: PRICES, DEEP: {}}, Tier.FAST, (84, 0)),
        ({DEEP: PRICES, "deep/b#1": DEAR | {"priority": 0}}, Tier.DEEP, (84, 84)),
        ({FAST: {}}, Tier.FAST, (0, 0)),
    ],
)
async def test_the_answers_tokens_are_priced_at_deep_too(
    scripts: dict[str, dict[str, Any]], tier: Tier, expected: tuple[int, int]
) -> None:
    answer = Reply(200, bodies.chat_body("Hi", usage=(12, 6)))
    on = Stage(dict.fromkeys(scripts, answer), each=scripts)
    ctx = context(on, streamed=False)
    await on.run(ctx, on.plan(tier))
    assert (ctx.cost_uusd, ctx.baseline_uusd) == expected


async def test_without_an_answer_there_is_no_baseline() -> None:
    on = Stage({FAST: Reply(200, b"no json"), DEEP: refusal(400)}, each={FAST: PRICES, DEEP: DEAR}, retry=ONCE)
    ctx = context(on, streamed=False)
    await serve(on, ctx)
    assert (ctx.cost_uusd, ctx.baseline_uusd, ctx.usage) == (20, 0, None)


def fail() -> int:
    raise AssertionError("the prompt need not be estimated")


def test_the_prompt_is_not_looked_at_where_the_upstream_counted_it() -> None:
    assert charge_answer(BufferedFacts(b"{}", Usage(3, 4)), fail).usage == Usage(3, 4)
    scan = StreamScan(Surface.CHAT, withhold_usage=False)
    scan.feed(told(12, 2, "One"))
    assert charge_stream(scan, fail).usage == Usage(12, 2)
