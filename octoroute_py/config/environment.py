"""What the process environment, `.env` and the command line change about a configuration.

The command line wins over the environment, the process environment over `.env`, and all of them over the file.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from octoroute_py.config.addresses import Wrong, bind_host
from octoroute_py.config.keeping import NOTHING
from octoroute_py.config.problems import Problems
from octoroute_py.config.schema import AdminConfig, Config, LimitsConfig, Secret, StorageConfig
from octoroute_py.config.sections import LOG_LEVELS, ONE_PROCESS

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.DOTALL)
_SINGLE = re.compile(r"'([^']*)'\s*(?:#.*)?")
_DOUBLE = re.compile(r'"((?:\\.|[^"\\])*)"\s*(?:#.*)?')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_MOST_BYTES = 256 * 1024
DEFAULT_WINDOW_S = 900.0
"""RATE_LIMIT_WINDOW_MS when it is unset, as the Model Router Service has it."""
LONGEST_WINDOW_MS = 24 * 3600 * 1000


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line sets; None leaves it to the environment and the file."""

    host: str | None = None
    port: int | None = None
    workers: int | None = None


def process_env() -> Mapping[str, str]:
    """The environment of this process as it is now, read-only."""
    return MappingProxyType(dict(os.environ))


def layered(env: Mapping[str, str], beneath: Mapping[str, str]) -> Mapping[str, str]:
    """`env` over what `.env` says; a PORT of the process is not overruled by the other spelling in `.env`."""
    merged = {**beneath, **env}
    if env.get("PORT") and "OCTOROUTE_PORT" not in env:
        merged.pop("OCTOROUTE_PORT", None)
    return merged


def read_env_file(path: Path, problems: Problems) -> dict[str, str]:
    """The variables of a `.env` file, none when there is no such file."""
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        problems.add_outside(path.name, "", f"cannot be read ({error.strerror or 'error'})")
        return {}
    except UnicodeDecodeError:
        problems.add_outside(path.name, "", "is not UTF-8 text")
        return {}
    if len(raw) > _MOST_BYTES:
        problems.add_outside(path.name, "", f"is larger than {_MOST_BYTES} bytes")
        return {}
    return parse_env(text, problems, source=path.name)


def parse_env(text: str, problems: Problems, *, source: str = ".env") -> dict[str, str]:
    """KEY=VALUE lines; `export`, quotes and # comments are understood, of two lines for a key the first counts."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        value = None if match is None else _env_value(match.group(2))
        if match is None or value is None:
            hint = "quotes end on the line they begin on"
            problems.add_outside(source, "", "must be KEY=VALUE", line=number, hint=hint)
            continue
        found.setdefault(match.group(1), value)
    return found


def _env_value(text: str) -> str | None:
    if text.startswith("'"):
        match = _SINGLE.fullmatch(text)
        return match and match.group(1)
    if text.startswith('"'):
        match = _DOUBLE.fullmatch(text)
        return match and _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), match.group(1))
    value = "" if text.startswith("#") else re.split(r"\s#", text, maxsplit=1)[0].rstrip()
    return None if "\0" in value else value


class Outside:
    """Applies the environment and the command line to a configuration, noting what is wrong with them."""

    __slots__ = ("_env", "_overrides", "_problems")

    def __init__(self, env: Mapping[str, str], overrides: Overrides, problems: Problems) -> None:
        self._env = env
        self._overrides = overrides
        self._problems = problems

    def applied(self, config: Config) -> Config:
        """The configuration with everything from outside in place."""
        replace = msgspec.structs.replace
        self._workers()
        host = self._host("OCTOROUTE_HOST", self._overrides.host, "--host") or config.server.host
        port = self._overrides.port
        if port is None:
            port = self._number("OCTOROUTE_PORT" if self._env.get("OCTOROUTE_PORT") else "PORT", high=65535)
        elif not 0 <= port <= 65535:
            self._problems.add_outside("command line", "--port", "must be from 0 to 65535")
        server = replace(config.server, host=host, port=config.server.port if port is None else port)
        level = self._log_level()
        observability = config.observability
        return replace(
            config,
            server=server,
            admin=self._admin(config.admin),
            observability=observability if level is None else replace(observability, log_level=level),
            storage=self._storage(config.storage),
            limits=self._limits(config.limits),
            redis_url=self._secret("REDIS_URL") or config.redis_url,
        )

    def _storage(self, storage: StorageConfig) -> StorageConfig:
        url = self._secret("DATABASE_URL")
        if url is None:
            return storage
        return msgspec.structs.replace(storage, url=None if url.reveal() == NOTHING else url)

    def _limits(self, limits: LimitsConfig) -> LimitsConfig:
        """The limit of each source address: RATE_LIMIT_MAX requests in RATE_LIMIT_WINDOW_MS."""
        window_ms = self._number("RATE_LIMIT_WINDOW_MS", low=1, high=LONGEST_WINDOW_MS)
        most = self._number("RATE_LIMIT_MAX", low=1)
        if most is None:
            return limits
        window_s = DEFAULT_WINDOW_S if window_ms is None else window_ms / 1000.0
        per_ip = msgspec.structs.replace(limits.per_ip, requests_per_window=most, requests_window_s=window_s)
        return msgspec.structs.replace(limits, per_ip=per_ip)

    def _workers(self) -> None:
        workers = self._overrides.workers
        if workers is not None and workers != 1:
            self._problems.add_outside("command line", "--workers", "must be 1", hint=ONE_PROCESS)

    def _admin(self, admin: AdminConfig | None) -> AdminConfig | None:
        host = self._host("TINY_DANCER_BIND_ADDRESS", None, "")
        port = self._number("TINY_DANCER_PORT", high=65535)
        if host is None and port is None:
            return admin
        base = admin or AdminConfig()
        return AdminConfig(host=base.host if host is None else host, port=base.port if port is None else port)

    def _host(self, variable: str, flag: str | None, flag_name: str) -> str | None:
        text = flag if flag is not None else self._env.get(variable)
        if not text and flag is None:
            return None
        try:
            return bind_host(text or "")
        except Wrong as wrong:
            source, path = ("environment", variable) if flag is None else ("command line", flag_name)
            self._problems.add_outside(source, path, str(wrong))
            return None

    def _number(self, variable: str, *, low: int = 0, high: int = 10**12) -> int | None:
        text = self._env.get(variable)
        if not text:
            return None
        if not re.fullmatch(r"[0-9]{1,13}", text) or not low <= int(text) <= high:
            self._problems.add_outside("environment", variable, f"must be a whole number from {low} to {high}")
            return None
        return int(text)

    def _log_level(self) -> str | None:
        text = self._env.get("LOG_LEVEL")
        if not text:
            return None
        level = LOG_LEVELS.get(text.lower())
        if level is None:
            hint = f"one of {', '.join(LOG_LEVELS)}"
            self._problems.add_outside("environment", "LOG_LEVEL", "is no log level", hint=hint)
        return level

    def _secret(self, variable: str) -> Secret | None:
        text = self._env.get(variable)
        return Secret(text) if text else None
