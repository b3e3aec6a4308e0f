"""The journal's rows one by one, newest first, page by page; functions take a connection and only read."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, TextClause, and_, literal_column, or_, select, text, true

from octoroute_py.core.ending import CLIENT_GONE, STATUS_OF, Ended
from octoroute_py.storage.entries import JournalEntry
from octoroute_py.storage.rollups import JUDGE
from octoroute_py.storage.schema import FAILED_ROWS, LEFT_ROWS, journal


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


def page(
    connection: Connection,
    *,
    limit: int,
    before: Place | None = None,
    workspaces: Sequence[str] | None = None,
    how: Ended | None = None,
) -> list[Record]:
    """The newest requests, at most `limit`, that began before that place; judge calls are not among them.

    A request is as old as its start, so one that lasted long may turn up between others that were shown before.
    """
    order = journal.c.started_ms.desc(), journal.c.id.desc()
    places: list[Place] = []
    for whose in _whose(workspaces, how):
        newest = select(journal.c.started_ms, journal.c.id).where(*_ended(how), *_before(before), whose)
        places += [Place(*row) for row in connection.execute(newest.order_by(*order).limit(limit))]
    ids = [place.id for place in sorted(places, reverse=True)[:limit]]
    rows = select(*(journal.c[name] for name in Record.__struct_fields__)).where(journal.c.id.in_(ids)).order_by(*order)
    return [Record(*row) for row in connection.execute(rows)]


def _before(place: Place | None) -> Iterator[ColumnElement[bool]]:
    if place is not None:
        start = journal.c.started_ms
        yield start <= place.started_ms
        yield or_(start < place.started_ms, journal.c.id < place.id)


def _ended(how: Ended | None) -> Iterator[ColumnElement[bool] | TextClause]:
    """The conditions of `core.ending.ended`, the rare ones in the words of the index that answers them."""
    status = journal.c.status
    if how is None:
        yield journal.c.surface != JUDGE
    elif how is Ended.SUCCESS:
        yield and_(journal.c.surface != JUDGE, journal.c.error_code.is_(None), status != CLIENT_GONE)
    elif how is Ended.CANCELLED:
        yield text(LEFT_ROWS)
    else:
        yield text(FAILED_ROWS)
        yield status == STATUS_OF[how] if how in STATUS_OF else status.not_in(tuple(STATUS_OF.values()))


def _whose(workspaces: Sequence[str] | None, how: Ended | None) -> list[ColumnElement[bool]]:
    """Whose rows to ask for, one question after the other."""
    if workspaces is None:
        return [true()]
    if how is None or how is Ended.SUCCESS:  # the index by workspace has each one's rows in order
        return [journal.c.workspace == workspace for workspace in set(workspaces)]
    # The rare ones have an index of their own; what looks computed does not tempt to another one.
    return [(journal.c.workspace + literal_column("''")).in_(workspaces)]
