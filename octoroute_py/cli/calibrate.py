"""`octoroute calibrate`: probabilities and the dial of an artifact, from outcomes it did not learn from."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from octoroute_py.cli.labelled import data_option, data_path, read_artifact, read_labelled, write_artifact
from octoroute_py.cli.options import Share

if TYPE_CHECKING:
    from octoroute_py.neural.calibration import Calibration


@click.command()
@click.option("--artifact", type=click.Path(path_type=Path), required=True, metavar="F", help="Is calibrated in place.")
@data_option("CAL", "Labelled rows it did not learn from", name="calibration.jsonl.gz")
@click.option(
    "--alpha",
    type=Share(0.0, 1.0, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="The tolerated loss to print the dial for; the artifact answers for every other one too.",
)
def command(artifact: Path, data: Path | None, alpha: float) -> None:
    """Fit probabilities, sets, the guard and the dial on labelled rows, and keep them in the artifact."""
    from octoroute_py.training.evidence import calibration_of

    path = data_path(data, name="calibration.jsonl.gz")
    found, rows = read_artifact(artifact), read_labelled(path)
    try:
        calibration = calibration_of(rows, found)
    except ValueError as error:
        raise click.ClickException(f"{path}: {error}") from None
    size = write_artifact(dataclasses.replace(found, calibration=calibration), artifact)
    click.echo(f"{artifact}: calibrated on {calibration.gain.rows:,} of {len(rows):,} rows, {size:,} bytes")
    for line in told(calibration, alpha=alpha):
        click.echo(line)


def told(calibration: "Calibration", *, alpha: float) -> list[str]:
    """What a calibration came to, line by line."""
    from octoroute_py.neural.conformal import ALWAYS, NEVER

    errors = ", ".join(f"{tier} {error:.3f}" for tier, error in calibration.facts["ece"].items())
    lines = [f"calibration error on these rows: {errors}"]
    for tag in (None, *sorted(calibration.tags)):
        dial = calibration.dial(alpha, tag)
        whose = f"tag {tag}" if tag else "all requests"
        means = f"risk up to {dial.threshold:.4f} is taken"
        if dial.threshold == NEVER:
            means = f"everything goes to deep: {dial.rows:,} rows are too few, or fail too often, to promise that"
        elif dial.threshold == ALWAYS:
            means = "everything goes to the cheapest tier its set allows"
        lines.append(f"dial at a tolerated loss of {alpha:g}, {whose} ({dial.rows:,} rows): {means}")
    return lines
