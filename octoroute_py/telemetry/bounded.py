"""Counts by label values that cannot become more than so many, whatever is counted."""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Bounded(Generic[Key]):
    """Counts by key: those given at the start, so many more, and what comes after them counts where `fold` says.

    `fold` has few values: with the `most` they are the bound.
    """

    __slots__ = ("_fold", "_left", "counts")

    def __init__(self, keys: Iterable[Key], *, more: int, fold: Callable[[Key], Key]) -> None:
        self.counts: dict[Key, int] = dict.fromkeys(keys, 0)
        self._left = more
        self._fold = fold

    def add(self, key: Key) -> None:
        """Count one."""
        try:
            self.counts[key] += 1  # nearly always; a tuple is hashed each time that it is looked up
        except KeyError:
            if self._left > 0:
                self._left -= 1
            else:
                key = self._fold(key)
            self.counts[key] = self.counts.get(key, 0) + 1
