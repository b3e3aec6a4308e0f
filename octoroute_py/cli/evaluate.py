"""`octoroute evaluate`: what an artifact is worth on rows it never saw."""

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console

from octoroute_py.cli.drawing import write_plot
from octoroute_py.cli.labelled import data_option, data_path, read_artifact, read_labelled

if TYPE_CHECKING:
    from octoroute_py.neural.artifact import Artifact
    from octoroute_py.training.report import Report

_WIDTH: Final = 110
"""Columns of a report that goes into a file or a pipe."""


@click.command()
@click.option("--artifact", type=click.Path(path_type=Path), required=True, metavar="F", help="What is measured.")
@data_option("TEST", "Labelled rows it never saw", name="public_test.jsonl.gz")
@click.option(
    "--linear",
    type=click.Path(path_type=Path),
    metavar="F",
    help="The linear baseline to compare with [default: the one that is shipped]",
)
@click.option("--json", "as_data", is_flag=True, help="Print the report as JSON.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="OUT.png", help="Draw cost against quality.")
@click.option(
    "--calibration-plot",
    type=click.Path(path_type=Path),
    metavar="OUT.png",
    help="Draw stated against real success rates.",
)
@click.option("--card", type=click.Path(path_type=Path), metavar="OUT.md", help="Write the model card.")
def command(
    artifact: Path,
    data: Path | None,
    linear: Path | None,
    as_data: bool,
    plot: Path | None,
    calibration_plot: Path | None,
    card: Path | None,
) -> None:
    """Report how well an artifact routes labelled rows it never saw, and whether that beats a random mix."""
    from octoroute_py.cli.findings import show
    from octoroute_py.training.plots import plot_calibration, plot_cost
    from octoroute_py.training.report import as_json

    found = read_artifact(artifact)
    report = measure(artifact, found, data_path(data, name="public_test.jsonl.gz"), linear=linear)
    for draw, path in ((plot_cost, plot), (plot_calibration, calibration_plot)):
        if path is not None:
            write_plot(functools.partial(draw, report), path)
    if card is not None:
        _write_card(found, report, card, size_bytes=artifact.stat().st_size)
    if as_data:
        click.echo(as_json(report))
    else:
        width = None if sys.stdout.isatty() else _WIDTH
        show(report, console=Console(markup=False, highlight=False, width=width))


def measure(path: Path, artifact: "Artifact", data: Path, *, linear: Path | None) -> "Report":
    """The report of an artifact on the rows of a file."""
    from octoroute_py.neural.shipped import shipped_path
    from octoroute_py.training.evaluate import evaluate
    from octoroute_py.training.evidence import evidence_of

    if artifact.calibration is None:
        raise click.ClickException(f"{path}: is not calibrated; run `octoroute calibrate` on it first")
    baseline = read_artifact(linear if linear is not None else shipped_path("linear"))
    rows = read_labelled(data)
    try:
        return evaluate(
            evidence_of(rows, artifact, linear=baseline), artifact.calibration, artifact=path.name, data=data.name
        )
    except ValueError as error:
        raise click.ClickException(f"{data}: {error}") from None


def _write_card(artifact: "Artifact", report: "Report", path: Path, *, size_bytes: int) -> None:
    from octoroute_py.training.card import render_card

    if artifact.calibration is None:
        return
    text = render_card(artifact.card, artifact.calibration, report, size_bytes=size_bytes)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be written ({error.strerror or 'error'})") from None
