"""Plots into files, or one message why there are none."""

from collections.abc import Callable
from pathlib import Path

import click


def write_plot(draw: Callable[[Path], None], path: Path) -> None:
    """Draws into the file; a click error where matplotlib, the format or the place is missing."""
    from octoroute_py.training.plots import PlotsMissing

    try:
        draw(path)
    except (PlotsMissing, ValueError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be written ({error.strerror or 'error'})") from None
