"""Finds, reads and parses a configuration file.

    config = load_config(find_config(None, env, Path()), env=env)

Everything raises ConfigError with a message for the terminal; nothing in it is a secret.
"""

import errno
import os
import re
import select
from collections.abc import Mapping
from pathlib import Path

import tomli

from octoroute_py.config.environment import Overrides, layered, process_env, read_env_file
from octoroute_py.config.lines import locate
from octoroute_py.config.problems import InvalidConfig, Problem, Problems
from octoroute_py.config.schema import Config
from octoroute_py.config.validate import build
from octoroute_py.core.errors import ConfigError

__all__ = ["MOST_BYTES", "Overrides", "find_config", "load_config", "parse_config", "process_env"]

MOST_BYTES = 1024 * 1024
"""Largest configuration file."""
_PIPE_S = 5.0
"""How long each part of a configuration that comes through a pipe may take."""

_REMEDY = 'write one with "octoroute config -o config.toml", or try "octoroute demo"'
_PLAIN_ERROR = re.compile(r"[A-Za-z ,/-]*('.{1,4}'[A-Za-z ,/-]*)?")
_RETOLD = {
    "Cannot declare": "a table is declared twice",
    "Cannot mutate": "a table that is complete is added to",
    "Cannot redefine": "a table that is complete is added to",
    "Cannot overwrite": "a key is given twice",
    "Duplicate inline": "a key is given twice in an inline table",
}
_NO_OVERRIDES = Overrides()


def find_config(flag: Path | None, env: Mapping[str, str], cwd: Path) -> Path:
    """The file to read: the flag, else OCTOROUTE_CONFIG, else `config.toml` in `cwd`.

    Raises ConfigError saying where it looked when there is nothing at that place.
    """
    variable = env.get("OCTOROUTE_CONFIG")
    if flag is not None:
        path, asked_by = cwd / flag, "-c"
    elif variable:
        path, asked_by = cwd / variable, "OCTOROUTE_CONFIG"
    else:
        path, asked_by = cwd / "config.toml", ""
    if path.exists():
        return path
    looked = (
        f"named by {asked_by}" if asked_by else f"looked in {cwd.absolute()}; neither -c nor OCTOROUTE_CONFIG is set"
    )
    raise ConfigError(f"{path}: no such file ({looked}); {_REMEDY}")


def load_config(path: Path, *, env: Mapping[str, str], overrides: Overrides = _NO_OVERRIDES) -> Config:
    """The configuration in this file, `.env` beside it and the environment included.

    Raises InvalidConfig, a ConfigError, with every problem on a line of its own.
    """
    text = _read(path)
    absolute = path.absolute()
    return _parse(text, path=absolute, name=str(path), env=env, overrides=overrides, env_file=absolute.parent / ".env")


def parse_config(
    text: str,
    *,
    path: Path | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Overrides = _NO_OVERRIDES,
) -> Config:
    """The configuration in this text; relative file names are taken from the folder of `path`, else the current one.

    Reads no `.env`. Raises InvalidConfig with every problem on a line of its own.
    """
    name = "config.toml" if path is None else str(path)
    return _parse(text, path=path, name=name, env=env or {}, overrides=overrides, env_file=None)


def _parse(
    text: str, *, path: Path | None, name: str, env: Mapping[str, str], overrides: Overrides, env_file: Path | None
) -> Config:
    document = _document(text, name)
    problems = Problems(locate(text))
    if env_file is not None:
        env = layered(env, read_env_file(env_file, problems))
    base_dir = path.parent if path is not None else Path()
    config = build(document, problems=problems, env=env, base_dir=base_dir, overrides=overrides, path=path)
    found = problems.sorted()
    if found:
        raise InvalidConfig(found, config_name=name)
    return config


def _document(text: str, name: str) -> Mapping[str, object]:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        problem = Problem(path="", line=error.lineno, message=_syntax_message(error))
    except (ValueError, RecursionError):
        # numbers of thousands of digits, arrays in arrays in arrays
        problem = Problem(path="", message="holds nesting or numbers beyond what any configuration needs")
    raise InvalidConfig([problem], config_name=name)


def _syntax_message(error: tomli.TOMLDecodeError) -> str:
    """What is wrong, without whatever longer part of the text the parser quotes."""
    said = next((ours for theirs, ours in _RETOLD.items() if error.msg.startswith(theirs)), error.msg)
    if not _PLAIN_ERROR.fullmatch(said):
        said = "something unexpected"
    return f"not valid TOML at column {error.colno}: {said}"


def _read(path: Path) -> str:
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: is a directory; name the file in it")
        raw = _content(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; {_REMEDY}") from None
    except PermissionError:
        raise ConfigError(f"{path}: cannot be read by this user; check its owner and mode (chmod u+r)") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a usable path"
        raise ConfigError(f"{path}: cannot be read ({reason})") from None
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"{path}: is larger than 1 MiB; that is no configuration")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8 text") from None


def _content(path: Path) -> bytes:
    """At most a byte more than may be; a pipe that nobody writes to is empty, and holds nobody up."""
    # a plain open of a FIFO waits until somebody writes to it, at a reload for ever
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
        ready = select.poll()
        ready.register(file, select.POLLIN)
        found = b""
        while len(found) <= MOST_BYTES:
            part = file.read(MOST_BYTES + 1 - len(found))
            if part is None and not ready.poll(_PIPE_S * 1000.0):
                raise OSError(errno.ETIMEDOUT, "nothing comes through the pipe")
            if part == b"":
                break
            found += part or b""
        return found
