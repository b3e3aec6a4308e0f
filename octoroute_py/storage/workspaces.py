"""Workspaces with a configuration of their own. Each function takes a connection and commits nothing.

A change leaves a row in the audit and counts in the directory's version, in the same transaction.
"""

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.storage import audit
from octoroute_py.storage.directory import bump, decoded
from octoroute_py.storage.schema import workspaces


class WorkspaceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace as it is kept; times are Unix milliseconds."""

    id: str
    policy: WorkspacePolicy
    created_ms: int
    updated_ms: int


def put(connection: Connection, workspace: str, policy: WorkspacePolicy, *, at_ms: int, actor: str) -> WorkspaceRow:
    """Keep the policy, in the place of an older one; the row as it is now."""
    before = get(connection, workspace)
    created_ms = at_ms if before is None else before.created_ms
    row = WorkspaceRow(id=workspace, policy=policy, created_ms=created_ms, updated_ms=at_ms)
    return _keep(connection, row, before, at_ms=at_ms, actor=actor)


def restore(connection: Connection, row: WorkspaceRow, *, at_ms: int, actor: str) -> WorkspaceRow:
    """Keep the row as it is, its times included, in the place of an older one."""
    return _keep(connection, row, get(connection, row.id), at_ms=at_ms, actor=actor)


def get(connection: Connection, workspace: str) -> WorkspaceRow | None:
    """The workspace, if it has a configuration. Raises Corrupt when that cannot be understood."""
    row = connection.execute(select(workspaces).where(workspaces.c.id == workspace)).one_or_none()
    return None if row is None else _workspace(connection, row)


def page(
    connection: Connection, *, among: Collection[str] | None, limit: int, offset: int
) -> tuple[list[WorkspaceRow], int]:
    """Workspaces by id, those of `among` only unless that is None, and how many there are in all."""
    rows = _within(select(workspaces), among).order_by(workspaces.c.id).limit(limit).offset(offset)
    count = connection.execute(_within(select(func.count()).select_from(workspaces), among)).scalar_one()
    return [_workspace(connection, row) for row in connection.execute(rows)], int(count)


def remove(connection: Connection, workspace: str, *, at_ms: int, actor: str) -> bool:
    """Forget the configuration; whether there was one."""
    before = get(connection, workspace)
    if before is None:
        return False
    connection.execute(delete(workspaces).where(workspaces.c.id == workspace))
    details = {"before": before.policy, "after": None}
    audit.append(connection, at_ms=at_ms, actor=actor, action="workspace.forget", subject=workspace, details=details)
    bump(connection)
    return True


def _keep(
    connection: Connection, row: WorkspaceRow, before: WorkspaceRow | None, *, at_ms: int, actor: str
) -> WorkspaceRow:
    kept = {**msgspec.structs.asdict(row), "policy": msgspec.json.encode(row.policy).decode("utf-8")}
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(workspaces)
    # the values are not part of the statement, so that many workspaces need it made only once
    anew = {name: insert.excluded[name] for name in kept}
    connection.execute(insert.on_conflict_do_update(index_elements=[workspaces.c.id], set_=anew), kept)
    details = {"before": None if before is None else before.policy, "after": row.policy}
    audit.append(connection, at_ms=at_ms, actor=actor, action="workspace.configure", subject=row.id, details=details)
    bump(connection)
    return row


def _within(statement: Select[Any], among: Collection[str] | None) -> Select[Any]:
    return statement if among is None else statement.where(workspaces.c.id.in_(among))


def _workspace(connection: Connection, row: Row[Any]) -> WorkspaceRow:
    policy = decoded(connection, WorkspacePolicy, row.policy, of=f"the policy of workspace {row.id!r}")
    return WorkspaceRow(id=row.id, policy=policy, created_ms=row.created_ms, updated_ms=row.updated_ms)
