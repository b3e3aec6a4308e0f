import pytest

from octoroute_py.config.schema import Config, EndpointConfig, RoutingConfig, StrategyName
from octoroute_py.core.decision import Decision
from octoroute_py.core.words import Importance, Reason, Strategy, TaskType, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.routing.default import default_tier
from octoroute_py.routing.router import Inquiry
from octoroute_py.routing.strategies import make_router

SHORT_QUESTION = Facts(tokens=3, importance=Importance.NORMAL, task_type=TaskType.QUESTION_ANSWER)


def endpoints(**priorities: int) -> tuple[EndpointConfig, ...]:
    return tuple(
        EndpointConfig(id=tier, tier=Tier(tier), name=tier, model="m", base_url="http://127.0.0.1:1", priority=priority)
        for tier, priority in priorities.items()
    )


@pytest.mark.parametrize(
    ("priorities", "expected"),
    [
        ({"deep": 1, "balanced": 1, "fast": 1}, Tier.FAST),
        ({"fast": 1, "balanced": 2, "deep": 2}, Tier.BALANCED),
        ({"fast": 0, "balanced": 1, "deep": 255}, Tier.DEEP),
    ],
)
def test_rule_defaults_to_the_tier_of_the_highest_priority(priorities: dict[str, int], expected: Tier) -> None:
    routing = RoutingConfig(strategy=StrategyName.RULE)
    assert default_tier(routing, endpoints(**priorities)) is expected


@pytest.mark.parametrize("strategy", [StrategyName.LLM, StrategyName.NEURAL, StrategyName.HYBRID, StrategyName.TOOL])
def test_other_strategies_default_to_balanced(strategy: StrategyName) -> None:
    assert default_tier(RoutingConfig(strategy=strategy), endpoints(fast=1, deep=9)) is Tier.BALANCED


@pytest.mark.parametrize("strategy", StrategyName)
def test_a_configured_default_tier_wins(strategy: StrategyName) -> None:
    routing = RoutingConfig(strategy=strategy, default_tier=Tier.DEEP)
    assert default_tier(routing, endpoints(fast=9, deep=1)) is Tier.DEEP


async def test_what_no_rule_matches_goes_to_the_default_tier() -> None:
    config = Config(endpoints=endpoints(fast=1, balanced=3), routing=RoutingConfig(strategy=StrategyName.RULE))
    decision = await make_router(config, lambda: 0.0).route(Inquiry(SHORT_QUESTION))
    assert decision == Decision(Tier.BALANCED, Strategy.RULE, Reason.DEFAULT_TIER)


async def test_a_built_in_rule_goes_before_the_default_tier() -> None:
    config = Config(endpoints=endpoints(fast=1), routing=RoutingConfig(strategy=StrategyName.RULE))
    code = Facts(tokens=3, importance=Importance.NORMAL, task_type=TaskType.CODE)
    decision = await make_router(config, lambda: 0.0).route(Inquiry(code))
    assert decision == Decision(Tier.BALANCED, Strategy.RULE, Reason.RULE_MATCHED, rule="code", rule_id="built_in:code")
