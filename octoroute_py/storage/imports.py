"""Many documents of the registry written at once. The function takes a connection and commits nothing."""

from collections.abc import Iterator, Sequence

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, update

from octoroute_py.core.registry import Kind
from octoroute_py.storage import registry as documents
from octoroute_py.storage.registry import Change, Document
from octoroute_py.storage.schema import audit, registry, registry_version

_IS = (registry.c.kind == bindparam("_kind"), registry.c.id == bindparam("_id"))
_REMOVE = delete(registry).where(*_IS)
_REWRITE = update(registry).where(*_IS)
_NEXT = update(registry_version).where(registry_version.c.id == 1).values(version=registry_version.c.version + 1)


class Rewrite(msgspec.Struct, frozen=True):
    """What becomes of one document: `before` None is new, `after` None is forgotten; nobody looks at its `revision`."""

    before: Document | None
    after: Document | None

    @property
    def says_more(self) -> bool:
        """Whether it changes more than the place among others."""
        before, after = self.before, self.after
        return before is None or after is None or (before.body, *_times(before)) != (after.body, *_times(after))


def rewrite(connection: Connection, changes: Sequence[Rewrite], *, by: Change) -> None:
    """Make all changes one change of the registry, each with its row in the audit; a report of health is neither."""
    if not changes:
        return
    deciding = [change for change in changes if _kind(change) is not Kind.HEALTH]
    if deciding:
        connection.execute(_NEXT)
    revision = documents.version(connection)
    gone = [_name(each.before) for each in changes if each.after is None and each.before is not None]
    new = [_row(each.after, each.before, revision) for each in changes if each.after and each.before is None]
    others = [
        {**_name(each.before), **_row(each.after, each.before, revision)}
        for each in changes
        if each.after and each.before
    ]
    for statement, rows in ((_REMOVE, gone), (_REWRITE, others), (insert(registry), new)):
        if rows:
            connection.execute(statement, rows)
    noted = [_note(each, by) for each in deciding if each.says_more]
    if noted:
        connection.execute(insert(audit), noted)


def _kind(change: Rewrite) -> Kind | None:
    return next((each.kind for each in (change.after, change.before) if each is not None), None)


def _times(document: Document) -> tuple[int, int]:
    return document.created_ms, document.updated_ms


def _name(document: Document) -> dict[str, object]:
    return {"_kind": document.kind.value, "_id": document.id}


def _row(after: Document, before: Document | None, revision: int) -> dict[str, object]:
    if after.kind is Kind.HEALTH:  # counts its own changes: the registry's version says nothing of it
        revision = 1 if before is None else before.revision + 1
    return {**msgspec.structs.asdict(after), "kind": after.kind.value, "revision": revision}


def _note(change: Rewrite, by: Change) -> dict[str, object]:
    texts = {name: None if each is None else msgspec.Raw(each.body.encode()) for name, each in _sides(change)}
    document = change.after or change.before
    details = {"kind": document.kind.value if document else "", **texts}
    return {
        "at_ms": by.at_ms,
        "actor": by.actor,
        "action": by.action,
        "subject": document.id if document else "",
        "details": msgspec.json.encode(details).decode(),
    }


def _sides(change: Rewrite) -> Iterator[tuple[str, Document | None]]:
    yield "before", change.before
    yield "after", change.after
