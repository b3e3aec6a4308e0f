"""Three simulated models of different speed and price, one a tier, for `octoroute demo`."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from octoroute_py.core.words import Tier
from octoroute_py.simulator.model import Personality, SimulatedModel
from octoroute_py.simulator.server import Simulator, serve

FLEET: Mapping[Tier, SimulatedModel] = MappingProxyType(
    {
        Tier.FAST: SimulatedModel(
            name="sim-fast",
            first_token_s=0.05,
            tokens_per_s=150.0,
            input_cost_per_mtok=0.1,
            output_cost_per_mtok=0.4,
            personality=Personality.TERSE,
        ),
        Tier.BALANCED: SimulatedModel(
            name="sim-balanced",
            first_token_s=0.2,
            tokens_per_s=80.0,
            input_cost_per_mtok=0.8,
            output_cost_per_mtok=3.2,
            personality=Personality.PLAIN,
        ),
        Tier.DEEP: SimulatedModel(
            name="sim-deep",
            first_token_s=0.6,
            tokens_per_s=40.0,
            input_cost_per_mtok=5.0,
            output_cost_per_mtok=20.0,
            personality=Personality.THOROUGH,
        ),
    }
)
"""The demo's models; prices are invented, in USD per million tokens."""


class Fleet:
    """The three servers of the demo, running; `simulators` has one a tier."""

    def __init__(self, simulators: Mapping[Tier, Simulator]) -> None:
        self.simulators = simulators

    async def aclose(self, *, grace_s: float = 0.0) -> None:
        """Close them all, running answers after `grace_s` seconds at the latest."""
        await asyncio.gather(*(simulator.aclose(grace_s=grace_s) for simulator in self.simulators.values()))

    async def __aenter__(self) -> "Fleet":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


async def serve_fleet(host: str = "127.0.0.1", *, speed: float = 1.0, control: bool = False) -> Fleet:
    """Start the demo's servers on free ports. Raises OSError, with none left running, if one cannot listen."""
    started: dict[Tier, Simulator] = {}
    try:
        for tier, model in FLEET.items():
            started[tier] = await serve(model, host, speed=speed, control=control)
    except OSError:
        await Fleet(started).aclose()
        raise
    return Fleet(started)
