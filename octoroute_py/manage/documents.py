"""Documents of the registry as operators change them: one transaction a change, in force before they hear of it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import msgspec

from octoroute_py.admission.principal import Principal
from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.clock import Wall
from octoroute_py.core.errors import BadRequest, NotFound
from octoroute_py.core.registry import Kind, Registry
from octoroute_py.manage.audit import actor_of
from octoroute_py.manage.store import Store
from octoroute_py.storage import registry, workspaces
from octoroute_py.storage.registry import Change, Document
from octoroute_py.storage.transaction import Transaction

T = TypeVar("T")

_ALL: Final = 1_000_000_000


class Desk:
    """The registry inside one transaction, and somebody who changes it. What raises undoes all of it."""

    def __init__(self, connection: Transaction, *, at_ms: int, actor: str) -> None:
        self._connection = connection
        self._at_ms = at_ms
        self._actor = actor

    def get(self, kind: Kind, id_: str) -> Document | None:
        """A document, if there is one."""
        return registry.get(self._connection, kind, id_)

    def needed(self, kind: Kind, id_: str) -> Document:
        """A document. Raises NotFound."""
        document = self.get(kind, id_)
        if document is None:
            raise unknown(kind)
        return document

    def every(self, kind: Kind) -> list[Document]:
        """All documents of a kind, in the order they were made."""
        return registry.every(self._connection, kind)

    def count(self, kind: Kind) -> int:
        """How many documents of a kind there are."""
        return registry.count(self._connection, kind)

    def whole(self) -> Registry:
        """Everything that decides where requests go, with what this transaction has changed so far."""
        return registry.read(self._connection)

    def policies(self) -> Mapping[str, WorkspacePolicy]:
        """What holds in each workspace that has a configuration of its own."""
        rows, _ = workspaces.page(self._connection, among=None, limit=_ALL, offset=0)
        return {row.id: row.policy for row in rows}

    def create(self, kind: Kind, id_: str, value: msgspec.Struct, *, action: str) -> Document:
        """Keep a new document. Raises BadRequest 409 `already_exists`."""
        if self.get(kind, id_) is not None:
            raise BadRequest(f"There is a {kind.value} of this id already.", status=409, code="already_exists")
        return self.put(kind, id_, value, action=action)

    def replace(
        self, kind: Kind, id_: str, value: msgspec.Struct, *, action: str, expect: int | None = None
    ) -> Document:
        """Change a document that is at revision `expect` (None: whichever). Raises NotFound, BadRequest 412."""
        self.expected(kind, id_, expect)
        return self.put(kind, id_, value, action=action)

    def put(
        self, kind: Kind, id_: str, value: msgspec.Struct, *, action: str, created_ms: int | None = None
    ) -> Document:
        """Keep a document, whether there is one of this id or not."""
        return registry.put(self._connection, kind, id_, value, by=self._by(action), created_ms=created_ms)

    def remove(self, kind: Kind, id_: str, *, action: str, expect: int | None = None) -> None:
        """Forget a document. Raises as `replace`."""
        self.expected(kind, id_, expect)
        registry.remove(self._connection, kind, id_, by=self._by(action))

    def note(self, kind: Kind, id_: str, value: msgspec.Struct) -> Document:
        """Keep a document that decides nothing: no change of the registry, and not in the audit."""
        return registry.note(self._connection, kind, id_, value, at_ms=self._at_ms)

    def forget(self, kind: Kind, id_: str) -> None:
        """Forget a document that decides nothing, if there is one."""
        registry.forget(self._connection, kind, id_)

    def expected(self, kind: Kind, id_: str, revision: int | None) -> Document:
        """A document at this revision (None: whichever). Raises NotFound, BadRequest 412."""
        document = self.needed(kind, id_)
        if revision not in (None, document.revision):
            raise BadRequest("It was changed since you read it: read it again.", status=412, code="precondition_failed")
        return document

    def _by(self, action: str) -> Change:
        return Change(at_ms=self._at_ms, actor=self._actor, action=action)


class Documents:
    """The registry of a store. `changed` is awaited after every change, so that it is in force when it is answered."""

    def __init__(self, store: Store, *, wall: Wall, changed: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._wall = wall
        self._changed = changed

    async def get(self, kind: Kind, id_: str) -> Document:
        """A document. Raises NotFound, Refused 503."""
        document = await self._store.read(lambda connection: registry.get(connection, kind, id_))
        if document is None:
            raise unknown(kind)
        return document

    async def every(self, kind: Kind) -> list[Document]:
        """All documents of a kind, in the order they were made. Raises Refused 503."""
        return await self._store.read(lambda connection: registry.every(connection, kind))

    async def look(self, at: Callable[[Desk], T]) -> T:
        """What is found in the registry, all of one moment; `at` changes nothing. Raises as `change`."""
        return await self._store.read(lambda connection: at(Desk(connection, at_ms=self._now_ms(), actor="")))

    async def change(self, work: Callable[[Desk], T], *, by: Principal | str) -> T:
        """Do some work in one transaction; `by` is who asked for it, or a word for the gateway's own part.

        Raises Refused 503 and whatever the work raises, which then has changed nothing.
        """
        at_ms = self._now_ms()
        actor = by if isinstance(by, str) else actor_of(by)
        done = await self._store.write(lambda connection: work(Desk(connection, at_ms=at_ms, actor=actor)))
        await self._changed()
        return done

    def _now_ms(self) -> int:
        return int(self._wall() * 1000)


def unknown(kind: Kind) -> NotFound:
    """What is said of an id that nothing has."""
    are = "are" if kind is Kind.PREFERENCES else "is"
    return NotFound(f"There {are} no such {kind.value}.", code="not_found")
