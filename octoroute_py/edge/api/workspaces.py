"""`/api/workspaces`: what each workspace may use, and how well it wants to be served."""

from starlette.types import Receive, Scope

from octoroute_py.core.clock import iso
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.words import Role
from octoroute_py.edge.api.answer import Answer
from octoroute_py.edge.api.wire import MAX_BODY_BYTES, own_workspace, principal_of, query, whole_number
from octoroute_py.edge.api.workspace_config import read_policy, shown_policy
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.guard import Reach
from octoroute_py.edge.wire_io import read_body
from octoroute_py.manage.workspaces import Workspaces
from octoroute_py.storage.workspaces import WorkspaceRow

PATH = "/api/workspaces/{id:path}/config"
LONGEST_ID = 128
MOST_AT_ONCE = 1000


class WorkspaceRoutes:
    """The routes of workspaces. Each keeps to those of the key: another one is as unknown as one that is not."""

    def __init__(self, workspaces: Workspaces) -> None:
        self._workspaces = workspaces

    def add_to(self, table: Table) -> None:
        """Add the routes."""
        own = Reach.OWN
        table.add("GET", "/api/workspaces", Answer(self._list), role=Role.VIEWER, reach=own)
        table.add("GET", PATH, Answer(self._get), role=Role.VIEWER, reach=own)
        table.add("POST", PATH, Answer(self._post), role=Role.OPERATOR, reach=own)
        table.add("DELETE", PATH, Answer(self._delete), role=Role.OPERATOR, reach=own)

    async def _list(self, scope: Scope, receive: Receive) -> object:
        asked = query(scope, "limit", "offset")
        rows, count = await self._workspaces.page(
            among=principal_of(scope).workspaces,
            limit=whole_number(asked, "limit", 100, low=1, high=MOST_AT_ONCE),
            offset=whole_number(asked, "offset", 0, low=0, high=10**9),
        )
        return {"workspaces": [self._shown(row) for row in rows], "count": count}

    async def _get(self, scope: Scope, receive: Receive) -> object:
        query(scope)
        return self._shown(await self._workspaces.get(_workspace_of(scope)))

    async def _post(self, scope: Scope, receive: Receive) -> object:
        query(scope)
        workspace = _workspace_of(scope)
        policy = read_policy(await read_body(scope, receive, MAX_BODY_BYTES), workspace)
        row = await self._workspaces.put(workspace, policy, by=principal_of(scope))
        return {"success": True, **self._shown(row)}

    async def _delete(self, scope: Scope, receive: Receive) -> object:
        query(scope)
        workspace = _workspace_of(scope)
        await self._workspaces.remove(workspace, by=principal_of(scope))
        return {"success": True, "workspaceId": workspace}

    def _shown(self, row: WorkspaceRow) -> dict[str, object]:
        shown: dict[str, object] = {
            "workspaceId": row.id,
            "config": shown_policy(row.policy),
            "createdAt": iso(row.created_ms),
            "updatedAt": iso(row.updated_ms),
        }
        warnings = self._workspaces.warnings(row.policy)
        if warnings:
            shown["warnings"] = warnings
        return shown


def _workspace_of(scope: Scope) -> str:
    return own_workspace(scope, checked_id(scope["path_params"]["id"]))


def checked_id(workspace: str) -> str:
    """The id of a workspace. Raises BadRequest for what can be none."""
    if not 0 < len(workspace) <= LONGEST_ID or not workspace.isprintable() or workspace != workspace.strip():
        raise BadRequest(f"A workspace's id is 1 to {LONGEST_ID} visible characters.", param="id")
    return workspace
