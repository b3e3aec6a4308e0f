"""Bring a database to the tables of this version, or say why that cannot be done.

The revisions run inside the program, under one write lock: two processes that start together do it once, and one that
is killed half-way leaves the database as it was. A database that is up to date is only read: opening it troubles nobody
who uses it, and does not wait for the import of Alembic.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect

from octoroute_py.storage.check import refuse_damage, revision_of
from octoroute_py.storage.engine import Source
from octoroute_py.storage.errors import Foreign, NewerSchema

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import Script, ScriptDirectory

MIGRATIONS = Path(__file__).with_name("migrations")
NEWEST = "0003"
"""The revision this version brings a database to; a test holds it against the scripts."""


def upgrade(source: Source) -> tuple[str, ...]:
    """Apply what is missing; the revisions that were applied, oldest first.

    Raises Corrupt, NewerSchema or Foreign, and then has changed nothing.
    """
    refuse_damage(source)
    with source.read() as connection:
        if revision_of(connection) == NEWEST:
            return ()
    return _apply(source)


def pending(source: Source) -> tuple[str, ...]:
    """The revisions that `upgrade` would apply, oldest first; changes nothing. Raises NewerSchema or Foreign."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(MIGRATIONS))
    with source.read() as connection:
        context = MigrationContext.configure(connection)
        return tuple(each.revision for each in _missing(script, context, connection, source.location))


def _apply(source: Source) -> tuple[str, ...]:
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(MIGRATIONS))
    with source.write() as connection:
        context = MigrationContext.configure(connection)
        applied = []
        with Operations.context(context):
            for revision in _missing(script, context, connection, source.location):
                revision.module.upgrade()
                context.stamp(script, revision.revision)
                applied.append(revision.revision)
        return tuple(applied)


def _missing(
    script: "ScriptDirectory", context: "MigrationContext", connection: Connection, location: str
) -> Iterator["Script"]:
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


def _refuse_newer(script: "ScriptDirectory", current: str, location: str) -> None:
    from alembic.util import CommandError

    try:
        script.get_revision(current)
    except CommandError:
        raise NewerSchema(
            f"{location} was written by a newer version of octoroute (schema {current}, this version knows {NEWEST}); "
            "run that version, or restore a backup made by this one",
            location=location,
        ) from None
