"""Which endpoint is asked when, and what a client is told when nobody answers (contract §5, reliability §1.3)."""

import asyncio
import random
from typing import Any

import pytest

from octoroute_py.config.schema import BreakerConfig, RetryConfig, RoutingConfig, StrategyName, TierFallback
from octoroute_py.core.errors import GatewayError
from octoroute_py.core.words import Reason, Tier
from octoroute_py.gateway.dispatch import FAILOVER_JITTER_S, Dispatcher
from octoroute_py.tiers.live import Unavailability
from octoroute_py.transport.base import ConnectFailed, Disconnected
from tests.fakes.endpoints import trip
from tests.fakes.scripted_transport import Never, Reply
from tests.fakes.stage import ANSWER, GOOD, Stage, refusal

DOWN = ConnectFailed("refused")
FAST, BALANCED, DEEP = "fast/a#1", "balanced/a#1", "deep/a#1"


def failing(*endpoint_ids: str, with_: Any = DOWN) -> dict[str, Any]:
    return dict.fromkeys(endpoint_ids, with_)


def by_priority(*endpoint_ids: str) -> dict[str, dict[str, Any]]:
    """These are asked in this order, as far as they are in one tier."""
    return {id_: {"priority": 200 - at} for at, id_ in enumerate(endpoint_ids)}


async def error_of(stage: Stage, *args: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await stage.run(*args)
    assert stage.holds == 0
    return caught.value


async def test_an_answer_at_once_takes_one_send() -> None:
    stage = Stage({FAST: GOOD, DEEP: GOOD})
    ctx = stage.context()
    sent = await stage.run(ctx)
    assert sent.whole is not None
    assert sent.whole.body == ANSWER
    assert (stage.sent_to, ctx.sends, ctx.endpoint_id, stage.holds) == ([FAST], 1, FAST, 0)


async def test_a_failure_goes_to_another_endpoint_of_the_tier_at_once() -> None:
    ids = ("fast/a#1", "fast/b#1", "fast/c#1")
    stage = Stage({ids[0]: DOWN, ids[1]: refusal(500), ids[2]: GOOD, DEEP: GOOD}, each=by_priority(*ids))
    ctx = stage.context()
    await stage.run(ctx)
    assert stage.sent_to == list(ids)
    assert ctx.decision is not None
    assert ctx.decision.reason is Reason.EXPLICIT_TIER
    assert all(pause <= FAILOVER_JITTER_S for pause in stage.clock.slept)


async def test_at_most_three_sends_in_a_tier_and_four_in_all() -> None:
    ids = [f"fast/{name}#1" for name in "abcde"]
    stage = Stage(failing(*ids, "balanced/a#1", "balanced/b#1", DEEP), each=by_priority(*ids))
    assert (await error_of(stage)).status == 502
    assert stage.sent_to[:3] == ids[:3]
    assert len(stage.sent_to) == 4
    assert stage.sent_to[3].startswith("balanced/")


@pytest.mark.parametrize(
    ("fallback", "asked"),
    [
        (TierFallback.UP, [BALANCED, DEEP]),
        (TierFallback.DOWN, [BALANCED, FAST]),
        (TierFallback.BOTH, [BALANCED, DEEP, FAST]),
        (TierFallback.NONE, [BALANCED]),
    ],
)
async def test_the_tiers_are_tried_in_the_order_of_the_fallback(fallback: TierFallback, asked: list[str]) -> None:
    timeouts = Reply(delay_s=1e6)  # a time-out is not tried again at the same endpoint
    routing = RoutingConfig(strategy=StrategyName.RULE, tier_fallback=fallback)
    stage = Stage(
        failing(FAST, BALANCED, DEEP, with_=timeouts),
        each={id_: {"timeout_seconds": 1.0} for id_ in (FAST, BALANCED, DEEP)},
        routing=routing,
    )
    assert (await error_of(stage, stage.context(), stage.plan(Tier.BALANCED))).status == 504
    assert stage.sent_to == asked


async def test_a_tier_that_has_nobody_available_costs_no_send() -> None:
    stage = Stage({FAST: DOWN, BALANCED: GOOD, DEEP: GOOD})
    stage[BALANCED].quota_out(stage.clock.now)
    ctx = stage.context()
    await stage.run(ctx)
    assert stage.sent_to == [FAST, DEEP]
    assert ctx.decision is not None
    assert (ctx.decision.tier, ctx.decision.reason) == (Tier.DEEP, Reason.TIER_FALLBACK)


async def test_an_error_after_a_fallback_tells_the_tier_and_endpoint_tried_last() -> None:
    stage = Stage({FAST: DOWN, DEEP: refusal(422, message="no")}, retry=RetryConfig(max_attempts=1))
    ctx = stage.context()
    await error_of(stage, ctx)
    assert ctx.decision is not None
    assert (ctx.decision.tier, ctx.decision.reason, ctx.endpoint_id) == (Tier.DEEP, Reason.TIER_FALLBACK, DEEP)


async def test_a_named_endpoint_is_replaced_by_its_replicas_only() -> None:
    stage = Stage({**failing("fast/a#1", "fast/a#2", with_=refusal(401)), "fast/b#1": GOOD, DEEP: GOOD})
    error = await error_of(stage, stage.context(), stage.exact("fast/a#1", "fast/a#2"))
    assert error.code == "upstream_auth_failed"
    assert sorted(stage.sent_to) == ["fast/a#1", "fast/a#2"]


async def test_a_named_endpoint_is_asked_at_most_three_times() -> None:
    stage = Stage({FAST: DOWN, DEEP: GOOD})
    await error_of(stage, stage.context(), stage.exact(FAST))
    assert stage.sent_to == [FAST] * 3


async def test_the_same_endpoint_is_asked_again_only_when_nothing_else_is_left_and_after_a_back_off() -> None:
    stage = Stage({FAST: [DOWN, GOOD], DEEP: DOWN}, seed=3)
    await stage.run()
    assert stage.sent_to == [FAST, DEEP, FAST]
    jitter, back_off = stage.clock.slept
    assert jitter <= FAILOVER_JITTER_S
    assert FAILOVER_JITTER_S < back_off <= 0.5


async def test_the_back_off_grows_and_is_jittered_over_its_whole_range() -> None:
    first, second = [], []
    for seed in range(40):
        stage = Stage({FAST: DOWN}, seed=seed)
        await error_of(stage)
        assert stage.sent_to == [FAST] * 3
        first.append(stage.clock.slept[0])
        second.append(stage.clock.slept[1])
    assert 0.0 <= min(first) < 0.05 < 0.2 < max(first) <= 0.25
    assert 0.0 <= min(second) < 0.1 < 0.4 < max(second) <= 0.5


async def test_an_endpoint_that_used_up_its_whole_limit_is_not_asked_again() -> None:
    stage = Stage({FAST: Reply(delay_s=1e6)}, each={FAST: {"timeout_seconds": 1.0}})
    assert (await error_of(stage)).code == "upstream_timeout"
    assert stage.sent_to == [FAST]


@pytest.mark.parametrize(
    ("first", "status", "code"),
    [
        (DOWN, 502, "upstream_error"),
        (refusal(500), 502, "upstream_error"),
        (refusal(502), 502, "upstream_error"),
        (refusal(503), 503, "upstream_error"),
        (refusal(529), 503, "upstream_error"),
        (refusal(504), 504, "upstream_timeout"),
        (refusal(408), 504, "upstream_timeout"),
        (refusal(401), 502, "upstream_auth_failed"),
        (refusal(402), 503, "upstream_quota"),
        (refusal(429, code="insufficient_quota"), 503, "upstream_quota"),
        (refusal(429, retry_after="60"), 429, "rate_limit_exceeded"),
        (Reply(302, headers=[(b"location", b"http://x/")]), 502, "upstream_error"),
        (Reply(200, b"<html>", headers=[(b"content-type", b"text/html")]), 502, "upstream_error"),
        (Reply(200, b"{", Disconnected("cut")), 502, "upstream_error"),
    ],
)
async def test_the_first_real_cause_is_what_the_client_is_told(first: Any, status: int, code: str) -> None:
    other = refusal(503) if status == 502 else DOWN
    stage = Stage({FAST: first, DEEP: other})
    error = await error_of(stage)
    assert (error.status, error.code) == (status, code)
    assert stage.sent_to[:2] == [FAST, DEEP]


@pytest.mark.parametrize("status", [400, 404, 413, 415, 422])
async def test_an_upstreams_verdict_on_the_request_passes_through_once(status: int) -> None:
    stage = Stage({FAST: refusal(status, message="no such voice", param="voice"), DEEP: GOOD})
    error = await error_of(stage)
    assert (error.status, error.param, error.client_message) == (status, "voice", "no such voice")
    assert stage.sent_to == [FAST]


async def test_a_verdict_on_the_request_wins_over_an_earlier_failure() -> None:
    stage = Stage({FAST: DOWN, DEEP: refusal(422, message="no")})
    assert (await error_of(stage)).status == 422


TOO_LONG = refusal(400, code="context_length_exceeded", message="too long")


async def test_a_prompt_too_long_for_one_is_tried_once_on_a_larger_window() -> None:
    stage = Stage(
        {FAST: TOO_LONG, "fast/same#1": GOOD, "fast/unknown#1": GOOD, BALANCED: GOOD},
        each={
            FAST: {"context_window": 100, "priority": 9},
            "fast/same#1": {"context_window": 100},
            BALANCED: {"context_window": 200},
        },
    )
    await stage.run()
    assert stage.sent_to == [FAST, BALANCED]


async def test_a_prompt_too_long_for_the_larger_one_too_is_the_clients_error() -> None:
    windows = {FAST: {"context_window": 100}, BALANCED: {"context_window": 200}, DEEP: {"context_window": 400}}
    stage = Stage({FAST: TOO_LONG, BALANCED: TOO_LONG, DEEP: GOOD}, each=windows)
    error = await error_of(stage)
    assert (error.status, error.code) == (400, "context_length_exceeded")
    assert stage.sent_to == [FAST, BALANCED]


async def test_a_prompt_too_long_where_no_window_is_known_is_the_clients_error_at_once() -> None:
    stage = Stage({FAST: TOO_LONG, DEEP: GOOD})
    assert (await error_of(stage)).code == "context_length_exceeded"
    assert stage.sent_to == [FAST]


async def test_a_prompt_too_long_found_after_another_failure_is_still_the_clients_error() -> None:
    stage = Stage({FAST: DOWN, DEEP: TOO_LONG})
    assert (await error_of(stage)).code == "context_length_exceeded"


async def test_a_short_rate_limit_is_waited_out_when_nobody_else_is_left() -> None:
    stage = Stage({FAST: [refusal(429, retry_after="1"), GOOD]})
    stage.clock.early_s = 0.001
    await stage.run()
    assert stage.sent_to == [FAST, FAST]
    assert 1.0 <= stage.transports[FAST].sends[1] - stage.transports[FAST].sends[0] <= 1.25 + FAILOVER_JITTER_S + 0.01


@pytest.mark.parametrize(("retry_after", "limit_s"), [("2.1", None), ("1", 1.5)], ids=["above 2 s", "above half"])
async def test_a_longer_rate_limit_is_told_to_the_client_with_its_true_time(
    retry_after: str, limit_s: float | None
) -> None:
    stage = Stage({FAST: refusal(429, retry_after=retry_after)})
    error = await error_of(stage, stage.context(limit_s=limit_s))
    assert (error.status, error.code) == (429, "rate_limit_exceeded")
    assert error.retry_after_s is not None
    assert float(retry_after) <= error.retry_after_s <= 1.25 * float(retry_after)
    assert stage.sent_to == [FAST]


async def test_a_rate_limit_is_a_reason_to_ask_somebody_else_first() -> None:
    stage = Stage({FAST: refusal(429, retry_after="1"), DEEP: GOOD})
    await stage.run()
    assert stage.sent_to == [FAST, DEEP]
    assert stage[FAST].unavailable(stage.clock.now) is Unavailability.COOLDOWN


async def test_retry_after_is_the_first_time_that_somebody_may_be_asked_again() -> None:
    stage = Stage({FAST: refusal(429, retry_after="200"), DEEP: refusal(429, retry_after="100")})
    error = await error_of(stage)
    assert error.retry_after_s is not None
    assert 100.0 <= error.retry_after_s <= 125.0


async def test_nobody_who_could_be_tried_is_no_endpoint_available() -> None:
    stage = Stage({FAST: GOOD, DEEP: GOOD})
    for each in stage.table.endpoints:
        each.auth_out(stage.clock.now)
    error = await error_of(stage)
    assert (error.status, error.code, error.retry_after_s) == (503, "no_endpoint_available", 60.0)
    assert stage.sent_to == []


async def test_everybody_busy_is_overloaded() -> None:
    stage = Stage({FAST: GOOD, DEEP: GOOD}, each={id_: {"max_in_flight": 1} for id_ in (FAST, DEEP)})
    holds = [each.begin(stage.clock.now) for each in stage.table.endpoints]
    with pytest.raises(GatewayError) as caught:
        await stage.run()
    for hold in holds:
        hold.close()
    assert (caught.value.status, caught.value.code) == (503, "overloaded")
    assert caught.value.retry_after_s == 1.0


async def test_a_spent_retry_budget_ends_a_request_with_its_first_error() -> None:
    stage = Stage({FAST: refusal(503), "fast/b#1": DOWN}, each=by_priority(FAST, "fast/b#1"))
    stage.clock.now += 100.0  # no longer a young tier: even the first failover has to be paid
    budget = stage.table.budget(Tier.FAST)
    while (extra := budget.ask(stage.clock.now, first_failover=False)) is not None:
        extra.close()
    error = await error_of(stage)
    assert (error.status, stage.sent_to) == (503, [FAST])


async def test_the_first_failover_to_a_healthy_endpoint_is_free_where_the_tier_works() -> None:
    stage = Stage({FAST: DOWN, "fast/b#1": GOOD}, each=by_priority(FAST, "fast/b#1"))
    budget = stage.table.budget(Tier.FAST)
    while (extra := budget.ask(stage.clock.now, first_failover=False)) is not None:
        extra.close()
    await stage.run()
    assert stage.sent_to == [FAST, "fast/b#1"]


async def test_the_deadline_is_for_all_attempts_together() -> None:
    stage = Stage(failing(FAST, BALANCED, DEEP, with_=Reply(delay_s=7.0, status=500)))
    began = stage.clock.now
    error = await error_of(stage, stage.context(limit_s=10.0))
    assert error.status == 502
    assert stage.clock.now - began <= 10.0
    assert all(deadline <= began + 10.0 for each in stage.transports.values() for deadline in each.deadlines)


async def test_the_last_endpoint_left_may_use_the_rest_of_the_deadline() -> None:
    slow = Reply(200, ANSWER, delay_s=90.0)
    stage = Stage({FAST: slow})
    await stage.run()
    assert stage.sent_to == [FAST]


async def test_with_somebody_left_to_ask_an_attempt_ends_at_its_own_limit() -> None:
    stage = Stage({FAST: Reply(delay_s=90.0), DEEP: GOOD})
    began = stage.clock.now
    await stage.run()
    assert stage.transports[DEEP].sends[0] - began == pytest.approx(60.0, abs=0.1)


async def test_a_limit_that_the_operator_set_is_never_stretched() -> None:
    stage = Stage({FAST: Reply(delay_s=90.0)}, each={FAST: {"timeout_seconds": 20.0}})
    began = stage.clock.now
    assert (await error_of(stage)).code == "upstream_timeout"
    assert stage.clock.now - began == pytest.approx(20.0, abs=0.1)


async def test_a_half_open_trial_that_is_cancelled_gives_its_place_back_without_a_verdict() -> None:
    never = Never()
    stage = Stage({FAST: never}, breaker=BreakerConfig(open_seconds=1.0, max_open_seconds=1.0))
    endpoint = stage[FAST]
    trip(endpoint, stage.clock.now)
    stage.clock.now += 2.0
    trips = endpoint.breaker.trips
    task = asyncio.create_task(stage.run())
    await asyncio.wait_for(never.waiting.wait(), 5)
    assert endpoint.unavailable(stage.clock.now) is Unavailability.BREAKER
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert endpoint.unavailable(stage.clock.now) is None
    assert (endpoint.breaker.trips, stage.holds) == (trips, 0)


async def test_a_request_is_cancelled_in_its_back_off_too() -> None:
    stage = Stage({FAST: DOWN})
    waiting = asyncio.Event()

    async def forever(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    stage.dispatcher = Dispatcher(random.Random(1), sleep=forever)
    task = asyncio.create_task(stage.run())
    await asyncio.wait_for(waiting.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.holds == 0
