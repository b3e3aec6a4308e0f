"""`/api/canary/deployments`: models that take over from others, as far as they do well."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from starlette.types import Receive, Scope

from octoroute_py.admission.principal import Principal
from octoroute_py.core.catalog import Id, Text
from octoroute_py.core.rollout import CanaryBody, CanaryDeployment, RolloutStatus
from octoroute_py.core.words import Role
from octoroute_py.edge.api.answer import Handle, Ready, add_routes
from octoroute_py.edge.api.canary_view import (
    CanaryList,
    CanaryMetrics,
    CanaryView,
    DecisionView,
    Execution,
    decision_view,
    execution_view,
    metrics_view,
    view,
)
from octoroute_py.edge.api.documents import NewId, expected, new_id, read_patch, tagged
from octoroute_py.edge.api.patch import patch_of
from octoroute_py.edge.api.wire import MAX_BODY_BYTES, decode, id_of, principal_of, query, read_json, word
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.operation import Operation, Parameter
from octoroute_py.edge.wire_io import read_body
from octoroute_py.manage.canaries import Canaries
from octoroute_py.storage.registry import Document

PATH: Final = "/api/canary/deployments"
ONE: Final = f"{PATH}/{{id}}"
Move = Callable[[str, Principal], Awaitable[tuple[Document, list[str]]]]


class CanaryOrder(CanaryBody, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A deployment to be made; without an id it gets one."""

    id: Id | None = None


CanaryPatch = patch_of(CanaryBody, without=())
"""What may be changed; null takes a field away."""


class RollbackOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why everybody is to be sent to production."""

    reason: Text = ""


class RemovedDeployment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was removed."""

    success: bool
    deployment_id: str


class CanaryRoutes:
    """The routes of canary deployments, which belong to the whole gateway."""

    def __init__(self, canaries: Canaries, *, new_id: NewId = new_id) -> None:
        self._canaries = canaries
        self._new_id = new_id

    def add_to(self, table: Table) -> None:
        """Add the routes."""
        add_routes(
            table,
            ("GET", PATH, self._list, Role.VIEWER, LIST),
            ("POST", PATH, self._post, Role.OPERATOR, CREATE),
            ("GET", ONE, self._get, Role.VIEWER, READ),
            ("PATCH", ONE, self._patch, Role.OPERATOR, CHANGE),
            ("DELETE", ONE, self._delete, Role.OPERATOR, DELETE),
            ("POST", f"{ONE}/start", self._moved(self._start), Role.OPERATOR, START),
            ("POST", f"{ONE}/pause", self._moved(self._pause), Role.OPERATOR, PAUSE),
            ("POST", f"{ONE}/resume", self._moved(self._resume), Role.OPERATOR, RESUME),
            ("POST", f"{ONE}/complete", self._moved(self._complete), Role.OPERATOR, COMPLETE),
            ("POST", f"{ONE}/rollback", self._rollback, Role.OPERATOR, ROLL_BACK),
            ("POST", f"{ONE}/decision", self._decision, Role.VIEWER, DECIDE),
            ("POST", f"{ONE}/execute", self._execute, Role.OPERATOR, EXECUTE),
            ("GET", f"{ONE}/metrics", self._metrics, Role.VIEWER, METRICS),
        )

    async def _list(self, scope: Scope, receive: Receive) -> CanaryList:
        found = await self._canaries.every(word(query(scope, "status"), "status", RolloutStatus))
        return CanaryList(deployments=[view(each) for each in found], count=len(found))

    async def _post(self, scope: Scope, receive: Receive) -> Ready:
        query(scope)
        order = await read_json(scope, receive, CanaryOrder)
        said = {name: getattr(order, name) for name in CanaryBody.__struct_fields__}
        deployment = CanaryDeployment(**said, id=order.id or self._new_id())
        return _told(await self._canaries.create(deployment, by=principal_of(scope)))

    async def _get(self, scope: Scope, receive: Receive) -> Ready:
        query(scope)
        return _told(await self._canaries.get(id_of(scope)))

    async def _patch(self, scope: Scope, receive: Receive) -> Ready:
        query(scope)
        patched = await read_patch(scope, receive, CanaryPatch, CanaryDeployment)
        changed = await self._canaries.change(
            id_of(scope),
            lambda document: patched(document.body),
            expect=expected(scope),
            by=principal_of(scope),
        )
        return _told(changed)

    async def _delete(self, scope: Scope, receive: Receive) -> RemovedDeployment:
        query(scope)
        id_ = id_of(scope)
        await self._canaries.remove(id_, expect=expected(scope), by=principal_of(scope))
        return RemovedDeployment(success=True, deployment_id=id_)

    def _moved(self, move: Move) -> Handle:
        """A move that needs nothing but the id."""

        async def handle(scope: Scope, receive: Receive) -> Ready:
            query(scope)
            document, warnings = await move(id_of(scope), principal_of(scope))
            return _told(document, warnings)

        return handle

    async def _start(self, id_: str, by: Principal) -> tuple[Document, list[str]]:
        return await self._canaries.start(id_, by=by), []

    async def _pause(self, id_: str, by: Principal) -> tuple[Document, list[str]]:
        return await self._canaries.pause(id_, by=by), []

    async def _resume(self, id_: str, by: Principal) -> tuple[Document, list[str]]:
        return await self._canaries.resume(id_, by=by), []

    async def _complete(self, id_: str, by: Principal) -> tuple[Document, list[str]]:
        return await self._canaries.complete(id_, by=by)

    async def _rollback(self, scope: Scope, receive: Receive) -> Ready:
        query(scope)
        body = await read_body(scope, receive, MAX_BODY_BYTES)
        order = decode(body, RollbackOrder) if body.strip() else RollbackOrder()
        return _told(await self._canaries.roll_back(id_of(scope), reason=order.reason, by=principal_of(scope)))

    async def _decision(self, scope: Scope, receive: Receive) -> DecisionView:
        query(scope)
        return decision_view((await self._canaries.decision(id_of(scope)))[1])

    async def _execute(self, scope: Scope, receive: Receive) -> Execution:
        query(scope)
        document, acted = await self._canaries.execute(id_of(scope), by=principal_of(scope))
        return execution_view(document, acted.verdict, list(acted.warnings))

    async def _metrics(self, scope: Scope, receive: Receive) -> CanaryMetrics:
        query(scope)
        document, measured, verdict = await self._canaries.measured(id_of(scope))
        return metrics_view(document, measured, verdict)


def _told(document: Document, warnings: list[str] | None = None) -> Ready:
    return tagged(view(document, warnings), document)


def _move(summary: str) -> Operation:
    return Operation(summary=summary, answer=CanaryView, errors=(409,), etag=True)


LIST: Final = Operation(
    summary="Canary deployments",
    answer=CanaryList,
    query=(Parameter(name="status", description="Only those of this status", shape=RolloutStatus),),
)
CREATE: Final = Operation(
    summary="Prepare a deployment", body=CanaryOrder, answer=CanaryView, status=201, errors=(409,), etag=True
)
READ: Final = Operation(summary="A deployment", answer=CanaryView, etag=True)
CHANGE: Final = Operation(
    summary="Change a deployment that is preparing: a JSON merge patch, null removes",
    body=CanaryPatch,
    answer=CanaryView,
    errors=(409, 412),
    etag=True,
)
DELETE: Final = Operation(summary="Forget a deployment that does not run", answer=RemovedDeployment, errors=(409, 412))
START: Final = _move("Give the canary its first share")
PAUSE: Final = _move("Leave the share as it is; a broken limit still ends it")
RESUME: Final = _move("Go on with a paused deployment")
COMPLETE: Final = _move("Let the canary take over: it becomes active and production deprecated")
ROLL_BACK: Final = Operation(
    summary="Send everybody to production, from the next request on",
    body=RollbackOrder | None,
    answer=CanaryView,
    errors=(409,),
    etag=True,
)
DECIDE: Final = Operation(summary="What the evidence says now; nothing is changed", answer=DecisionView, errors=(409,))
EXECUTE: Final = Operation(summary="Do what the evidence says now", answer=Execution, errors=(409,))
METRICS: Final = Operation(summary="What was measured of both models", answer=CanaryMetrics)
