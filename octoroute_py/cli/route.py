"""`octoroute route`: where a prompt would go, and why."""

import asyncio
import os
import random
from pathlib import Path

import click
import msgspec
from rich.console import Console

from octoroute_py.admission.principal import Principal
from octoroute_py.app import refuse_unbuilt
from octoroute_py.cli.decision import as_data, show
from octoroute_py.cli.options import Share
from octoroute_py.config.load import find_config, load_config, process_env
from octoroute_py.config.schema import Config
from octoroute_py.core import clock
from octoroute_py.core.errors import GatewayError, NotFound
from octoroute_py.core.ids import new_request_id
from octoroute_py.core.words import Importance, Role, Surface, TaskType
from octoroute_py.gateway.context import RequestContext
from octoroute_py.gateway.explaining import explain
from octoroute_py.gateway.snapshot import dry_snapshot
from octoroute_py.routing.explain import Explanation
from octoroute_py.transport.openai import parse_body


@click.command("route")
@click.argument("prompt")
@click.option("-c", "--config", "file", type=click.Path(path_type=Path), help="Config file.")
@click.option("--model", default="auto", show_default=True, help="The model the client would name.")
@click.option("--importance", type=click.Choice([each.value for each in Importance]), help="As the client's hint.")
@click.option("--task-type", type=click.Choice([each.value for each in TaskType]), help="As the client's hint.")
@click.option("--tag", help="As the client's hint.")
@click.option("--max-quality-loss", type=Share(0, 1), help="As the client's hint.")
@click.option("--local-only", is_flag=True, help="As the client's hint.")
@click.option("--json", "as_json", is_flag=True, help="Print the decision as JSON.")
def command(
    prompt: str,
    file: Path | None,
    model: str,
    as_json: bool,
    local_only: bool,
    **hints: str | float | None,
) -> None:
    """Decide where PROMPT would go, without calling any model."""
    env = process_env()
    config = load_config(find_config(file, env, Path(os.curdir).absolute()), env=env)
    refuse_unbuilt(config)
    given: dict[str, object] = {name: value for name, value in hints.items() if value is not None}
    if local_only:
        given["privacy"] = "local-only"
    explanation = _explain(config, request_body(prompt, model=model, hints=given))
    if as_json:
        click.echo(as_data(explanation))
    else:
        show(explanation, console=Console(markup=False, highlight=False))


def request_body(prompt: str, *, model: str, hints: dict[str, object]) -> bytes:
    """The chat request with this one user message."""
    text = prompt.encode("utf-8", "replace").decode("utf-8")
    return msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": text}], "octoroute": hints})


def _explain(config: Config, body: bytes) -> Explanation:
    try:
        return asyncio.run(_dry_run(config, body))
    except NotFound as error:
        raise click.BadParameter(error.client_message, param_hint="--model") from None
    except GatewayError as error:
        raise click.ClickException(error.client_message) from None


async def _dry_run(config: Config, body: bytes) -> Explanation:
    ctx = RequestContext(
        request_id=new_request_id(),
        surface=Surface.CHAT,
        snapshot=dry_snapshot(config, rng=random.Random()),
        principal=Principal("cli", Role.INFERENCE),
        raw_headers=[],
        monotonic=clock.monotonic,
        wall=clock.wall,
    )
    ctx.read(parse_body(body, Surface.CHAT))
    return await explain(ctx, ask_judge=False)
