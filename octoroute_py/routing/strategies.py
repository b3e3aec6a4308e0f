"""From the configured strategy to the router that carries it out."""

from typing import TYPE_CHECKING, Final

from octoroute_py.config.schema import Config, StrategyName
from octoroute_py.core.clock import Wall
from octoroute_py.core.words import Strategy
from octoroute_py.routing.default import Cascade, default_tier
from octoroute_py.routing.judge import Judge
from octoroute_py.routing.llm import JudgeRouter
from octoroute_py.routing.rules import RuleRouter

if TYPE_CHECKING:
    from octoroute_py.routing.neural import NeuralRouter

RULES: Final = frozenset({StrategyName.RULE, StrategyName.HYBRID})
"""Strategies that look at the rules."""
SCORED: Final = frozenset({StrategyName.NEURAL, StrategyName.HYBRID})
"""Strategies that need the scorer."""
JUDGED: Final = frozenset({StrategyName.LLM, StrategyName.TOOL, StrategyName.HYBRID})
"""Strategies that need a judge."""


def make_router(
    config: Config, wall: Wall, *, neural: "NeuralRouter | None" = None, judge: Judge | None = None
) -> Cascade:
    """The router of `[routing]`; it always decides. Give it the scorer and the judge that the strategy needs.

    Raises ConfigError for a rule that cannot be used.
    """
    routing = config.routing
    tier = default_tier(routing, config.endpoints)
    label = Strategy.TOOL if routing.strategy is StrategyName.TOOL else Strategy.LLM
    return Cascade(
        tier,
        rules=RuleRouter(routing, wall=wall) if routing.strategy in RULES else None,
        neural=neural if routing.strategy in SCORED else None,
        judge=JudgeRouter(judge, strategy=label, otherwise=tier)
        if judge is not None and routing.strategy in JUDGED
        else None,
    )
