"""What a workspace asks of an endpoint's recent answers decides who is picked (contract §7, reliability §1.4)."""

from typing import Any

import pytest

from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.decision import Decision
from octoroute_py.core.errors import GatewayError
from octoroute_py.core.words import Reason, Strategy, Tier
from octoroute_py.gateway.plan import Needs, Plan, plan_tiers
from octoroute_py.tiers.endpoint import Endpoint
from tests.fakes.endpoints import trip
from tests.fakes.stage import GOOD, Stage, stream

FAST, OTHER, DEEP = "fast/a#1", "fast/b#1", "deep/a#1"
FIRST = {FAST: {"priority": 9}, OTHER: {"priority": 1}}


def plan_of(stage: Stage, **asked: Any) -> Plan:
    scope = stage.snapshot.scopes.of(WorkspacePolicy(**asked), None)
    decision = Decision(Tier.FAST, Strategy.RULE, Reason.RULE_MATCHED)
    return plan_tiers(decision, Needs(None, None, False, scope), stage.table, stage.config.routing.tier_fallback)


def has_failed(endpoint: Endpoint, now: float, *, of_ten: int) -> None:
    for at in range(10):
        if at < of_ten:
            endpoint.live.recent.bad(now)
        else:
            endpoint.live.recent.good(now)


def has_taken(endpoint: Endpoint, now: float, seconds: float) -> None:
    for _ in range(10):
        endpoint.live.recent.good(now, answer_s=seconds)


async def test_an_endpoint_that_fails_too_often_is_passed_over_until_that_is_forgotten() -> None:
    stage = Stage({FAST: GOOD, OTHER: GOOD, DEEP: GOOD}, each=FIRST)
    has_failed(stage[FAST], stage.clock.now, of_ten=2)
    strict = plan_of(stage, min_success_rate=0.9)
    await stage.run(plan=strict)
    await stage.run(plan=plan_of(stage, min_success_rate=0.8))
    stage.clock.now += 400.0
    await stage.run(plan=strict)
    assert [transport.sends for transport in stage.transports.values()] == [[1000.0, 1400.0], [1000.0], []]


async def test_a_slow_endpoint_is_passed_over_for_buffered_answers_only() -> None:
    stage = Stage({FAST: [stream(), GOOD], OTHER: GOOD, DEEP: GOOD}, each=FIRST)
    has_taken(stage[FAST], stage.clock.now, 3.0)
    plan = plan_of(stage, max_latency_ms=2000.0)
    sent = await stage.run(stage.context(stream=True), plan)
    assert sent.relay is not None
    sent.relay.close()
    await stage.run(plan=plan)
    assert [len(transport.sends) for transport in stage.transports.values()] == [1, 1, 0]


async def test_a_buffered_answer_is_measured_to_its_end() -> None:
    stage = Stage({FAST: GOOD})
    for _ in range(10):
        hold_s = stage.clock.now
        await stage.run(plan=plan_of(stage, max_latency_ms=1.0))
        assert stage.clock.now == hold_s
    assert stage[FAST].live.recent.answer_s(stage.clock.now) == 0.0
    assert stage[FAST].live.recent.first_event_s(stage.clock.now) is None


async def test_a_tier_in_which_nobody_is_good_enough_falls_back_as_one_that_is_down() -> None:
    stage = Stage({FAST: GOOD, DEEP: GOOD})
    has_failed(stage[FAST], stage.clock.now, of_ten=10)
    ctx = stage.context()
    await stage.run(ctx, plan_of(stage, min_success_rate=0.5))
    assert stage.sent_to == [DEEP]
    assert ctx.decision is not None
    assert ctx.decision.reason is Reason.TIER_FALLBACK


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"min_success_rate": 0.9}, "minSuccessRate"),
        ({"max_latency_ms": 500.0}, "maxLatency"),
        ({"min_success_rate": 0.9, "max_latency_ms": 500.0}, "maxLatency and minSuccessRate"),
    ],
)
async def test_where_nobody_is_good_enough_the_answer_is_503_and_names_the_requirement(
    asked: dict[str, float], named: str
) -> None:
    stage = Stage({FAST: GOOD, DEEP: GOOD})
    has_taken(stage[FAST], stage.clock.now, 1.0)
    has_failed(stage[DEEP], stage.clock.now, of_ten=10)
    has_taken(stage[DEEP], stage.clock.now, 9.0)
    if "max_latency_ms" not in asked:
        has_failed(stage[FAST], stage.clock.now, of_ten=10)
    with pytest.raises(GatewayError) as caught:
        await stage.run(plan=plan_of(stage, **asked))
    error = caught.value
    assert (error.status, error.code, stage.sent_to) == (503, "no_endpoint_available", [])
    assert error.client_message == f"No model that may answer meets this workspace's {named} now."
    assert error.retry_after_s == 30.0


async def test_a_good_endpoint_that_is_out_is_not_blamed_on_the_requirement() -> None:
    stage = Stage({FAST: GOOD, OTHER: GOOD})
    has_failed(stage[FAST], stage.clock.now, of_ten=10)
    trip(stage[OTHER], stage.clock.now)
    with pytest.raises(GatewayError) as caught:
        await stage.run(plan=plan_of(stage, min_success_rate=0.1))
    assert caught.value.client_message == "No model that may answer is available at the moment (breaker)."
    assert caught.value.retry_after_s == stage.table.next_eligible_at([stage[OTHER]], stage.clock.now) - stage.clock.now
