"""A database that is opened, written, closed, and found again, or refused with its reason and left alone."""

import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from octoroute_py.storage import candidates
from octoroute_py.storage.candidates import CandidateRow
from octoroute_py.storage.db import Database
from octoroute_py.storage.errors import (
    CannotOpen,
    Conflict,
    Corrupt,
    Foreign,
    Full,
    Locked,
    NewerSchema,
    StorageRefused,
)
from octoroute_py.storage.migrate import NEWEST
from octoroute_py.storage.schema import routing_history

FILE = "octoroute.db"
URL = f"sqlite:///{FILE}"


def open_here(folder: Path, *, busy_wait_s: float = 5.0) -> Database:
    return Database.open(URL, base_dir=folder, busy_wait_s=busy_wait_s)


def row(id: str, *, size: int = 2) -> CandidateRow:
    return CandidateRow(id=id, embedding=bytes(4 * size), metadata="{}", created_at=1, access_count=0, success_rate=0.0)


def putting(id: str, *, size: int = 2) -> Callable[[Connection], None]:
    """The job that keeps a candidate."""
    return lambda connection: candidates.put(connection, row(id, size=size), now=1)


def keep(database: Database, *ids: str) -> None:
    for id in ids:
        database.write(putting(id))


def ids_of(database: Database) -> list[str]:
    with database.read() as connection:
        return [each.id for each in candidates.newest(connection, 1000)]


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    database = open_here(tmp_path)
    keep(database, "a", "b")
    assert database.close()
    again = open_here(tmp_path)
    assert ids_of(again) == ["a", "b"]
    again.close()


def test_closing_writes_what_was_submitted(tmp_path: Path) -> None:
    database = open_here(tmp_path)
    for number in range(600):
        database.submit(putting(str(number)))
    assert database.close()
    again = open_here(tmp_path)
    assert len(ids_of(again)) == 600
    again.close()


def test_a_sqlite_file_is_the_owners_alone_and_set_up_for_one_writer_and_many_readers(tmp_path: Path) -> None:
    database = open_here(tmp_path)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    with database.read() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "cache_size")
        }
    assert found == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "busy_timeout": 5000,
        "cache_size": -16384,
    }
    database.close()


def test_readers_see_the_last_commit_while_a_write_is_under_way(tmp_path: Path) -> None:
    database = open_here(tmp_path)
    keep(database, "a")
    written, seen = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        putting("b")(connection)
        written.set()
        assert seen.wait(10)

    future = database.submit(slow)
    assert written.wait(10)
    assert ids_of(database) == ["a"]
    seen.set()
    future.result()
    assert ids_of(database) == ["a", "b"]
    database.close()


def test_a_row_that_points_nowhere_is_a_conflict(tmp_path: Path) -> None:
    database = open_here(tmp_path)
    values = {"candidate_id": "nobody", "confidence": 0, "use_lightweight": False, "uncertainty": 0, "timestamp": 0}
    with pytest.raises(Conflict):
        database.write(lambda connection: connection.execute(insert(routing_history).values(values)))
    assert ids_of(database) == []
    database.close()


@pytest.mark.parametrize("content", [b"This is a letter, not a database. " * 40, bytes(8192)])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StorageRefused, match="damaged") as refused:
        open_here(tmp_path)
    assert str(tmp_path / FILE) in str(refused.value)
    assert ".recover" in str(refused.value)
    assert (tmp_path / FILE).read_bytes() == content


def test_a_file_with_overwritten_pages_is_refused_and_left_alone(tmp_path: Path) -> None:
    database = open_here(tmp_path)
    for number in range(200):
        database.submit(putting(str(number), size=256))
    database.close()
    content = bytearray((tmp_path / FILE).read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xa5" * 4096
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(Corrupt):
        open_here(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content


def test_a_newer_schema_is_refused_by_name_and_left_alone(tmp_path: Path) -> None:
    open_here(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(NewerSchema, match=f"schema 9999, this version knows {NEWEST}"):
        open_here(tmp_path)
    with sqlite3.connect(tmp_path / FILE) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    raw.close()


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as raw:
        raw.execute("CREATE TABLE photos (id INTEGER)")
    raw.close()
    with pytest.raises(Foreign, match="photos"):
        open_here(tmp_path)
    with sqlite3.connect(tmp_path / FILE) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == [("photos",)]
    raw.close()


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match="No such file or directory"):
        open_here(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "sqlite:///x.db?mode=ro", "mysql://u:hunter22@db/x", "not a url"]
)
def test_a_url_of_another_kind_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(CannotOpen) as refused:
        Database.open(url, base_dir=tmp_path)
    assert "hunter22" not in str(refused.value)


def test_a_server_without_its_driver_is_told_without_its_password(tmp_path: Path) -> None:
    for url in ("postgresql://u:hunter22@db/x", "postgresql+psycopg://u:hunter22@db/x"):
        with pytest.raises(CannotOpen, match=r"u:\*\*\*@db/x needs the driver psycopg") as refused:
            Database.open(url, base_dir=tmp_path)
        assert "hunter22" not in str(refused.value)


def test_a_lock_of_another_process_is_waited_for_then_told_and_gone_again_later(tmp_path: Path) -> None:
    database = open_here(tmp_path, busy_wait_s=0.05)
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Locked, match="locked by another process"):
        keep(database, "a")
    open_here(tmp_path, busy_wait_s=0.05).close()  # to open what is up to date takes no lock
    other.execute("COMMIT")
    other.close()
    keep(database, "a")
    assert ids_of(database) == ["a"]
    database.close()


def test_a_full_disk_is_told_to_everybody_whose_rows_were_lost_and_gone_again_later(tmp_path: Path) -> None:
    database = open_here(tmp_path)
    begin = threading.Event()

    def shrink(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 20")
        assert begin.wait(10)

    database.submit(shrink)
    small = database.submit(putting("small"))
    large = database.submit(putting("large", size=50_000))
    begin.set()
    with pytest.raises(Full, match="no space"):
        large.result(10)
    kept = small.exception(10) is None
    database.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 100000"))
    assert ids_of(database) == (["small"] if kept else [])
    keep(database, "later")
    assert "later" in ids_of(database)
    database.close()


def test_processes_that_start_together_make_the_tables_once(tmp_path: Path) -> None:
    opened: list[Database] = []
    start = threading.Barrier(4)

    def run() -> None:
        start.wait()
        opened.append(open_here(tmp_path))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4
    for database in opened:
        with database.read() as connection:
            assert connection.execute(select(routing_history.c.id)).all() == []
        database.close()
