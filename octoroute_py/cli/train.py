"""`octoroute train`: an artifact from labelled outcomes, calibrated, in seconds."""

import dataclasses
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from octoroute_py.cli.drawing import write_plot
from octoroute_py.cli.labelled import data_option, data_path, read_artifact, read_labelled, write_artifact
from octoroute_py.cli.options import Share

if TYPE_CHECKING:
    from octoroute_py.neural.artifact import Artifact
    from octoroute_py.training.trainer import Moment, Options, Trained


@click.command("train")
@data_option("TRAIN", "Labelled rows to learn from", name="train.jsonl.gz")
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="CAL",
    help="Other labelled rows: to stop early and to calibrate [default: calibration.jsonl.gz there]",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="F", help="The artifact to write."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed gives the same bytes."
)
@click.option(
    "--kind",
    type=click.Choice(["fastgrnn", "linear"]),
    default="fastgrnn",
    show_default=True,
    help="The network, or the linear baseline on the same features.",
)
@click.option("--epochs", type=click.IntRange(1, 100), default=6, show_default=True)
@click.option("--rank", type=click.IntRange(1, 15), help="Train W and U as products of two factors of this rank.")
@click.option(
    "--sparsity",
    type=Share(0.0, 1.0, max_open=True),
    default=0.0,
    help="Train W and U with this share of zeros (iterative hard thresholding).",
)
@click.option("--teacher", type=click.Path(path_type=Path), metavar="F", help="Also learn to agree with this artifact.")
@click.option("--temperature", type=Share(0.1, 20.0), default=2.0, show_default=True, help="Of the teacher.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="OUT.png", help="Draw loss and APGR by epoch.")
@click.option("--licence", default="", metavar="NAME", help="Under which the artifact may be used; kept in it.")
@click.option("--description", default="", metavar="TEXT", help="What it was made from and for; kept in it.")
def command(
    data: Path | None, calibration: Path | None, output: Path, seed: int, kind: str, epochs: int, rank: int | None,
    sparsity: float, teacher: Path | None, temperature: float, plot: Path | None, licence: str, description: str,
) -> None:  # fmt: skip
    """Learn from labelled outcomes which tier a prompt needs, and write a calibrated artifact."""
    # Matrix products on several threads add up in another order on another machine, and gain nothing at this size.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from octoroute_py.neural.artifact import Kind
    from octoroute_py.training.plots import plot_training
    from octoroute_py.training.raw import raw_scores
    from octoroute_py.training.targets import Distillation
    from octoroute_py.training.trainer import Options

    rows = read_labelled(data_path(data, name="train.jsonl.gz"))
    other_path = data_path(calibration, name="calibration.jsonl.gz")
    others = read_labelled(other_path)
    options = Options(
        kind=Kind(kind), seed=seed, epochs=epochs, rank_w=rank, rank_u=rank, sparsity=sparsity,
        distillation=Distillation(temperature=temperature),
    )  # fmt: skip
    taught = None
    if teacher is not None:
        taught = raw_scores(read_artifact(teacher), [row.prompt for row in rows])[:, :5].astype("float32")
    trained = learn(rows, others, options=options, taught=taught)
    finish(trained, others, data=other_path, output=output, told={"licence": licence, "description": description})
    if plot is not None:
        write_plot(functools.partial(plot_training, trained.epochs), plot)


def learn(rows: Any, others: Any, *, options: "Options", taught: Any = None) -> "Trained":
    """Trains under a progress bar on stderr that shows the loss and, after every epoch, the calibration APGR."""
    from octoroute_py.training.trainer import train

    columns = (TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("loss {task.fields[loss]:.3f}"), TextColumn("{task.fields[reached]}"))  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("learning", total=None, epoch=1, loss=0.0, reached="")

        def watch(moment: "Moment") -> None:
            told: dict[str, Any] = {"loss": moment.loss, "epoch": moment.epoch}
            if moment.apgr is not None:
                told["reached"] = f"APGR {moment.apgr:.3f}"
            progress.update(bar, completed=moment.done, total=moment.total, **told)

        return train(rows, others, options=options, watch=watch, taught=taught)


def finish(trained: "Trained", others: Any, *, data: Path, output: Path, told: dict[str, str]) -> None:
    """Calibrates, writes, and says what came of it."""
    from octoroute_py.training.compress import recalibrated

    try:
        artifact = recalibrated(described(trained, told), others)
    except ValueError as error:
        raise click.ClickException(f"{data}: {error}") from None
    size = write_artifact(artifact, output)
    for moment in trained.epochs:
        line = f"epoch {moment.epoch}: loss {moment.loss:.4f}"
        if moment.validation_loss is not None:
            line += f", on the calibration rows {moment.validation_loss:.4f}"
        click.echo(line + (f", APGR {moment.apgr:.3f}" if moment.apgr is not None else ""))
    click.echo(f"{output}: {artifact.card.kind}, {artifact.card.rows:,} rows learned from, {size:,} bytes, calibrated")


def described(trained: "Trained", told: dict[str, str]) -> "Artifact":
    """The artifact with what is to be known of it, and what the epoch that was kept reached on the calibration rows."""
    kept = min(trained.epochs, key=lambda moment: moment.validation_loss or float("inf"))
    reached = {"calibration_loss": kept.validation_loss, "calibration_apgr": kept.apgr, "epoch": float(kept.epoch)}
    metrics = {name: value for name, value in reached.items() if value is not None}
    card = msgspec.structs.replace(trained.artifact.card, metrics=metrics, **told)
    return dataclasses.replace(trained.artifact, card=card)
