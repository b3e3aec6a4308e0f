"""Who changed what, as operators read it."""

from typing import Final

import msgspec

from octoroute_py.admission.claims import Subject
from octoroute_py.admission.periods import Period
from octoroute_py.admission.principal import Principal
from octoroute_py.manage.store import Store
from octoroute_py.storage import audit
from octoroute_py.storage.audit import AuditRow

BUDGET_REACHED: Final = "budget.reached"
"""The audit's word for a budget that came to 80 or 100 percent."""


class Reached(msgspec.Struct, frozen=True, rename="camel"):
    """What is kept of a budget that was reached; whose it is stands beside it. `starts_s` is Unix time."""

    subject: Subject
    period: Period
    starts_s: float
    level: int
    limit_uusd: int
    spent_uusd: int


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
