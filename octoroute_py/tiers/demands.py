"""What an agent type asks of whoever answers it, as its preferences say (reference-systems D.6): pure."""

from typing import Final

import msgspec

from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.rules import AgentPreferences
from octoroute_py.core.words import CAPABILITY_WORDS
from octoroute_py.tiers.eligibility import Quality

_PER_MILLION: Final = 1e6


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What every request of an agent type asks for; `quality` is measured, `max_cost_per_mtok` is in USD."""

    capabilities: tuple[str, ...] = ()
    max_cost_per_mtok: float | None = None
    quality: Quality | None = None

    def met_by(self, config: EndpointConfig) -> bool:
        """Whether the endpoint has what is asked, but for what is measured."""
        return self.able(config) and self.cheap_enough(config)

    def able(self, config: EndpointConfig) -> bool:
        """Whether the endpoint has every capability; one that declares none is taken to have all."""
        return all(has_capability(config, word) for word in self.capabilities)

    def cheap_enough(self, config: EndpointConfig) -> bool:
        """Whether neither its input nor its output costs more; one without a price is not known to be dear."""
        most = self.max_cost_per_mtok
        prices = (config.input_cost_per_mtok, config.output_cost_per_mtok)
        return most is None or all(price is None or price <= most for price in prices)


def has_capability(config: EndpointConfig, word: str) -> bool:
    """Whether the endpoint, or its registered model, is said to be able to do what `word` (lower case) stands for."""
    if config.registered is not None and word in config.registered.capabilities:
        return True
    if config.registered is None and config.capabilities is None:
        return True
    known = CAPABILITY_WORDS.get(word)
    return known is not None and known in (config.capabilities or ())


def demand_of(preferences: AgentPreferences) -> Demand | None:
    """What the preferences ask for; None for nothing."""
    asked = preferences.performance_requirements
    quality = None
    if asked.max_latency is not None or asked.min_success_rate is not None:
        latency_s = None if asked.max_latency is None else asked.max_latency / 1000
        quality = Quality(max_latency_s=latency_s, min_success_rate=asked.min_success_rate)
    per_token = asked.max_cost_per_token
    demand = Demand(
        capabilities=tuple(word.lower() for word in preferences.required_capabilities),
        max_cost_per_mtok=None if per_token is None else per_token * _PER_MILLION,
        quality=quality,
    )
    return None if demand == Demand() else demand


def strictest(one: Quality | None, other: Quality | None) -> Quality | None:
    """What meets both."""
    if one is None or other is None:
        return one or other
    latencies = [each.max_latency_s for each in (one, other) if each.max_latency_s is not None]
    rates = [each.min_success_rate for each in (one, other) if each.min_success_rate is not None]
    return Quality(max_latency_s=min(latencies, default=None), min_success_rate=max(rates, default=None))
