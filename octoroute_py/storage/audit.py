"""Who changed what: rows that are only ever added. Each function takes a connection and commits nothing."""

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, insert, select

from octoroute_py.storage.schema import audit


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """One change: `id` grows with time, `at_ms` is Unix time, `details` is a JSON object."""

    id: int
    at_ms: int
    actor: str
    action: str
    subject: str
    details: str


_FIELDS = tuple(audit.c[name] for name in AuditRow.__struct_fields__)


def append(
    connection: Connection, *, at_ms: int, actor: str, action: str, subject: str, details: Mapping[str, object]
) -> None:
    """Note a change, in the transaction of the change itself.

    `action` is a word like `key.create`, `subject` the id of what was changed; `details` never holds a secret.
    """
    connection.execute(
        insert(audit).values(
            at_ms=at_ms,
            actor=actor,
            action=action,
            subject=subject,
            details=msgspec.json.encode(details).decode("utf-8"),
        )
    )


def newest(connection: Connection, limit: int, *, before: int | None = None) -> list[AuditRow]:
    """The last changes, newest first; with `before` those whose id is smaller."""
    statement = select(*_FIELDS).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(audit.c.id < before)
    return [AuditRow(**row._mapping) for row in connection.execute(statement)]


def since(connection: Connection, action: str, *, at_ms: int) -> list[AuditRow]:
    """The changes of one kind from then on, oldest first."""
    statement = select(*_FIELDS).where(audit.c.action == action, audit.c.at_ms >= at_ms).order_by(audit.c.id)
    return [AuditRow(**row._mapping) for row in connection.execute(statement)]
