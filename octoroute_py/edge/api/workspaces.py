"""`/api/workspaces`: what each workspace may use, and how well it wants to be served."""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.types import Receive, Scope

from octoroute_py.core.clock import iso
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.words import Role
from octoroute_py.edge.api.answer import Answer
from octoroute_py.edge.api.wire import MAX_BODY_BYTES, own_workspace, principal_of, query, whole_number
from octoroute_py.edge.api.workspace_config import PolicyView, WorkspaceConfig, policy_view, read_policy
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.guard import Reach
from octoroute_py.edge.operation import Operation, Parameter
from octoroute_py.edge.wire_io import read_body
from octoroute_py.manage.workspaces import Workspaces
from octoroute_py.storage.workspaces import WorkspaceRow

PATH = "/api/workspaces/{id:path}/config"
LONGEST_ID = 128
MOST_AT_ONCE = 1000


class WorkspaceView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A workspace and its configuration; `warnings` say what may not be expected of it."""

    workspace_id: str
    config: PolicyView
    created_at: str
    updated_at: str
    warnings: list[str] | UnsetType = UNSET


class WorkspaceSet(WorkspaceView, frozen=True, kw_only=True, rename="camel"):
    """What holds for a workspace from now on."""

    success: bool = True


class WorkspacePage(msgspec.Struct, frozen=True):
    """Workspaces that have a configuration; `count` is how many there are in all."""

    workspaces: list[WorkspaceView]
    count: int


class WorkspaceRemoved(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whose configuration was forgotten."""

    success: bool
    workspace_id: str


class WorkspaceRoutes:
    """The routes of workspaces. Each keeps to those of the key: another one is as unknown as one that is not."""

    def __init__(self, workspaces: Workspaces) -> None:
        self._workspaces = workspaces

    def add_to(self, table: Table) -> None:
        """Add the routes."""
        for method, path, handle, role, operation in (
            ("GET", "/api/workspaces", self._list, Role.VIEWER, LIST),
            ("GET", PATH, self._get, Role.VIEWER, READ),
            ("POST", PATH, self._post, Role.OPERATOR, SET),
            ("DELETE", PATH, self._delete, Role.OPERATOR, DELETE),
        ):
            table.add(method, path, Answer(handle), role=role, reach=Reach.OWN, operation=operation)

    async def _list(self, scope: Scope, receive: Receive) -> WorkspacePage:
        asked = query(scope, "limit", "offset")
        rows, count = await self._workspaces.page(
            among=principal_of(scope).workspaces,
            limit=whole_number(asked, "limit", 100, low=1, high=MOST_AT_ONCE),
            offset=whole_number(asked, "offset", 0, low=0, high=10**9),
        )
        return WorkspacePage([self._shown(row) for row in rows], count)

    async def _get(self, scope: Scope, receive: Receive) -> WorkspaceView:
        query(scope)
        return self._shown(await self._workspaces.get(_workspace_of(scope)))

    async def _post(self, scope: Scope, receive: Receive) -> WorkspaceSet:
        query(scope)
        workspace = _workspace_of(scope)
        policy = read_policy(await read_body(scope, receive, MAX_BODY_BYTES), workspace)
        row = await self._workspaces.put(workspace, policy, by=principal_of(scope))
        return WorkspaceSet(**msgspec.structs.asdict(self._shown(row)))

    async def _delete(self, scope: Scope, receive: Receive) -> WorkspaceRemoved:
        query(scope)
        workspace = _workspace_of(scope)
        await self._workspaces.remove(workspace, by=principal_of(scope))
        return WorkspaceRemoved(success=True, workspace_id=workspace)

    def _shown(self, row: WorkspaceRow) -> WorkspaceView:
        return WorkspaceView(
            workspace_id=row.id,
            config=policy_view(row.policy),
            created_at=iso(row.created_ms),
            updated_at=iso(row.updated_ms),
            warnings=self._workspaces.warnings(row.policy) or UNSET,
        )


def _workspace_of(scope: Scope) -> str:
    return own_workspace(scope, checked_id(scope["path_params"]["id"]))


def checked_id(workspace: str) -> str:
    """The id of a workspace. Raises BadRequest for what can be none."""
    if not 0 < len(workspace) <= LONGEST_ID or not workspace.isprintable() or workspace != workspace.strip():
        raise BadRequest(f"A workspace's id is 1 to {LONGEST_ID} visible characters.", param="id")
    return workspace


LIST: Final = Operation(
    summary="Workspaces that have a configuration, page by page",
    answer=WorkspacePage,
    query=(
        Parameter(name="limit", description="How many", shape=Annotated[int, Meta(ge=1, le=MOST_AT_ONCE)]),
        Parameter(name="offset", description="How many to leave out", shape=Annotated[int, Meta(ge=0, le=10**9)]),
    ),
)
READ: Final = Operation(summary="A workspace's configuration", answer=WorkspaceView)
SET: Final = Operation(
    summary="Give a workspace a configuration, in the place of the one before",
    body=WorkspaceConfig,
    answer=WorkspaceSet,
)
DELETE: Final = Operation(summary="Forget a workspace's configuration", answer=WorkspaceRemoved)
