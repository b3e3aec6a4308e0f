"""The `metadata` object of a request's body, as far as rules may look at it."""

import json
from typing import Final

import msgspec

from octoroute_py.features.messages import any_value

_MOST_BYTES: Final = 64 * 1024
_MOST_MEMBERS: Final = 256
_EXACT: Final = 2**53
"""Whole numbers below this have one spelling, however they were calculated."""


def read_metadata(raw: msgspec.Raw | None) -> dict[str, str]:
    """Its members that are texts, booleans or numbers, each as text; anything else is not looked at.

    An object of more than 64 KiB is not read at all, and of one with many members only the first 256.
    """
    if raw is None or len(raw) > _MOST_BYTES:
        return {}
    value = any_value(raw)
    if not isinstance(value, dict):
        return {}
    members = list(value.items())[:_MOST_MEMBERS]
    return {name: as_text(each) for name, each in members if isinstance(each, str | bool | int | float)}


def as_text(value: str | bool | int | float) -> str:
    """A text as it is, anything else as JSON spells it; a number that is whole has no point: 5.0 is "5"."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    return json.dumps(value)
