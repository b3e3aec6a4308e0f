"""The log is moved into the database beside the writer, and what was written is there all the same."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection

from octoroute_py.storage.checkpoint import Checkpoints
from octoroute_py.storage.db import Database
from octoroute_py.storage.engine import CHECKPOINT_PAGES, connect


def pages(folder: Path) -> int:
    return (folder / "x.db").stat().st_size // 4096


def test_the_log_is_moved_when_it_is_long_enough_by_a_thread_that_is_not_the_writers(tmp_path: Path) -> None:
    source = connect("sqlite:///x.db", base_dir=tmp_path)
    with source.write() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x BLOB)")
        connection.exec_driver_sql("INSERT INTO t VALUES (zeroblob(100000))")
    checkpoints = Checkpoints(source)
    checkpoints.written(CHECKPOINT_PAGES - 1)
    assert "storage-checkpoints" not in [thread.name for thread in threading.enumerate()]
    before = pages(tmp_path)
    checkpoints.written(1)
    while pages(tmp_path) == before:
        threading.Event().wait(0.005)
    assert pages(tmp_path) > 24
    checkpoints.close()
    checkpoints.close()
    source.engine.dispose()


def test_a_checkpoint_that_fails_is_no_ones_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = connect("sqlite:///x.db", base_dir=tmp_path)
    checkpoints = Checkpoints(source)
    asked, go_on = threading.Event(), threading.Event()
    real = source.engine.raw_connection

    def broken() -> object:
        asked.set()
        assert go_on.wait(10)
        error: Exception = source.engine.dialect.loaded_dbapi.Error("disk I/O error")
        raise error

    monkeypatch.setattr(source.engine, "raw_connection", broken)
    checkpoints.written(CHECKPOINT_PAGES)
    assert asked.wait(10)
    monkeypatch.setattr(source.engine, "raw_connection", real)
    go_on.set()
    checkpoints.written(CHECKPOINT_PAGES)
    checkpoints.close()
    source.engine.dispose()


def test_a_system_without_threads_to_give_does_not_stop_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = connect("sqlite:///x.db", base_dir=tmp_path)
    checkpoints = Checkpoints(source)

    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        checkpoints.written(CHECKPOINT_PAGES)
    checkpoints.written(CHECKPOINT_PAGES)
    assert "storage-checkpoints" in [thread.name for thread in threading.enumerate()]
    checkpoints.close()
    source.engine.dispose()


def test_a_database_moves_its_log_by_itself(tmp_path: Path) -> None:
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)
    before = pages(tmp_path)

    def job(connection: Connection) -> None:
        connection.exec_driver_sql("INSERT INTO audit VALUES (NULL, 0, '', '', '', '')")

    for _ in range(CHECKPOINT_PAGES // 10):
        database.submit(job, rows=200)
    database.write(job)
    while pages(tmp_path) <= before:
        threading.Event().wait(0.005)
    database.close()
