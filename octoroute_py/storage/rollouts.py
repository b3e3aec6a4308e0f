"""What the journal has on the two sides of a canary deployment; functions take a connection and only read."""

import msgspec
from sqlalchemy import ColumnElement, Connection, Float, and_, case, cast, func, select

from octoroute_py.storage.schema import feedback, journal

_ROWS_AT_ONCE = 1000
_LOWEST_RATING, _RATINGS = 1, 4.0


class Served(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The columns of a journal row that tell how its attempts went."""

    started_ms: int
    duration_us: int
    first_event_us: int | None
    routing_us: int | None
    status: int
    error_code: str | None
    stream: bool
    endpoint: str
    sends: int
    attempts: str | None
    cost_uusd: int


class Opinion(msgspec.Struct, frozen=True):
    """The sum of what feedback says of an endpoint's answers, 0 to 1 each, and how many it is of."""

    endpoint: str
    total: float
    count: int


_COLUMNS = tuple(journal.c[name] for name in Served.__struct_fields__)


def served(connection: Connection, arm: str, *, since_ms: int, until_ms: int | None = None, most: int) -> list[Served]:
    """The newest rows with this arm that began at `since_ms` or later and before `until_ms`, oldest first."""
    order = journal.c.started_ms.desc(), journal.c.id.desc()
    wanted = select(*_COLUMNS, journal.c.arms).where(*_with(arm, since_ms, until_ms)).order_by(*order)
    found: list[Served] = []
    for *columns, arms in connection.execute(wanted.execution_options(yield_per=_ROWS_AT_ONCE)):
        if arm in arms.split(","):
            found.append(Served(**dict(zip(Served.__struct_fields__, columns, strict=True))))
            if len(found) == most:
                break
    return found[::-1]


def opinions(connection: Connection, arm: str, *, since_ms: int, until_ms: int | None = None) -> list[Opinion]:
    """What people thought of the answers to requests with this arm, by the endpoint that gave them."""
    rating = cast(feedback.c.rating - _LOWEST_RATING, Float) / _RATINGS
    score = case((feedback.c.rating.is_not(None), rating), (feedback.c.success, 1.0), else_=0.0)
    wanted = (
        select(journal.c.endpoint, journal.c.arms, func.sum(score), func.count())
        .join_from(journal, feedback)
        .where(*_with(arm, since_ms, until_ms))
        .where(feedback.c.rating.is_not(None) | feedback.c.success.is_not(None))
        .group_by(journal.c.endpoint, journal.c.arms)
    )
    return [
        Opinion(endpoint, total, count)
        for endpoint, arms, total, count in connection.execute(wanted)
        if arm in arms.split(",")
    ]


def _with(arm: str, since_ms: int, until_ms: int | None) -> tuple[ColumnElement[bool], ...]:
    """Rows that may have the arm: whoever asks looks closer, since LIKE takes large letters for small ones."""
    start = journal.c.started_ms
    among = start >= since_ms if until_ms is None else and_(start >= since_ms, start < until_ms)
    return journal.c.arms.is_not(None), among, journal.c.arms.contains(arm, autoescape=True)
