"""The command `octoroute`: finds the subcommand, turns expected errors into one message and an exit code.

Exit codes: 0 done, 1 it did not work, 2 wrong usage, 78 a config that cannot be used. Commands are imported when they
are called, so that `octoroute --version` does not wait for what it does not need.
"""

import difflib
import importlib
from typing import IO

import click

from octoroute_py import __version__
from octoroute_py.core.errors import ConfigError

COMMANDS: dict[str, str] = {
    "serve": "Run the gateway (what happens without a command).",
    "demo": "Run the gateway with three simulated model servers.",
    "config": "Print or write the commented configuration template.",
    "check": "Validate a configuration and list all of its problems.",
    "discover": "Find model servers on this machine and write a config.",
    "route": "Show which tier a prompt would go to, and why.",
    "keys": "Issue, list, rotate and revoke keys.",
    "db": "Upgrade, check or back up the database.",
    "score": "Score prompts in a file by a trained artifact.",
    "train": "Train an artifact from labelled outcomes.",
    "calibrate": "Fit an artifact's probabilities and its dial on labelled outcomes.",
    "evaluate": "Report what an artifact is worth on outcomes it never saw.",
    "optimize": "Store an artifact in fewer bytes.",
}
"""Each command, one module of this package, with its line in the help."""

_DEFAULT = "serve"


class _Stop(click.ClickException):
    """Ends the command with its message alone on stderr."""

    def show(self, file: IO[str] | None = None) -> None:
        if self.message:
            click.echo(self.message, file=file, err=file is None)


class _BadConfig(_Stop):
    exit_code = 78


class _Commands(click.Group):
    """Imports a command when it is asked for; without one, arguments are those of `serve`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"octoroute_py.cli.{cmd_name}").command
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f'; did you mean "{close[0]}"?' if close else ""
            ctx.fail(f"no such command: {args[0]}{hint}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {*ctx.help_option_names, "--version"}
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise _BadConfig(str(error)) from error
        except KeyboardInterrupt:
            raise _Stop("") from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="octoroute %(version)s")
def cli() -> None:
    """One OpenAI-compatible gateway that picks the right model tier for every request.

    `octoroute -c FILE` is short for `octoroute serve -c FILE`.
    """


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="octoroute")
