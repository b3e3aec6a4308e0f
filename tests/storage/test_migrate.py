"""The migrations make the tables that the statements are written for."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from octoroute_py.storage.engine import connect
from octoroute_py.storage.migrate import newest_revision, upgrade
from octoroute_py.storage.schema import metadata


def test_the_migrations_make_exactly_the_tables_of_the_schema(tmp_path: Path) -> None:
    source = connect("sqlite:///x.db", base_dir=tmp_path)
    assert upgrade(source)[-1] == newest_revision()
    with source.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    source.engine.dispose()


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(tmp_path: Path) -> None:
    source = connect("sqlite:///x.db", base_dir=tmp_path)
    upgrade(source)
    assert upgrade(source) == ()
    source.engine.dispose()
