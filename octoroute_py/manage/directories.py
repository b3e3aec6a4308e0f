"""Keys and workspaces, and the registry, as they are in force and as they change."""

from collections.abc import Callable

from octoroute_py.admission.keyring import NONE_ISSUED, IssuedKeys
from octoroute_py.core.registry import EMPTY_REGISTRY, Registry
from octoroute_py.manage.following import Following
from octoroute_py.storage import directory, registry
from octoroute_py.storage.db import Database
from octoroute_py.storage.transaction import Transaction


def follow_directory(database: Database | None, *, on_change: Callable[[IssuedKeys], None]) -> Following[IssuedKeys]:
    """The keys to look up; `current.directory` has the workspaces too. Raises StorageError."""
    return Following(database, NONE_ISSUED, read=_newer_directory, take_over=on_change, what="keys and workspaces")


def follow_registry(database: Database | None, *, on_change: Callable[[Registry], None]) -> Following[Registry]:
    """What operators set over the API. Raises StorageError."""
    return Following(database, EMPTY_REGISTRY, read=_newer_registry, take_over=on_change, what="models and rules")


def _newer_directory(connection: Transaction, known: IssuedKeys) -> IssuedKeys | None:
    if known is not NONE_ISSUED and directory.version(connection) == known.directory.version:
        return None
    return IssuedKeys(directory.read(connection, known=known.directory), before=known)


def _newer_registry(connection: Transaction, known: Registry) -> Registry | None:
    if known is not EMPTY_REGISTRY and registry.version(connection) == known.version:
        return None
    return registry.read(connection)
