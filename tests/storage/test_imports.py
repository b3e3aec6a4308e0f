"""Many documents are written as one change, and every one of them is in the audit."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from octoroute_py.core.registry import Kind
from octoroute_py.storage import audit, registry
from octoroute_py.storage.audit import AuditRow
from octoroute_py.storage.db import Database
from octoroute_py.storage.imports import Rewrite, rewrite
from octoroute_py.storage.registry import Change, Document

BY = Change(at_ms=7, actor="ops", action="config.import")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open("sqlite:///x.db", base_dir=tmp_path)
    yield opened
    opened.close()


def document(id_: str, body: str = "{}", *, kind: Kind = Kind.RULE, position: int = 1) -> Document:
    return Document(kind=kind, id=id_, position=position, body=body, created_ms=3, updated_ms=5, revision=0)


def written(database: Database, *changes: Rewrite) -> tuple[int, list[AuditRow]]:
    """The registry's version afterwards, and the audit."""
    database.write(lambda connection: rewrite(connection, changes, by=BY))
    with database.read() as connection:
        return registry.version(connection), audit.newest(connection, 100)


def kept(database: Database, kind: Kind = Kind.RULE) -> list[Document]:
    with database.read() as connection:
        return registry.every(connection, kind)


def test_many_changes_count_as_one_and_keep_their_times(database: Database) -> None:
    version, rows = written(database, Rewrite(None, document("a")), Rewrite(None, document("b", position=2)))
    assert (version, [row.subject for row in rows]) == (1, ["b", "a"])
    a, b = kept(database)
    assert (a.id, a.created_ms, a.updated_ms, a.revision, b.id) == ("a", 3, 5, 1, "b")
    changed = msgspec.structs.replace(a, body='{"x":1}', position=3)
    version, rows = written(database, Rewrite(a, changed), Rewrite(b, None))
    assert (version, len(rows)) == (2, 4)
    assert kept(database) == [msgspec.structs.replace(changed, revision=2)]
    told = {row.subject: msgspec.json.decode(row.details) for row in rows[:2]}
    assert told["a"] == {"kind": "rule", "before": {}, "after": {"x": 1}}
    assert told["b"] == {"kind": "rule", "before": {}, "after": None}


def test_a_document_that_only_moves_counts_and_is_not_in_the_audit(database: Database) -> None:
    written(database, Rewrite(None, document("a")))
    (a,) = kept(database)
    version, rows = written(database, Rewrite(a, msgspec.structs.replace(a, position=9)))
    assert (version, len(rows), kept(database)[0].position) == (2, 1, 9)


def test_reports_of_health_are_no_change_of_the_registry(database: Database) -> None:
    version, rows = written(database, Rewrite(None, document("m", kind=Kind.HEALTH)))
    assert (version, rows) == (0, [])
    (report,) = kept(database, Kind.HEALTH)
    assert report.revision == 1
    version, rows = written(database, Rewrite(report, msgspec.structs.replace(report, body="[]")))
    assert (version, rows, kept(database, Kind.HEALTH)[0].revision) == (0, [], 2)


def test_nothing_to_do_is_no_change(database: Database) -> None:
    assert written(database) == (0, [])
