"""Run one simulated model: `python -m octoroute_py.simulator --tier fast --port 8001`."""

import asyncio
import signal
import sys

import click
import uvloop

from octoroute_py.core.words import TIERS, Tier
from octoroute_py.simulator.faults import Fault, FaultPlan
from octoroute_py.simulator.fleet import FLEET
from octoroute_py.simulator.server import serve

_GRACE_S = 5.0


@click.command()
@click.option("--tier", type=click.Choice([str(tier) for tier in TIERS]), required=True, help="Which model to be.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0 takes a free port.")
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), default=1.0, help="How many times as fast.")
@click.option("--control", is_flag=True, help="Allow POST /control and model names such as sim-fast:hang.")
@click.option("--fault", type=click.Choice([str(fault) for fault in Fault]), help="Fail in this way.")
@click.option("--fault-rate", type=click.FloatRange(0, 1), default=1.0, help="Share of requests that fail.")
def main(tier: str, host: str, port: int, *, speed: float, control: bool, fault: str | None, fault_rate: float) -> None:
    """Serve one simulated OpenAI-compatible model until SIGTERM or Ctrl-C."""
    plan = FaultPlan(Fault(fault) if fault else None, fault_rate)
    try:
        uvloop.run(_run(Tier(tier), host, port, speed=speed, control=control, plan=plan))
    except OSError as error:
        click.echo(f"cannot listen on {host}:{port}: {error.strerror}", err=True)
        sys.exit(1)


async def _run(tier: Tier, host: str, port: int, *, speed: float, control: bool, plan: FaultPlan) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    simulator = await serve(FLEET[tier], host, port, speed=speed, control=control, plan=plan)
    click.echo(f"simulated {tier} model listening on {simulator.base_url}")
    await stop.wait()
    await simulator.aclose(grace_s=_GRACE_S)


if __name__ == "__main__":
    main(prog_name="python -m octoroute_py.simulator")
