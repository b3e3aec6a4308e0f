"""The artifacts that come with the package."""

from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

FOLDER: Final = "artifacts"
"""Where they lie in this package, one `<name>.safetensors` each."""


def shipped_path(name: str) -> Path:
    """Where the artifact of that name lies; packages are installed as files, so the path stays good."""
    with as_file(files("octoroute_py.neural").joinpath(FOLDER, f"{name}.safetensors")) as path:
        return path.resolve()  # some installers put links in the place of files
