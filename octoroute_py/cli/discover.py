"""`octoroute discover`: model servers on this machine, and a configuration for them."""

import asyncio
from pathlib import Path

import click

from octoroute_py.cli.draft import Draft, Server, config_text, drafts, is_chat_model
from octoroute_py.cli.options import output_option, write_new

PORTS = (("Ollama", 11434), ("LM Studio", 1234), ("llama.cpp", 8080), ("vLLM", 8000))
"""Where the usual servers listen unless told otherwise."""

_NEXT = (
    "start one and try again; for one elsewhere, run `octoroute config -o config.toml` and put its URL there; "
    "`octoroute demo` needs none"
)


def _named_port(text: str) -> tuple[str, int]:
    label, _, port = text.rpartition("=")
    if not label.isprintable() or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise click.BadParameter("must be NAME=PORT")
    return label or "server", int(port)


@click.command()
@output_option
@click.option("--port", "ports", multiple=True, metavar="NAME=PORT", hidden=True, help="Look at these ports instead.")
def command(output: Path | None, ports: tuple[str, ...]) -> None:
    """Look for model servers on this machine and write a configuration from them."""
    looked_at = tuple(_named_port(text) for text in ports) or PORTS
    servers = asyncio.run(_find(looked_at))
    if not servers:
        places = ", ".join(f"{label} at {port}" for label, port in looked_at)
        raise click.ClickException(f"no model server answered on 127.0.0.1 (looked for {places}); {_NEXT}")
    chosen = drafts(servers)
    # without -o the configuration itself goes to stdout, so that it can be redirected
    for line in _listing(servers):
        click.echo(line, err=output is None)
    if not chosen:
        raise click.ClickException("the servers found have no chat model; load one and try again")
    _deliver(chosen, output)


def _deliver(chosen: list[Draft], output: Path | None) -> None:
    if output is None:
        click.echo(config_text(chosen), nl=False)
        return
    write_new(output, config_text(chosen))
    click.echo(f"wrote {output}; next: octoroute check -c {output} --probe")


async def _find(ports: tuple[tuple[str, int], ...]) -> list[Server]:
    from octoroute_py.transport.discover import list_models

    answers = await asyncio.gather(*(list_models(port) for _, port in ports))
    found = zip(ports, answers, strict=True)
    return [Server(label, port, models) for (label, port), models in found if models is not None]


def _listing(servers: list[Server]) -> list[str]:
    lines = []
    for server in servers:
        lines.append(f"{server.label} at 127.0.0.1:{server.port}: {_models(len(server.models))}")
        lines += [f"  {model}{'' if is_chat_model(model) else ' (left out)'}" for model in server.models]
    return lines


def _models(count: int) -> str:
    return "1 model" if count == 1 else f"{count} models"
