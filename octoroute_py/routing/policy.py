"""What a client may tell us about a request beside the request: importance, privacy, a deadline, what it may cost.

Every hint is a header or a member of the body's `octoroute` object; where both are given the header wins. Hints are
never forwarded. A wrong one is an error rather than ignored: a privacy wish that is misspelt must not be lost.
"""

import difflib
import enum
import math
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from octoroute_py.core.errors import BadRequest
from octoroute_py.core.words import Importance, TaskType

_WordT = TypeVar("_WordT", bound=enum.StrEnum)
_HintT = TypeVar("_HintT")

HEADERS: Final[dict[str, str]] = {
    "importance": "X-Octoroute-Importance",
    "task_type": "X-Octoroute-Task-Type",
    "agent_type": "X-Octoroute-Agent-Type",
    "workspace": "X-Octoroute-Workspace",
    "user_tier": "X-Octoroute-User-Tier",
    "tag": "X-Octoroute-Tag",
    "max_quality_loss": "X-Octoroute-Max-Quality-Loss",
    "privacy": "X-Octoroute-Privacy",
    "session": "X-Octoroute-Session",
    "timeout": "X-Request-Timeout",
}
"""The names in the `octoroute` object, and the header of each."""

_LOWER: Final = tuple((name, header, header.lower()) for name, header in HEADERS.items())
_LOCAL_ONLY: Final = "local-only"
_MOST_CHARACTERS: Final = 128
_MOST_SECONDS: Final = 1e16
_DECIMAL: Final = re.compile(r"[0-9]{1,16}(?:\.[0-9]{0,16})?|\.[0-9]{1,16}")


class Hints(msgspec.Struct, frozen=True, kw_only=True):
    """The hints of one request; None where there is none.

    `timeout_s` may only shorten the request's deadline; `max_quality_loss` in [0, 1] replaces the configured dial.
    """

    importance: Importance | None = None
    task_type: TaskType | None = None
    agent_type: str | None = None
    workspace: str | None = None
    user_tier: str | None = None
    tag: str | None = None
    max_quality_loss: float | None = None
    local_only: bool = False
    session: str | None = None
    timeout_s: float | None = None


class _Given(msgspec.Struct, frozen=True):
    value: object
    where: str


_NO_HINTS: Final = Hints()


def header_text(value: bytes) -> str:
    """A hint's header as text, UTF-8 where it is that: a workspace has one name in headers, bodies and paths."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def read_hints(headers: Mapping[str, str], body_object: Mapping[str, object]) -> Hints:
    """The hints in the headers (lower-case names) and in the body's `octoroute` object.

    Raises BadRequest, with the header or `octoroute.<name>` as `param`, for an unknown name or a wrong value.
    """
    given: dict[str, list[_Given]] = {}
    for name, header, lower in _LOWER:
        if lower in headers:
            given[name] = [_Given(headers[lower].strip(" \t"), header)]
    for name, value in body_object.items():
        if name not in HEADERS:
            raise _unknown(name)
        if value is not None:
            given.setdefault(name, []).append(_Given(value, f"octoroute.{name}"))
    return _hints(given) if given else _NO_HINTS


def _hints(given: Mapping[str, list[_Given]]) -> Hints:
    return Hints(
        importance=_first(given, "importance", _importance),
        task_type=_first(given, "task_type", _task_type),
        agent_type=_first(given, "agent_type", _text),
        workspace=_first(given, "workspace", _text),
        user_tier=_first(given, "user_tier", _text),
        tag=_first(given, "tag", _text),
        max_quality_loss=_first(given, "max_quality_loss", _share),
        local_only=_first(given, "privacy", _local_only) or False,
        session=_first(given, "session", _text),
        timeout_s=_first(given, "timeout", _seconds),
    )


def _first(given: Mapping[str, list[_Given]], name: str, read: Callable[[_Given], _HintT]) -> _HintT | None:
    # Every place is read before the first is taken: a wrong value is told even where another one wins.
    values = [read(each) for each in given.get(name, ())]
    return values[0] if values else None


def _importance(given: _Given) -> Importance:
    return _word(given, Importance)


def _task_type(given: _Given) -> TaskType:
    return _word(given, TaskType)


def _word(given: _Given, words: type[_WordT]) -> _WordT:
    for word in words:
        if given.value == word.value:
            return word
    raise BadRequest(f"{given.where} must be one of {', '.join(words)}.", param=given.where)


def _text(given: _Given) -> str:
    value = given.value.strip() if isinstance(given.value, str) else ""
    if not value or len(value) > _MOST_CHARACTERS or not value.isprintable():
        raise BadRequest(f"{given.where} must be 1 to {_MOST_CHARACTERS} visible characters.", param=given.where)
    return value


def _local_only(given: _Given) -> bool:
    if given.value != _LOCAL_ONLY:
        raise BadRequest(f"{given.where} can only be {_LOCAL_ONLY}.", param=given.where)
    return True


def _number(given: _Given) -> float | None:
    """The value as a number, whether it stands in a header or in the body; None when it is none."""
    value = given.value
    if isinstance(value, str):
        return float(value) if _DECIMAL.fullmatch(value) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(min(value, _MOST_SECONDS))  # an integer may be too large for a float
        return number if math.isfinite(number) else None
    return None


def _share(given: _Given) -> float:
    share = _number(given)
    if share is None or not 0 <= share <= 1:
        raise BadRequest(f"{given.where} must be a number from 0 to 1.", param=given.where)
    return share


def _seconds(given: _Given) -> float:
    seconds = _number(given)
    if seconds is None or seconds <= 0:
        raise BadRequest(f"{given.where} must be a positive number of seconds.", param=given.where)
    return seconds


def _unknown(name: str) -> BadRequest:
    shown = "".join(char if char.isprintable() else "?" for char in name[:64])
    near = difflib.get_close_matches(shown, HEADERS, n=1)
    hint = f" Did you mean {near[0]}?" if near else f" Known are {', '.join(HEADERS)}."
    return BadRequest(f"octoroute.{shown} is not known.{hint}", param=f"octoroute.{shown}")
