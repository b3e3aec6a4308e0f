"""Which requests GET /api/metrics/requests is asked for: its query as a filter of the journal."""

import calendar
import re
import time
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec

from octoroute_py.core.ending import Ended
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.words import Reason, Strategy, Tier
from octoroute_py.edge.api.wire import word
from octoroute_py.edge.operation import Parameter
from octoroute_py.storage.history import Filter, Kind

_LONGEST: Final = 512
_TEXTS: Final = {"endpoint": "endpoint", "agentType": "agent_type", "rule": "rule", "requestId": "request_id"}
FILTERS: Final = ("status", "since", "until", "tier", "decidedTier", "strategy", "reason", *_TEXTS)
"""The fields of the query."""
_MOMENT: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,3})?Z$"
_STATUSES: Final = (*Ended, *Kind)


def read_filter(given: Mapping[str, str]) -> Filter:
    """The filter that a query asks for. Raises BadRequest for a word that is none."""
    tier, decided = word(given, "tier", Tier), word(given, "decidedTier", Tier)
    return Filter(
        how=_status(given),
        since_ms=_moment(given, "since"),
        until_ms=_moment(given, "until"),
        tier=tier,
        decided_tier=decided,
        strategy=word(given, "strategy", Strategy),
        reason=word(given, "reason", Reason),
        **{field: _text(given, name) for name, field in _TEXTS.items()},
    )


def _status(given: Mapping[str, str]) -> Ended | Kind | None:
    text = given.get("status")
    found = next((each for each in _STATUSES if each == text), None)
    if text is not None and found is None:
        raise BadRequest(f"'status' must be one of {', '.join(_STATUSES)}.", param="status")
    return found


def _text(given: Mapping[str, str], name: str) -> str | None:
    text = given.get(name)
    if text is not None and not 0 < len(text) <= _LONGEST:
        raise BadRequest(f"'{name}' must have 1 to {_LONGEST} characters.", param=name)
    return text


def _moment(given: Mapping[str, str], name: str) -> int | None:
    """A time in Unix milliseconds."""
    text = given.get(name)
    if text is None:
        return None
    try:
        if re.fullmatch(_MOMENT, text, re.ASCII) is None:
            raise ValueError(text)
        seconds = calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        raise BadRequest(f"'{name}' must be a time in UTC as in 2026-01-31T08:15:00Z.", param=name) from None
    return seconds * 1000 + int(text[20:-1].ljust(3, "0"))


_SHORT: Final = Annotated[str, msgspec.Meta(min_length=1, max_length=_LONGEST)]
_TIME: Final = Annotated[str, msgspec.Meta(pattern=_MOMENT)]
FILTER_PARAMETERS: Final = (
    Parameter(
        name="status",
        description="Only those that ended so: a word, a class of statuses, or `failed` for all but good and left ones",
        shape=Literal["success", "error", "timeout", "rate_limited", "cancelled", "2xx", "4xx", "5xx", "failed"],
    ),
    Parameter(name="since", description="Only those that began at that time or later, ISO 8601 in UTC", shape=_TIME),
    Parameter(name="until", description="Only those that began before that time", shape=_TIME),
    Parameter(name="tier", description="Only those that this tier answered, or was tried for last", shape=Tier),
    Parameter(name="decidedTier", description="Only those that were decided to go to this tier", shape=Tier),
    Parameter(name="strategy", description="Only those that this strategy decided", shape=Strategy),
    Parameter(name="reason", description="Only those with this reason", shape=Reason),
    Parameter(name="endpoint", description="Only those that this endpoint answered, by its id", shape=_SHORT),
    Parameter(name="agentType", description="Only those of this agent type", shape=_SHORT),
    Parameter(name="rule", description="Only those that the rule of this name decided", shape=_SHORT),
    Parameter(name="requestId", description="Only those whose id begins so", shape=_SHORT),
)
"""The fields, described."""
