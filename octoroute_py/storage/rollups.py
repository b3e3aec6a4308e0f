"""Journal rows into sums, each exactly once, a few at a time.

    journal rows after `rolled_to` ─► cells of a minute (temporary)     ─► rollups, rollup_totals, spend_rollups
                                  └─► latencies of a minute (temporary) ─► latency_rollups, latency_totals

All of it, and the new `rolled_to`, is one transaction: a process that ends in the middle has done everything or
nothing. It happens inside the database; no row comes to Python. Whole rows are read once a chunk, since that is what
costs: the coarser sums are made from the few cells of the finer ones.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    BigInteger,
    ClauseElement,
    Column,
    ColumnElement,
    Connection,
    Insert,
    Integer,
    MetaData,
    String,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Compiled, Dialect
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.compiler import SQLCompiler

from octoroute_py.core.ending import CLIENT_GONE
from octoroute_py.storage.schema import (
    journal,
    latency_rollups,
    latency_totals,
    rollup_state,
    rollup_totals,
    rollups,
    spend_rollups,
)

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86_400
GRAINS = (MINUTE_S, HOUR_S, DAY_S)

JUDGE = "judge"
"""Surface of the calls that the gateway makes for itself, to choose a tier."""
ROWS_AT_ONCE = 250
"""A row that an answer waits for stands behind this many at most."""

Columns = Mapping[str, ColumnElement[Any]]
_NOTHING: Columns = MappingProxyType({})

_ROW = journal.c
FAILED = and_(_ROW.error_code.is_not(None), _ROW.status != CLIENT_GONE)
"""A journal row whose request failed."""
TIMED = and_(_ROW.endpoint != "", _ROW.status != CLIENT_GONE, _ROW.surface != JUDGE)
"""A journal row whose duration says something: an endpoint was tried, and the client stayed."""
SUMS: Columns = MappingProxyType(
    {
        "requests": func.count(),
        "failures": func.sum(case((FAILED, 1), else_=0)),
        "duration_us": func.sum(_ROW.duration_us),
        "prompt_tokens": func.sum(_ROW.prompt_tokens),
        "completion_tokens": func.sum(_ROW.completion_tokens),
        "cached_tokens": func.sum(_ROW.cached_tokens),
        "cost_uusd": func.sum(_ROW.cost_uusd),
        "baseline_uusd": func.sum(_ROW.baseline_uusd),
    }
)
"""The columns of `rollups` that are added up, as sums over journal rows."""

_SPENDER = ("workspace", "key_id", "agent_type")
_CELL = ("workspace", "surface", "agent_type", "tier", "endpoint", "status")
_temporary = MetaData()
_cells = Table(
    "rolling_cells",
    _temporary,
    Column("start_s", BigInteger),
    *(Column(name, Integer if name == "status" else String) for name in ("key_id", *_CELL)),
    *(Column(name, BigInteger) for name in SUMS),
    prefixes=["TEMPORARY"],
)
_latencies = Table(
    "rolling_latencies",
    _temporary,
    Column("start_s", BigInteger),
    Column("workspace", String),
    Column("endpoint", String),
    Column("latency_bucket", Integer),
    Column("requests", BigInteger),
    prefixes=["TEMPORARY"],
)

_ROLLED_TO = select(rollup_state.c.rolled_to)
_ids = select(_ROW.id).where(_ROW.id > bindparam("after")).order_by(_ROW.id).limit(bindparam("rows")).subquery()
_NEXT = select(func.max(_ids.c.id), func.count()).select_from(_ids)
_CHUNK = and_(_ROW.id > bindparam("after"), _ROW.id <= bindparam("last"))


def rolled_to(connection: Connection) -> int:
    """The last journal id that the sums hold."""
    return int(connection.execute(_ROLLED_TO).scalar_one())


class RollUp:
    """The job that adds the next journal rows, at most `rows`, to the sums; it tells how many, 0 when none are left.

    Make it once for a database: putting its statements together costs more than running them.
    """

    __slots__ = ("_compiled", "_dialect", "_rows")

    def __init__(self, *, rows: int = ROWS_AT_ONCE) -> None:
        self._rows = rows
        self._dialect: Dialect | None = None
        self._compiled: tuple[Compiled, ...] = ()

    def __call__(self, connection: Connection) -> int:
        """Run inside the caller's transaction."""
        if self._dialect is not connection.dialect:
            self._dialect = connection.dialect
            statements = _statements(connection.dialect.name)
            self._compiled = tuple(each.compile(dialect=connection.dialect) for each in statements)
        after = int(connection.execute(_ROLLED_TO.with_for_update()).scalar_one())
        if connection.dialect.name == "postgresql":
            # Numbers are given before rows are committed: those under way would be passed over if nobody waited.
            connection.execute(text("LOCK TABLE journal IN SHARE MODE"))
        last, count = connection.execute(_NEXT, {"after": after, "rows": self._rows}).one()
        if count:
            for compiled in self._compiled:
                _run(connection, compiled, {"after": after, "last": last})
        return int(count)


def start_of(grain_s: int, ms: ColumnElement[int] = _ROW.started_ms) -> ColumnElement[int]:
    """The start, in Unix seconds, of the minute, hour or day that a journal row began in."""
    return _down_to(grain_s, ms // number(1000))


def _down_to(grain_s: int, seconds: ColumnElement[int]) -> ColumnElement[int]:
    return seconds // number(grain_s) * number(grain_s)


def number(value: int) -> ColumnElement[int]:
    """Spelled out: a statement that groups by an expression must repeat it exactly, and a parameter is never equal."""
    return literal_column(str(value), BigInteger)


def _statements(dialect: str) -> Iterator[ClauseElement]:
    """What adds the rows above `after` up to `last` to every sum, in this order."""
    for table in (_cells, _latencies):
        yield CreateTable(table, if_not_exists=True)
        yield delete(table)
    start: Columns = {"start_s": start_of(MINUTE_S)}
    cells = {**start, **_columns(journal, "key_id", *_CELL)}
    yield insert(_cells).from_select([*cells, *SUMS], _grouped(cells, SUMS).where(_CHUNK))
    latencies = {**start, **_columns(journal, "workspace", "endpoint", "latency_bucket")}
    count: Columns = {"requests": func.count()}
    yield insert(_latencies).from_select([*latencies, *count], _grouped(latencies, count).where(and_(_CHUNK, TIMED)))

    day: Columns = {"day_s": _down_to(DAY_S, _cells.c.start_s)}
    yield _addition(dialect, spend_rollups, _cells, by={**day, **_columns(_cells, *_SPENDER)})
    for grain_s in GRAINS:
        grain: Columns = {"grain_s": number(grain_s)}
        start = {"start_s": _down_to(grain_s, _cells.c.start_s)}
        yield _addition(dialect, rollups, _cells, by={**start, **_columns(_cells, *_CELL)}, fixed=grain)
        yield _addition(dialect, rollup_totals, _cells, by={**start, **_columns(_cells, *_CELL[1:])}, fixed=grain)
        start = {"start_s": _down_to(grain_s, _latencies.c.start_s)}
        by = {**start, **_columns(_latencies, "workspace", "endpoint", "latency_bucket")}
        yield _addition(dialect, latency_rollups, _latencies, by=by, fixed=grain)
        by = {**start, **_columns(_latencies, "endpoint", "latency_bucket")}
        yield _addition(dialect, latency_totals, _latencies, by=by, fixed=grain)
    yield update(rollup_state).values(rolled_to=bindparam("last"))


def _columns(table: Table, *names: str) -> Columns:
    return {name: table.c[name] for name in names}


def _grouped(by: Columns, sums: Columns, fixed: Columns = _NOTHING) -> Any:
    return select(*fixed.values(), *by.values(), *sums.values()).group_by(*by.values())


def _addition(dialect: str, table: Table, source: Table, *, by: Columns, fixed: Columns = _NOTHING) -> Insert:
    """Group the source's cells by `by` and add them to the rows of `table`, all of which have `fixed`."""
    sums: Columns = {name: func.sum(source.c[name]) for name in SUMS if name in table.c and name in source.c}
    # "WHERE true": without it SQLite takes the conflict clause for the end of a join.
    rows = _grouped(by, sums, fixed).where(literal_column("1") == literal_column("1"))
    into: Any = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    statement = into.from_select([*fixed, *by, *sums], rows)
    added = {name: table.c[name] + statement.excluded[name] for name in sums}
    upsert: Insert = statement.on_conflict_do_update(index_elements=[*fixed, *by], set_=added)
    return upsert


def _run(connection: Connection, compiled: Compiled, values: Mapping[str, int]) -> None:
    """Send a statement that is compiled once: SQLAlchemy would do it each time where a conflict clause is in it."""
    if not isinstance(compiled, SQLCompiler):
        connection.exec_driver_sql(str(compiled))
        return
    given = compiled.construct_params(values)
    names = compiled.positiontup
    connection.exec_driver_sql(str(compiled), given if names is None else tuple(given[name] for name in names))
