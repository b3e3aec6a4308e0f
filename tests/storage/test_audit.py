"""The audit: rows in the order of the changes, and only of those that came to pass."""

from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from octoroute_py.storage import audit
from octoroute_py.storage.audit import AuditRow
from octoroute_py.storage.db import Database


def note(connection: Connection, number: int) -> None:
    audit.append(
        connection, at_ms=1000 + number, actor="ops", action="key.create", subject=f"key_{number}", details={"n": "ö'"}
    )


def test_rows_come_back_newest_first_and_page_by_page(tmp_path: Path) -> None:
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)
    for number in range(5):
        database.write(partial(note, number=number))
    with database.read() as connection:
        first = audit.newest(connection, 2)
        second = audit.newest(connection, 2, before=first[-1].id)
        assert [row.subject for row in first + second] == ["key_4", "key_3", "key_2", "key_1"]
        assert audit.newest(connection, 2, before=1) == []
    assert first[0] == AuditRow(
        id=5, at_ms=1004, actor="ops", action="key.create", subject="key_4", details='{"n":"ö\'"}'
    )
    database.close()


def test_a_change_that_fails_leaves_no_row(tmp_path: Path) -> None:
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)

    def fails(connection: Connection) -> None:
        note(connection, 1)
        raise ValueError(1)

    with pytest.raises(ValueError, match="1"):
        database.write(fails)
    with database.read() as connection:
        assert audit.newest(connection, 10) == []
    database.close()
