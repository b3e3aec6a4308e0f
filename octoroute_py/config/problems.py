"""What is wrong with a configuration, collected until all of it is known.

A value that could be a secret never becomes part of a message: strings are repeated only when they look like a plain
word, so a key that was pasted into the wrong field stays out of terminals and logs.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from octoroute_py.core.errors import ConfigError

Where: TypeAlias = tuple[str | int, ...]
"""A place in the document: table names and keys as strings, positions in arrays as numbers."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PLAIN_WORD = re.compile(r"[A-Za-z_-]{1,20}")
_MOST_LISTED = 200


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to correct: `path` is dotted, `line` counts from 1, `source` names what is not the config file."""

    path: str
    message: str
    line: int | None = None
    hint: str | None = None
    source: str | None = None

    def told(self, config_name: str) -> str:
        """The problem as one line, such as `config.toml:12: models.fast[0].wieght: unknown key; …`."""
        place = self.source or config_name
        if self.line is not None:
            place += f":{self.line}"
        parts = [place, self.path, self.message] if self.path else [place, self.message]
        return ": ".join(parts) + (f"; {self.hint}" if self.hint else "")


class InvalidConfig(ConfigError):
    """A configuration with at least one problem; the message lists them, one a line."""

    def __init__(self, problems: Iterable[Problem], *, config_name: str) -> None:
        self.problems = tuple(problems)
        lines = [problem.told(config_name) for problem in self.problems[:_MOST_LISTED]]
        if len(self.problems) > _MOST_LISTED:
            lines.append(f"{config_name}: and {len(self.problems) - _MOST_LISTED} more")
        super().__init__("\n".join(lines))


class Problems:
    """Collects problems while a document is read; knows which line a place in it stands on."""

    __slots__ = ("_found", "_lines")

    def __init__(self, lines: Mapping[Where, int]) -> None:
        self._lines = lines
        self._found: list[Problem] = []

    def add(self, where: Where, message: str, *, hint: str | None = None) -> None:
        """Something in the file is wrong; a key that is missing is blamed on the line of its table."""
        line = self._lines.get(where)
        if line is None and where:
            line = self._lines.get(where[:-1])
        self._found.append(Problem(path=dotted(where), line=line, message=message, hint=hint))

    def add_outside(
        self, source: str, path: str, message: str, *, line: int | None = None, hint: str | None = None
    ) -> None:
        """Something in the environment, on the command line or in `.env` is wrong."""
        self._found.append(Problem(path=path, line=line, message=message, hint=hint, source=source))

    def sorted(self) -> list[Problem]:
        """All of them: the file's in line order, then those without a line, then those from outside the file."""
        return sorted(self._found, key=lambda problem: (problem.source or "", problem.line or 1 << 30))


def dotted(where: Where) -> str:
    """The place as people write it: `models.fast[0].weight`."""
    text = ""
    for part in where:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else json.dumps(part[:64]))
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint naming the known word that is nearest to this one, None when none is near."""
    options = list(known)
    close = difflib.get_close_matches(word[:64].lower(), options, n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else None


def quoted(value: str) -> str:
    """A rejected word in quotes, or just "this" when it is no plain word and might be a secret."""
    return f'"{value}"' if _PLAIN_WORD.fullmatch(value) else "this"
