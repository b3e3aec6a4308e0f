"""`octoroute keys`: every command on a real database, its exit codes, and where the key in clear goes."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from octoroute_py.cli.main import cli
from tests.fakes.configs import MINIMAL


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(MINIMAL)
    return path


def keys(file: Path, *args: str) -> Result:
    return CliRunner().invoke(cli, ["keys", *args, "-c", str(file)])


def made(file: Path, *args: str) -> dict[str, Any]:
    """The key that a command made, as JSON tells it."""
    result = keys(file, *args, "--json")
    assert result.exit_code == 0, result.output
    key: dict[str, Any] = json.loads(result.stdout)
    return key


def listed(file: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(keys(file, "list", "--json").stdout)["keys"]
    return rows


def test_the_key_alone_goes_to_stdout_and_is_kept_nowhere(file: Path) -> None:
    result = keys(file, "create", "bob", "--role", "viewer")
    assert result.exit_code == 0
    (clear,) = result.stdout.splitlines()
    assert clear.startswith("okr-")
    assert "bob, viewer" in result.stderr
    assert clear not in result.stderr
    assert not any(clear[4:16].encode() in each.read_bytes() for each in file.parent.iterdir())
    (row,) = listed(file)
    assert (row["name"], row["role"], row["createdBy"], row["secrets"][0]["last4"]) == (
        "bob",
        "viewer",
        "cli",
        clear[-4:],
    )


def test_every_option_becomes_part_of_the_key(file: Path) -> None:
    key = made(
        file, "create", "bob", "--workspace", "a", "--workspace", "b", "--tier", "fast", "--endpoint", "small",
        "--network", "10.0.0.0/8", "--network", "::1", "--expires", "2100-01-31T12:00:00+02:00",
        "--requests-per-minute", "60", "--tokens-per-minute", "1000", "--max-concurrent", "2",
        "--daily-usd", "1.5", "--weekly-usd", "2", "--monthly-usd", "3", "--per-request-usd", "0.01",
    )  # fmt: skip
    assert (key["workspaces"], key["tiers"], key["endpoints"]) == (["a", "b"], ["fast"], ["small"])
    assert (key["networks"], key["expiresAt"]) == (["10.0.0.0/8", "::1/128"], "2100-01-31T10:00:00.000Z")
    assert key["limits"] == {"requestsPerMinute": 60, "tokensPerMinute": 1000, "maxConcurrent": 2}
    assert key["budgets"] == {"daily": 1.5, "weekly": 2.0, "monthly": 3.0, "perRequest": 0.01}


def test_a_key_may_end_some_time_from_now(file: Path) -> None:
    ends = datetime.fromisoformat(made(file, "create", "bob", "--expires", "30d")["expiresAt"])
    assert (ends - datetime.now(UTC)).total_seconds() == pytest.approx(30 * 86_400, abs=60)


@pytest.mark.parametrize(
    "args",
    [
        ["create"],
        ["create", "a\nb"],
        ["create", "a", "--role", "root"],
        ["create", "a", "--role", "admin", "--workspace", "w"],
        ["create", "a", "--endpoint", "nothing"],
        ["create", "a", "--network", "ten"],
        ["create", "a", "--expires", "tomorrow"],
        ["create", "a", "--expires", "2100-01-31T12:00:00"],
        ["create", "a", "--expires", "2020-01-31T12:00:00Z"],
        ["create", "a", "--expires", "999999999d"],
        ["create", "a", "--requests-per-minute", "0"],
        ["create", "a", "--daily-usd", "-1"],
        ["create", "a", "--daily-usd", "nan"],
        ["rotate"],
        ["rotate", "x", "--overlap", "soon"],
        ["rotate", "x", "--overlap", "31d"],
        ["steal"],
    ],
)
def test_wrong_usage_exits_2_and_changes_nothing(file: Path, args: list[str]) -> None:
    result = keys(file, *args)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert "Error: " in result.stderr
    assert listed(file) == []


@pytest.mark.parametrize("args", [["rotate", "key_0"], ["revoke", "key_0"], ["revoke", "' OR 1=1--"]])
def test_an_unknown_id_exits_1(file: Path, args: list[str]) -> None:
    result = keys(file, *args)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "Error: There is no such key.\n")


def test_a_name_is_taken_once(file: Path) -> None:
    assert keys(file, "create", "bob").exit_code == 0
    result = keys(file, "create", "bob")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "Error: Another key has this name.\n")


def test_a_rotated_key_is_printed_once_and_the_old_one_ends_after_its_overlap(file: Path) -> None:
    first = made(file, "create", "bob")
    result = keys(file, "rotate", first["id"], "--overlap", "2h")
    (clear,) = result.stdout.splitlines()
    old, new = listed(file)[0]["secrets"]
    assert (old["last4"], new["last4"], new["expiresAt"]) == (first["key"][-4:], clear[-4:], None)
    ends = datetime.fromisoformat(old["expiresAt"])
    assert (ends - datetime.now(UTC)).total_seconds() == pytest.approx(7200, abs=60)
    assert len(made(file, "rotate", first["id"], "--overlap", "0")["secrets"]) == 1


def test_a_revoked_key_stays_in_the_list(file: Path) -> None:
    first = made(file, "create", "bob")
    result = keys(file, "revoke", first["id"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert made(file, "revoke", first["id"])["status"] == "revoked"
    lines = keys(file, "list").stdout.splitlines()
    assert lines[0].split("  ")[0] == "ID"
    assert [part.strip() for part in lines[1].split("  ") if part.strip()] == [
        first["id"], "bob", "inference", "revoked", first["key"][-4:], "-",
    ]  # fmt: skip


def test_a_config_that_keeps_nothing_exits_78(file: Path) -> None:
    file.write_text(MINIMAL + '[storage]\nurl = "none"\n')
    result = keys(file, "list")
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.startswith("storage.url: ")


def test_a_database_that_must_not_be_used_exits_78(file: Path) -> None:
    (file.parent / "octoroute.db").write_bytes(b"This is a letter, not a database. " * 40)
    result = keys(file, "create", "bob")
    assert (result.exit_code, result.stdout) == (78, "")
    assert "damaged" in result.stderr
    assert "Traceback" not in result.stderr


def test_what_is_wrong_with_the_database_is_told_and_exits_1(file: Path) -> None:
    assert listed(file) == []
    database = sqlite3.connect(file.parent / "octoroute.db")
    database.execute("CREATE TRIGGER full BEFORE INSERT ON keys BEGIN SELECT RAISE(ABORT, 'no'); END")
    database.close()
    result = keys(file, "create", "bob")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "octoroute.db" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("option", "value"), [("--daily-usd", "-1"), ("--max-concurrent", "0")])
def test_an_amount_out_of_range_names_its_option(file: Path, option: str, value: str) -> None:
    result = keys(file, "create", "bob", option, value)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Invalid value for '{option}': {value}" in result.stderr
