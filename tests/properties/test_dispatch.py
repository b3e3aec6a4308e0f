"""Whatever endpoints do, a request keeps its promises (contract §3, §5; reliability §1.3)."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.config.schema import BreakerConfig, RoutingConfig, StrategyName, TierFallback
from octoroute_py.core.errors import GatewayError
from octoroute_py.core.words import Tier
from octoroute_py.gateway.attempt import Sent
from octoroute_py.gateway.context import RequestContext
from octoroute_py.gateway.reserve import attempt_reserve_uusd
from octoroute_py.ledger.pricing import cost_uusd, has_prices
from octoroute_py.transport.base import ConnectFailed, Disconnected
from tests.fakes.endpoints import trip
from tests.fakes.scripted_transport import Quiet, Reply, Turn
from tests.fakes.stage import EVENTS, GOOD, Stage, refusal, stream

BUFFERED: list[Turn] = [
    GOOD,
    Reply(200, b"no json"),
    Reply(200, b"{", Disconnected("cut")),
    Reply(delay_s=1e6),
    Reply(302),
]
STREAMED: list[Turn] = [
    stream(),
    stream(EVENTS[0]),
    stream(EVENTS[0], Quiet(1e6)),
    stream(b": comment\n\n"),
    stream(Quiet(1e6)),
]
EITHER: list[Turn] = [
    ConnectFailed("refused"),
    Disconnected("reset"),
    Reply(500, delay_s=7.0),
    refusal(429, retry_after="1"),
    refusal(429, retry_after="90"),
    *(refusal(status) for status in (400, 401, 402, 429, 500, 503)),
    refusal(400, code="context_length_exceeded"),
]
STATES = ["well", "well", "well", "full", "tripped", "cooling"]
SLACK_S = 0.01
STAYS_OPEN = BreakerConfig(open_seconds=1e6, max_open_seconds=1e6)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[dict[str, list[Turn]], dict[str, dict[str, Any]], dict[str, str], bool]:
    """Up to seven endpoints: what each does send by send, how it is configured, and its state at the start."""
    streamed = draw(st.booleans())
    turns = st.sampled_from([*EITHER, *(STREAMED if streamed else BUFFERED)])
    counts = draw(st.tuples(*[st.integers(0, 3)] * 3).filter(any))
    ids = [f"{tier}/{name}#1" for tier, count in zip(Tier, counts, strict=True) for name in "abc"[:count]]
    scripts = {id_: draw(st.lists(turns, min_size=1, max_size=4)) for id_ in ids}
    each = {
        id_: {
            "priority": draw(st.integers(1, 2)),
            "context_window": draw(st.sampled_from([None, 1000, 2000])),
            "timeout_seconds": draw(st.sampled_from([None, 9.0])),
            "max_in_flight": 1,
            "input_cost_per_mtok": draw(st.sampled_from([None, 0.15, 3.0])),
            "output_cost_per_mtok": draw(st.sampled_from([None, 0.6, 15.0])),
            "bills_on_accept": draw(st.booleans()),
        }
        for id_ in ids
    }
    return scripts, each, {id_: draw(st.sampled_from(STATES)) for id_ in ids}, streamed


def set_up(stage: Stage, states: dict[str, str]) -> int:
    """Bring the endpoints into their states; how many places are held by others."""
    held = 0
    for id_, state in states.items():
        if state == "full":
            stage[id_].begin(stage.clock.now)
            held += 1
        elif state == "tripped":
            trip(stage[id_], stage.clock.now)
        elif state == "cooling":
            stage[id_].cool_down(stage.clock.now, 1.5)
    return held


async def run(stage: Stage, ctx: RequestContext, tier: Tier) -> str:
    """How the request ended."""
    try:
        sent = await stage.run(ctx, stage.plan(tier))
    except GatewayError as error:
        told = error
    else:
        return await read(sent)
    assert told.status in {400, 429, 502, 503, 504}
    assert (told.retry_after_s is not None and told.retry_after_s >= 1.0) == (told.status in {429, 503})
    return "error"


async def read(sent: Sent) -> str:
    """Take a committed answer to its end."""
    if sent.relay is not None:
        assert sent.whole is None
        while not sent.relay.ended:
            await sent.relay.next()
        return "broken stream" if sent.relay.broken else "stream"
    assert sent.whole is not None
    return "answer"


def check_order(stage: Stage, ctx: RequestContext, states: dict[str, str], tiers: tuple[Tier, ...]) -> None:
    """No endpoint is asked twice while one that was well from the start, and that could serve it, was never asked."""
    asked = [attempt.endpoint_id for attempt in ctx.attempts]
    per_tier = {tier: sum(attempt.tier is tier for attempt in ctx.attempts) for tier in Tier}
    assert len(asked) == ctx.sends <= 4
    assert max(per_tier.values()) <= 3
    assert not [id_ for id_ in asked if states[id_] in {"full", "tripped"}]
    so_far: dict[Tier, int] = dict.fromkeys(Tier, 0)
    for at, (id_, attempt) in enumerate(zip(asked, ctx.attempts, strict=True)):
        if id_ in asked[:at]:
            left = [
                other
                for other, state in states.items()
                if state == "well"
                and other not in asked[:at]
                and stage[other].tier in tiers
                and so_far[stage[other].tier] < 3
            ]
            assert left == []
        so_far[attempt.tier] += 1


def check_money(stage: Stage, ctx: RequestContext, end: str) -> None:
    """Every attempt costs what its tokens do at its own prices, the request all of them, and answers have tokens."""
    for attempt in ctx.attempts:
        config = stage[attempt.endpoint_id].config
        paid_uusd = 0 if attempt.usage is None else cost_uusd(config, attempt.usage)
        assert attempt.cost_uusd == paid_uusd
        if attempt.estimated:
            assert paid_uusd <= attempt_reserve_uusd(ctx, (config,))
    assert ctx.cost_uusd == sum(attempt.cost_uusd for attempt in ctx.attempts)
    assert ctx.priced == any(has_prices(stage[attempt.endpoint_id].config) for attempt in ctx.attempts)
    if end == "error":
        assert (ctx.usage, ctx.baseline_uusd) == (None, 0)
    else:
        answered = ctx.attempts[-1]
        assert (ctx.usage, ctx.estimated) == (answered.usage, answered.estimated)
        assert answered.usage is not None


@settings(max_examples=300, deadline=None)
@given(
    fleet=fleets(),
    tier=st.sampled_from(Tier),
    fallback=st.sampled_from(TierFallback),
    limit_s=st.sampled_from([None, 0.02, 1.0, 20.0]),
    seed=st.integers(0, 3),
)
def test_a_request_ends_once_within_its_sends_and_gives_everything_back(
    fleet: tuple[dict[str, list[Turn]], dict[str, dict[str, Any]], dict[str, str], bool],
    tier: Tier,
    fallback: TierFallback,
    limit_s: float | None,
    seed: int,
) -> None:
    scripts, each, states, streamed = fleet
    routing = RoutingConfig(strategy=StrategyName.RULE, tier_fallback=fallback)

    async def play() -> None:
        stage = Stage(scripts, each=each, routing=routing, breaker=STAYS_OPEN, seed=seed)
        held = set_up(stage, states)
        ctx = stage.context(stream=streamed, limit_s=limit_s)
        end = await asyncio.wait_for(run(stage, ctx, tier), 5)
        assert (end in {"answer", "stream"}) == (bool(ctx.attempts) and ctx.attempts[-1].fault is None)
        assert stage.holds == held
        assert stage.clock.now <= ctx.deadline_s + SLACK_S
        check_order(stage, ctx, states, stage.plan(tier).tiers)
        check_money(stage, ctx, end)

    asyncio.run(play())
