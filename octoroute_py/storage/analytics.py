"""What the sums say of a range of time, up to the last committed row; each function takes a connection and only reads.

A range begins at the start of a minute or an hour and has no end. It is answered from as few sums as cover it: minutes
up to the first full hour, hours up to the first midnight (UTC), then days; and from the journal's rows that no sum
holds yet. Ask everything about one range on one connection: it sees one state of the database.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, Table, and_, func, literal_column, select, union_all

from octoroute_py.storage.rollups import (
    DAY_S,
    HOUR_S,
    JUDGE,
    MINUTE_S,
    SUMS,
    TIMED,
    number,
    rolled_to,
    start_of,
)
from octoroute_py.storage.schema import journal, latency_rollups, latency_totals, rollup_totals, rollups, spend_rollups


class Scope(NamedTuple):
    """Which rows are meant: those that began at `since_s` (Unix, a full minute) or later, of these, None for all."""

    since_s: int
    workspaces: Sequence[str] | None = None
    endpoints: Sequence[str] | None = None


class Cell(NamedTuple):
    """Sums over the requests that have the first five in common; judge calls have the surface `judge`."""

    surface: str
    agent_type: str
    tier: str
    endpoint: str
    status: int
    requests: int
    failures: int
    duration_us: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost_uusd: int
    baseline_uusd: int


class Agents(NamedTuple):
    """Requests by agent type, of those with the most; how many types there are in all, "" not among them."""

    requests: dict[str, int]
    named: int


class DaySpend(NamedTuple):
    """What the requests of one workspace, key and agent type cost on one UTC day (days since 1970)."""

    day: int
    workspace: str
    key_id: str
    agent_type: str
    cost_uusd: int


class Span(NamedTuple):
    """Sums of one grain whose start is at least `low_s`, and below `high_s` if there is one."""

    grain_s: int
    low_s: int
    high_s: int | None


_BY = Cell._fields[:5]
_SPENDER = DaySpend._fields[1:4]
_FIRST_SUM = len(_BY)
_MOST_STARTS = 1000
"""A month has 744 hours; a statement may not have any number of values."""


def spans(since_s: int) -> Iterator[Span]:
    """The fewest sums that together hold everything from `since_s` on, a full minute."""
    hour = -(-since_s // HOUR_S) * HOUR_S
    day = -(-since_s // DAY_S) * DAY_S
    if since_s < hour:
        yield Span(MINUTE_S, since_s, hour)
    if hour < day:
        yield Span(HOUR_S, hour, day)
    yield Span(DAY_S, day, None)


def cells(connection: Connection, scope: Scope, *, agents: bool = True) -> list[Cell]:
    """Everything that is counted, by what the requests have in common; one cell for each combination.

    Without `agents` their types are "" and together: clients make up any number of them.
    """
    found: dict[tuple[Any, ...], list[int]] = {}
    table = _sums_of(scope)
    by = _common(table, agents=agents)
    sums = [func.sum(table.c[name]) for name in SUMS]
    for span in spans(scope.since_s):
        rows = select(*by, *sums).where(_of(connection, table, scope, span)).group_by(*_columns(by))
        _gather(found, connection.execute(rows), _FIRST_SUM)
    by = _common(journal, agents=agents)
    late = select(*by, *SUMS.values()).where(_late(connection, scope)).group_by(*_columns(by))
    _gather(found, connection.execute(late), _FIRST_SUM)
    return [Cell(*key, *totals) for key, totals in found.items()]


def requests_by_agent(connection: Connection, scope: Scope, *, most: int) -> Agents:
    """The agent types with the most requests, added up in the database: there may be any number of them."""
    table = _sums_of(scope)
    parts = [
        select(table.c.agent_type, func.sum(table.c.requests).label("requests"))
        .where(and_(_of(connection, table, scope, span), table.c.surface != JUDGE))
        .group_by(table.c.agent_type)
        for span in spans(scope.since_s)
    ]
    late = select(journal.c.agent_type, func.count().label("requests"))
    parts.append(late.where(and_(_late(connection, scope), journal.c.surface != JUDGE)).group_by(journal.c.agent_type))
    every = union_all(*parts).subquery()
    requests = func.sum(every.c.requests)
    busiest = select(every.c.agent_type, requests).group_by(every.c.agent_type)
    rows = connection.execute(busiest.order_by(requests.desc(), every.c.agent_type).limit(most))
    named = connection.execute(select(func.count(func.distinct(func.nullif(every.c.agent_type, ""))))).scalar()
    return Agents({agent: int(count) for agent, count in rows}, int(named or 0))


def requests_by_hour(connection: Connection, scope: Scope) -> list[int]:
    """How many requests began in each of the 24 hours of the UTC day, judge calls not among them."""
    hours = [0] * 24
    table = _sums_of(scope)
    first_hour = -(-scope.since_s // HOUR_S) * HOUR_S
    for span in (Span(MINUTE_S, scope.since_s, first_hour), Span(HOUR_S, first_hour, None)):
        where = and_(_of(connection, table, scope, span), table.c.surface != JUDGE)
        rows = select(table.c.start_s, func.sum(table.c.requests)).where(where).group_by(table.c.start_s)
        for start_s, requests in connection.execute(rows):
            hours[start_s % DAY_S // HOUR_S] += int(requests)
    start = start_of(HOUR_S)
    where = and_(_late(connection, scope), journal.c.surface != JUDGE)
    for start_s, requests in connection.execute(select(start, func.count()).where(where).group_by(start)):
        hours[start_s % DAY_S // HOUR_S] += int(requests)
    return hours


def latencies(connection: Connection, scope: Scope) -> dict[str, dict[int, int]]:
    """How many requests fell into each latency bucket, by endpoint; see `TIMED` for which count."""
    found: dict[tuple[Any, ...], list[int]] = {}
    table = latency_totals if scope.workspaces is None else latency_rollups
    by = [table.c.endpoint, table.c.latency_bucket]
    for span in spans(scope.since_s):
        rows = select(*by, func.sum(table.c.requests)).where(_of(connection, table, scope, span)).group_by(*by)
        _gather(found, connection.execute(rows), 2)
    by = [journal.c.endpoint, journal.c.latency_bucket]
    late = select(*by, func.count()).where(and_(_late(connection, scope), TIMED)).group_by(*by)
    _gather(found, connection.execute(late), 2)
    buckets: dict[str, dict[int, int]] = {}
    for (endpoint, bucket), (requests,) in found.items():
        buckets.setdefault(endpoint, {})[bucket] = requests
    return buckets


def spend_by_day(connection: Connection, *, since_day: int, of: tuple[str, str] | None = None) -> list[DaySpend]:
    """What was spent on each day since then (days since 1970, UTC), judge calls left out.

    `of` is the name of a column and a value: only what was spent by those.
    """
    found: dict[tuple[Any, ...], list[int]] = {}
    by = [spend_rollups.c.day_s // number(DAY_S), *(spend_rollups.c[name] for name in _SPENDER)]
    days = select(*by, func.sum(spend_rollups.c.cost_uusd)).where(
        spend_rollups.c.day_s >= since_day * DAY_S, spend_rollups.c.workspace != "", *_by(spend_rollups, of)
    )
    _gather(found, connection.execute(days.group_by(*by)), 4)
    by = [journal.c.started_ms // number(DAY_S * 1000), *(journal.c[name] for name in _SPENDER)]
    rows = select(*by, func.sum(journal.c.cost_uusd)).where(
        _not_rolled(rolled_to(connection), since_day * DAY_S * 1000), journal.c.workspace != "", *_by(journal, of)
    )
    _gather(found, connection.execute(rows.group_by(*by)), 4)
    return [DaySpend(*key, *total) for key, total in found.items()]


def latest_start_ms(connection: Connection) -> int:
    """When the newest journal row began (Unix ms), 0 when there is none: a clock before that has been set back."""
    return int(connection.execute(select(func.max(journal.c.started_ms))).scalar() or 0)


def _common(table: Table, *, agents: bool) -> list[ColumnElement[Any]]:
    return [table.c[name] if agents or name != "agent_type" else literal_column("''") for name in _BY]


def _columns(by: Sequence[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    """What may be grouped by: PostgreSQL takes no constant there."""
    return [each for each in by if isinstance(each, Column)]


def _sums_of(scope: Scope) -> Table:
    return rollup_totals if scope.workspaces is None else rollups


def _of(connection: Connection, table: Table, scope: Scope, span: Span) -> ColumnElement[bool]:
    """The table's sums that the span and the scope have in common."""
    of_grain, start = table.c.grain_s == number(span.grain_s), table.c.start_s
    within = start >= span.low_s if span.high_s is None else and_(start >= span.low_s, start < span.high_s)
    if scope.workspaces is not None:
        high_s = span.high_s
        if high_s is None:
            last_s = connection.execute(select(func.max(start)).where(of_grain)).scalar_one()
            high_s = span.low_s if last_s is None else last_s + 1
        starts = range(span.low_s, high_s, span.grain_s)
        if len(starts) <= _MOST_STARTS:
            # Named one by one, a few workspaces are found without a look at all the others between them.
            within = start.in_(starts)
    return and_(of_grain, within, *_whose(table, scope))


def _late(connection: Connection, scope: Scope) -> ColumnElement[bool]:
    """The scope's journal rows that no sum holds yet."""
    return and_(_not_rolled(rolled_to(connection), scope.since_s * 1000), *_whose(journal, scope))


def _not_rolled(after: int, since_ms: int) -> ColumnElement[bool]:
    """These few, newest rows are to be found by their number: what looks computed is in no index."""
    return and_(journal.c.id > after, journal.c.started_ms + number(0) >= since_ms)


def _whose(table: Table, scope: Scope) -> Iterator[ColumnElement[bool]]:
    if scope.workspaces is not None:
        name = table.c.workspace + literal_column("''") if table is journal else table.c.workspace
        yield name.in_(scope.workspaces)
    if scope.endpoints is not None:
        yield table.c.endpoint.in_(scope.endpoints)


def _by(table: Table, of: tuple[str, str] | None) -> Iterator[ColumnElement[bool]]:
    if of is not None:
        yield table.c[of[0]] + literal_column("''") == of[1]  # no index has these few rows in a better order


def _gather(found: dict[tuple[Any, ...], list[int]], rows: Any, keys: int) -> None:
    """Add rows of `keys` names and then numbers to what was found so far."""
    for row in rows:
        key, numbers = tuple(row[:keys]), row[keys:]
        known = found.get(key)
        if known is None:
            found[key] = [int(number) for number in numbers]
        else:
            for at, number_ in enumerate(numbers):
                known[at] += int(number_)
