"""What came of the requests that an experiment decided about, added up in the database; functions only read.

Labels that only look alike, in the case of letters or by what they end with, may be among what is found: `arms` tells.
A look that takes longer than `within_s` raises TooLong.
"""

from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, Float, and_, case, cast, func, literal, null, select

from octoroute_py.core.ending import CLIENT_GONE
from octoroute_py.core.experiment import Metric
from octoroute_py.storage.limited import within
from octoroute_py.storage.rollups import number
from octoroute_py.storage.schema import feedback, journal

LOOK_WITHIN_S = 10.0
"""Ten million exposed requests take about as long."""

_ROW = journal.c
_GOOD = and_(_ROW.error_code.is_(None), _ROW.status != CLIENT_GONE)
_LEFT = _ROW.status == CLIENT_GONE


class Tally(NamedTuple):
    """Sums over the requests whose labels (`arms`) are the same.

    Of `requests`, `per_request` came from nobody known, `left` were left by their clients and `good` were answered.
    `latency` is that of the good ones in ms (until the first event of a stream, until the end of every other answer),
    `cost` that of all in micro-USD.

    Values are the metric's: 1 or 0 for a request whose client stayed, latency, cost, or what somebody thought of the
    answer from 0 to 1. There are so many `values`, of so many `callers`; `total` and `squares` are summed over
    requests, `count_squares`, `products` (how many by total) and `total_squares` over callers. Of requests from nobody
    known each is a caller of its own.
    """

    arms: str
    requests: int
    per_request: int
    left: int
    good: int
    latency: float
    cost: float
    callers: int
    values: int
    total: float
    squares: float
    count_squares: int
    products: float
    total_squares: float


class Cell(NamedTuple):
    """Of a block: the requests with these labels whose clients stayed, and how many of them were good."""

    block: int
    arms: str
    requests: int
    good: int


def tallies(
    connection: Connection, experiment_id: str, since_ms: int, metric: Metric, *, within_s: float = LOOK_WITHIN_S
) -> list[Tally]:
    """The requests since then whose labels name the experiment, by their labels."""
    rows = select(
        _ROW.arms,
        _ROW.caller,
        case((_ROW.caller.is_(None), _ROW.id), else_=0).label("alone"),
        case((_ROW.caller.is_(None), 1), else_=0).label("per_request"),
        case((_LEFT, 1), else_=0).label("left"),
        case((_GOOD, 1), else_=0).label("good"),
        _latency().label("latency"),
        cast(_ROW.cost_uusd, Float).label("cost"),
        _value(metric).label("value"),
    ).where(*_exposed(experiment_id, since_ms))
    if metric is Metric.QUALITY:
        rows = rows.join_from(journal, feedback, isouter=True)
    row = rows.subquery().c
    by = row.arms, row.alone, row.caller
    caller = (
        select(
            row.arms,
            func.count(type_=BigInteger()).label("requests"),
            *(func.sum(row[name]).label(name) for name in ("per_request", "left", "good", "latency", "cost")),
            func.count(row.value, type_=BigInteger()).label("count"),
            func.coalesce(func.sum(row.value), literal(0.0)).label("total"),
            func.coalesce(func.sum(row.value * row.value), literal(0.0)).label("squares"),
        )
        .group_by(*by)
        .subquery()
        .c
    )
    count, total = caller["count"], caller.total
    statement = select(
        caller.arms,
        *(func.sum(caller[name]) for name in ("requests", "per_request", "left", "good")),
        *(func.coalesce(func.sum(caller[name]), literal(0.0)) for name in ("latency", "cost")),
        func.sum(case((count > 0, 1), else_=0)),
        *(func.sum(each) for each in (count, total, caller.squares, count * count, count * total, total * total)),
    ).group_by(caller.arms)
    with within(connection, within_s):
        return [_tally(found) for found in connection.execute(statement.order_by(caller.arms))]


def cells(
    connection: Connection, experiment_id: str, since_ms: int, *, block: int, within_s: float = LOOK_WITHIN_S
) -> list[Cell]:
    """The requests since then whose clients stayed, in blocks of so many as they ended: a full block never changes."""
    row = (
        select(
            _ROW.arms,
            case((_ROW.error_code.is_(None), 1), else_=0).label("good"),
            # What looks computed is sorted: without it the whole journal would be read, as it is in this order.
            func.row_number(type_=BigInteger()).over(order_by=_ROW.id + number(0)).label("place"),
        )
        .where(*_exposed(experiment_id, since_ms), _ROW.status != CLIENT_GONE)
        .subquery()
        .c
    )
    by = ((row.place - number(1)) // number(block)).label("block"), row.arms
    statement = select(*by, func.count(), func.sum(row.good)).group_by(*by)
    with within(connection, within_s):
        return [Cell(*found) for found in connection.execute(statement.order_by(by[0], row.arms))]


def _exposed(experiment_id: str, since_ms: int) -> tuple[ColumnElement[bool], ...]:
    named = _ROW.arms.contains(f"{experiment_id}:", autoescape=True)
    return _ROW.arms.is_not(None), _ROW.started_ms >= since_ms, named


def _tally(found: Any) -> Tally:
    """PostgreSQL's sums of whole numbers are decimals."""
    kinds = (str, int, int, int, int, float, float, int, int, float, float, int, float, float)
    return Tally(*(kind(value) for kind, value in zip(kinds, found, strict=True)))


def _latency() -> ColumnElement[Any]:
    answered_us = case((_ROW.stream, func.coalesce(_ROW.first_event_us, _ROW.duration_us)), else_=_ROW.duration_us)
    return case((_GOOD, cast(answered_us, Float) / 1000.0), else_=null())


def _value(metric: Metric) -> ColumnElement[Any]:
    if metric is Metric.SUCCESS:
        return case((_LEFT, null()), (_ROW.error_code.is_(None), 1.0), else_=0.0)
    if metric is Metric.LATENCY:
        return _latency()
    if metric is Metric.COST:
        return cast(_ROW.cost_uusd, Float)
    said = feedback.c
    return case(
        (said.rating.is_not(None), cast(said.rating - 1, Float) / 4.0),
        (said.success.is_not(None), case((said.success, 1.0), else_=0.0)),
        else_=null(),
    )
