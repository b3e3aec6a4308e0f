"""The commented template that `octoroute config` prints; `config.example.toml` of the repository is the same file."""

from importlib.resources import files

NAME = "config.example.toml"


def template() -> str:
    """The template's text: valid as it is, every other setting shown as a comment."""
    return files("octoroute_py.config").joinpath(NAME).read_text(encoding="utf-8")
