"""Finds the line of every key, table and array element in a TOML text.

The parser gives values without places; this walks the same text once more, reading no values, only where they stand.
It expects text that the parser has accepted and stops quietly at the first thing it does not know: a missing line
number is no reason to fail.
"""

import json
import re
from bisect import bisect_left

from octoroute_py.config.problems import Where

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}\n#]+")


class _Lost(Exception):
    """The text is not what was expected here."""


def locate(text: str) -> dict[Where, int]:
    """The line, from 1, of each place in a valid TOML document."""
    walk = _Walk(text)
    try:
        walk.document()
    except (_Lost, RecursionError):
        # what was found so far still helps
        return walk.lines
    return walk.lines


class _Walk:
    __slots__ = ("_arrays", "_at", "_newlines", "_text", "lines")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._newlines = [i for i, char in enumerate(text) if char == "\n"]
        self._arrays: dict[Where, int] = {}
        self.lines: dict[Where, int] = {}

    def document(self) -> None:
        """Walk header by header and key by key to the end."""
        table: Where = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            table = self._header() if self._peek() == "[" else self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> Where:
        start = self._at
        double = self._text.startswith("[[", self._at)
        self._at += 2 if double else 1
        *parents, last = self._key()
        self._expect("]]" if double else "]")
        where: Where = ()
        for part in parents:
            where = self._newest((*where, part))
        where = (*where, last)
        self._note(where, start)
        if double:
            self._arrays[where] = self._arrays.get(where, -1) + 1
            where = self._newest(where)
            self._note(where, start)
        return where

    def _newest(self, where: Where) -> Where:
        return (*where, self._arrays[where]) if where in self._arrays else where

    def _pair(self, table: Where) -> Where:
        """One `key = value`; gives back the table it stands in."""
        start = self._at
        where = table
        for part in self._key():
            where = (*where, part)
            self._note(where, start)
        self._expect("=")
        self._value(where)
        return table

    def _key(self) -> list[str]:
        parts = [self._key_part()]
        while self._peek() == ".":
            self._at += 1
            parts.append(self._key_part())
        return parts

    def _key_part(self) -> str:
        self._skip(_SPACE)
        match = _STRING.match(self._text, self._at) or _BARE.match(self._text, self._at)
        if match is None:
            raise _Lost
        self._at = match.end()
        self._skip(_SPACE)
        return _unquoted(match.group())

    def _value(self, where: Where) -> None:
        self._skip(_BLANK)
        match self._peek():
            case "[":
                self._array(where)
            case "{":
                self._inline_table(where)
            case '"' | "'":
                self._consume(_STRING)
            case _:
                self._consume(_SCALAR)

    def _array(self, where: Where) -> None:
        self._at += 1
        index = 0
        self._skip(_BLANK)
        while self._peek() != "]":
            self._note((*where, index), self._at)
            self._value((*where, index))
            index += 1
            self._separator("]")
        self._at += 1

    def _inline_table(self, where: Where) -> None:
        self._at += 1
        self._skip(_BLANK)
        while self._peek() != "}":
            self._pair(where)
            self._separator("}")
        self._at += 1

    def _separator(self, closing: str) -> None:
        self._skip(_BLANK)
        if self._peek() == ",":
            self._at += 1
            self._skip(_BLANK)
        elif self._peek() != closing:
            raise _Lost

    def _note(self, where: Where, at: int) -> None:
        self.lines.setdefault(where, bisect_left(self._newlines, at) + 1)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _consume(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise _Lost
        self._at = match.end()

    def _expect(self, text: str) -> None:
        self._skip(_SPACE)
        if not self._text.startswith(text, self._at):
            raise _Lost
        self._at += len(text)


def _unquoted(key: str) -> str:
    if key.startswith("'"):
        return key[1:-1]
    if not key.startswith('"'):
        return key
    try:
        return str(json.loads(key))
    except ValueError:
        # an escape only TOML has; such a key is unknown to us anyway
        return key[1:-1]
