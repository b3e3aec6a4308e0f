"""The directory as it is kept: its version, and all of it at once. A function takes a connection and commits nothing.

Whoever changes keys or workspaces calls `bump` in the same transaction: everybody who holds a copy compares versions.
"""

from collections.abc import Iterator
from typing import TypeVar

import msgspec
from sqlalchemy import Connection, ScalarSelect, select, update

from octoroute_py.core.allowance import Grant, WorkspacePolicy
from octoroute_py.core.directory import EMPTY, Directory, IssuedKey, IssuedSecret
from octoroute_py.core.words import Role
from octoroute_py.storage.errors import Corrupt
from octoroute_py.storage.schema import directory_version, key_secrets, keys, workspaces

T = TypeVar("T")

_ONLY = directory_version.c.id == 1
_NEXT = update(directory_version).where(_ONLY).values(version=directory_version.c.version + 1)


def bump(connection: Connection) -> None:
    """Count a change of keys or workspaces."""
    connection.execute(_NEXT)


def next_version() -> ScalarSelect[int]:
    """The version that the change under way makes, for the row that is changed; `bump` comes after it."""
    return select(directory_version.c.version + 1).where(_ONLY).scalar_subquery()


def version(connection: Connection) -> int:
    """How many changes there were."""
    return int(connection.execute(select(directory_version.c.version).where(_ONLY)).scalar_one())


def read(connection: Connection, *, known: Directory = EMPTY) -> Directory:
    """Every key and every workspace's policy; keys that have not changed since `known` are taken from there.

    Raises Corrupt for a row that cannot be understood.
    """
    now = version(connection)
    before = known if known.version <= now else EMPTY  # an older one: somebody has restored a backup
    found = {key.id: key for key in before.keys}
    found.update((key.id, key) for key in _changed_keys(connection, before.version))
    policies = {
        row.id: decoded(connection, WorkspacePolicy, row.policy, of=f"the policy of workspace {row.id!r}")
        for row in connection.execute(select(workspaces.c.id, workspaces.c.policy))
    }
    return Directory(version=now, keys=tuple(found.values()), workspaces=policies)


def _changed_keys(connection: Connection, since: int) -> Iterator[IssuedKey]:
    changed = keys.c.revision > since
    secrets: dict[str, list[IssuedSecret]] = {}
    columns = key_secrets.c.key_id, key_secrets.c.sha256, key_secrets.c.expires_ms
    for key_id, sha256, expires_ms in connection.execute(select(*columns).join(keys).where(changed)):
        ends_s = None if expires_ms is None else expires_ms / 1000
        secrets.setdefault(key_id, []).append(IssuedSecret(sha256, ends_s))
    for row in connection.execute(select(keys).where(changed)):
        yield IssuedKey(
            id=row.id,
            name=row.name,
            role=decoded(connection, Role, f'"{row.role}"', of=f"the role of key {row.id}"),
            grant=decoded(connection, Grant, row.grant, of=f"the grant of key {row.id}"),
            revoked=row.revoked_ms is not None,
            secrets=tuple(secrets.get(row.id, ())),
        )


def decoded(connection: Connection, shape: type[T], text: str, *, of: str) -> T:
    """A value that is kept as JSON. Raises Corrupt: to guess what somebody may do would be worse."""
    try:
        return msgspec.json.decode(text, type=shape)
    except msgspec.MsgspecError as error:
        location = connection.engine.url.database or ""
        raise Corrupt(
            f"{location}: {of} cannot be read ({error}); nothing was changed. Restore a backup, or mend the row",
            location=location,
        ) from None
