"""GET /api/audit: who changed what, newest first, page by page."""

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
from octoroute_py.manage.audit import BUDGET_REACHED, Audit, Reached
from octoroute_py.storage.audit import AuditRow

PAGE = 100
LARGEST_PAGE = 1000
_FARTHEST = 10**12 - 1


class AuditRoutes:
    """The audit, for admins."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def add_to(self, table: Table) -> None:
        """Add the route."""
        table.add("GET", "/api/audit", Answer(self._page), role=Role.ADMIN)

    async def _page(self, scope: Scope, receive: Receive) -> dict[str, object]:
        """`next` goes into `before` for the page after this one; null when this is the last one."""
        asked = query(scope, "limit", "before")
        limit = whole_number(asked, "limit", PAGE, low=1, high=LARGEST_PAGE)
        before = whole_number(asked, "before", 0, low=1, high=_FARTHEST) or None
        rows = await self._audit.newest(limit + 1, before=before)
        shown = rows[:limit]
        return {"entries": [_entry(row) for row in shown], "next": shown[-1].id if len(rows) > limit else None}


def _entry(row: AuditRow) -> dict[str, object]:
    return {
        "id": row.id,
        "at": iso(row.at_ms),
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "details": _details(row),
    }


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
