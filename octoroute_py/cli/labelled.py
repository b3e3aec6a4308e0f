"""What the commands around the scorer share: labelled rows and artifacts, or one message why there are none."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from octoroute_py.config.load import process_env

if TYPE_CHECKING:
    from octoroute_py.neural.artifact import Artifact
    from octoroute_py.training.dataset import Row

DATA_VARIABLE: Final = "OCTOROUTE_ROUTING_DATA"

_Command = TypeVar("_Command", bound=Callable[..., Any])


def data_option(metavar: str, what: str, *, name: str) -> Callable[[_Command], _Command]:
    """`--data`: `what` it names, and the file of the folder in OCTOROUTE_ROUTING_DATA that stands in for it."""
    told = f"{what} [default: {name} in ${DATA_VARIABLE}]"
    return click.option("--data", type=click.Path(path_type=Path), metavar=metavar, help=told)


def data_path(given: Path | None, *, name: str) -> Path:
    """The file that `--data` names, else the one of this name in the folder of OCTOROUTE_ROUTING_DATA."""
    if given is not None:
        return given
    folder = process_env().get(DATA_VARIABLE)
    if not folder:
        raise click.UsageError(f"--data is missing, and {DATA_VARIABLE} names no folder either")
    return Path(folder) / name


def read_labelled(path: Path) -> "list[Row]":
    """The labelled rows of a file; a click error with the place of the first wrong one."""
    from octoroute_py.training.dataset import DatasetError, read_rows

    try:
        return read_rows(path)
    except DatasetError as error:
        raise click.ClickException(str(error)) from None


def read_artifact(path: Path) -> "Artifact":
    """The artifact in a file; a click error saying what is wrong with it."""
    from octoroute_py.neural.artifact import ArtifactError
    from octoroute_py.neural.weights import load

    try:
        return load(path)
    except ArtifactError as error:
        raise click.ClickException(str(error)) from None


def write_artifact(artifact: "Artifact", path: Path) -> int:
    """Writes an artifact, whole or not at all; its size in bytes."""
    from octoroute_py.neural.artifact import ArtifactError
    from octoroute_py.neural.weights import save

    try:
        return save(artifact, path)
    except ArtifactError as error:
        raise click.ClickException(str(error)) from None
