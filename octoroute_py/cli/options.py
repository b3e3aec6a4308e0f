"""Options that several commands share."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from octoroute_py.config.environment import Overrides, process_env
from octoroute_py.config.load import find_config, load_config
from octoroute_py.config.schema import Config

F = TypeVar("F", bound=Callable[..., object])


class Share(click.FloatRange):
    """A number between two bounds; click's own lets `nan` pass, which compares with no bound at all."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number, or click's error."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is no number.", param, ctx)
        return number


def config_option(function: F) -> F:
    """`-c FILE`, given to the command as `config_path`."""
    return click.option(
        "-c",
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Configuration file [default: $OCTOROUTE_CONFIG, else ./config.toml]",
    )(function)


def output_option(function: F) -> F:
    """`-o FILE`, given to the command as `output`."""
    return click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write to this file; an existing one is never overwritten.",
    )(function)


def read_config(config_path: Path | None, *, overrides: Overrides | None = None) -> Config:
    """The configuration the command line and the environment ask for; raises ConfigError."""
    env = process_env()
    return load_config(find_config(config_path, env, Path()), env=env, overrides=overrides or Overrides())


def write_new(path: Path, text: str) -> None:
    """Create the file; a click error, and nothing written, when it exists or cannot be made."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise click.ClickException(f"{path} exists and is not overwritten") from None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written ({error.strerror or 'error'})") from None
