"""Statements about keys and what they are known by; each takes a connection and commits nothing.

Whoever changes something calls `directory.bump` afterwards, in the same transaction.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from octoroute_py.core.allowance import Grant
from octoroute_py.core.words import Role
from octoroute_py.storage.directory import decoded, next_version
from octoroute_py.storage.schema import key_secrets, keys


class SecretRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a key is known by; times are Unix ms, `expires_ms` None: it ends with its key."""

    sha256: bytes
    last4: str
    created_ms: int
    expires_ms: int | None = None


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is kept, its secrets oldest first."""

    id: str
    name: str
    role: Role
    grant: Grant
    created_ms: int
    created_by: str
    revoked_ms: int | None = None
    secrets: tuple[SecretRow, ...] = ()


def add(connection: Connection, row: KeyRow) -> None:
    """Keep a new key with its secrets. Raises Conflict when the id or a secret is known already."""
    connection.execute(
        insert(keys).values(
            id=row.id,
            name=row.name,
            role=row.role.value,
            grant=msgspec.json.encode(row.grant).decode("utf-8"),
            created_ms=row.created_ms,
            created_by=row.created_by,
            revoked_ms=row.revoked_ms,
            revision=next_version(),
        )
    )
    for secret in row.secrets:
        _add_secret(connection, row.id, secret)


def add_secret(connection: Connection, key_id: str, secret: SecretRow) -> None:
    """Let a key be known by one secret more."""
    _add_secret(connection, key_id, secret)
    connection.execute(update(keys).where(keys.c.id == key_id).values(revision=next_version()))


def _add_secret(connection: Connection, key_id: str, secret: SecretRow) -> None:
    connection.execute(insert(key_secrets).values(key_id=key_id, **msgspec.structs.asdict(secret)))


def end_secrets(connection: Connection, key_id: str, *, at_ms: int, now_ms: int) -> None:
    """Let every secret of a key end at `at_ms`, if it does not end before; those that have ended are forgotten."""
    of_key = key_secrets.c.key_id == key_id
    ends = key_secrets.c.expires_ms
    later = or_(ends.is_(None), ends > at_ms)
    connection.execute(update(key_secrets).where(of_key, later).values(expires_ms=at_ms))
    # A row that is gone cannot come back to life when somebody sets the clock back.
    connection.execute(delete(key_secrets).where(of_key, ends <= now_ms))
    connection.execute(update(keys).where(keys.c.id == key_id).values(revision=next_version()))


def revoke(connection: Connection, key_id: str, *, at_ms: int) -> None:
    """End a key for good."""
    connection.execute(update(keys).where(keys.c.id == key_id).values(revoked_ms=at_ms, revision=next_version()))


def find(connection: Connection, key_id: str) -> KeyRow | None:
    """The key of this id; a writer holds it against other writers until the end of the transaction."""
    rows = connection.execute(select(keys).where(keys.c.id == key_id).with_for_update()).all()
    return _with_secrets(connection, rows)[0] if rows else None


def page(connection: Connection, *, limit: int, offset: int) -> list[KeyRow]:
    """Keys, newest first, revoked ones included."""
    order = keys.c.created_ms.desc(), keys.c.id
    return _with_secrets(
        connection, connection.execute(select(keys).order_by(*order).limit(limit).offset(offset)).all()
    )


def count(connection: Connection) -> int:
    """How many keys were ever issued."""
    return int(connection.execute(select(func.count()).select_from(keys)).scalar_one())


def name_in_use(connection: Connection, name: str) -> bool:
    """Whether a key that is not revoked has this name."""
    used = select(keys.c.id).where(keys.c.name == name, keys.c.revoked_ms.is_(None)).limit(1)
    return connection.execute(used).first() is not None


def _with_secrets(connection: Connection, rows: Sequence[Row[tuple[object, ...]]]) -> list[KeyRow]:
    secrets: dict[str, list[SecretRow]] = {row.id: [] for row in rows}
    order = key_secrets.c.created_ms, key_secrets.c.sha256
    for row in connection.execute(select(key_secrets).where(key_secrets.c.key_id.in_(secrets)).order_by(*order)):
        secret = SecretRow(sha256=row.sha256, last4=row.last4, created_ms=row.created_ms, expires_ms=row.expires_ms)
        secrets[row.key_id].append(secret)
    return [
        KeyRow(
            id=row.id,
            name=row.name,
            role=decoded(connection, Role, f'"{row.role}"', of=f"the role of key {row.id}"),
            grant=decoded(connection, Grant, row.grant, of=f"the grant of key {row.id}"),
            created_ms=row.created_ms,
            created_by=row.created_by,
            revoked_ms=row.revoked_ms,
            secrets=tuple(secrets[row.id]),
        )
        for row in rows
    ]
