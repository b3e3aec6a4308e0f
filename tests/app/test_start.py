"""A start that fails says why and leaves nothing open; an end goes on to its end whatever broke before it."""

import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest

from octoroute_py.config.load import parse_config
from octoroute_py.core.errors import ConfigError
from octoroute_py.gateway.idempotency import Idempotency
from octoroute_py.storage.db import Database
from octoroute_py.storage.spool import Spool, spool_path
from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams

FILE = "octoroute.db"


def config(folder: Path) -> str:
    return httpx_config(f'[storage]\nurl = "sqlite:///{folder / FILE}"\n')


def made(folder: Path) -> Running:
    """An application that nobody has started yet."""
    return Running(parse_config(config(folder)), generated=None, neural=None)


def change(folder: Path, sql: str) -> None:
    """Make the database, and then do this to it."""
    Database.open(f"sqlite:///{FILE}", base_dir=folder).close()
    with contextlib.closing(sqlite3.connect(folder / FILE)) as connection:
        connection.execute(sql)
        connection.commit()


def assert_nothing_is_open(folder: Path) -> None:
    Spool(spool_path(str(folder / FILE))).close()  # it can be locked again
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("storage-")]


BAD_KEY = "INSERT INTO keys VALUES ('key_1', 'bob', 'emperor', '{}', 0, 'ops', NULL, 1)"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(BAD_KEY, "the role of key key_1 cannot be read", id="keys that cannot be understood"),
        pytest.param("DROP TABLE journal", "no such table: journal", id="a journal that cannot be read"),
        pytest.param("DROP TABLE intents", "no such table: intents", id="intents that cannot be read"),
    ],
)
async def test_a_start_that_fails_says_why_and_leaves_nothing_open(tmp_path: Path, damage: str, said: str) -> None:
    change(tmp_path, damage)
    with pytest.raises(ConfigError, match=said):
        await made(tmp_path).application.start()
    assert_nothing_is_open(tmp_path)


async def test_a_start_that_fails_after_the_storage_was_opened_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ConfigError("no")

    monkeypatch.setattr(Idempotency, "__init__", broken)
    with pytest.raises(ConfigError, match="no"):
        made(tmp_path)
    assert_nothing_is_open(tmp_path)


async def test_rows_are_kept_and_files_closed_although_something_beside_the_requests_broke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: Idempotency) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Idempotency, "run", broken)
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers={"content-type": "application/json"})
        async with running(config(tmp_path)) as one:
            assert (await one.chat("deep")).status_code == 200
    assert_nothing_is_open(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as connection:
        assert connection.execute("SELECT count(*) FROM journal").fetchone() == (1,)
