"""`octoroute optimize`: an artifact in fewer bytes, with what that costs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from octoroute_py.cli.labelled import (
    DATA_VARIABLE,
    data_option,
    data_path,
    read_artifact,
    read_labelled,
    write_artifact,
)
from octoroute_py.cli.options import Share
from octoroute_py.config.load import process_env

if TYPE_CHECKING:
    from octoroute_py.training.compress import Form, Quality
    from octoroute_py.training.dataset import Row


@click.command("optimize")
@click.option(
    "--artifact", type=click.Path(path_type=Path), required=True, metavar="F", help="The artifact to make smaller."
)
@click.option("--int8", is_flag=True, help="Eight bits an entry (what training writes).")
@click.option("--int4", is_flag=True, help="Four bits an entry.")
@click.option("--sparsity", type=Share(0.0, 1.0, min_open=True, max_open=True), help="This share of zeros.")
@click.option("--rank", type=click.IntRange(min=1), help="Two factors of this rank.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="OUT", help="Write here instead of over the artifact."
)
@data_option("CAL", "Labelled rows it did not learn from, to calibrate it again", name="calibration.jsonl.gz")
def command(
    artifact: Path, int8: bool, int4: bool, sparsity: float | None, rank: int | None, output: Path | None,
    data: Path | None,
) -> None:  # fmt: skip
    """Store an artifact in fewer bytes, calibrate it anew, and print quality and size before and after."""
    from octoroute_py.training.compress import compressed, quality_of, recalibrated

    form = _form(int8=int8, int4=int4, sparsity=sparsity, rank=rank)
    before, rows = read_artifact(artifact), _rows(data)
    try:
        after = compressed(before, form)
        if rows:
            after = recalibrated(after, rows)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    write_artifact(after, output or artifact)
    click.echo(_line("before", quality_of(before, rows)))
    click.echo(_line("after", quality_of(after, rows)))
    if not rows:
        click.echo("no labelled rows were given: quality is not known, and the artifact needs `octoroute calibrate`")


def _form(*, int8: bool, int4: bool, sparsity: float | None, rank: int | None) -> "Form":
    from octoroute_py.training.compress import Form

    if sum((int8, int4, sparsity is not None, rank is not None)) != 1:
        raise click.UsageError("name exactly one of --int8, --int4, --sparsity and --rank")
    return Form(bits=4 if int4 else 8, sparsity=sparsity, rank=rank)


def _rows(data: Path | None) -> "list[Row]":
    """The labelled rows, none when no data is named anywhere."""
    if data is None and not process_env().get(DATA_VARIABLE):
        return []
    return read_labelled(data_path(data, name="calibration.jsonl.gz"))


def _line(when: str, quality: "Quality") -> str:
    known = "quality not measured"
    if quality.apgr is not None and quality.auc_fast is not None:
        known = f"APGR {quality.apgr:.4f}, AUC fast right {quality.auc_fast:.4f}"
    return f"{when}: {quality.size_bytes:,} bytes, {known}"
