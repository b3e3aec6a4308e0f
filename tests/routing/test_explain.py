from typing import Any

import pytest

from octoroute_py.config.schema import (
    Config,
    RoutingConfig,
    RuleConfig,
    RuleWhen,
    StrategyName,
    TimeOfDayRange,
)
from octoroute_py.core.words import Importance, Reason, Strategy, TaskType, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.neural.decide import Doubt
from octoroute_py.routing.default import Cascade
from octoroute_py.routing.explain import JudgeState, Walk, try_rules, walk
from octoroute_py.routing.router import Inquiry
from octoroute_py.routing.rulebook import compile_rulebook
from octoroute_py.routing.strategies import make_router
from tests.fakes.endpoints import config
from tests.fakes.judging import ScriptedAsk, completion, facts, judge
from tests.fakes.scoring import FakeScorer, neural, score

CODE = Facts(tokens=2000, importance=Importance.NORMAL, task_type=TaskType.CODE)
SHORT = facts()
NO_RULES = compile_rulebook((), (), file_rules=True)


def router(strategy: StrategyName, *, asked: ScriptedAsk | None = None, scorer: FakeScorer | None = None) -> Cascade:
    made: Config = config(routing=RoutingConfig(strategy=strategy, default_tier=Tier.BALANCED))
    return make_router(
        made, lambda: 0.0, neural=neural(scorer or FakeScorer()), judge=judge(asked or ScriptedAsk(completion("DEEP")))
    )


async def told(one: Cascade, about: Facts, **more: Any) -> Walk:
    asked = {"book": NO_RULES, "decided": None, "judge_tier": Tier.DEEP, "now": 0.0, "ask_judge": False, **more}
    return await walk(one, Inquiry(about), **asked)


async def test_a_decision_comes_with_every_rule_and_what_kept_it_from_matching() -> None:
    walked = await told(router(StrategyName.RULE), CODE)
    assert walked.decision is not None
    assert (walked.decision.tier, walked.decision.rule) == (Tier.DEEP, "code_long")
    assert [(trial.name, trial.matched, trial.failed) for trial in walked.rules] == [
        ("casual_chat", False, "task_type"),
        ("high_importance", False, "importance"),
        ("analysis_or_creative", False, "task_type"),
        ("code_long", True, None),
        ("code", True, None),
        ("mid_length_qa", False, "task_type"),
    ]
    assert not any(trial.own for trial in walked.rules)
    assert (walked.scorer, walked.judge) == (None, None)


async def test_no_rule_means_the_default_tier() -> None:
    walked = await told(router(StrategyName.RULE), SHORT)
    assert walked.decision is not None
    assert (walked.decision.tier, walked.decision.reason) == (Tier.BALANCED, Reason.DEFAULT_TIER)
    assert (walked.rules[-1].failed, walked.rules[-1].wanted) == ("min_tokens", "at least 200 tokens")


def test_own_rules_come_first_and_disabled_ones_are_told() -> None:
    rules = (
        RuleConfig(name="off", tier=Tier.FAST, enabled=False, priority=9),
        RuleConfig(name="night", tier=Tier.FAST, when=RuleWhen(hours=(TimeOfDayRange(1320, 360),))),
        RuleConfig(name="words", tier=Tier.DEEP, priority=1, when=RuleWhen(pattern="fox", header=(("x-a", "b"),))),
    )
    tried = try_rules(compile_rulebook(rules, (), file_rules=True), SHORT, now=12 * 3600.0)
    assert [(trial.name, trial.failed, trial.wanted) for trial in tried if trial.own] == [
        ("words", "header", "header x-a: b"),
        ("night", "hours", "the time within 22:00-06:00 UTC"),
        ("off", "enabled", "being enabled"),
    ]
    assert [trial.name for trial in tried[:2]] == ["words", "night"]


async def test_the_scorers_beliefs_come_with_the_dial_and_with_what_would_change_the_tier() -> None:
    walked = await told(router(StrategyName.NEURAL, scorer=FakeScorer(score(0.3, 0.05))), SHORT)
    assert walked.decision is not None
    assert (walked.decision.tier, walked.decision.strategy) == (Tier.BALANCED, Strategy.NEURAL)
    assert walked.scorer is not None
    assert walked.scorer.score == score(0.3, 0.05)
    assert walked.scorer.choice.dial.threshold == pytest.approx(0.1)
    assert {flip.tier for flip in walked.scorer.flips} == {Tier.FAST, Tier.DEEP}
    assert (walked.rules, walked.judge) == ((), None)


async def test_an_abstention_says_its_doubt_and_the_default_tier_answers() -> None:
    walked = await told(router(StrategyName.NEURAL, scorer=FakeScorer(score(in_distribution=False))), SHORT)
    assert walked.decision is not None
    assert (walked.decision.tier, walked.decision.reason) == (Tier.BALANCED, Reason.DEFAULT_TIER)
    assert walked.scorer is not None
    assert walked.scorer.choice.doubt is Doubt.OUT_OF_DISTRIBUTION


async def test_the_scorer_tells_its_beliefs_also_where_a_rule_decided() -> None:
    walked = await told(router(StrategyName.HYBRID), CODE)
    assert walked.decision is not None
    assert walked.decision.rule == "code_long"
    assert walked.scorer is not None
    assert walked.judge is not None
    assert walked.judge.state is JudgeState.NOT_NEEDED


async def test_the_judge_is_not_asked_by_itself() -> None:
    asked = ScriptedAsk(completion("DEEP"))
    one = router(StrategyName.HYBRID, asked=asked, scorer=FakeScorer(score(labels=())))
    walked = await told(one, SHORT)
    assert (walked.decision, asked.questions) == (None, [])
    assert walked.judge is not None
    assert (walked.judge.state, walked.judge.tier, walked.judge.strategy) == (
        JudgeState.NOT_ASKED,
        Tier.DEEP,
        Strategy.LLM,
    )


async def test_the_judge_is_asked_when_that_is_wanted_and_remembered_afterwards() -> None:
    asked = ScriptedAsk(completion("DEEP"))
    one = router(StrategyName.LLM, asked=asked)
    for ask_judge, state in ((True, JudgeState.ANSWERED), (False, JudgeState.REMEMBERED)):
        walked = await told(one, SHORT, ask_judge=ask_judge)
        assert walked.decision is not None
        assert (walked.decision.tier, walked.decision.reason) == (Tier.DEEP, Reason.LLM_JUDGED)
        assert walked.judge is not None
        assert walked.judge.state is state
    assert len(asked.questions) == 1


async def test_a_judge_that_fails_is_told_with_the_tier_that_answers_then() -> None:
    walked = await told(router(StrategyName.TOOL, asked=ScriptedAsk(completion("hm"))), SHORT, ask_judge=True)
    assert walked.decision is not None
    assert (walked.decision.tier, walked.decision.reason) == (Tier.BALANCED, Reason.JUDGE_FAILED)
    assert walked.judge is not None
    assert (walked.judge.state, walked.judge.strategy) == (JudgeState.FAILED, Strategy.TOOL)


@pytest.mark.parametrize("strategy", StrategyName)
@pytest.mark.parametrize("about", [CODE, SHORT, facts("hello there", task_type=TaskType.CASUAL_CHAT)])
async def test_the_walk_ends_where_the_router_goes(strategy: StrategyName, about: Facts) -> None:
    one = router(strategy)
    walked = await told(one, about, ask_judge=True)
    assert walked.decision == await one.route(Inquiry(about))
