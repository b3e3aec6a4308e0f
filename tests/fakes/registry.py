"""A registry in a database of its own, as management changes it and the gateway follows it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from octoroute_py.core.catalog import EndpointRole, Model, ModelEndpoint, ModelStatus, Provider
from octoroute_py.core.registry import Kind, Registry
from octoroute_py.manage.directories import follow_registry
from octoroute_py.manage.documents import Documents
from octoroute_py.manage.store import Store
from octoroute_py.storage import audit
from octoroute_py.storage.audit import AuditRow
from octoroute_py.storage.db import Database

DAY = 1_800_000_000.0
"""2027-01-15T08:00:00Z."""


class Shelf:
    """The registry of a database; `now` is the time of its changes."""

    def __init__(self, database: Database) -> None:
        self.now = DAY
        self.database = database
        self.following = follow_registry(database, on_change=lambda registry: None)
        self.documents = Documents(Store(database), wall=lambda: self.now, changed=self.following.refresh)

    async def put(self, kind: Kind, id_: str, value: msgspec.Struct) -> None:
        """Keep a document, whatever it says."""
        await self.documents.change(lambda desk: desk.put(kind, id_, value, action="x"), by="test")

    async def model(self, id_: str, *, endpoint: bool = True, status: ModelStatus = ModelStatus.ACTIVE) -> None:
        """Keep a model, and an endpoint for it."""
        await self.put(Kind.MODEL, id_, Model(id=id_, name=id_, provider=Provider.CUSTOM, status=status))
        if endpoint:
            at = ModelEndpoint(id=f"{id_}:1", model_id=id_, url="http://m.test/v1", type=EndpointRole.PRIMARY)
            await self.put(Kind.ENDPOINT, at.id, at)

    def registry(self) -> Registry:
        """What is in force."""
        return self.following.current

    def audited(self) -> list[AuditRow]:
        """What was changed, newest first."""
        with self.database.read() as connection:
            return list(audit.newest(connection, 100))


@contextlib.contextmanager
def shelf(folder: Path) -> Iterator[Shelf]:
    """A registry that is there for a test."""
    database = Database.open("sqlite:///registry.db", base_dir=folder)
    one = Shelf(database)
    try:
        yield one
    finally:
        one.following.close()
        database.close()
