"""The journal's rows one by one, newest first, page by page; functions take a connection and only read."""

import enum
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, TextClause, and_, func, literal_column, or_, select, text, true

from octoroute_py.core.ending import CLIENT_GONE, STATUS_OF, Ended
from octoroute_py.storage.entries import JournalEntry
from octoroute_py.storage.rollups import JUDGE
from octoroute_py.storage.schema import FAILED_ROWS, LEFT_ROWS, journal

LOOKED_AT: Final = 20_000
"""So many rows are looked at for a page that has to be searched for: about 30 ms. The next page goes on from there."""
MOST_NAMED: Final = 100
"""So many requests of one id are told apart."""
_ORDER: Final = journal.c.started_ms.desc(), journal.c.id.desc()


class Kind(enum.StrEnum):
    """What a client got, in rough; beside the words of `Ended`."""

    GOOD = "2xx"
    REFUSED = "4xx"
    BROKEN = "5xx"
    FAILED = "failed"
    """All that have an error code and whose client did not leave."""


class Place(NamedTuple):
    """Where a page ended."""

    started_ms: int
    id: int


class Record(JournalEntry, frozen=True):
    """A row of the journal with its number."""

    id: int = 0

    @property
    def place(self) -> Place:
        """The page after this row begins here."""
        return Place(self.started_ms, self.id)


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests are asked for; None asks for all. Times are Unix milliseconds, `until_ms` is not included.

    `since_ms` and `until_ms` bound the search, `how` has an index where it is rare; for all others rows are looked at
    one by one. `request_id` is the beginning of one.
    """

    how: Ended | Kind | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    tier: str | None = None
    decided_tier: str | None = None
    strategy: str | None = None
    reason: str | None = None
    endpoint: str | None = None
    agent_type: str | None = None
    rule: str | None = None
    request_id: str | None = None

    @property
    def searches(self) -> bool:
        """Whether rows have to be looked at that may not be meant."""
        return isinstance(self.how, Kind) or any(getattr(self, name) is not None for name in (*_EQUAL, "request_id"))


_EQUAL: Final = ("tier", "decided_tier", "strategy", "reason", "endpoint", "agent_type", "rule")
EVERYTHING: Final = Filter()


class Page(NamedTuple):
    """Some requests, and where the next page begins: None after the last. A searched page may hold few, or none."""

    records: list[Record]
    next: Place | None


def page(
    connection: Connection,
    *,
    limit: int,
    before: Place | None = None,
    workspaces: Sequence[str] | None = None,
    only: Filter = EVERYTHING,
) -> Page:
    """The newest requests, at most `limit`, that began before that place; judge calls are not among them.

    A request is as old as its start, so one that lasted long may turn up between others that were shown before.
    """
    places: list[Place] = []
    looked_to: Place | None = None
    for whose in _whose(workspaces, only):
        bounds = [*_before(before), *_between(only), whose]
        if only.searches:
            end = _end_of_search(connection, bounds)
            if end is not None:
                bounds += _not_before(end)
                looked_to = end if looked_to is None else max(looked_to, end)
        newest = select(journal.c.started_ms, journal.c.id).where(*_ended(only.how), *_like(only), *bounds)
        places += [Place(*row) for row in connection.execute(newest.order_by(*_ORDER).limit(limit))]
    if looked_to is not None:  # behind it others may stand that nobody has looked at yet
        places = [place for place in places if place >= looked_to]
    places = sorted(places, reverse=True)[:limit]
    ids = [place.id for place in places]
    rows = select(*_COLUMNS).where(journal.c.id.in_(ids)).order_by(*_ORDER)
    next_ = places[-1] if len(places) == limit else looked_to
    return Page([Record(*row) for row in connection.execute(rows)], next_)


def named(
    connection: Connection,
    request_id: str,
    *,
    workspaces: Sequence[str] | None = None,
    key_id: str | None = None,
) -> list[Record]:
    """The newest requests of this very id, in these workspaces and with this key; judge calls are not among them.

    Callers choose ids: what others send under one must not push out those that the reader may see.
    """
    rows = select(*_COLUMNS).where(journal.c.request_id == request_id, journal.c.surface != JUDGE)
    if workspaces is not None:
        rows = rows.where(journal.c.workspace.in_(workspaces))
    if key_id is not None:
        rows = rows.where(journal.c.key_id == key_id)
    return [Record(*row) for row in connection.execute(rows.order_by(*_ORDER).limit(MOST_NAMED))]


_COLUMNS: Final = tuple(journal.c[name] for name in Record.__struct_fields__)


def _end_of_search(connection: Connection, bounds: Sequence[ColumnElement[bool]]) -> Place | None:
    """The last row that is looked at for one page, None when all are; an index alone tells it."""
    last = select(journal.c.started_ms, journal.c.id).where(*bounds).order_by(*_ORDER).offset(LOOKED_AT - 1).limit(1)
    found = connection.execute(last).first()
    return None if found is None else Place(*found)


def _before(place: Place | None) -> Iterator[ColumnElement[bool]]:
    if place is not None:
        start = journal.c.started_ms
        yield start <= place.started_ms
        yield or_(start < place.started_ms, journal.c.id < place.id)


def _not_before(place: Place) -> Iterator[ColumnElement[bool]]:
    start = journal.c.started_ms
    yield start >= place.started_ms
    yield or_(start > place.started_ms, journal.c.id >= place.id)


def _between(only: Filter) -> Iterator[ColumnElement[bool]]:
    if only.since_ms is not None:
        yield journal.c.started_ms >= only.since_ms
    if only.until_ms is not None:
        yield journal.c.started_ms < only.until_ms


def _like(only: Filter) -> Iterator[ColumnElement[bool]]:
    """What rows must be equal to. Nothing a client wrote is ever a pattern."""
    for name in _EQUAL:
        wanted = getattr(only, name)
        if wanted is not None:
            yield journal.c[name] == wanted
    if only.request_id is not None:
        yield func.substr(journal.c.request_id, 1, len(only.request_id)) == only.request_id


def _ended(how: Ended | Kind | None) -> Iterator[ColumnElement[bool] | TextClause]:
    """The conditions of `core.ending.ended`, the rare ones in the words of the index that answers them."""
    status = journal.c.status
    if isinstance(how, Kind):
        yield from _of_kind(how)
    elif how is None:
        yield journal.c.surface != JUDGE
    elif how is Ended.SUCCESS:
        yield and_(journal.c.surface != JUDGE, journal.c.error_code.is_(None), status != CLIENT_GONE)
    elif how is Ended.CANCELLED:
        yield text(LEFT_ROWS)
    else:
        yield text(FAILED_ROWS)
        yield status == STATUS_OF[how] if how in STATUS_OF else status.not_in(tuple(STATUS_OF.values()))


def _of_kind(kind: Kind) -> Iterator[ColumnElement[bool]]:
    yield journal.c.surface != JUDGE
    if kind is Kind.FAILED:
        yield and_(journal.c.error_code.is_not(None), journal.c.status != CLIENT_GONE)
    else:
        lowest = int(kind[0]) * 100
        yield and_(journal.c.status >= lowest, journal.c.status < lowest + 100)


def _whose(workspaces: Sequence[str] | None, only: Filter) -> list[ColumnElement[bool]]:
    """Whose rows to ask for, one question after the other."""
    if workspaces is None:
        return [true()]
    if only.searches or only.how in (None, Ended.SUCCESS):
        return [journal.c.workspace == workspace for workspace in set(workspaces)]  # the index has each one's in order
    # The rare ones have an index of their own; what looks computed does not tempt to another one.
    return [(journal.c.workspace + literal_column("''")).in_(workspaces)]
