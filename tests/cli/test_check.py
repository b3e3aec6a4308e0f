"""`octoroute check` without the network."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from octoroute_py.cli.main import cli
from tests.fakes.configs import MINIMAL, with_endpoint


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("OCTOROUTE_CONFIG", "OCTOROUTE_PORT", "OCTOROUTE_HOST", "PORT", "LOG_LEVEL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_valid_file_is_told_in_one_line(folder: Path) -> None:
    (folder / "config.toml").write_text(MINIMAL)
    result = CliRunner().invoke(cli, ["check"])
    assert (result.exit_code, result.output) == (0, "config.toml: ok: 3 endpoints, strategy rule\n")


def test_what_is_not_built_yet_is_a_note_and_no_failure(folder: Path) -> None:
    (folder / "own.toml").write_text(MINIMAL + '[redis]\nurl = "redis://127.0.0.1"\n')
    result = CliRunner().invoke(cli, ["check", "-c", "own.toml"])
    assert result.exit_code == 0
    first, second = result.output.splitlines()
    assert first == "own.toml: ok: 3 endpoints, strategy rule"
    assert second.startswith("note: [redis] comes with")


def test_an_artifact_that_cannot_be_used_is_a_problem(folder: Path) -> None:
    (folder / "config.toml").write_text(
        MINIMAL.replace('"rule"', '"neural"') + '[routing.neural]\nartifact = "own.safetensors"\n'
    )
    result = CliRunner().invoke(cli, ["check"])
    assert result.exit_code == 78
    assert result.stderr == f"routing.neural.artifact: {folder / 'own.safetensors'}: no such file\n"


def test_every_problem_is_listed_and_the_exit_code_is_78(folder: Path) -> None:
    (folder / "config.toml").write_text(
        with_endpoint('wieght = 2\napi_key_env = "UNSET_FOR_THIS_TEST"\npriority = 999')
    )
    result = CliRunner().invoke(cli, ["check"])
    assert result.exit_code == 78
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        'config.toml:5: models.fast[0].wieght: unknown key; did you mean "weight"?',
        "config.toml:6: models.fast[0].api_key_env: environment variable UNSET_FOR_THIS_TEST is not set",
        "config.toml:7: models.fast[0].priority: must be from 0 to 255",
    ]


def test_the_file_is_found_through_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "other.toml").write_text(MINIMAL)
    monkeypatch.setenv("OCTOROUTE_CONFIG", "other.toml")
    assert CliRunner().invoke(cli, ["check"]).output.startswith("other.toml: ok")


def test_what_a_budget_would_not_count_is_a_note(folder: Path) -> None:
    priced = with_endpoint("output_cost_per_mtok = 1.0")
    (folder / "config.toml").write_text(priced + "[limits.agent_types.crawler]\ndaily_usd = 5.0\n")
    result = CliRunner().invoke(cli, ["check"])
    assert result.exit_code == 0
    assert result.output.splitlines()[1:] == [
        "note: fast/small#1 has no input_cost_per_mtok, so that this part of its tokens is free",
        "note: budgets do not count what has no price: balanced/middle#1, deep/large#1",
    ]


def test_a_database_server_is_a_note_whatever_is_installed(folder: Path) -> None:
    (folder / "config.toml").write_text(MINIMAL + '[storage]\nurl = "postgresql://db/octoroute"\n')
    result = CliRunner().invoke(cli, ["check"])
    assert result.exit_code == 0
    assert "note: [storage] on a database server comes with replicas" in result.output
