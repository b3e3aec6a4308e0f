"""Where a request goes when no strategy has an opinion."""

from collections.abc import Sequence

from octoroute_py.config.schema import EndpointConfig, RoutingConfig, StrategyName
from octoroute_py.core.decision import Decision
from octoroute_py.core.words import TIERS, Reason, Strategy, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.routing.router import Router


class WithDefault:
    """A router that always decides: what the inner one abstains from goes to the default tier."""

    __slots__ = ("_decision", "_inner")

    def __init__(self, inner: Router, tier: Tier) -> None:
        self._inner = inner
        self._decision = Decision(tier, Strategy.RULE, Reason.DEFAULT_TIER)

    async def route(self, facts: Facts) -> Decision:
        """The inner router's decision, else the default tier."""
        return await self._inner.route(facts) or self._decision


def default_tier(config: RoutingConfig, endpoints: Sequence[EndpointConfig]) -> Tier:
    """The configured `default_tier`; unset, balanced, or for `rule` the tier of the highest-priority endpoint.

    Ties go to the cheaper tier.
    """
    if config.default_tier is not None:
        return config.default_tier
    if config.strategy is not StrategyName.RULE or not endpoints:
        return Tier.BALANCED
    return min(endpoints, key=lambda endpoint: (-endpoint.priority, TIERS.index(endpoint.tier))).tier
