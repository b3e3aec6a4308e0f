"""What is too old to keep, deleted a few rows at a time; functions take a connection and commit nothing."""

from typing import NamedTuple

from sqlalchemy import Connection, Table, and_, delete, select, true, tuple_

from octoroute_py.storage.rollups import DAY_S, GRAINS, HOUR_S, MINUTE_S, ROWS_AT_ONCE, rolled_to
from octoroute_py.storage.schema import journal, latency_rollups, latency_totals, rollup_totals, rollups, spend_rollups

MINUTES_KEPT_S = 2 * DAY_S
"""The longest range that is answered by the minute, a day, needs a day and an hour."""
HOURS_KEPT_S = 40 * DAY_S
"""The longest range that is answered by the hour has 30 days."""
SPEND_KEPT_S = 80 * DAY_S
"""However short the other sums are kept: a start learns from these what is left of a budget (`spend_by_day`)."""


class Expiry(NamedTuple):
    """Rows of a table with sums that are older than `age_s`."""

    table: Table
    grain_s: int | None
    age_s: int


def expiries(*, rollup_days: int) -> list[Expiry]:
    """How long each sum is kept; those by day for `rollup_days`, and what was spent never shorter than SPEND_KEPT_S."""
    kept_s = {MINUTE_S: MINUTES_KEPT_S, HOUR_S: HOURS_KEPT_S, DAY_S: rollup_days * DAY_S}
    tables = (rollups, rollup_totals, latency_rollups, latency_totals)
    by_grain = [Expiry(table, grain_s, min(kept_s[grain_s], kept_s[DAY_S])) for table in tables for grain_s in GRAINS]
    return [*by_grain, Expiry(spend_rollups, None, max(kept_s[DAY_S], SPEND_KEPT_S))]


def delete_journal(connection: Connection, *, before_ms: int, rows: int = ROWS_AT_ONCE) -> int:
    """Delete journal rows that began before then, their feedback with them; how many, 0 when none are left.

    Only rows that the sums hold go. The newest of those stays whatever its age: SQLite numbers new rows from the
    highest number there is, and a number that came back would never be added up.
    """
    where = (journal.c.started_ms < before_ms, journal.c.id < rolled_to(connection))
    oldest = select(journal.c.id).where(*where).order_by(journal.c.started_ms).limit(rows)
    return connection.execute(delete(journal).where(journal.c.id.in_(oldest))).rowcount


def delete_sums(connection: Connection, expiry: Expiry, *, now_s: float, rows: int = ROWS_AT_ONCE) -> int:
    """Delete sums whose time is over, at most `rows`; how many, 0 when none are left."""
    table = expiry.table
    old = (table.c.day_s if expiry.grain_s is None else table.c.start_s) < _cut(now_s, expiry.age_s)
    where = and_(old, true() if expiry.grain_s is None else table.c.grain_s == expiry.grain_s)
    key = list(table.primary_key)
    oldest = select(*key).where(where).order_by(*key).limit(rows)
    return connection.execute(delete(table).where(tuple_(*key).in_(oldest))).rowcount


def _cut(now_s: float, age_s: int) -> int:
    """Sums of all grains end at the same midnight, so that a day is never there without its hours or half of them."""
    return int(now_s - age_s) // DAY_S * DAY_S
