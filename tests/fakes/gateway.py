"""A real gateway for tests: its own process, a real port, logs that can be read."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

START_S = 20.0
STOP_S = 20.0
PROGRAM = (sys.executable, "-m", "octoroute_py")


class RunningGateway:
    """A gateway process; `url` is where it listens, `log` what it wrote to stderr so far."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, folder: Path, stdout: list[str]) -> None:
        self.process = process
        self.url = url
        self.folder = folder
        self.stdout = stdout

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        """Its stderr up to now."""
        return (self.folder / "stderr.log").read_text(encoding="utf-8", errors="replace")

    def signal(self, sig: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(sig)

    async def read_until(self, last: str, timeout_s: float = STOP_S) -> str:
        """All that it wrote to stdout, once a line holds `last`."""
        assert self.process.stdout is not None
        async with asyncio.timeout(timeout_s):
            while last not in self.stdout[-1]:
                line = await self.process.stdout.readline()
                assert line, f"stdout ended without {last!r}: {self.stdout}"
                self.stdout.append(line.decode().rstrip("\n"))
        return "\n".join(self.stdout)

    async def wait(self, timeout_s: float = STOP_S) -> int:
        """Its exit code, once it has ended."""
        return await asyncio.wait_for(self.process.wait(), timeout_s)


@contextlib.asynccontextmanager
async def gateway(
    config: str,
    folder: Path,
    *,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    program: Sequence[str] = PROGRAM,
) -> AsyncIterator[RunningGateway]:
    """Run `octoroute serve` on a free port with this configuration; ended by SIGTERM if it still runs afterwards."""
    path = folder / "config.toml"
    path.write_text(config, encoding="utf-8")
    argv = ("serve", "-c", str(path), "--port", "0", *args)
    async with octoroute(*argv, folder=folder, env=env, program=program) as running:
        yield running


@contextlib.asynccontextmanager
async def octoroute(
    *args: str, folder: Path, env: Mapping[str, str] | None = None, program: Sequence[str] = PROGRAM
) -> AsyncIterator[RunningGateway]:
    """Run a command that serves, once it listens; its stderr goes to a file in `folder`."""
    with (folder / "stderr.log").open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(*program, *args),
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **(env or {})},
        )
    stdout: list[str] = []
    try:
        url = await asyncio.wait_for(_listening(process, stdout), START_S)
        yield RunningGateway(process, url, folder, stdout)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # or asyncio warns about the unread pipe
        log = (folder / "stderr.log").read_text(encoding="utf-8", errors="replace")
        assert "Traceback" not in log, log


async def _listening(process: asyncio.subprocess.Process, stdout: list[str]) -> str:
    assert process.stdout is not None
    while line := (await process.stdout.readline()).decode():
        stdout.append(line.rstrip("\n"))
        if line.startswith("listening on "):
            return line.split()[2]
    raise AssertionError(f"the gateway ended with {await process.wait()} before it listened: {stdout}")


def tier(name: str, *base_urls: str, more: str = "") -> str:
    """The `[[models.<name>]]` tables of one tier: endpoints `<name>-0`, `<name>-1` ... at these URLs.

    `more` is added to each of them.
    """
    return "".join(
        f'[[models.{name}]]\nname = "{name}-{number}"\nbase_url = "{base_url}"\n{more}\n'
        for number, base_url in enumerate(base_urls)
    )


def rule_config(
    fast: Sequence[str], balanced: Sequence[str], deep: Sequence[str], *, more: str = "", each: str = ""
) -> str:
    """A `strategy = "rule"` configuration over these base URLs; `each` is added to every endpoint, `more` to the end
    (it starts inside `[routing]`)."""
    tiers = (tier("fast", *fast, more=each), tier("balanced", *balanced, more=each), tier("deep", *deep, more=each))
    return "".join(tiers) + f'[routing]\nstrategy = "rule"\n{more}\n'
