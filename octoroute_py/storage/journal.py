"""The journal and its intents: rows in by the hundred, and what the dead left behind.

An intent says that a request may be on its way to an upstream, a journal row that it ended. A row may be given twice:
the one that is there stays as it is. An intent is always given before the journal row that settles it.
"""

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import Connection, Table, delete, exists, false, insert, literal, select, true

from octoroute_py.storage.engine import Direct, Statement
from octoroute_py.storage.entries import Intent, JournalEntry
from octoroute_py.storage.schema import intents, journal

INTERRUPTED = "interrupted"
"""Error code of requests whose process died before they ended."""

Row = Intent | JournalEntry
Key = tuple[str, int]
"""The request id and the entry that tell rows apart."""

_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""How many rows a statement takes. Preparing one for every number would cost more than a row too many now and then."""


class Posting:
    """A row on its way to the journal; `settles` says that an intent of its request may be in the database."""

    __slots__ = ("key", "row", "settles")

    def __init__(self, row: Row, *, settles: bool = False) -> None:
        self.row = row
        self.key: Key = (row.request_id, row.entry)
        self.settles = settles


class Poster:
    """Puts groups of rows into the database by as few statements as possible, at most 256 rows at a time."""

    __slots__ = ("_sql",)

    def __init__(self) -> None:
        self._sql: dict[tuple[Callable[[int, str], str], int], str] = {}

    def post(self, connection: Direct, postings: Sequence[Posting]) -> None:
        """Add rows in one transaction; an intent whose request ends in the same group is never written.

        Raises StorageError, or what the driver says of a value that no column takes.
        """
        entries = [posting for posting in postings if type(posting.row) is JournalEntry]
        statements: list[Statement] = []
        if len(entries) < len(postings):
            ended = {posting.key for posting in entries}
            begun = [p for p in postings if type(p.row) is Intent and p.key not in ended]
            if begun:
                statements.append(self._statement(connection, _insert_intents, begun))
        if entries:
            statements.append(self._statement(connection, _insert_entries, entries))
            settled = [posting for posting in entries if posting.settles]
            if settled:
                statements.append(self._statement(connection, _delete_intents, settled))
        connection.run(statements)

    def _statement(self, connection: Direct, make: Callable[[int, str], str], postings: Sequence[Posting]) -> Statement:
        count = len(postings)
        size = count if count <= 4 else next(size for size in _SIZES if size >= count)
        sql = self._sql.get((make, size))
        if sql is None:
            sql = self._sql[make, size] = make(size, connection.mark)
        values: list[object] = []
        if make is _delete_intents:
            for posting in postings:
                values += posting.key
        else:
            for posting in postings:
                values += msgspec.structs.astuple(posting.row)
        # The last row again makes the group full: that one is there then, and is ignored.
        width = len(values) // count
        return sql, values + values[-width:] * (size - count)


def _insert_entries(size: int, mark: str) -> str:
    return _insert(journal, JournalEntry.__struct_fields__, size, mark)


def _insert_intents(size: int, mark: str) -> str:
    return _insert(intents, Intent.__struct_fields__, size, mark)


def _insert(table: Table, columns: Sequence[str], size: int, mark: str) -> str:
    row = f"({', '.join([mark] * len(columns))})"
    rows = ", ".join([row] * size)
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES {rows} ON CONFLICT DO NOTHING"  # noqa: S608


def _delete_intents(size: int, mark: str) -> str:
    keys = ", ".join([f"({mark}, {mark})"] * size)
    return f"DELETE FROM intents WHERE (request_id, entry) IN (VALUES {keys})"  # noqa: S608


# what is done now and then, inside a job


def has_intents(connection: Connection) -> bool:
    """Whether any request began and has no journal row yet."""
    return connection.execute(select(intents.c.entry).limit(1)).first() is not None


def settle_dead(connection: Connection) -> int:
    """End the requests that a process left behind: as failed, at the price that was reserved; how many there were.

    Every intent counts as left behind, so no living process may own one. How long they took nobody knows: 0.
    """
    columns = {
        **{name: intents.c[name] for name in ("request_id", "entry", "started_ms", "surface", "workspace")},
        **{name: intents.c[name] for name in ("key_id", "agent_type", "tier")},
        "cost_uusd": intents.c.reserved_uusd,
        "status": literal(500),
        "error_code": literal(INTERRUPTED),
        "endpoint": literal(""),
        "sends": literal(1),
        "stream": false(),
        "estimated": true(),
        **{name: literal(0) for name in ("duration_us", "latency_bucket", "baseline_uusd")},
        **{name: literal(0) for name in ("prompt_tokens", "completion_tokens", "cached_tokens")},
    }
    ended = (journal.c.request_id == intents.c.request_id) & (journal.c.entry == intents.c.entry)
    dead = select(*columns.values()).where(~exists().where(ended)).order_by(intents.c.started_ms)
    settled = connection.execute(insert(journal).from_select(list(columns), dead)).rowcount
    connection.execute(delete(intents))
    return settled
