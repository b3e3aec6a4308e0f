"""`/api/experiments`: two or more ways to answer, compared on live requests."""

from functools import partial
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType
from starlette.types import Receive, Scope

from octoroute_py.core.catalog import Id
from octoroute_py.core.clock import iso
from octoroute_py.core.experiment import Arm, Experiment, ExperimentBody, ExperimentStatus, Metric
from octoroute_py.core.rules import Conditions
from octoroute_py.core.words import Role
from octoroute_py.edge.api.answer import Ready, add_routes
from octoroute_py.edge.api.documents import NewId, expected, new_id, read_patch, tagged
from octoroute_py.edge.api.patch import patch_of
from octoroute_py.edge.api.wire import id_of, principal_of, query, read_json, word
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.operation import Operation, Parameter
from octoroute_py.manage.experiment_results import Results
from octoroute_py.manage.experiments import PAUSE, RESUME, START, STOP, Experiments, Move
from octoroute_py.storage.registry import Document

PATH: Final = "/api/experiments"
ONE: Final = "/api/experiments/{id}"


class ExperimentOrder(ExperimentBody, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An experiment to be made; without an id it gets one."""

    id: Id | None = None


ExperimentPatch = patch_of(ExperimentBody, without=())
"""What may be changed; null takes a field away."""


class ExperimentView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An experiment as it is told; `warnings` say what may not be expected of it."""

    id: str
    name: str
    description: str
    arms: tuple[Arm, ...]
    conditions: Conditions
    metric: Metric
    alpha: float
    status: ExperimentStatus
    started_at: str | None
    stopped_at: str | None
    created_at: str
    updated_at: str
    warnings: list[str] | UnsetType = UNSET


class ExperimentList(msgspec.Struct, frozen=True, kw_only=True):
    """Experiments in the order they were made."""

    experiments: list[ExperimentView]
    count: int


class ExperimentRemoved(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was removed."""

    success: bool
    experiment_id: str


class ExperimentRoutes:
    """The routes of experiments, which are the whole gateway's: keys bound to workspaces have no part in them."""

    def __init__(self, experiments: Experiments, *, new_id: NewId = new_id) -> None:
        self._experiments = experiments
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
            ("GET", f"{ONE}/results", self._results, Role.VIEWER, RESULTS),
            *(
                ("POST", f"{ONE}/{move.word}", partial(self._move, move), Role.OPERATOR, operation)
                for move, operation in MOVES
            ),
        )

    async def _list(self, scope: Scope, receive: Receive) -> ExperimentList:
        status = word(query(scope, "status"), "status", ExperimentStatus)
        views = [self._view(document) for document in await self._experiments.every()]
        found = [each for each in views if status in (None, each.status)]
        return ExperimentList(experiments=found, count=len(found))

    async def _post(self, scope: Scope, receive: Receive) -> Ready:
        query(scope)
        order = await read_json(scope, receive, ExperimentOrder)
        experiment = Experiment(**{**msgspec.structs.asdict(order), "id": order.id or self._new_id()})
        return self._tagged(await self._experiments.create(experiment, by=principal_of(scope)))

    async def _get(self, scope: Scope, receive: Receive) -> Ready:
        query(scope)
        return self._tagged(await self._experiments.get(id_of(scope)))

    async def _patch(self, scope: Scope, receive: Receive) -> Ready:
        query(scope)
        patched = await read_patch(scope, receive, ExperimentPatch, Experiment)
        changed = await self._experiments.change(
            id_of(scope),
            lambda document: patched(document.body),
            expect=expected(scope),
            by=principal_of(scope),
        )
        return self._tagged(changed)

    async def _delete(self, scope: Scope, receive: Receive) -> ExperimentRemoved:
        query(scope)
        id_ = id_of(scope)
        await self._experiments.remove(id_, expect=expected(scope), by=principal_of(scope))
        return ExperimentRemoved(success=True, experiment_id=id_)

    async def _move(self, move: Move, scope: Scope, receive: Receive) -> Ready:
        query(scope)
        moved = await self._experiments.move(id_of(scope), move, expect=expected(scope), by=principal_of(scope))
        return self._tagged(moved)

    async def _results(self, scope: Scope, receive: Receive) -> Results:
        query(scope)
        return await self._experiments.results(id_of(scope))

    def _tagged(self, document: Document) -> Ready:
        return tagged(self._view(document), document)

    def _view(self, document: Document) -> ExperimentView:
        experiment = document.read(Experiment)
        return ExperimentView(
            id=experiment.id,
            name=experiment.name,
            description=experiment.description,
            arms=experiment.arms,
            conditions=experiment.conditions,
            metric=experiment.metric,
            alpha=experiment.alpha,
            status=experiment.status,
            started_at=None if experiment.started_ms is None else iso(experiment.started_ms),
            stopped_at=None if experiment.stopped_ms is None else iso(experiment.stopped_ms),
            created_at=iso(document.created_ms),
            updated_at=iso(document.updated_ms),
            warnings=self._experiments.warnings(experiment) or UNSET,
        )


LIST: Final = Operation(
    summary="Experiments, in the order they were made",
    answer=ExperimentList,
    query=(Parameter(name="status", description="Only those of this status", shape=ExperimentStatus),),
)
CREATE: Final = Operation(
    summary="Make an experiment, as a draft",
    body=ExperimentOrder,
    answer=ExperimentView,
    status=201,
    errors=(409,),
    etag=True,
)
READ: Final = Operation(summary="An experiment", answer=ExperimentView, etag=True)
CHANGE: Final = Operation(
    summary="Change a draft: a JSON merge patch, null removes",
    body=ExperimentPatch,
    answer=ExperimentView,
    errors=(409, 412),
    etag=True,
)
DELETE: Final = Operation(summary="Forget an experiment that does not run", answer=ExperimentRemoved, errors=(409, 412))
RESULTS: Final = Operation(summary="What an experiment has shown so far", answer=Results)
MOVES: Final = tuple(
    (move, Operation(summary=summary, answer=ExperimentView, errors=(409, 412), etag=True))
    for move, summary in (
        (START, "Start a draft: requests are shared out from the next one on"),
        (PAUSE, "Give no arms for now; callers keep theirs for later"),
        (RESUME, "Go on after a pause"),
        (STOP, "End an experiment for good; its results stay"),
    )
)
