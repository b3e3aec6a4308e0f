"""From the configured strategy to the router that carries it out."""

from octoroute_py.config.schema import Config, StrategyName
from octoroute_py.core.clock import Wall
from octoroute_py.core.errors import ConfigError
from octoroute_py.routing.default import WithDefault, default_tier
from octoroute_py.routing.rules import RuleRouter


def make_router(config: Config, wall: Wall) -> WithDefault:
    """The router of `[routing]`; it always decides.

    Raises ConfigError for a strategy that this version does not have, or a rule that cannot be used.
    """
    routing = config.routing
    if routing.strategy is StrategyName.RULE:
        return WithDefault(RuleRouter(routing, wall=wall), default_tier(routing, config.endpoints))
    told = [line for line in config.unbuilt if "strategy" in line]
    raise ConfigError(told[0] if told else f'routing.strategy = "{routing.strategy}" is not available in this version')
