"""The command's frame: default command, exit codes, messages without tracebacks."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from octoroute_py import __version__
from octoroute_py.cli import main
from octoroute_py.core.errors import ConfigError

ROOT = Path(__file__).parents[2]


def octoroute(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "octoroute_py", *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), **env},
        timeout=60,
    )


def test_the_version_is_told(tmp_path: Path) -> None:
    done = octoroute("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"octoroute {__version__}\n")


def test_help_names_every_command_without_importing_any() -> None:
    script = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from octoroute_py.cli.main import cli\n"
        "print(CliRunner().invoke(cli, ['--help']).output)\n"
        "print([name for name in sys.modules if name.startswith('octoroute_py.cli.')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60)
    for name in main.COMMANDS:
        assert f"  {name} " in done.stdout
    assert "['octoroute_py.cli.main']" in done.stdout


@pytest.mark.parametrize("args", [["nonsense"], ["check", "--nonsense"], ["check", "extra"], ["config", "-o"]])
def test_wrong_usage_exits_2(args: list[str], tmp_path: Path) -> None:
    done = octoroute(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_mistyped_command_comes_with_a_suggestion(tmp_path: Path) -> None:
    assert 'did you mean "check"?' in octoroute("chek", cwd=tmp_path).stderr


def test_a_missing_config_exits_78_with_one_message(tmp_path: Path) -> None:
    done = octoroute("check", cwd=tmp_path)
    assert done.returncode == 78
    assert done.stdout == ""
    assert done.stderr.startswith("config.toml: no such file")
    assert "Traceback" not in done.stderr


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands in for `serve` and collects the arguments it is given."""
    seen: list[str] = []

    @click.command(context_settings={"ignore_unknown_options": True})
    @click.argument("rest", nargs=-1, type=click.UNPROCESSED)
    def command(rest: tuple[str, ...]) -> None:
        seen.extend(rest)
        if "fail" in rest:
            raise ConfigError("config.toml:1: a.b: wrong")
        if "stop" in rest:
            raise KeyboardInterrupt

    module = type(sys)("octoroute_py.cli.serve")
    module.__dict__["command"] = command
    monkeypatch.setitem(sys.modules, "octoroute_py.cli.serve", module)
    return seen


@pytest.mark.parametrize("args", [[], ["serve"], ["-c", "x.toml", "--port", "0"], ["serve", "--host", "::1"]])
def test_without_a_command_the_arguments_are_those_of_serve(args: list[str], given: list[str]) -> None:
    assert CliRunner().invoke(main.cli, args).exit_code == 0
    assert given == [arg for arg in args if arg != "serve"]


def test_a_config_error_of_any_command_exits_78_with_its_text_alone(given: list[str]) -> None:
    result = CliRunner().invoke(main.cli, ["serve", "fail"])
    assert (result.exit_code, result.stdout, result.stderr) == (78, "", "config.toml:1: a.b: wrong\n")


def test_an_interrupt_is_quiet(given: list[str]) -> None:
    result = CliRunner().invoke(main.cli, ["serve", "stop"])
    assert (result.exit_code, result.output) == (1, "")
