"""Who changed what, as operators read it."""

from octoroute_py.admission.principal import Principal
from octoroute_py.manage.store import Store
from octoroute_py.storage import audit
from octoroute_py.storage.audit import AuditRow


def actor_of(principal: Principal) -> str:
    """How a principal stands in audit rows: its name, and the id of its key when that is another word."""
    if principal.key_id in ("", principal.name):
        return principal.name
    return f"{principal.name} ({principal.key_id})"


class Audit:
    """The changes that were made, newest first."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def newest(self, limit: int, *, before: int | None = None) -> list[AuditRow]:
        """The last changes, or those before the row of this id. Raises Refused 503."""
        return await self._store.read(lambda connection: audit.newest(connection, limit, before=before))
