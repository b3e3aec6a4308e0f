"""`octoroute db`: upgrade, check and backup, beside a gateway or without one."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from octoroute_py.cli.main import cli
from octoroute_py.storage.db import Database
from octoroute_py.storage.engine import Direct
from octoroute_py.storage.journal import Poster, Posting, Row
from octoroute_py.storage.migrate import NEWEST
from octoroute_py.storage.spool import Spool, spool_path
from tests.fakes.configs import MINIMAL
from tests.fakes.rows import an_entry, an_intent


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("OCTOROUTE_CONFIG", "DATABASE_URL", "PORT", "LOG_LEVEL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text(MINIMAL)
    return tmp_path


@pytest.fixture
def file(folder: Path) -> Path:
    """A database with two journal rows and an open intent."""
    database = Database.open("sqlite:///octoroute.db", base_dir=folder)
    direct: Direct = database._source.direct()
    rows: list[Row] = [an_intent("a"), an_entry("b"), an_entry("c")]
    Poster().post(direct, [Posting(row) for row in rows])
    direct.close()
    database.close()
    return folder / "octoroute.db"


def octoroute(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


def damage(file: Path) -> None:
    """Overwrite the page that the journal begins with."""
    with sqlite3.connect(file) as raw:
        (page,) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'journal'").fetchone()
    raw.close()
    content = bytearray(file.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
    file.write_bytes(content)


def test_upgrade_makes_a_database_and_says_what_it_applied(folder: Path) -> None:
    first, second = octoroute("db", "upgrade"), octoroute("db", "upgrade")
    location = folder / "octoroute.db"
    assert first.output == "".join(f"{location}: applied revision {each}\n" for each in ("0001", "0002", NEWEST))
    assert second.output == f"{location}: up to date (revision {NEWEST})\n"
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert stat.S_IMODE(location.stat().st_mode) == 0o600


def test_tables_are_not_changed_under_a_gateway_that_runs(folder: Path) -> None:
    spool = Spool(spool_path(str(folder / "octoroute.db")))
    result = octoroute("db", "upgrade")
    spool.close()
    assert result.exit_code == 78
    assert "held by another gateway" in result.stderr
    assert octoroute("db", "upgrade").exit_code == 0


def test_check_counts_what_is_there_also_beside_a_gateway(file: Path) -> None:
    spool = Spool(spool_path(str(file)))
    spool.append([an_entry("d")])
    result = octoroute("db", "check")
    spool.close()
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[:2] == [f"{file}: sound", f"revision {NEWEST}, the newest"]
    counts = dict(line.rsplit(maxsplit=1) for line in lines[2:])
    assert (counts["journal"], counts["intents"], counts["in the spool"]) == ("2", "1", "1")


def test_check_finds_damage_and_references_that_lead_nowhere(file: Path) -> None:
    with sqlite3.connect(file) as raw:
        raw.execute("INSERT INTO feedback (journal_id, at_ms, by) VALUES (99, 0, 'x')")
    raw.close()
    result = octoroute("db", "check")
    assert result.exit_code == 1
    assert result.output.startswith("problem: row 99 of feedback refers to a row that journal does not have\n")
    damage(file)
    result = octoroute("db", "check")
    assert result.exit_code in {1, 78}
    assert "damaged" in result.output


def test_check_of_an_older_database_says_what_brings_it_up_to_date(folder: Path) -> None:
    octoroute("db", "upgrade")
    with sqlite3.connect(folder / "octoroute.db") as raw:
        raw.execute("UPDATE alembic_version SET version_num = '0002'")
    raw.close()
    result = octoroute("db", "check")
    assert result.exit_code == 0
    assert f"revision 0002; `octoroute db upgrade` applies {NEWEST}" in result.output


@pytest.mark.parametrize("subcommand", ["upgrade", "check", "backup"])
def test_a_newer_database_is_refused_by_all(file: Path, subcommand: str) -> None:
    with sqlite3.connect(file) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    result = octoroute("db", subcommand)
    assert result.exit_code == 78
    assert "newer version" in result.stderr
    assert sorted(path.name for path in file.parent.iterdir()) == ["config.toml", "octoroute.db"]


@pytest.mark.parametrize("subcommand", ["check", "backup"])
def test_a_database_that_is_missing_is_told_and_not_made(folder: Path, subcommand: str) -> None:
    result = octoroute("db", subcommand)
    assert result.exit_code == 78
    assert result.stderr.startswith(f"storage: there is no {folder / 'octoroute.db'} yet; ")
    assert os.listdir(folder) == ["config.toml"]


def test_a_gateway_that_keeps_nothing_has_no_database(folder: Path) -> None:
    (folder / "config.toml").write_text(MINIMAL + '[storage]\nurl = "none"\n')
    result = octoroute("db", "check")
    assert (result.exit_code, "nothing is kept" in result.stderr) == (78, True)


def test_a_backup_is_whole_and_its_owners_alone_while_a_gateway_writes(file: Path) -> None:
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM journal")
    result = octoroute("db", "backup", "-o", "copy.db")
    writer.execute("ROLLBACK")
    writer.close()
    copy = file.with_name("copy.db")
    assert (result.exit_code, result.output) == (0, f"copy.db: {copy.stat().st_size:,} bytes\n")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with sqlite3.connect(copy) as raw:
        assert raw.execute("SELECT request_id FROM journal ORDER BY id").fetchall() == [("b",), ("c",)]
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    raw.close()
    assert [path.name for path in file.parent.glob("copy*")] == ["copy.db"]


def test_a_backup_overwrites_nothing_and_has_a_name_of_its_own_if_none_is_given(file: Path) -> None:
    (file.parent / "mine").write_text("keep me")
    result = octoroute("db", "backup", "-o", "mine")
    assert result.exit_code == 1
    assert (file.parent / "mine").read_text() == "keep me"
    result = octoroute("db", "backup")
    assert result.exit_code == 0
    (made,) = file.parent.glob("octoroute-*Z.db")
    assert result.output.startswith(str(made))


def test_a_backup_says_what_it_does_not_hold(file: Path) -> None:
    spool = Spool(spool_path(str(file)))
    spool.append([an_entry("d"), an_entry("e")])
    spool.close()
    result = octoroute("db", "backup", "-o", "copy.db")
    assert "note: 2 rows wait in the spool" in result.output


def test_a_backup_of_a_damaged_database_leaves_nothing(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100] + b"\xa5" * 4000)
    result = octoroute("db", "backup", "-o", "copy.db")
    assert result.exit_code == 78
    assert not file.with_name("copy.db").exists()


def test_the_check_of_a_configuration_looks_at_its_database(file: Path) -> None:
    assert octoroute("check").exit_code == 0
    damage(file)
    result = octoroute("check")
    assert result.exit_code == 78
    assert result.stderr.startswith(f"storage: {file} is damaged")


def test_the_check_of_a_configuration_makes_no_database_and_misses_its_folder(folder: Path) -> None:
    assert octoroute("check").exit_code == 0
    assert os.listdir(folder) == ["config.toml"]
    (folder / "config.toml").write_text(MINIMAL + '[storage]\nurl = "sqlite:///nowhere/x.db"\n')
    result = octoroute("check")
    assert result.exit_code == 78
    assert "nowhere/x.db cannot be opened: No such file or directory" in result.stderr
