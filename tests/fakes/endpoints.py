"""Configurations, endpoints and tables for tests of who answers, with as little said as possible."""

import random
from typing import Any

from octoroute_py.config.schema import BreakerConfig, Config, EndpointConfig, RoutingConfig, StrategyName
from octoroute_py.core.words import Tier
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.live import Live
from octoroute_py.tiers.table import TierTable
from tests.fakes.silent_transport import SilentTransport

# `Any`: the keyword arguments are those of the frozen configuration values, checked when these are made.


def endpoint_config(endpoint_id: str = "fast/a#1", **fields: Any) -> EndpointConfig:
    """A configuration of that id; tier and name come from it (`tier/name#n`) unless given."""
    tier, _, rest = endpoint_id.partition("/")
    fields.setdefault("tier", Tier(tier))
    fields.setdefault("name", rest.partition("#")[0])
    fields.setdefault("model", fields["name"])
    fields.setdefault("base_url", f"http://127.0.0.1:1/{rest}")
    return EndpointConfig(id=endpoint_id, **fields)


def endpoint(
    endpoint_id: str = "fast/a#1", *, breaker: BreakerConfig | None = None, seed: int = 1, **fields: Any
) -> Endpoint:
    """One endpoint with a life of its own."""
    live = Live(breaker or BreakerConfig(), rng=random.Random(seed))
    return Endpoint(endpoint_config(endpoint_id, **fields), transport=SilentTransport(), live=live)


def config(*endpoints: EndpointConfig, **fields: Any) -> Config:
    """A whole configuration of these endpoints."""
    fields.setdefault("routing", RoutingConfig(strategy=StrategyName.RULE))
    return Config(endpoints=endpoints, **fields)


def table(*endpoints: EndpointConfig, seed: int = 1, now: float = 0.0, **fields: Any) -> TierTable:
    """A table of these endpoints."""
    return TierTable.build(config(*endpoints, **fields), lambda _: SilentTransport(), rng=random.Random(seed), now=now)


def trip(one: Endpoint, now: float) -> None:
    """Open the endpoint's breaker by failures."""
    for _ in range(one.breaker.policy.failure_threshold):
        hold = one.begin(now)
        hold.failure(now)
        hold.close()
