"""`octoroute config`: the commented template."""

from pathlib import Path

import click

from octoroute_py.cli.options import output_option, write_new
from octoroute_py.config.template import template


@click.command()
@output_option
def command(output: Path | None) -> None:
    """Print the commented configuration template, or write it to a file."""
    if output is None:
        click.echo(template(), nl=False)
        return
    write_new(output, template())
    click.echo(f"wrote {output}; next: octoroute check -c {output} --probe")
