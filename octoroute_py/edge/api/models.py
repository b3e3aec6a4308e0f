"""`/api/models`: the models of the registry, and beside them those of the configuration file."""

from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.types import Receive, Scope

from octoroute_py.core.catalog import Model, ModelStatus, ModelType, Provider
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.words import CAPABILITY_WORDS, Role, Tier
from octoroute_py.edge.api.answer import Ready, add_routes
from octoroute_py.edge.api.documents import expected, read_patch, tagged
from octoroute_py.edge.api.patch import patch_of
from octoroute_py.edge.api.wire import id_of, principal_of, query, read_json, word
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.operation import Operation, Parameter
from octoroute_py.manage.model_order import ModelOrder
from octoroute_py.manage.model_view import ModelSource, ModelView
from octoroute_py.manage.models import Kept, Models

ONE = "/api/models/{id:path}"
MOST_AT_ONCE = 500
_LONGEST_FILTER = 1000

ModelPatch = patch_of(Model, without=("id",))


class ModelPage(msgspec.Struct, frozen=True):
    """The models that were asked for."""

    models: list[ModelView]
    count: int


class StatusOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model is to serve."""

    status: ModelStatus


class StatusSet(msgspec.Struct, frozen=True, rename="camel"):
    """A status that was changed."""

    success: bool
    message: str
    model_id: str
    status: ModelStatus


class StatusUpdate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One of several changes."""

    model_id: Annotated[str, Meta(min_length=1, max_length=256)]
    status: ModelStatus


class StatusUpdates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Several changes, made in their order."""

    updates: Annotated[tuple[StatusUpdate, ...], Meta(min_length=1, max_length=MOST_AT_ONCE)]


class StatusResult(msgspec.Struct, frozen=True, rename="camel"):
    """What became of one of them."""

    model_id: str
    success: bool
    error: str | msgspec.UnsetType = msgspec.UNSET


class StatusSummary(msgspec.Struct, frozen=True):
    """How many of them there were."""

    total: int
    successful: int
    failed: int


class StatusResults(msgspec.Struct, frozen=True):
    """What became of all of them, in their order."""

    results: list[StatusResult]
    summary: StatusSummary


class ModelRemoved(msgspec.Struct, frozen=True, rename="camel"):
    """A model that is no more."""

    success: bool
    model_id: str


FILTERS = (
    Parameter(name="provider", description="Whose API it speaks through", shape=Provider),
    Parameter(name="modelType", description="What it makes of what it is given", shape=ModelType),
    Parameter(name="status", description="What it may serve", shape=ModelStatus),
    Parameter(name="tier", description="The tier it belongs to", shape=Tier),
    Parameter(name="source", description="Whether it is registered or configured", shape=ModelSource),
    Parameter(name="capabilities", description="Words it must have all of, with commas between"),
)


class ModelRoutes:
    """The routes of models; add them after those of endpoints and health, whose paths begin with these."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def add_to(self, table: Table) -> None:
        """Add the routes."""
        add_routes(
            table,
            ("POST", "/api/models", self._create, Role.OPERATOR, CREATE),
            ("GET", "/api/models", self._list, Role.VIEWER, LIST),
            ("PATCH", "/api/models/batch/status", self._set_statuses, Role.OPERATOR, SET_STATUSES),
            ("PATCH", f"{ONE}/status", self._set_status, Role.OPERATOR, SET_STATUS),
            ("GET", ONE, self._get, Role.VIEWER, GET),
            ("PATCH", ONE, self._patch, Role.OPERATOR, PATCH),
            ("DELETE", ONE, self._delete, Role.OPERATOR, DELETE),
        )

    async def _create(self, scope: Scope, receive: Receive) -> Ready:
        query(scope)
        order = await read_json(scope, receive, ModelOrder)
        return _shown(await self._models.create(order, by=principal_of(scope)))

    async def _list(self, scope: Scope, receive: Receive) -> ModelPage:
        fits = _filter(query(scope, *(each.name for each in FILTERS)))
        found = [model for model in await self._models.every() if fits(model)]
        return ModelPage(found, len(found))

    async def _get(self, scope: Scope, receive: Receive) -> Ready | ModelView:
        query(scope)
        found = await self._models.get(id_of(scope))
        return _shown(found) if isinstance(found, Kept) else found

    async def _patch(self, scope: Scope, receive: Receive) -> Ready:
        query(scope)
        expect, merge = expected(scope), await read_patch(scope, receive, ModelPatch, Model)
        return _shown(await self._models.patch(id_of(scope), merge, expect=expect, by=principal_of(scope)))

    async def _delete(self, scope: Scope, receive: Receive) -> ModelRemoved:
        query(scope)
        await self._models.remove(id_of(scope), expect=expected(scope), by=principal_of(scope))
        return ModelRemoved(success=True, model_id=id_of(scope))

    async def _set_status(self, scope: Scope, receive: Receive) -> Ready:
        query(scope)
        model_id, expect = id_of(scope), expected(scope)
        status = (await read_json(scope, receive, StatusOrder)).status
        document = await self._models.set_status(model_id, status, expect=expect, by=principal_of(scope))
        told = StatusSet(success=True, message=f"The model is {status.value}.", model_id=model_id, status=status)
        return tagged(told, document)

    async def _set_statuses(self, scope: Scope, receive: Receive) -> StatusResults:
        query(scope)
        wanted = (await read_json(scope, receive, StatusUpdates)).updates
        done = await self._models.set_statuses(
            [(each.model_id, each.status) for each in wanted], by=principal_of(scope)
        )
        failed = sum(each.error is not None for each in done)
        return StatusResults(
            [
                StatusResult(each.model_id, each.error is None, msgspec.UNSET if each.error is None else each.error)
                for each in done
            ],
            StatusSummary(total=len(done), successful=len(done) - failed, failed=failed),
        )


def _shown(kept: Kept) -> Ready:
    return tagged(kept.view, kept.document)


def _filter(asked: Mapping[str, str]) -> Callable[[ModelView], bool]:
    """Whether a model is asked for. Raises BadRequest for a value that nothing can have."""
    provider = word(asked, "provider", Provider)
    model_type = word(asked, "modelType", ModelType)
    status = word(asked, "status", ModelStatus)
    tier = word(asked, "tier", Tier)
    source = word(asked, "source", ModelSource)
    text = asked.get("capabilities", "")
    if len(text) > _LONGEST_FILTER:
        raise BadRequest(f"'capabilities' is longer than {_LONGEST_FILTER} characters.", param="capabilities")
    capabilities = {_meant(word) for word in text.split(",") if word.strip()}

    def fits(model: ModelView) -> bool:
        return (
            provider in (None, model.provider)
            and model_type in (None, model.model_type)
            and status in (None, model.status)
            and tier in (None, model.tier)
            and source in (None, model.source)
            and capabilities <= {_meant(word) for word in model.capabilities}
        )

    return fits


def _meant(word: str) -> str:
    """A capability by the gateway's own word for it, where it has one: images and vision are the same."""
    word = word.strip().lower()
    known = CAPABILITY_WORDS.get(word)
    return word if known is None else known.value


CREATE = Operation(
    summary="Register a model, with endpoints if wanted",
    body=ModelOrder,
    answer=ModelView,
    status=201,
    errors=(409,),
    etag=True,
)
LIST = Operation(summary="Models, configured ones first", answer=ModelPage, query=FILTERS)
GET = Operation(summary="One model", answer=ModelView, etag=True)
PATCH = Operation(
    summary="Change a model: a JSON merge patch", body=ModelPatch, answer=ModelView, errors=(409, 412), etag=True
)
DELETE = Operation(
    summary="Forget a model with its endpoints, unless something names it",
    answer=ModelRemoved,
    errors=(409, 412),
)
SET_STATUS = Operation(
    summary="Say what a model may serve", body=StatusOrder, answer=StatusSet, errors=(409, 412), etag=True
)
SET_STATUSES = Operation(
    summary="Say what several models may serve; one that fails keeps no other from it",
    body=StatusUpdates,
    answer=StatusResults,
)
