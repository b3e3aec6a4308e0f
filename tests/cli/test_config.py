"""`octoroute config`."""

from pathlib import Path

from click.testing import CliRunner

from octoroute_py.cli.main import cli
from octoroute_py.config.template import template


def test_the_template_is_printed() -> None:
    result = CliRunner().invoke(cli, ["config"])
    assert (result.exit_code, result.output) == (0, template())


def test_the_template_is_written_and_passes_the_check(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert CliRunner().invoke(cli, ["config", "-o", str(path)]).exit_code == 0
    assert path.read_text() == template()
    assert CliRunner().invoke(cli, ["check", "-c", str(path)]).exit_code == 0


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("mine")
    result = CliRunner().invoke(cli, ["config", "-o", str(path)])
    assert result.exit_code == 1
    assert "exists and is not overwritten" in result.stderr
    assert path.read_text() == "mine"


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["config", "-o", str(tmp_path / "none" / "config.toml")])
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
