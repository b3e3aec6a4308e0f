"""What an agent type asks of an endpoint."""

import pytest

from octoroute_py.config.schema import NetworkRules, Registered
from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.rules import AgentPreferences, PerformanceRequirements
from octoroute_py.core.words import Capability
from octoroute_py.tiers.demands import Demand, demand_of, has_capability, strictest
from octoroute_py.tiers.eligibility import Quality
from tests.fakes.endpoints import endpoint_config


def registered(*words: str) -> Registered:
    return Registered(model_id="m", status=ModelStatus.ACTIVE, rules=NetworkRules(), capabilities=frozenset(words))


@pytest.mark.parametrize(
    ("fields", "word", "has"),
    [
        ({}, "poetry", True),
        ({"capabilities": frozenset({Capability.IMAGE_INPUT})}, "vision", True),
        ({"capabilities": frozenset({Capability.IMAGE_INPUT})}, "tools", False),
        ({"capabilities": frozenset({Capability.IMAGE_INPUT})}, "poetry", False),
        ({"registered": registered("poetry")}, "poetry", True),
        ({"registered": registered("poetry")}, "tools", False),
        ({"registered": registered()}, "tools", False),
        ({"registered": registered("vision"), "capabilities": frozenset({Capability.IMAGE_INPUT})}, "images", True),
    ],
)
def test_a_capability_is_one_that_was_told_or_none_was(fields: dict[str, object], word: str, has: bool) -> None:
    assert has_capability(endpoint_config("fast/a#1", **fields), word) is has


def test_the_dearer_of_input_and_output_must_be_cheap_enough_and_an_unknown_price_is() -> None:
    demand = Demand(max_cost_per_mtok=2.0)
    assert demand.cheap_enough(endpoint_config(input_cost_per_mtok=1.0, output_cost_per_mtok=2.0))
    assert not demand.cheap_enough(endpoint_config(input_cost_per_mtok=1.0, output_cost_per_mtok=2.1))
    assert demand.cheap_enough(endpoint_config())


def test_preferences_are_turned_into_what_is_asked() -> None:
    asked = PerformanceRequirements(max_latency=500, min_success_rate=0.9, max_cost_per_token=0.000002)
    told = AgentPreferences(agent_type="a", required_capabilities=("Vision",), performance_requirements=asked)
    assert demand_of(told) == Demand(
        capabilities=("vision",),
        max_cost_per_mtok=2.0,
        quality=Quality(max_latency_s=0.5, min_success_rate=0.9),
    )
    assert demand_of(AgentPreferences(agent_type="a", preferred_models=("m",))) is None


def test_two_demands_on_quality_are_met_by_the_stricter_of_each() -> None:
    one, other = Quality(max_latency_s=1.0, min_success_rate=0.5), Quality(max_latency_s=2.0, min_success_rate=0.9)
    assert strictest(one, other) == Quality(max_latency_s=1.0, min_success_rate=0.9)
    assert strictest(one, None) is one
    assert strictest(None, other) is other
    assert strictest(None, None) is None
    assert strictest(Quality(max_latency_s=1.0), Quality(min_success_rate=0.9)) == Quality(
        max_latency_s=1.0, min_success_rate=0.9
    )
