"""Bring a database to the tables of this version, or say why that cannot be done.

The revisions run inside the program, under one write lock: two processes that start together do it once, and one that
is killed half-way leaves the database as it was.
"""

from collections.abc import Iterator
from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect

from octoroute_py.storage.engine import Source
from octoroute_py.storage.errors import Foreign, NewerSchema, corrupt

MIGRATIONS = Path(__file__).with_name("migrations")


def upgrade(source: Source) -> tuple[str, ...]:
    """Apply what is missing; the revisions that were applied, oldest first.

    Raises Corrupt, NewerSchema or Foreign, and then has changed nothing.
    """
    script = ScriptDirectory(str(MIGRATIONS))
    with source.write() as connection:
        _refuse_damage(connection, source.location)
        context = MigrationContext.configure(connection)
        applied = []
        with Operations.context(context):
            for revision in _missing(script, context, connection, source.location):
                revision.module.upgrade()
                context.stamp(script, revision.revision)
                applied.append(revision.revision)
        return tuple(applied)


def newest_revision() -> str | None:
    """The revision this version brings a database to."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()


def _missing(
    script: ScriptDirectory, context: MigrationContext, connection: Connection, location: str
) -> Iterator[Script]:
    current = context.get_current_revision()
    if current is None:
        tables = inspect(connection).get_table_names()
        if tables:
            raise Foreign(
                f"{location} is a database of another program (it has the table {tables[0]!r}); name another file",
                location=location,
            )
    else:
        _refuse_newer(script, current, location)
    return reversed(list(script.iterate_revisions("head", current or "base")))


def _refuse_newer(script: ScriptDirectory, current: str, location: str) -> None:
    try:
        script.get_revision(current)
    except CommandError:
        raise NewerSchema(
            f"{location} was written by a newer version of octoroute (schema {current}, this version knows "
            f"{script.get_current_head()}); run that version, or restore a backup made by this one",
            location=location,
        ) from None


def _refuse_damage(connection: Connection, location: str) -> None:
    """Look at every page once; reading a damaged one later would stop a request instead of the start."""
    if connection.dialect.name != "sqlite":
        return
    finding = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if finding != "ok":
        raise corrupt(location, str(finding).strip().splitlines()[-1])
