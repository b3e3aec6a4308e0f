"""Statements about what people thought of answers; each takes a connection and commits nothing."""

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, desc, func, select
from sqlalchemy.dialects import postgresql, sqlite

from octoroute_py.core.verdict import Verdict
from octoroute_py.storage.schema import feedback, journal

_ROWS_AT_ONCE = 1000


class Finder(msgspec.Struct, frozen=True, kw_only=True):
    """Who looks for a request: they see the rows of these workspaces (None: of all), their own key's first."""

    key_id: str
    workspaces: tuple[str, ...] | None


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A request and the last word on it; `verdict`, `at_ms` and `by` are None while nobody has said anything."""

    journal_id: int
    request_id: str
    workspace: str
    tier: str
    endpoint: str
    verdict: Verdict | None
    at_ms: int | None
    by: str | None


class Lesson(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict beside what had been decided, for training; times in Unix milliseconds, money in micro-USD."""

    request_id: str
    started_ms: int
    surface: str
    workspace: str
    agent_type: str
    strategy: str | None
    reason: str | None
    rule: str | None
    confidence: float | None
    decided_tier: str | None
    tier: str
    endpoint: str
    prompt_tokens: int
    completion_tokens: int
    cost_uusd: int
    at_ms: int
    verdict: Verdict


_SAID = tuple(feedback.c[name] for name in Verdict.__struct_fields__)
_DECIDED = tuple(journal.c[name] for name in Lesson.__struct_fields__ if name in journal.c)


def find(connection: Connection, request_id: str, *, by: Finder) -> Judged | None:
    """The newest request of this id that the finder may see, one of their own key before all others."""
    seen: ColumnElement[bool] = journal.c.request_id == request_id
    if by.workspaces is not None:
        seen = and_(seen, journal.c.workspace.in_(by.workspaces))
    wanted: Select[Any] = (
        select(
            journal.c.id.label("journal_id"),
            *(journal.c.request_id, journal.c.workspace, journal.c.tier, journal.c.endpoint),
            *(feedback.c.at_ms, feedback.c.by, *_SAID),
        )
        .join_from(journal, feedback, isouter=True)
        .where(seen)
        .order_by(desc(journal.c.key_id == by.key_id), journal.c.started_ms.desc(), journal.c.id.desc())
        .limit(1)
    )
    row = connection.execute(wanted).one_or_none()
    if row is None:
        return None
    return Judged(
        journal_id=row.journal_id,
        request_id=row.request_id,
        workspace=row.workspace,
        tier=row.tier,
        endpoint=row.endpoint,
        verdict=None if row.at_ms is None else _verdict(row),
        at_ms=row.at_ms,
        by=row.by,
    )


def give(connection: Connection, request_id: str, verdict: Verdict, *, by: Finder, at_ms: int) -> bool:
    """Keep the last word on the request that `find` finds; what it leaves open stays as it was said before.

    Whether there is such a request.
    """
    found = find(connection, request_id, by=by)
    if found is not None:
        _put(connection, found.journal_id, verdict, by=by.key_id, at_ms=at_ms)
    return found is not None


def rows(connection: Connection, since_ms: int) -> Iterator[Lesson]:
    """Every verdict given at `since_ms` or later, oldest first, with what had been decided."""
    wanted = (
        select(*_DECIDED, feedback.c.at_ms, *_SAID)
        .join_from(journal, feedback)
        .where(feedback.c.at_ms >= since_ms)
        .order_by(feedback.c.at_ms, feedback.c.journal_id)
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    for row in connection.execute(wanted):
        decided = {column.name: row._mapping[column] for column in _DECIDED}
        yield Lesson(**decided, at_ms=row.at_ms, verdict=_verdict(row))


def answered(connection: Connection, request_id: str, *, workspace: str) -> bool:
    """Whether a request that came with this id of its own to the Model Router Service's route was answered well."""
    wanted = select(journal.c.id).where(
        journal.c.request_id == request_id,
        journal.c.workspace == workspace,
        journal.c.request_type.is_not(None),
        journal.c.status == 200,
        journal.c.error_code.is_(None),
    )
    return connection.execute(wanted.limit(1)).first() is not None


def _verdict(row: Row[Any]) -> Verdict:
    return Verdict(**{name: row._mapping[name] for name in Verdict.__struct_fields__})


def _put(connection: Connection, journal_id: int, verdict: Verdict, *, by: str, at_ms: int) -> None:
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(feedback)
    said = msgspec.structs.asdict(verdict)
    statement = insert.on_conflict_do_update(
        index_elements=[feedback.c.journal_id],
        set_={
            "at_ms": insert.excluded.at_ms,
            "by": insert.excluded.by,
            **{name: func.coalesce(insert.excluded[name], feedback.c[name]) for name in said},
        },
    )
    connection.execute(statement, {"journal_id": journal_id, "at_ms": at_ms, "by": by, **said})
