"""The directory as it is kept: what was written is read back whole, and what cannot be understood is told."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Connection, insert

from octoroute_py.core.allowance import Budgets, Grant, Rates, WorkspacePolicy
from octoroute_py.core.directory import EMPTY, Directory, IssuedKey, IssuedSecret
from octoroute_py.core.words import Role, Tier
from octoroute_py.storage import directory
from octoroute_py.storage.db import Database
from octoroute_py.storage.errors import Corrupt
from octoroute_py.storage.schema import key_secrets, keys, workspaces

GRANT = Grant(
    workspaces=("a", "b"),
    tiers=(Tier.FAST,),
    endpoints=("small",),
    networks=("10.0.0.0/8", "2001:db8::/32"),
    expires_at_s=2e9,
    rates=Rates(requests_per_window=5, tokens_per_minute=100),
    budgets=Budgets(daily_uusd=1_500_000),
)
POLICY = WorkspacePolicy(restrictions=("fast",), deny=True, min_success_rate=0.9, compliance=("gdpr",))


def put_key(connection: Connection, id: str, *, role: str = "viewer", grant: str = "{}", revoked: bool = False) -> None:
    connection.execute(
        insert(keys).values(
            id=id,
            name=f"name of {id}",
            role=role,
            grant=grant,
            created_ms=1,
            created_by="ops",
            revoked_ms=7 if revoked else None,
            revision=directory.next_version(),
        )
    )


def put_secret(connection: Connection, key_id: str, sha256: bytes, expires_ms: int | None) -> None:
    connection.execute(
        insert(key_secrets).values(sha256=sha256, key_id=key_id, last4="abcd", created_ms=1, expires_ms=expires_ms)
    )


def put_workspace(connection: Connection, id: str, policy: str) -> None:
    connection.execute(insert(workspaces).values(id=id, policy=policy, created_ms=1, updated_ms=1))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open("sqlite:///x.db", base_dir=tmp_path)
    yield opened
    opened.close()


def test_a_new_database_has_an_empty_directory(database: Database) -> None:
    with database.read() as connection:
        assert directory.read(connection) == EMPTY
        assert directory.version(connection) == 0


def test_every_change_counts_once(database: Database) -> None:
    for _ in range(3):
        database.write(directory.bump)
    with database.read() as connection:
        assert directory.version(connection) == 3
        assert directory.read(connection).version == 3


def test_keys_and_workspaces_are_read_back_whole(database: Database) -> None:
    def fill(connection: Connection) -> None:
        put_key(connection, "k1", role="admin", revoked=True)
        put_key(connection, "k2", role="inference", grant=msgspec.json.encode(GRANT).decode())
        put_secret(connection, "k2", b"a" * 32, 1500)
        put_secret(connection, "k2", b"b" * 32, None)
        put_workspace(connection, "w", msgspec.json.encode(POLICY).decode())
        directory.bump(connection)

    database.write(fill)
    with database.read() as connection:
        found = directory.read(connection)
    first, second = sorted(found.keys, key=lambda key: key.id)
    assert first == IssuedKey(id="k1", name="name of k1", role=Role.ADMIN, grant=Grant(), revoked=True, secrets=())
    assert (second.grant, second.revoked, second.role) == (GRANT, False, Role.INFERENCE)
    assert set(second.secrets) == {IssuedSecret(b"a" * 32, 1.5), IssuedSecret(b"b" * 32, None)}
    assert found.workspaces == {"w": POLICY}
    assert found.version == 1


def test_only_what_has_changed_is_read_again(database: Database) -> None:
    def put(connection: Connection, *ids: str) -> None:
        for id in ids:
            put_key(connection, id)
        directory.bump(connection)

    database.write(lambda connection: put(connection, "k1", "k2"))
    with database.read() as connection:
        first = directory.read(connection)
    database.write(lambda connection: put(connection, "k3"))
    with database.read() as connection:
        second = directory.read(connection, known=first)
        assert directory.read(connection) == second
    assert [key.id for key in second.keys] == ["k1", "k2", "k3"]
    assert all(now is before for now, before in zip(second.keys, first.keys, strict=False))


def test_an_older_database_than_the_known_one_is_read_whole(database: Database) -> None:
    database.write(lambda connection: put_key(connection, "k1"))
    database.write(directory.bump)
    gone = IssuedKey(id="k2", name="b", role=Role.ADMIN, grant=Grant(), revoked=False, secrets=())
    with database.read() as connection:
        found = directory.read(connection, known=Directory(version=9, keys=(gone,)))
    assert [key.id for key in found.keys] == ["k1"]


@pytest.mark.parametrize(
    ("role", "grant", "policy"),
    [("viewer", "{", "{}"), ("viewer", '{"tiers": ["huge"]}', "{}"), ("root", "{}", "{}"), ("viewer", "{}", "[]")],
)
def test_a_row_that_cannot_be_understood_is_told_and_nothing_is_guessed(
    database: Database, role: str, grant: str, policy: str
) -> None:
    database.write(lambda connection: put_key(connection, "k1", role=role, grant=grant))
    database.write(lambda connection: put_workspace(connection, "k1", policy))
    with database.read() as connection, pytest.raises(Corrupt, match=r"k1.* cannot be read"):
        directory.read(connection)
