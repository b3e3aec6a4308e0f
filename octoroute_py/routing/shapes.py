"""What conditions are made of: each says for itself whether it holds, and is plain enough for an index to read."""

import enum
import re
from operator import attrgetter
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from octoroute_py.config.schema import TimeOfDayRange
from octoroute_py.features.facts import Facts
from octoroute_py.routing.daytime import in_range, local_minute


class Word(enum.StrEnum):
    """A fact that is one word, or yes or no; the value is the name of the field."""

    AGENT_TYPE = "agent_type"
    WORKSPACE = "workspace"
    REQUEST_TYPE = "request_type"
    USER_TIER = "user_tier"
    TASK_TYPE = "task_type"
    IMPORTANCE = "importance"
    MODEL = "model"
    TOOLS = "has_tools"
    IMAGES = "has_images"


class Size(enum.StrEnum):
    """A fact that is a number; the value is the name of the field."""

    TOKENS = "tokens"
    CHARACTERS = "characters"


class Place(enum.StrEnum):
    """A fact with named members, each a text; the value is the name of the field."""

    HEADERS = "headers"
    METADATA = "metadata"


WORD: Final = {each: attrgetter(each.value) for each in Word}
"""How to read each of them off the facts."""
SIZE: Final = {each: attrgetter(each.value) for each in Size}
MEMBERS: Final = {each: attrgetter(each.value) for each in Place}


class Values(msgspec.Struct, frozen=True):
    """One of these, or whatever begins with one of the prefixes, which only texts do."""

    any_of: frozenset[str | bool] = frozenset()
    prefixes: tuple[str, ...] = ()

    def have(self, value: str | bool) -> bool:
        """Whether the value is one of them."""
        return value in self.any_of or (isinstance(value, str) and value.startswith(self.prefixes))

    @property
    def longest(self) -> int:
        """The length of the longest text among them: of a value that is longer, the rest makes no difference."""
        return max((len(each) for each in (*self.any_of, *self.prefixes) if isinstance(each, str)), default=0)


ANYTHING: Final = Values(prefixes=("",))
"""Every text there is."""


class Said(msgspec.Struct, frozen=True):
    """A word is one of the values."""

    word: Word
    values: Values

    def holds(self, facts: Facts, now: float) -> bool:
        """Whether it is."""
        return self.values.have(WORD[self.word](facts))


class Within(msgspec.Struct, frozen=True):
    """A number lies between bounds, both included."""

    size: Size
    low: int | None
    high: int | None

    def holds(self, facts: Facts, now: float) -> bool:
        """Whether it does."""
        number = SIZE[self.size](facts)
        return (self.low is None or number >= self.low) and (self.high is None or number <= self.high)

    def narrowed(self, other: "Within | None") -> "Within":
        """Both bounds of both; the other is of the same number."""
        if other is None:
            return self
        lows = [low for low in (self.low, other.low) if low is not None]
        highs = [high for high in (self.high, other.high) if high is not None]
        return Within(self.size, max(lows, default=None), min(highs, default=None))


class Has(msgspec.Struct, frozen=True):
    """A member is there, with one of the values."""

    place: Place
    name: str
    values: Values

    def holds(self, facts: Facts, now: float) -> bool:
        """Whether it is."""
        value = MEMBERS[self.place](facts).get(self.name)
        return value is not None and self.values.have(value)


class Lacks(msgspec.Struct, frozen=True):
    """A member is not there, or has none of the values."""

    place: Place
    name: str
    values: Values

    def holds(self, facts: Facts, now: float) -> bool:
        """Whether it is so."""
        value = MEMBERS[self.place](facts).get(self.name)
        return value is None or not self.values.have(value)


class During(msgspec.Struct, frozen=True):
    """The time of day lies in one of the ranges, in a time zone; where that is unknown here, it never does."""

    hours: tuple[TimeOfDayRange, ...]
    zone: ZoneInfo | None

    def holds(self, facts: Facts, now: float) -> bool:
        """Whether it does at Unix time `now`."""
        if self.zone is None:
            return False
        minute = local_minute(now, self.zone)
        return any(in_range(minute, each) for each in self.hours)


class Search(msgspec.Struct, frozen=True):
    """The last user message matches an expression somewhere in its first characters."""

    expression: re.Pattern[str]
    looked_at: int

    def holds(self, facts: Facts, now: float) -> bool:
        """Whether it does."""
        return self.expression.search(facts.last_user_text, 0, self.looked_at) is not None


Shape = Said | Within | Has | Lacks | During | Search
