"""From a request's context to its outcome and its row."""

import pytest

from octoroute_py.core.usage import Usage
from octoroute_py.core.words import Reason, Strategy, Surface, Tier
from octoroute_py.gateway.outcome import outcome_of
from octoroute_py.ledger.entry import entry_of
from tests.fakes.bodies import chat_body
from tests.fakes.scripted_transport import Quiet, Reply
from tests.fakes.stage import WALL, Stage, refusal

FAST, DEEP = "fast/a#1", "deep/a#1"
DEAR = {"input_cost_per_mtok": 20.0, "output_cost_per_mtok": 100.0}


async def test_an_outcome_says_whose_request_it_was_and_all_that_came_of_it() -> None:
    answer = Reply(200, chat_body("Hi", usage=(12, 6)), Quiet(0.5))
    stage = Stage({FAST: refusal(503), DEEP: answer}, each={DEEP: DEAR})
    headers = [(b"x-octoroute-agent-type", b"crawler"), (b"x-octoroute-tag", b"nightly")]
    ctx = stage.context(headers=headers)
    await stage.run(ctx)
    ctx.status, ctx.decided_tier, ctx.routing_s = 200, Tier.FAST, 0.001
    outcome = outcome_of(ctx, stage.clock.now, workspace="shop", started_ms=5, entry=3, user_id="u", request_type="t")
    assert (outcome.request_id, outcome.entry, outcome.started_ms, outcome.surface) == ("req-1", 3, 5, Surface.CHAT)
    assert (outcome.workspace, outcome.agent_type, outcome.tag) == ("shop", "crawler", "nightly")
    assert (outcome.key_id, outcome.principal) == (ctx.principal.key_id, "anonymous")
    assert (outcome.user_id, outcome.request_type, outcome.rule, outcome.confidence) == ("u", "t", None, None)
    assert (outcome.tier, outcome.decided_tier, outcome.endpoint_id) == (Tier.DEEP, Tier.FAST, DEEP)
    assert (outcome.strategy, outcome.reason) == (Strategy.RULE, Reason.TIER_FALLBACK)
    assert (outcome.sends, [each.cost_uusd for each in outcome.attempts]) == (2, [0, 840])
    assert (outcome.usage, outcome.estimated) == (Usage(12, 6), False)
    assert (outcome.cost_uusd, outcome.baseline_uusd) == (840, 840)
    assert outcome.started_wall_s == pytest.approx(WALL - outcome.duration_s)
    row = entry_of(outcome)
    assert (row.sends, row.cost_uusd, row.routing_us, row.duration_us) == (
        2,
        840,
        1000,
        round(outcome.duration_s * 1e6),
    )
    assert row.attempts is not None


async def test_a_request_that_was_never_decided_has_an_outcome() -> None:
    stage = Stage({FAST: Reply(200)})
    ctx = stage.context()
    ctx.status, ctx.error_code = 400, "invalid_request_error"
    outcome = outcome_of(ctx, stage.clock.now, workspace="default", started_ms=1)
    assert (outcome.tier, outcome.strategy, outcome.attempts, outcome.cost_uusd) == (None, None, (), 0)
    assert entry_of(outcome).error_code == "invalid_request_error"
