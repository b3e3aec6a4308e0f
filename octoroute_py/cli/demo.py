"""`octoroute demo`: the gateway with three simulated model servers, nothing to configure, no network, no keys."""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
import uvloop

from octoroute_py.cli.serve import serve
from octoroute_py.config.environment import Overrides
from octoroute_py.config.load import load_config
from octoroute_py.config.schema import Config
from octoroute_py.core.words import TIERS, Tier
from octoroute_py.simulator.fleet import FLEET, serve_fleet

_NO_ENVIRONMENT: Mapping[str, str] = {}


@click.command(help="Run the gateway with three simulated model servers: no network, no keys, nothing to configure.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=3000, show_default=True, metavar="P", help="0 picks a free one."
)
def command(port: int) -> None:
    """Serve until a signal ends it; config and data live in a temporary folder."""
    with (
        tempfile.TemporaryDirectory(prefix="octoroute-demo-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_demo(Path(folder), port))


async def _demo(folder: Path, port: int) -> None:
    async with await serve_fleet() as fleet:
        path = folder / "config.toml"
        path.write_text(demo_config({tier: each.base_url for tier, each in fleet.simulators.items()}), encoding="utf-8")

        def load() -> Config:
            return load_config(path, env=_NO_ENVIRONMENT, overrides=Overrides(port=port))

        await serve(load(), load, announce=lambda url: click.echo(welcome(url, path)))


def demo_config(base_urls: Mapping[Tier, str]) -> str:
    """The demo's configuration, one simulated endpoint a tier."""
    parts = ["# Made by `octoroute demo`; the three model servers are simulated.\n"]
    for tier in TIERS:
        model = FLEET[tier]
        parts.append(
            f"[[models.{tier.value}]]\n"
            f'name = "{model.name}"\n'
            f'base_url = "{base_urls[tier]}"\n'
            f"max_tokens = 4096\n"
            f"input_cost_per_mtok = {model.input_cost_per_mtok}\n"
            f"output_cost_per_mtok = {model.output_cost_per_mtok}\n"
        )
    parts.append('[routing]\nstrategy = "hybrid"\ndefault_tier = "balanced"\n')
    return "\n".join(parts)


def welcome(url: str, config: Path) -> str:
    """What to try, ready to paste."""
    return f"""listening on {url}

Three simulated models stand behind it: sim-fast, sim-balanced, sim-deep (config: {config}).

Try curl:

  curl -s -D - {url}/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{{"model": "auto", "stream": true, "messages": [{{"role": "user", "content": "hello there"}}]}}'

or the OpenAI SDK:

  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="unused")
  for event in client.chat.completions.create(
      model="auto", stream=True, messages=[{{"role": "user", "content": "Analyze the trade-offs of caching."}}]
  ):
      print(event.choices[0].delta.content or "", end="", flush=True)

The models have invented prices. What your requests cost, and what they would have cost at the deep tier:

  curl -s {url}/api/analytics/savings

Watch it in a browser: {url}/dashboard shows where requests go, why, and what they cost.

Ask for a tier with model="fast", "balanced" or "deep"; see {url}/models and {url}/metrics. Ctrl+C ends it.
"""
