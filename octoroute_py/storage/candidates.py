"""Statements about the Tiny Dancer router's candidates and history; each takes a connection and commits nothing."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from octoroute_py.storage.schema import candidates, routing_history


class CandidateRow(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate as it is kept: `embedding` little-endian float32, `metadata` JSON, times in Unix seconds."""

    id: str
    embedding: bytes
    metadata: str
    created_at: int
    access_count: int
    success_rate: float


class RoutingRow(msgspec.Struct, frozen=True, kw_only=True):
    """One routing: the candidate that led it, and how sure the router was."""

    candidate_id: str
    query_embedding: bytes | None
    confidence: float
    use_lightweight: bool
    uncertainty: float
    timestamp: int
    inference_time_us: int


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The history in numbers; `average_us` and `succeeded` are 0 while there is nothing to average or count."""

    routes: int
    lightweight: int
    average_us: float
    outcomes: int
    succeeded: int


_IDS_AT_ONCE = 500
_FIELDS = tuple(candidates.c[name] for name in CandidateRow.__struct_fields__)


def put(connection: Connection, row: CandidateRow, *, now: int) -> None:
    """Keep a candidate; one of the same id is replaced, its history stays."""
    values = _values(row, now=now, revision=_next_revision(connection))
    rest = {name: value for name, value in values.items() if name != "id"}
    statement = _insert(connection).on_conflict_do_update(index_elements=[candidates.c.id], set_=rest)
    connection.execute(statement, values)


def add_new(connection: Connection, rows: Sequence[CandidateRow], *, now: int) -> None:
    """Keep those candidates whose id is unknown; the others stay as they are."""
    known: set[str] = set()
    for at in range(0, len(rows), _IDS_AT_ONCE):
        ids = [row.id for row in rows[at : at + _IDS_AT_ONCE]]
        known |= set(connection.execute(select(candidates.c.id).where(candidates.c.id.in_(ids))).scalars())
    first = _next_revision(connection)
    values = [
        _values(row, now=now, revision=first + at) for at, row in enumerate(row for row in rows if row.id not in known)
    ]
    if values:
        connection.execute(_insert(connection).on_conflict_do_nothing(index_elements=[candidates.c.id]), values)


def get(connection: Connection, ids: Sequence[str]) -> dict[str, CandidateRow]:
    """The candidates of these ids that are known."""
    found = connection.execute(select(*_FIELDS).where(candidates.c.id.in_(ids)))
    return {row.id: _candidate(row) for row in found}


def newest(connection: Connection, limit: int) -> list[CandidateRow]:
    """The candidates made last, newest first; those of one second by id."""
    order = (candidates.c.created_at.desc(), candidates.c.id)
    return [_candidate(row) for row in connection.execute(select(*_FIELDS).order_by(*order).limit(limit))]


def embeddings_since(connection: Connection, revision: int) -> list[tuple[int, str, bytes]]:
    """`(revision, id, embedding)` of every candidate whose embedding is newer than `revision`, oldest first."""
    columns = candidates.c.revision, candidates.c.id, candidates.c.embedding
    found = connection.execute(select(*columns).where(candidates.c.revision > revision).order_by(candidates.c.revision))
    return [(row.revision, row.id, row.embedding) for row in found]


def add_routing(connection: Connection, row: RoutingRow) -> int:
    """Note a routing and count the access to its candidate; the routing's number."""
    touched = connection.execute(
        update(candidates)
        .where(candidates.c.id == row.candidate_id)
        .values(access_count=candidates.c.access_count + 1, last_accessed=row.timestamp)
    )
    if touched.rowcount == 0:
        raise KeyError(row.candidate_id)
    values = msgspec.structs.asdict(row)
    statement = insert(routing_history).values(values).returning(routing_history.c.id)
    return int(connection.execute(statement).scalar_one())


def add_outcome(connection: Connection, routing_id: int, *, success: bool) -> float:
    """Note how a routing ended, and let its candidate's success rate follow; the new rate.

    The rate is the mean of all outcomes, those that stood behind it when the candidate was kept included. An outcome
    that is told again replaces the one before. Raises KeyError for a routing that is not in the history.
    """
    columns = routing_history.c.candidate_id, routing_history.c.success
    routing = connection.execute(select(*columns).where(routing_history.c.id == routing_id)).one_or_none()
    if routing is None:
        raise KeyError(routing_id)
    of_candidate = candidates.c.id == routing.candidate_id
    rate, outcomes = connection.execute(
        select(candidates.c.success_rate, candidates.c.outcomes).where(of_candidate).with_for_update()
    ).one()
    before = rate * outcomes - (routing.success or 0)
    outcomes += routing.success is None
    rate = min(1.0, max(0.0, (before + success) / outcomes))
    connection.execute(update(candidates).where(of_candidate).values(success_rate=rate, outcomes=outcomes))
    connection.execute(update(routing_history).where(routing_history.c.id == routing_id).values(success=success))
    return float(rate)


def totals(connection: Connection) -> Totals:
    """The whole history, summed up."""
    history = routing_history.c
    row = connection.execute(
        select(
            func.count(),
            func.count().filter(history.use_lightweight.is_(True)),
            func.avg(history.inference_time_us),
            func.count(history.success),
            func.count().filter(history.success.is_(True)),
        ).select_from(routing_history)
    ).one()
    return Totals(routes=row[0], lightweight=row[1], average_us=float(row[2] or 0.0), outcomes=row[3], succeeded=row[4])


def _values(row: CandidateRow, *, now: int, revision: int) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(row),
        "dimensions": len(row.embedding) // 4,
        "outcomes": row.access_count,
        "last_accessed": now,
        "revision": revision,
    }


def _next_revision(connection: Connection) -> int:
    last = connection.execute(select(func.coalesce(func.max(candidates.c.revision), 0))).scalar_one()
    return int(last) + 1


def _insert(connection: Connection) -> Any:
    """INSERT with a say in conflicts, which both dialects spell alike but SQLAlchemy keeps apart."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(candidates)


def _candidate(row: Row[Any]) -> CandidateRow:
    return CandidateRow(**row._mapping)
