"""`octoroute check`: is the configuration valid, are artifact and database usable, and do the endpoints answer?"""

import asyncio
from pathlib import Path

import click

from octoroute_py.cli.db import problem_of
from octoroute_py.cli.options import config_option, read_config
from octoroute_py.config.exposed import exposed
from octoroute_py.config.schema import Config
from octoroute_py.core.allowance import NO_BUDGETS
from octoroute_py.core.errors import ConfigError
from octoroute_py.ledger.pricing import has_prices
from octoroute_py.routing.artifact import load_neural


@click.command()
@config_option
@click.option("--probe", is_flag=True, help="Also ask every endpoint for its models.")
def command(config_path: Path | None, probe: bool) -> None:
    """Validate everything and list all problems, each with its place."""
    config = read_config(config_path)
    load_neural(config)
    problem = problem_of(config)
    if problem is not None:
        raise ConfigError(problem)
    click.echo(summary(config))
    for line in config.unbuilt:
        click.echo(f"note: {line}; `serve` refuses to start with it")
    for line in (*exposed(config), *unpriced(config)):
        click.echo(f"note: {line}")
    if probe and not asyncio.run(_probe(config)):
        raise click.exceptions.Exit(1)


def unpriced(config: Config) -> list[str]:
    """What a budget would not count, or only in part, because a price is missing."""
    told = []
    for endpoint in config.endpoints:
        prices = {"input": endpoint.input_cost_per_mtok, "output": endpoint.output_cost_per_mtok}
        missing = [f"{name}_cost_per_mtok" for name, price in prices.items() if price is None]
        if len(missing) == 1:
            told.append(f"{endpoint.id} has no {missing[0]}, so that this part of its tokens is free")
    budgeted = [name for name, limits in config.limits.agent_types if limits.budgets != NO_BUDGETS]
    free = [endpoint.id for endpoint in config.endpoints if not has_prices(endpoint)]
    if budgeted and free:
        told.append(f"budgets do not count what has no price: {', '.join(free)}")
    return told


def summary(config: Config) -> str:
    """The one line that says what was found to be valid."""
    path, here = config.path, Path.cwd()
    name = path.relative_to(here) if path is not None and path.is_relative_to(here) else path or "config"
    count = len(config.endpoints)
    return f"{name}: ok: {count} endpoint{'' if count == 1 else 's'}, strategy {config.routing.strategy}"


async def _probe(config: Config) -> bool:
    from octoroute_py.cli.probe import probe_all
    from octoroute_py.transport.connect import TransportMaker

    results = await probe_all(config.endpoints, make_transport=TransportMaker().make_transport)
    for result in results:
        click.echo(f"{result.endpoint_id}: {result.said}")
    return all(result.ok for result in results)
