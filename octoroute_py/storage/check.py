"""Is a database sound, and what is in it: at a start only as far as that is quick, for an operator in full."""

from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, func, inspect, select

from octoroute_py.storage.engine import Source
from octoroute_py.storage.errors import corrupt
from octoroute_py.storage.schema import metadata

WHOLE_BYTES = 128 * 1024 * 1024
"""Up to this size a start looks at every page, which takes 0.4 s; at larger ones at what it is going to read."""
_READ_AT_START = (
    "alembic_version",
    "directory_version",
    "intents",
    "key_secrets",
    "keys",
    "rollup_state",
    "workspaces",
)
_MAX_FINDINGS = 20


class Findings(NamedTuple):
    """What a whole look at a database came to; without `problems` it is sound."""

    problems: tuple[str, ...]
    revision: str | None
    rows: dict[str, int]
    """How many there are, by table."""


def refuse_damage(source: Source, *, whole_bytes: int = WHOLE_BYTES) -> None:
    """Raises Corrupt for a file with damaged pages: reading one later would stop a request instead of the start."""
    if not source.is_sqlite:
        return
    with source.read() as connection:
        if Path(source.location).stat().st_size <= whole_bytes:
            _refuse(connection, "PRAGMA quick_check(1)", source.location)
            connection.exec_driver_sql("PRAGMA shrink_memory")  # the pages it read are of no further use
            return
        there = inspect(connection).get_table_names()
        for table in _READ_AT_START:
            if table in there:
                _refuse(connection, f"PRAGMA quick_check('{table}')", source.location)


def _refuse(connection: Connection, pragma: str, location: str) -> None:
    finding = connection.exec_driver_sql(pragma).scalars().first()
    if finding is not None and finding != "ok":
        raise corrupt(location, str(finding).strip().splitlines()[-1])


def examine(source: Source) -> Findings:
    """Look at all of it: pages, indexes, references, counts. Takes 20 s a GB. Raises StorageError."""
    with source.read() as connection:
        problems: list[str] = []
        if source.is_sqlite:
            told = connection.exec_driver_sql(f"PRAGMA integrity_check({_MAX_FINDINGS})").scalars()
            problems = [line for finding in told for line in str(finding).splitlines() if line != "ok"]
            for table, row, referred, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
                problems.append(f"row {row} of {table} refers to a row that {referred} does not have")
                if len(problems) >= _MAX_FINDINGS:
                    break
        there = inspect(connection).get_table_names()
        counts = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
            if table.name in there
        }
        return Findings(tuple(problems), revision_of(connection), counts)


def revision_of(connection: Connection) -> str | None:
    """The revision of the tables, None for a database without any of ours."""
    if "alembic_version" not in inspect(connection).get_table_names():
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().first()
    return None if found is None else str(found)
