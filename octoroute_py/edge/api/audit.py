"""GET /api/audit: who changed what, newest first, page by page."""

from typing import Annotated, Any, Final

import msgspec
from starlette.types import Receive, Scope

from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.clock import iso
from octoroute_py.core.money import usd
from octoroute_py.core.words import Role
from octoroute_py.edge.api.answer import Answer
from octoroute_py.edge.api.wire import query, whole_number
from octoroute_py.edge.api.workspace_config import shown_policy
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.operation import Operation, Parameter
from octoroute_py.manage.audit import BUDGET_REACHED, Audit, Reached
from octoroute_py.storage.audit import AuditRow

PAGE = 100
LARGEST_PAGE = 1000
_FARTHEST = 10**12 - 1


class AuditEntry(msgspec.Struct, frozen=True):
    """A change: who made it, of what kind it is, what was changed, and in which way."""

    id: int
    at: str
    actor: str
    action: str
    subject: str
    details: Any


class AuditPage(msgspec.Struct, frozen=True):
    """Changes, newest first; `next` goes into `before` for the page after this one, null when this is the last one."""

    entries: list[AuditEntry]
    next: int | None


class AuditRoutes:
    """The audit, for admins."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def add_to(self, table: Table) -> None:
        """Add the route."""
        table.add("GET", "/api/audit", Answer(self._page), role=Role.ADMIN, operation=PAGES)

    async def _page(self, scope: Scope, receive: Receive) -> AuditPage:
        asked = query(scope, "limit", "before")
        limit = whole_number(asked, "limit", PAGE, low=1, high=LARGEST_PAGE)
        before = whole_number(asked, "before", 0, low=1, high=_FARTHEST) or None
        rows = await self._audit.newest(limit + 1, before=before)
        shown = rows[:limit]
        return AuditPage([_entry(row) for row in shown], shown[-1].id if len(rows) > limit else None)


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(row.id, iso(row.at_ms), row.actor, row.action, row.subject, _details(row))


def _details(row: AuditRow) -> object:
    """What is kept of the change, in the API's words and units; as it stands there when it is of a kind without any."""
    try:
        if row.action.startswith("workspace."):
            policies = msgspec.json.decode(row.details, type=dict[str, WorkspacePolicy | None])
            return {name: None if policy is None else shown_policy(policy) for name, policy in policies.items()}
        if row.action == BUDGET_REACHED:
            reached = msgspec.json.decode(row.details, type=Reached)
            return {
                "subject": reached.subject,
                "period": reached.period,
                "startsAt": iso(int(reached.starts_s * 1000)),
                "level": reached.level,
                "limit": usd(reached.limit_uusd),
                "spent": usd(reached.spent_uusd),
            }
    except msgspec.MsgspecError:
        pass  # another version wrote it; who reads it will know
    return msgspec.Raw(row.details.encode("utf-8"))


PAGES: Final = Operation(
    summary="Who changed what, newest first",
    answer=AuditPage,
    query=(
        Parameter(name="limit", description="How many", shape=Annotated[int, msgspec.Meta(ge=1, le=LARGEST_PAGE)]),
        Parameter(
            name="before",
            description="The next of the page before",
            shape=Annotated[int, msgspec.Meta(ge=1, le=_FARTHEST)],
        ),
    ),
)
