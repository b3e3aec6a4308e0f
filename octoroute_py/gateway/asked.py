"""The text that a request brings to a model, whoever speaks in it: for the log of content, and read beside requests."""

from collections.abc import Mapping
from typing import Final

import msgspec

from octoroute_py.transport.said import text_within

_WITH_TEXT: Final = ("instructions", "messages", "prompt", "input")
_BROKEN: Final = (msgspec.MsgspecError, RecursionError, ValueError)


def asked(fields: Mapping[str, msgspec.Raw]) -> str:
    """The request's text, a line a message with the role before it; what cannot be read is left out."""
    lines: list[str] = []
    for name in _WITH_TEXT:
        raw = fields.get(name)
        if raw is None:
            continue
        try:
            value = msgspec.json.decode(raw)
        except _BROKEN:
            continue
        for each in value if isinstance(value, list) else [value]:
            text = text_within(each)
            role = each.get("role") if isinstance(each, dict) else None
            if text:
                lines.append(f"{role}: {text}" if isinstance(role, str) else text)
    return "\n".join(lines)
