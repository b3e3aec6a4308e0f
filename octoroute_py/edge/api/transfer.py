"""`/api/config/export` and `/api/config/import`: everything that operators have set, as one file."""

import asyncio
from typing import Final, TypeVar

import msgspec
from starlette.types import Receive, Scope

from octoroute_py.core.clock import Wall, iso
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.registry import Kind
from octoroute_py.core.words import Role
from octoroute_py.edge.api.answer import JSON, Ready, add_routes
from octoroute_py.edge.api.transfer_shape import Export, ImportOrder, exported, read_order, shown_faults
from octoroute_py.edge.api.wire import principal_of, query, word, yes_or_no
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.operation import Operation, Parameter
from octoroute_py.edge.wire_io import read_body
from octoroute_py.manage.transfer import Faulty, Transfer
from octoroute_py.manage.transfer_plan import WORKSPACE, Mode, Names, Plan

T = TypeVar("T")

MOST_BYTES: Final = 8 * 1024 * 1024
"""Of an import; an export of a whole registry is larger than any other body."""


class Named(msgspec.Struct, frozen=True):
    """A document: what kind it is of, and its id."""

    kind: str
    id: str


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """What an import changes; `moved` are kinds whose documents are in another order afterwards."""

    created: tuple[Named, ...]
    updated: tuple[Named, ...]
    deleted: tuple[Named, ...]
    unchanged: int
    moved: tuple[str, ...]


class Imported(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was brought in, or would be: how many of a kind the import holds, and what that changes."""

    dry_run: bool
    mode: Mode
    models_imported: int
    rules_imported: int
    agent_preferences_imported: int
    workspace_configs_imported: int
    canary_deployments_imported: int
    experiments_imported: int
    diff: Diff
    errors: tuple[str, ...] = ()


class TransferRoutes:
    """The two routes. They look at everything there is: keys that are bound to workspaces have no part in them."""

    def __init__(self, transfer: Transfer, *, wall: Wall) -> None:
        self._transfer = transfer
        self._wall = wall

    def add_to(self, table: Table) -> None:
        """Add the routes."""
        add_routes(
            table,
            ("GET", "/api/config/export", self._export, Role.OPERATOR, EXPORT),
            ("POST", "/api/config/import", self._import, Role.OPERATOR, IMPORT),
        )

    async def _export(self, scope: Scope, receive: Receive) -> Ready:
        query(scope)
        state = await self._transfer.whole()
        at_ms = int(self._wall() * 1000)
        body = await asyncio.to_thread(exported, state, at_ms=at_ms)
        name = f'attachment; filename="octoroute-config-{iso(at_ms)[:10]}.json"'
        return Ready(body, (*JSON, (b"content-disposition", name.encode())))

    async def _import(self, scope: Scope, receive: Receive) -> object:
        asked = query(scope, "mode", "dryRun")
        body = await read_body(scope, receive, MOST_BYTES)
        try:
            order, wishes = await asyncio.to_thread(read_order, body)
            mode = _one("mode", word(asked, "mode", Mode), order.mode) or Mode.MERGE
            dry_run = _one("dryRun", yes_or_no(asked, "dryRun"), order.dry_run) or False
            made = await self._transfer.bring_in(wishes, mode=mode, dry_run=dry_run, by=principal_of(scope))
        except Faulty as error:
            details = {"field": error.param, "errors": shown_faults(error.faults)}
            told = {"error": error.client_message, "code": error.code, "details": details}
            return Ready(msgspec.json.encode(told), JSON, status=error.status)
        counts = {kind: len(wished) for kind, wished in wishes.documents.items()}
        return Imported(
            dry_run=dry_run,
            mode=mode,
            models_imported=counts.get(Kind.MODEL, 0),
            rules_imported=counts.get(Kind.RULE, 0),
            agent_preferences_imported=counts.get(Kind.PREFERENCES, 0),
            workspace_configs_imported=len(wishes.workspaces or ()),
            canary_deployments_imported=counts.get(Kind.CANARY, 0),
            experiments_imported=counts.get(Kind.EXPERIMENT, 0),
            diff=_diff(made),
        )


def _diff(made: Plan) -> Diff:
    def named(names: Names) -> tuple[Named, ...]:
        return tuple(Named(kind, id_) for kind, id_ in names)

    return Diff(
        created=named(made.created),
        updated=named(made.updated),
        deleted=named(made.deleted),
        unchanged=made.unchanged,
        moved=made.moved,
    )


def _one(name: str, asked: T | None, given: T | None) -> T | None:
    """What stands in the query or in the body. Raises BadRequest where they differ."""
    if None not in (asked, given) and asked != given:
        raise BadRequest(f"'{name}' is something else in the query than in the body.", param=name)
    return given if asked is None else asked


_KINDS: Final = ", ".join((*Kind, WORKSPACE))
EXPORT: Final = Operation(summary="Everything that operators have set, as a file", answer=Export)
IMPORT: Final = Operation(
    summary=f"Bring an export in, whole or not at all; kinds in the diff are {_KINDS}",
    body=ImportOrder,
    answer=Imported,
    query=(
        Parameter(name="mode", description="What becomes of what is not in the import", shape=Mode),
        Parameter(name="dryRun", description="Only tell what it would change", shape=bool),
    ),
)
