import pytest

from octoroute_py.config.schema import (
    Config,
    EndpointConfig,
    Location,
    RoutingConfig,
    RuleConfig,
    RuleWhen,
    StrategyName,
    TimeOfDayRange,
)
from octoroute_py.core.errors import NotFound
from octoroute_py.core.words import Capability, Importance, Reason, Strategy, TaskType, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.routing.explain import explain, try_rules
from octoroute_py.tiers.eligibility import Misfit

CODE = Facts(tokens=2000, importance=Importance.NORMAL, task_type=TaskType.CODE)
SHORT = Facts(tokens=3, importance=Importance.NORMAL, task_type=TaskType.QUESTION_ANSWER)


def config(*rules: RuleConfig) -> Config:
    return Config(
        endpoints=(
            EndpointConfig(id="f1", tier=Tier.FAST, name="small", model="m", base_url="http://x", priority=2),
            EndpointConfig(id="d1", tier=Tier.DEEP, name="big", model="m", base_url="http://x"),
            EndpointConfig(
                id="d2", tier=Tier.DEEP, name="big", model="m", base_url="http://x", location=Location.LOCAL
            ),
            EndpointConfig(
                id="d3",
                tier=Tier.DEEP,
                name="plain",
                model="m",
                base_url="http://x",
                location=Location.LOCAL,
                capabilities=frozenset({Capability.CHAT}),
            ),
        ),
        routing=RoutingConfig(strategy=StrategyName.RULE, rules=rules),
    )


async def test_a_decision_comes_with_every_rule_and_what_kept_it_from_matching() -> None:
    explanation = await explain(config(), CODE, wall=lambda: 0.0)
    assert (explanation.tier, explanation.strategy, explanation.reason) == (
        Tier.DEEP,
        Strategy.RULE,
        Reason.RULE_MATCHED,
    )
    assert (explanation.rule, explanation.default_tier, explanation.confidence) == ("code_long", Tier.FAST, None)
    assert [(trial.name, trial.matched, trial.failed) for trial in explanation.rules] == [
        ("casual_chat", False, "task_type"),
        ("high_importance", False, "importance"),
        ("analysis_or_creative", False, "task_type"),
        ("code_long", True, None),
        ("code", True, None),
        ("mid_length_qa", False, "task_type"),
    ]
    assert not any(trial.own for trial in explanation.rules)


async def test_no_rule_means_the_default_tier() -> None:
    explanation = await explain(config(), SHORT, wall=lambda: 0.0)
    assert (explanation.tier, explanation.reason, explanation.rule) == (Tier.FAST, Reason.DEFAULT_TIER, None)
    assert explanation.candidates == ("f1",)
    last = explanation.rules[-1]
    assert (last.failed, last.wanted) == ("min_tokens", "at least 200 tokens")


def test_own_rules_come_first_and_disabled_ones_are_told() -> None:
    rules = (
        RuleConfig(name="off", tier=Tier.FAST, enabled=False, priority=9),
        RuleConfig(name="night", tier=Tier.FAST, when=RuleWhen(hours=(TimeOfDayRange(1320, 360),))),
        RuleConfig(name="words", tier=Tier.DEEP, priority=1, when=RuleWhen(pattern="fox", header=(("x-a", "b"),))),
    )
    tried = try_rules(rules, SHORT, now=12 * 3600.0)
    assert [(trial.name, trial.failed, trial.wanted) for trial in tried if trial.own] == [
        ("words", "header", "header x-a: b"),
        ("night", "hours", "the time within 22:00-06:00 UTC"),
        ("off", "enabled", "being enabled"),
    ]
    assert [trial.name for trial in tried[:2]] == ["words", "night"]


async def test_candidates_are_the_endpoints_of_the_tier_that_fit() -> None:
    needy = Facts(
        tokens=2000,
        importance=Importance.NORMAL,
        task_type=TaskType.CODE,
        needs=frozenset({Capability.TOOLS}),
    )
    explanation = await explain(config(), needy, wall=lambda: 0.0, local_only=True)
    assert explanation.candidates == ("d2",)
    assert explanation.unfit == {"d1": Misfit.LOCATION, "d3": Misfit.CAPABILITY}


@pytest.mark.parametrize(
    ("model", "reason", "candidates"),
    [
        ("deep", Reason.EXPLICIT_TIER, ("d1", "d2", "d3")),
        ("big", Reason.EXPLICIT_ENDPOINT, ("d1", "d2")),
        ("d3", Reason.EXPLICIT_ENDPOINT, ("d3",)),
    ],
)
async def test_an_explicit_model_asks_no_rule(model: str, reason: Reason, candidates: tuple[str, ...]) -> None:
    named = Facts(tokens=3, importance=Importance.NORMAL, task_type=TaskType.CODE, model=model)
    explanation = await explain(config(), named, wall=lambda: 0.0)
    assert (explanation.tier, explanation.reason, explanation.candidates) == (Tier.DEEP, reason, candidates)
    assert explanation.rules == ()


async def test_an_unknown_model_is_not_found() -> None:
    named = Facts(tokens=3, importance=Importance.NORMAL, task_type=TaskType.CODE, model="nobody")
    with pytest.raises(NotFound):
        await explain(config(), named, wall=lambda: 0.0)
