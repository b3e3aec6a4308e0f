"""Reads typed values out of a parsed TOML table and notes every problem instead of stopping at the first.

Each accessor gives the value, or its default after noting what is wrong. Whatever was never asked for is unknown.
"""

import enum
import math
from collections.abc import Iterable, Mapping
from typing import TypeVar

from octoroute_py.config.problems import Problems, Where, did_you_mean, quoted

D = TypeVar("D")
E = TypeVar("E", bound=enum.StrEnum)

LONGEST_TIMEOUT_S = 3600.0
"""Upper bound of every configured wait."""
LONGEST_TEXT = 1000
"""Upper bound, in characters, of every configured string."""


class Table:
    """One table of the document with its place in it."""

    __slots__ = ("_children", "_data", "_known", "_problems", "where")

    def __init__(self, data: Mapping[str, object], where: Where, problems: Problems) -> None:
        self._data = data
        self._problems = problems
        self._known: dict[str, None] = {}
        self._children: list[Table] = []
        self.where = where

    def has(self, key: str) -> bool:
        """Whether the key stands in the file."""
        self._known[key] = None
        return key in self._data

    def value(self, key: str) -> object:
        """The value as parsed, None when the key is absent (TOML has no null)."""
        self._known[key] = None
        return self._data.get(key)

    def problem(self, key: str | None, message: str, *, hint: str | None = None) -> None:
        """Note that this key, or the table itself, is wrong."""
        self._problems.add(self.where if key is None else (*self.where, key), message, hint=hint)

    def problem_at(self, where: Where, message: str, *, hint: str | None = None) -> None:
        """Note that what stands at this place is wrong."""
        self._problems.add(where, message, hint=hint)

    def require(self, key: str) -> None:
        """Note a problem when the key is absent."""
        if not self.has(key):
            self.problem(key, "required")

    def string(self, key: str, *, longest: int = LONGEST_TEXT) -> str | None:
        """A string that is not blank and not longer than `longest` characters."""
        value = self.value(key)
        if value is None:
            return None
        return self._text(value, (*self.where, key), longest)

    def label(self, key: str, *, longest: int = 200) -> str | None:
        """A string fit for one line: no control characters, no blanks around it."""
        value = self.string(key, longest=longest)
        if value is None:
            return None
        if not value.isprintable() or value != value.strip():
            self.problem(key, "must be printable, without blanks around it")
            return None
        return value

    def strings(self, key: str) -> list[tuple[Where, str]]:
        """One string or an array of strings, each with its place."""
        value = self.value(key)
        if value is None:
            return []
        where = (*self.where, key)
        if isinstance(value, str):
            places: list[tuple[Where, object]] = [(where, value)]
        elif isinstance(value, list):
            places = [((*where, index), item) for index, item in enumerate(value)]
        else:
            self.problem(key, f"must be a string or an array of strings, not {kind_of(value)}")
            return []
        texts = [(place, self._text(item, place, LONGEST_TEXT)) for place, item in places]
        return [(place, text) for place, text in texts if text is not None]

    def integer(self, key: str, default: D, *, low: int, high: int = 2**63 - 1) -> int | D:
        """A whole number from `low` to `high`, both included."""
        value = self.value(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.problem(key, f"must be a whole number, not {kind_of(value)}")
            return default
        if not low <= value <= high:
            span = f"at least {low}" if high == 2**63 - 1 else f"from {low} to {high}"
            self.problem(key, f"must be {span}")
            return default
        return value

    def integers(self, key: str, *, low: int, high: int) -> tuple[int, ...] | None:
        """An array of whole numbers from `low` to `high`, None when it is absent."""
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, list):
            self.problem(key, f"must be an array of whole numbers, not {kind_of(value)}")
            return None
        found: dict[int, None] = {}
        for index, item in enumerate(value):
            where = (*self.where, key, index)
            if isinstance(item, bool) or not isinstance(item, int):
                self._problems.add(where, f"must be a whole number, not {kind_of(item)}")
            elif not low <= item <= high:
                self._problems.add(where, f"must be from {low} to {high}")
            else:
                found[item] = None
        return tuple(found)

    def number(self, key: str, default: D, *, low: float, high: float = math.inf, above: bool = False) -> float | D:
        """A finite number from `low` (or above it) to `high`."""
        value = self.value(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.problem(key, f"must be a number, not {kind_of(value)}")
            return default
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            self.problem(key, "must be a finite number")
            return default
        if number < low or number > high or (above and number == low):
            start = f"above {low:g}" if above else f"at least {low:g}"
            self.problem(key, f"must be {start}" + (f" and at most {high:g}" if high < math.inf else ""))
            return default
        return number

    def seconds(self, key: str, default: D) -> float | D:
        """A wait: above 0, at most an hour."""
        return self.number(key, default, low=0, high=LONGEST_TIMEOUT_S, above=True)

    def flag(self, key: str, default: D) -> bool | D:
        """`true` or `false`."""
        value = self.value(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.problem(key, f"must be true or false, not {kind_of(value)}")
            return default
        return value

    def choice(self, key: str, options: type[E], default: D) -> E | D:
        """One word of a closed list, spelled exactly."""
        word = self.string(key)
        if word is None:
            return default
        found = self.word(word, (*self.where, key), {option.value: option for option in options})
        return default if found is None else found

    def words(self, key: str, options: type[E]) -> tuple[E, ...]:
        """One word of a closed list or an array of them."""
        names = {option.value: option for option in options}
        found = (self.word(text, where, names) for where, text in self.strings(key))
        return tuple(word for word in found if word is not None)

    def word(self, word: str, where: Where, options: Mapping[str, E]) -> E | None:
        """The option with this name, None after noting the problem."""
        if word in options:
            return options[word]
        names = ", ".join(f'"{option}"' for option in options)
        hint = did_you_mean(word, options) or f"one of {names}"
        self._problems.add(where, f"{quoted(word)} is not known here", hint=hint)
        return None

    def table(self, key: str) -> "Table":
        """The table under this key, empty when it is absent or no table."""
        value = self.value(key)
        if value is not None and not isinstance(value, dict):
            self.problem(key, f"must be a table, not {kind_of(value)}")
            value = None
        return self._child(value or {}, (*self.where, key))

    def tables(self, key: str) -> list["Table"]:
        """The tables of the array under this key, in file order."""
        value = self.value(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.problem(key, f"must be an array of tables, not {kind_of(value)}")
            return []
        children = []
        for index, item in enumerate(value):
            where = (*self.where, key, index)
            if isinstance(item, dict):
                children.append(self._child(item, where))
            else:
                self._problems.add(where, f"must be a table, not {kind_of(item)}")
        return children

    def names(self) -> Iterable[str]:
        """Every key in the file, all of them taken as known."""
        self._known.update(dict.fromkeys(self._data))
        return self._data.keys()

    def close(self) -> None:
        """Note every key, here and below, that nothing asked for."""
        for key in self._data:
            if key not in self._known:
                self.problem(key, "unknown key", hint=did_you_mean(key, self._known))
        for child in self._children:
            child.close()

    def _child(self, data: Mapping[str, object], where: Where) -> "Table":
        child = Table(data, where, self._problems)
        self._children.append(child)
        return child

    def _text(self, value: object, where: Where, longest: int) -> str | None:
        if not isinstance(value, str):
            self._problems.add(where, f"must be a string, not {kind_of(value)}")
        elif not value.strip():
            self._problems.add(where, "must not be empty")
        elif len(value) > longest:
            self._problems.add(where, f"must not be longer than {longest} characters")
        else:
            return value
        return None


def kind_of(value: object) -> str:
    """What TOML calls this value, for messages."""
    names = {bool: "a boolean", int: "a whole number", float: "a number", str: "a string"}
    names |= {list: "an array", dict: "a table"}
    return names.get(type(value), "a date or time")
