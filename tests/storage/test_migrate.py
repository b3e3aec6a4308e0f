"""The migrations make the tables that the statements are written for."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from octoroute_py.storage.check import refuse_damage
from octoroute_py.storage.engine import connect
from octoroute_py.storage.errors import Corrupt
from octoroute_py.storage.migrate import MIGRATIONS, NEWEST, upgrade
from octoroute_py.storage.schema import metadata
from tests.fakes.repository import ROOT


def test_the_migrations_make_exactly_the_tables_of_the_schema(tmp_path: Path) -> None:
    source = connect("sqlite:///x.db", base_dir=tmp_path)
    assert upgrade(source)[-1] == NEWEST
    with source.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    source.engine.dispose()


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(tmp_path: Path) -> None:
    source = connect("sqlite:///x.db", base_dir=tmp_path)
    upgrade(source)
    assert upgrade(source) == ()
    source.engine.dispose()


def test_the_newest_revision_is_that_of_the_scripts() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == NEWEST


def test_opening_what_is_up_to_date_does_without_alembic_and_without_the_write_lock(tmp_path: Path) -> None:
    source = connect("sqlite:///x.db", base_dir=tmp_path)
    upgrade(source)
    source.engine.dispose()
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    script = (
        "import sys; from pathlib import Path; from octoroute_py.storage.db import Database\n"
        "Database.open('sqlite:///x.db', base_dir=Path(sys.argv[1]), busy_wait_s=0.0).close()\n"
        "print('alembic' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout == "False\n"
    other.close()


def test_of_a_large_database_a_start_looks_at_what_it_reads(tmp_path: Path) -> None:
    """Damage in the journal is left to `octoroute db check`; damage in the keys is found."""
    source = connect("sqlite:///x.db", base_dir=tmp_path)
    upgrade(source)
    with source.read() as connection:
        roots = dict(connection.exec_driver_sql("SELECT name, rootpage FROM sqlite_master").tuples().all())
    source.engine.dispose()
    content = bytearray((tmp_path / "x.db").read_bytes())
    for table, refused in (("journal", False), ("keys", True)):
        damaged = content[:]
        at = (roots[table] - 1) * 4096
        damaged[at : at + 4096] = b"\xa5" * 4096
        (tmp_path / "x.db").write_bytes(damaged)
        source = connect("sqlite:///x.db", base_dir=tmp_path)
        if refused:
            with pytest.raises(Corrupt):
                refuse_damage(source, whole_bytes=0)
        else:
            refuse_damage(source, whole_bytes=0)
        with pytest.raises(Corrupt):
            refuse_damage(source)
        source.engine.dispose()
