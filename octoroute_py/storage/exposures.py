"""What came of the requests that an experiment decided about, added up in the database; functions only read.

Requests are numbered as they ended and taken in blocks of that order: a block that is full never changes.
"""

from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, Float, and_, case, cast, func, literal, null, select

from octoroute_py.core.ending import CLIENT_GONE
from octoroute_py.storage.limited import within
from octoroute_py.storage.rollups import number
from octoroute_py.storage.schema import feedback, journal

LOOK_WITHIN_S = 10.0
"""Ten million exposed requests take about as long."""


class Cell(NamedTuple):
    """Sums over the requests of a block whose labels (`arms`) are the same.

    Of `requests`, `left` were left by their clients and `good` were answered; `latency` is that of the good ones in ms
    (until the first event of a stream, until the end of every other answer), `cost` that of all in micro-USD, `scores`
    the number of those that somebody judged and `score` what they came to, 0 to 1 each. The sums of squares end so.
    """

    block: int
    arms: str
    requests: int
    left: int
    good: int
    latency: float
    latency_squares: float
    cost: float
    cost_squares: float
    scores: int
    score: float
    score_squares: float


def exposures(
    connection: Connection, experiment_id: str, since_ms: int, *, block: int, within_s: float = LOOK_WITHIN_S
) -> list[Cell]:
    """The requests since then whose labels name the experiment, in blocks of so many.

    Labels that only look alike, in the case of letters or by what they end with, may be among them: `arms` tells.
    Raises TooLong when it takes longer than `within_s`.
    """
    row = journal.c
    good = and_(row.error_code.is_(None), row.status != CLIENT_GONE)
    answered_us = case((row.stream, func.coalesce(row.first_event_us, row.duration_us)), else_=row.duration_us)
    exposed = (
        select(
            row.arms,
            case((row.status == CLIENT_GONE, 1), else_=0).label("gone"),
            case((good, 1), else_=0).label("good"),
            case((good, cast(answered_us, Float) / 1000.0), else_=null()).label("latency"),
            cast(row.cost_uusd, Float).label("cost"),
            _score().label("score"),
            # What looks computed is sorted: without it the whole journal would be read, as it is in this order.
            func.row_number(type_=BigInteger()).over(order_by=row.id + number(0)).label("place"),
        )
        .join_from(journal, feedback, isouter=True)
        .where(
            row.arms.is_not(None), row.started_ms >= since_ms, row.arms.contains(f"{experiment_id}:", autoescape=True)
        )
        .subquery()
    ).c
    by = ((exposed.place - number(1)) // number(block)).label("block"), exposed.arms
    statement = select(
        *by,
        func.count(),
        func.sum(exposed.gone),
        func.sum(exposed.good),
        *_sums(exposed.latency),
        *_sums(exposed.cost),
        func.count(exposed.score),
        *_sums(exposed.score),
    ).group_by(*by)
    with within(connection, within_s):
        return [Cell(*row) for row in connection.execute(statement.order_by(by[0]))]


def _sums(of: ColumnElement[float]) -> tuple[ColumnElement[float], ColumnElement[float]]:
    return func.coalesce(func.sum(of), literal(0.0)), func.coalesce(func.sum(of * of), literal(0.0))


def _score() -> ColumnElement[float | None]:
    """What somebody thought of an answer, 0 to 1: the rating where there is one, else whether it did well."""
    said = feedback.c
    return case(
        (said.rating.is_not(None), cast(said.rating - 1, Float) / 4.0),
        (said.success.is_not(None), case((said.success, 1.0), else_=0.0)),
        else_=null(),
    )
