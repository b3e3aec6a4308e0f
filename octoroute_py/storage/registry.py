"""The registry as it is kept: documents by kind and id. Each function takes a connection and commits nothing.

A change leaves a row in the audit and counts in the registry's version, in the same transaction. Reports of health
are documents too, but change nothing: they are noted and forgotten.
"""

from collections.abc import Iterator, Mapping
from typing import TypeVar

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, update

from octoroute_py.core.catalog import Model, ModelEndpoint
from octoroute_py.core.experiment import Experiment
from octoroute_py.core.registry import Kind, Registry
from octoroute_py.core.rollout import CanaryDeployment
from octoroute_py.core.rules import AgentPreferences, RoutingRule
from octoroute_py.core.settings import NO_SETTINGS, Settings
from octoroute_py.storage import audit
from octoroute_py.storage.directory import decoded
from octoroute_py.storage.schema import registry, registry_version

T = TypeVar("T", bound=msgspec.Struct)

SETTINGS_ID = "file"
"""The one document of its kind: what lies over the configuration file."""

_ONLY = registry_version.c.id == 1
_NEXT = update(registry_version).where(_ONLY).values(version=registry_version.c.version + 1)


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One document with when it was made and changed (Unix ms); `revision` changes whenever it does."""

    kind: Kind
    id: str
    position: int
    body: str
    created_ms: int
    updated_ms: int
    revision: int

    def read(self, shape: type[T]) -> T:
        """What it says. Raises msgspec.MsgspecError for a body that is no such thing."""
        return msgspec.json.decode(self.body, type=shape)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Who changes something, when (Unix ms), and what the audit calls it: a word such as `rule.create`."""

    at_ms: int
    actor: str
    action: str


_COLUMNS = tuple(registry.c[name] for name in Document.__struct_fields__)
# Statements are made once: SQLAlchemy takes longer to look at a new one than SQLite to answer it.
_VERSION = select(registry_version.c.version).where(_ONLY)
_OF_KIND = select(*_COLUMNS).where(registry.c.kind == bindparam("of")).order_by(registry.c.position)
_ONE = select(*_COLUMNS).where(registry.c.kind == bindparam("of"), registry.c.id == bindparam("called"))


def version(connection: Connection) -> int:
    """How many changes there were."""
    return int(connection.execute(_VERSION).scalar_one())


def get(connection: Connection, kind: Kind, id_: str) -> Document | None:
    """A document, if there is one."""
    row = connection.execute(_ONE, {"of": kind.value, "called": id_}).one_or_none()
    return None if row is None else Document(**{**row._mapping, "kind": kind})


def every(connection: Connection, kind: Kind) -> list[Document]:
    """All documents of a kind, in the order they were made."""
    return list(_found(connection, kind))


def note(connection: Connection, kind: Kind, id_: str, value: msgspec.Struct, *, at_ms: int) -> Document:
    """Keep a document that decides nothing, in the place of one of the same id: no change of the registry."""
    before = get(connection, kind, id_)
    document = Document(
        kind=kind,
        id=id_,
        position=_next_position(connection, kind) if before is None else before.position,
        body=msgspec.json.encode(value).decode(),
        created_ms=at_ms if before is None else before.created_ms,
        updated_ms=at_ms,
        revision=1 if before is None else before.revision + 1,
    )
    _write(connection, document, new=before is None)
    return document


def forget(connection: Connection, kind: Kind, id_: str) -> None:
    """Forget a document that decides nothing, if there is one."""
    connection.execute(delete(registry).where(*_is(kind, id_)))


def noted(connection: Connection, kind: Kind) -> tuple[int, int, int]:
    """What is something else after every `note` and `forget` of this kind."""
    summed = func.coalesce(func.sum(registry.c.revision), 0), func.coalesce(func.max(registry.c.updated_ms), 0)
    count, revisions, newest_ms = connection.execute(select(func.count(), *summed).where(*_is(kind, None))).one()
    return int(count), int(revisions), int(newest_ms)


def count(connection: Connection, kind: Kind) -> int:
    """How many documents of a kind there are."""
    return int(connection.execute(select(func.count()).where(*_is(kind, None))).scalar_one())


def put(
    connection: Connection, kind: Kind, id_: str, value: msgspec.Struct, *, by: Change, created_ms: int | None = None
) -> Document:
    """Keep a document, in the place of one of the same id; what it is now.

    A body equal to the one that is kept changes nothing. `created_ms` is that of an imported document.
    """
    body = msgspec.json.encode(value).decode()
    before = get(connection, kind, id_)
    if before is not None and before.body == body and created_ms in (None, before.created_ms):
        return before
    revision = _bump(connection)
    document = Document(
        kind=kind,
        id=id_,
        position=_next_position(connection, kind) if before is None else before.position,
        body=body,
        created_ms=created_ms or (by.at_ms if before is None else before.created_ms),
        updated_ms=by.at_ms,
        revision=revision,
    )
    _write(connection, document, new=before is None)
    _audit(connection, by, kind, id_, before=before, after=body)
    return document


def remove(connection: Connection, kind: Kind, id_: str, *, by: Change) -> bool:
    """Forget a document; whether there was one."""
    before = get(connection, kind, id_)
    if before is None:
        return False
    connection.execute(delete(registry).where(*_is(kind, id_)))
    _bump(connection)
    _audit(connection, by, kind, id_, before=before, after=None)
    return True


def read(connection: Connection) -> Registry:
    """Everything that decides where requests go. Raises Corrupt for a document that cannot be understood."""
    endpoints: dict[str, tuple[ModelEndpoint, ...]] = {}
    for endpoint in _all(connection, Kind.ENDPOINT, ModelEndpoint).values():
        endpoints[endpoint.model_id] = (*endpoints.get(endpoint.model_id, ()), endpoint)
    return Registry(
        version=version(connection),
        models=_all(connection, Kind.MODEL, Model),
        endpoints=endpoints,
        rules=_all(connection, Kind.RULE, RoutingRule),
        preferences=_all(connection, Kind.PREFERENCES, AgentPreferences),
        canaries=_all(connection, Kind.CANARY, CanaryDeployment),
        experiments=_all(connection, Kind.EXPERIMENT, Experiment),
        settings=_all(connection, Kind.SETTINGS, Settings).get(SETTINGS_ID, NO_SETTINGS),
    )


def _all(connection: Connection, kind: Kind, shape: type[T]) -> Mapping[str, T]:
    return {
        document.id: decoded(connection, shape, document.body, of=f"the {kind.value} {document.id!r}")
        for document in _found(connection, kind)
    }


def _found(connection: Connection, kind: Kind) -> Iterator[Document]:
    for row in connection.execute(_OF_KIND, {"of": kind.value}):
        yield Document(**{**row._mapping, "kind": kind})


def _is(kind: Kind, id_: str | None) -> tuple[ColumnElement[bool], ...]:
    of_kind = registry.c.kind == kind.value
    return (of_kind,) if id_ is None else (of_kind, registry.c.id == id_)


def _next_position(connection: Connection, kind: Kind) -> int:
    last = connection.execute(select(func.max(registry.c.position)).where(*_is(kind, None))).scalar()
    return (last or 0) + 1


def _bump(connection: Connection) -> int:
    connection.execute(_NEXT)
    return version(connection)


def _write(connection: Connection, document: Document, *, new: bool) -> None:
    values = {**msgspec.structs.asdict(document), "kind": document.kind.value}
    if new:
        connection.execute(insert(registry).values(values))
    else:
        connection.execute(update(registry).where(*_is(document.kind, document.id)).values(values))


def _audit(
    connection: Connection, by: Change, kind: Kind, id_: str, *, before: Document | None, after: str | None
) -> None:
    details = {
        "kind": kind.value,
        "before": None if before is None else msgspec.Raw(before.body.encode()),
        "after": None if after is None else msgspec.Raw(after.encode()),
    }
    audit.append(connection, at_ms=by.at_ms, actor=by.actor, action=by.action, subject=id_, details=details)
