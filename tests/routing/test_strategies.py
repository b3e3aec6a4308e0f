import random
from typing import Any

import pytest

from octoroute_py.config.schema import RouterTimeouts, RoutingConfig, StrategyName
from octoroute_py.core.words import Strategy, Tier
from octoroute_py.routing.judge import Judge
from octoroute_py.routing.judge_prompt import case_of
from octoroute_py.routing.strategies import JUDGED, SCORED, judge_limit_s, make_judge, make_router
from tests.fakes.endpoints import config
from tests.fakes.judging import Failures, ScriptedAsk, completion, facts
from tests.fakes.scoring import FakeScorer, neural


def made(strategy: StrategyName, ask: ScriptedAsk, **routing: Any) -> Judge | None:
    configured = config(routing=RoutingConfig(strategy=strategy, **routing))
    return make_judge(configured, ask, now=lambda: 100.0, report=Failures(), rng=random.Random(1))


@pytest.mark.parametrize("strategy", StrategyName)
def test_each_strategy_has_its_steps_and_no_others(strategy: StrategyName) -> None:
    ask = ScriptedAsk()
    router = make_router(
        config(routing=RoutingConfig(strategy=strategy)),
        lambda: 0.0,
        neural=neural(FakeScorer()),
        judge=made(strategy, ask),
    )
    assert (router.rules is not None) == (strategy in {StrategyName.RULE, StrategyName.HYBRID})
    assert (router.neural is not None) == (strategy in SCORED)
    assert (router.judge is not None) == (strategy in JUDGED)
    assert router.reads_words == (strategy is not StrategyName.RULE)
    assert router.ready


def test_the_judges_label_is_that_of_its_strategy_and_never_hybrid() -> None:
    labels = {}
    for strategy in JUDGED:
        judge = made(strategy, ScriptedAsk())
        step = make_router(config(routing=RoutingConfig(strategy=strategy)), lambda: 0.0, judge=judge).judge
        assert step is not None
        labels[strategy] = step.strategy
    assert labels == {
        StrategyName.LLM: Strategy.LLM,
        StrategyName.TOOL: Strategy.TOOL,
        StrategyName.HYBRID: Strategy.LLM,
    }


async def test_the_judge_is_asked_in_the_forms_of_its_strategy_and_within_its_tiers_limit() -> None:
    asked = {}
    for strategy in (StrategyName.LLM, StrategyName.TOOL):
        ask = ScriptedAsk(completion("FAST"))
        timeouts = RouterTimeouts(deep=3.0)
        judge = made(strategy, ask, router_tier=Tier.DEEP, router_timeouts=timeouts)
        assert judge is not None
        await judge.judge(case_of(facts(), local_only=False), by_s=1e9)
        (question,) = ask.questions
        assert question.deadline_s == 103.0
        asked[strategy] = [sorted(form.fields) for form in question.forms]
    assert asked[StrategyName.LLM] == [["messages", "response_format", "temperature"], ["messages", "temperature"]]
    assert asked[StrategyName.TOOL] == [["messages", "temperature", "tool_choice", "tools"]]


def test_every_tier_has_its_own_limit() -> None:
    timeouts = RouterTimeouts(fast=1.0, balanced=2.0, deep=3.0)
    assert [judge_limit_s(timeouts, tier) for tier in Tier] == [1.0, 2.0, 3.0]
