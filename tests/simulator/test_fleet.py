"""The demo's three models differ as tiers do, and one can be run on its own."""

import asyncio
import itertools
import signal
import sys

import httpx

from octoroute_py.core.words import TIERS, Tier
from octoroute_py.simulator.fleet import FLEET, serve_fleet
from octoroute_py.simulator.model import SimulatedModel
from octoroute_py.simulator.playback import Pace, pace_of


def test_dearer_models_are_slower() -> None:
    models = [FLEET[tier] for tier in TIERS]
    assert [model.name for model in models] == ["sim-fast", "sim-balanced", "sim-deep"]
    for cheap, dear in itertools.pairwise(models):
        assert cheap.first_token_s < dear.first_token_s
        assert cheap.tokens_per_s > dear.tokens_per_s
        assert cheap.output_cost_per_mtok < dear.output_cost_per_mtok


def test_speed_divides_all_waiting() -> None:
    model = SimulatedModel(name="x", first_token_s=1.0, tokens_per_s=50.0)
    assert pace_of(model, speed=2.0) == Pace(0.5, 0.01)
    assert pace_of(SimulatedModel(name="x"), speed=1.0) == Pace(0.0, 0.0)
    assert Pace(0.5, 0.02).slower() == Pace(5.0, 0.2)


async def test_the_whole_fleet_answers_and_stops() -> None:
    async with await serve_fleet(speed=100.0) as fleet, httpx.AsyncClient(trust_env=False) as client:
        lengths = {}
        for tier, simulator in fleet.simulators.items():
            body = {"model": FLEET[tier].name, "messages": [{"role": "user", "content": "Hello, who are you?"}]}
            answer = await client.post(f"{simulator.base_url}/chat/completions", json=body)
            lengths[tier] = answer.json()["usage"]["completion_tokens"]
        assert lengths[Tier.FAST] < lengths[Tier.BALANCED] < lengths[Tier.DEEP]


async def test_one_model_runs_as_a_program_until_sigterm() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "octoroute_py.simulator", "--tier", "fast", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        line = (await process.stdout.readline()).decode()
        assert line.startswith("simulated fast model listening on http://127.0.0.1:")
        async with httpx.AsyncClient(trust_env=False) as client:
            listing = await client.get(line.split()[-1] + "/models")
            assert listing.json()["data"][0]["id"] == "sim-fast"
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
