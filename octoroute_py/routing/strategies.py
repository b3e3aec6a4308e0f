"""From the configured strategy to the router that carries it out."""

import random
from typing import TYPE_CHECKING, Final

from octoroute_py.config.schema import Config, RouterTimeouts, StrategyName
from octoroute_py.core.clock import Monotonic, Wall
from octoroute_py.core.experiment import ArmStrategy
from octoroute_py.core.words import Strategy, Tier
from octoroute_py.routing.default import Cascade, default_tier
from octoroute_py.routing.judge import Ask, Judge, Report
from octoroute_py.routing.judge_prompt import spoken_forms, tool_forms
from octoroute_py.routing.llm import JudgeRouter
from octoroute_py.routing.rules import RuleRouter
from octoroute_py.tiers.breaker import Breaker

if TYPE_CHECKING:
    from octoroute_py.routing.neural import NeuralRouter

RULES: Final = frozenset({StrategyName.RULE, StrategyName.HYBRID})
"""Strategies that look at the rules of the configuration and at the built-in ones."""
SCORED: Final = frozenset({StrategyName.NEURAL, StrategyName.HYBRID})
"""Strategies that need the scorer."""
JUDGED: Final = frozenset({StrategyName.LLM, StrategyName.TOOL, StrategyName.HYBRID})
"""Strategies that need a judge."""


def make_judge(config: Config, ask: Ask, *, now: Monotonic, report: Report, rng: random.Random) -> Judge | None:
    """The judge of `[routing]`, who puts its questions by `ask`; None where the strategy has no use for it."""
    routing = config.routing
    if routing.strategy not in JUDGED:
        return None
    return Judge(
        ask,
        forms=tool_forms if routing.strategy is StrategyName.TOOL else spoken_forms,
        limit_s=judge_limit_s(routing.router_timeouts, routing.router_tier),
        breaker=Breaker(config.breaker, rng=rng),
        now=now,
        report=report,
    )


def judge_limit_s(timeouts: RouterTimeouts, tier: Tier) -> float:
    """Seconds that one question to a judge on this tier may take."""
    return {Tier.FAST: timeouts.fast, Tier.BALANCED: timeouts.balanced, Tier.DEEP: timeouts.deep}[tier]


def make_router(
    config: Config, wall: Wall, *, neural: "NeuralRouter | None" = None, judge: Judge | None = None
) -> Cascade:
    """The router of `[routing]`; it always decides. Give it the scorer and the judge that the strategy needs."""
    routing = config.routing
    tier = default_tier(routing, config.endpoints)
    label = Strategy.TOOL if routing.strategy is StrategyName.TOOL else Strategy.LLM
    return Cascade(
        tier,
        rules=RuleRouter(wall=wall) if routing.strategy in RULES else None,
        neural=neural if routing.strategy in SCORED else None,
        judge=JudgeRouter(judge, strategy=label, otherwise=tier)
        if judge is not None and routing.strategy in JUDGED
        else None,
    )


def cascades_of(router: Cascade, wall: Wall) -> dict[ArmStrategy, Cascade]:
    """The strategies that the parts of a router can carry out, for experiments that compare them.

    The scorer and the judge are there only if the configured strategy uses them.
    """
    tier, rules = router.otherwise.tier, router.rules or RuleRouter(wall=wall)
    found = {ArmStrategy.RULE: Cascade(tier, rules=rules)}
    if router.neural is not None:
        found[ArmStrategy.NEURAL] = Cascade(tier, neural=router.neural)
    if router.judge is not None:
        asked = ArmStrategy.TOOL if router.judge.strategy is Strategy.TOOL else ArmStrategy.LLM
        found[asked] = Cascade(tier, judge=router.judge)
    if router.neural is not None and router.judge is not None:
        found[ArmStrategy.HYBRID] = Cascade(tier, rules=rules, neural=router.neural, judge=router.judge)
    return found
