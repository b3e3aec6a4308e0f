"""Where a request goes that no rule of an operator claims: the strategies in their order, else the default tier."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from octoroute_py.config.schema import EndpointConfig, RoutingConfig, StrategyName
from octoroute_py.core.decision import Decision
from octoroute_py.core.words import TIERS, Reason, Strategy, Tier
from octoroute_py.routing.llm import JudgeRouter
from octoroute_py.routing.router import Inquiry, Router
from octoroute_py.routing.rules import RuleRouter

if TYPE_CHECKING:
    from octoroute_py.routing.neural import NeuralRouter  # brings numpy and numba, which few strategies need


class Cascade:
    """A router that always decides: built-in rules, then the scorer, then the judge, as far as there are any.

    What all of them abstain from goes to the default tier.
    """

    __slots__ = ("_steps", "judge", "neural", "otherwise", "reads_words", "rules")

    def __init__(
        self,
        tier: Tier,
        *,
        rules: RuleRouter | None = None,
        neural: "NeuralRouter | None" = None,
        judge: JudgeRouter | None = None,
    ) -> None:
        self.rules = rules
        self.neural = neural
        self.judge = judge
        self.otherwise = Decision(tier, Strategy.RULE, Reason.DEFAULT_TIER)
        steps: tuple[Router | None, ...] = (rules, neural, judge)
        self._steps = tuple(step for step in steps if step is not None)
        self.reads_words = neural is not None or judge is not None
        """Whether a step looks at the words of a request."""

    @property
    def ready(self) -> bool:
        """Whether every step can do its part: the scorer, if there is one, is prepared."""
        return self.neural is None or self.neural.ready

    async def route(self, inquiry: Inquiry) -> Decision:
        """The first decision of a step, else the default tier."""
        for step in self._steps:
            decision = await step.route(inquiry)
            if decision is not None:
                return decision
        return self.otherwise


def default_tier(config: RoutingConfig, endpoints: Sequence[EndpointConfig]) -> Tier:
    """The configured `default_tier`; unset, balanced, or for `rule` the tier of the highest-priority endpoint.

    Ties go to the cheaper tier.
    """
    if config.default_tier is not None:
        return config.default_tier
    if config.strategy is not StrategyName.RULE or not endpoints:
        return Tier.BALANCED
    return min(endpoints, key=lambda endpoint: (-endpoint.priority, TIERS.index(endpoint.tier))).tier
