"""Models as operators register and change them. What stands in the configuration file is told, and never changed."""

import itertools
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from octoroute_py.admission.principal import Principal
from octoroute_py.config.schema import Config
from octoroute_py.core.catalog import Model, ModelEndpoint, ModelStatus
from octoroute_py.core.errors import BadRequest, GatewayError
from octoroute_py.core.registry import Kind
from octoroute_py.manage.documents import Desk, Documents
from octoroute_py.manage.endpoint_check import EndpointCheck, check_credential, check_free, check_name
from octoroute_py.manage.model_order import ModelOrder, check_parameters
from octoroute_py.manage.model_uses import refuse_in_use
from octoroute_py.manage.model_view import ModelView, file_model_view, file_models, model_view
from octoroute_py.storage.registry import Document

_LONGEST_STEM: Final = 120
"""Of a model's id, so that a number has room in the 128 characters of an id."""

Merge = Callable[[str], Model]
"""From the body that is kept to what it is to become. Raises BadRequest."""


class Kept(msgspec.Struct, frozen=True):
    """A registered model as it is told, and its document."""

    document: Document
    view: ModelView


class Updated(msgspec.Struct, frozen=True):
    """What became of one of several changes; `error` None when it was made."""

    model_id: str
    error: str | None = None


class Models:
    """The models of a gateway; `file` is the configuration without what is registered.

    Everything raises Refused 503 without a database that can be used.
    """

    def __init__(self, documents: Documents, *, file: Callable[[], Config], check: EndpointCheck) -> None:
        self._documents = documents
        self._file = file
        self._check = check

    async def create(self, order: ModelOrder, *, by: Principal) -> Kept:
        """Register a model with the endpoints that come with it.

        Raises BadRequest: 400 for what cannot be, 409 for an id that is taken; Denied for networks from no admin.
        """
        file, model = self._file(), order.model()
        check_name(model.id, file)
        check_parameters(model)
        endpoints: list[ModelEndpoint] = []
        for place, each in enumerate(order.endpoints):
            at = f"endpoints[{place}]."
            endpoint = addressed(each, model.id, at=at)
            if endpoint.id:
                check_name(endpoint.id, file, param=f"{at}id")
            endpoints.append(await self._check.checked(endpoint, by=by, at=at))
        check_credential(model, endpoints, file)

        def add(desk: Desk) -> Kept:
            check_free(desk, model.id, among=Kind.MODEL)
            document = desk.create(Kind.MODEL, model.id, model, action="model.create")
            desk.forget(Kind.HEALTH, model.id)  # it was another one's
            for place, endpoint in enumerate(endpoints):
                add_endpoint(desk, endpoint, file, at=f"endpoints[{place}].")
            return self._kept(desk, document)

        return await self._documents.change(add, by=by)

    async def every(self) -> list[ModelView]:
        """Those of the file first, then those that are registered, older ones first."""
        file = self._file()

        def look(desk: Desk) -> list[ModelView]:
            endpoints = endpoints_by_model(desk)
            return [model_view(each, endpoints.get(each.id, ()), file) for each in desk.every(Kind.MODEL)]

        registered = await self._documents.look(look)
        return [*(file_model_view(id_, replicas) for id_, replicas in file_models(file).items()), *registered]

    async def get(self, model_id: str) -> Kept | ModelView:
        """A model; one of the file has no document. Raises NotFound."""
        of_file = file_models(self._file()).get(model_id)

        def look(desk: Desk) -> Kept | None:
            return None if of_file is not None else self._kept(desk, desk.needed(Kind.MODEL, model_id))

        found = await self._documents.look(look)
        return found if of_file is None and found is not None else file_model_view(model_id, of_file or ())

    async def patch(self, model_id: str, merge: Merge, *, expect: int | None, by: Principal) -> Kept:
        """Change a model into what `merge` makes of it. Raises NotFound, BadRequest 400, 409 and 412."""
        self.refuse_of_file(model_id)

        def turn(desk: Desk) -> Kept:
            document = desk.needed(Kind.MODEL, model_id)
            model = merge(document.body)
            check_parameters(model)
            check_credential(model, endpoints_of(desk, model_id), self._file())
            return self._kept(desk, desk.replace(Kind.MODEL, model_id, model, action="model.update", expect=expect))

        return await self._documents.change(turn, by=by)

    async def set_status(
        self, model_id: str, status: ModelStatus, *, expect: int | None = None, by: Principal
    ) -> Document:
        """Say what a model may serve. Raises NotFound, BadRequest 409 and 412."""
        self.refuse_of_file(model_id)
        return await self._documents.change(lambda desk: _set_status(desk, model_id, status, expect=expect), by=by)

    async def set_statuses(self, updates: Sequence[tuple[str, ModelStatus]], *, by: Principal) -> list[Updated]:
        """As `set_status` for several, all in one transaction; one that cannot be changed keeps no other from it."""

        def each(desk: Desk, model_id: str, status: ModelStatus) -> Updated:
            try:
                self.refuse_of_file(model_id)
                _set_status(desk, model_id, status)
            except GatewayError as error:  # raised before anything was written
                return Updated(model_id, error.client_message)
            return Updated(model_id)

        return await self._documents.change(
            lambda desk: [each(desk, model_id, status) for model_id, status in updates], by=by
        )

    async def remove(self, model_id: str, *, expect: int | None, by: Principal) -> None:
        """Forget a model with its endpoints and its health.

        Raises NotFound, BadRequest 412, and 409 `in_use` while something names it.
        """
        self.refuse_of_file(model_id)

        def drop(desk: Desk) -> None:
            desk.needed(Kind.MODEL, model_id)
            endpoints = endpoints_of(desk, model_id)
            names = frozenset((model_id, *(endpoint.id for endpoint in endpoints)))
            refuse_in_use(names, desk.whole(), desk.policies())
            desk.remove(Kind.MODEL, model_id, action="model.remove", expect=expect)
            for endpoint in endpoints:
                desk.remove(Kind.ENDPOINT, endpoint.id, action="endpoint.remove")
            desk.forget(Kind.HEALTH, model_id)

        await self._documents.change(drop, by=by)

    def refuse_of_file(self, model_id: str) -> None:
        """Raises BadRequest 409 `read_only` for a model of the configuration file."""
        if model_id in file_models(self._file()):
            raise BadRequest(
                "This model stands in the configuration file: change it there.", status=409, code="read_only"
            )

    def _kept(self, desk: Desk, document: Document) -> Kept:
        return Kept(document, model_view(document, endpoints_of(desk, document.id), self._file()))


def _set_status(desk: Desk, model_id: str, status: ModelStatus, *, expect: int | None = None) -> Document:
    model = desk.expected(Kind.MODEL, model_id, expect).read(Model)
    return desk.put(Kind.MODEL, model_id, msgspec.structs.replace(model, status=status), action="model.status")


def endpoints_by_model(desk: Desk) -> dict[str, tuple[ModelEndpoint, ...]]:
    """All registered endpoints, by the id of their model."""
    found: dict[str, tuple[ModelEndpoint, ...]] = {}
    for document in desk.every(Kind.ENDPOINT):
        endpoint = document.read(ModelEndpoint)
        found[endpoint.model_id] = (*found.get(endpoint.model_id, ()), endpoint)
    return found


def endpoints_of(desk: Desk, model_id: str) -> tuple[ModelEndpoint, ...]:
    """The endpoints of a registered model, older ones first."""
    return endpoints_by_model(desk).get(model_id, ())


def addressed(order: ModelEndpoint, model_id: str, *, at: str = "") -> ModelEndpoint:
    """The endpoint as one of this model. Raises BadRequest when it says that it is another one's."""
    if order.model_id not in ("", model_id):
        raise BadRequest("'modelId' is another model's.", param=f"{at}modelId")
    given = {name: getattr(order, name) for name in ModelEndpoint.__struct_fields__}
    return ModelEndpoint(**{**given, "model_id": model_id})


def add_endpoint(desk: Desk, endpoint: ModelEndpoint, file: Config, *, at: str = "") -> Document:
    """Keep a new endpoint, with an id made for it when it has none. Raises BadRequest 409."""
    if not endpoint.id:
        endpoint = msgspec.structs.replace(endpoint, id=_new_endpoint_id(desk, endpoint.model_id, file))
    check_free(desk, endpoint.id, among=Kind.ENDPOINT, param=f"{at}id")
    return desk.create(Kind.ENDPOINT, endpoint.id, endpoint, action="endpoint.create")


def _new_endpoint_id(desk: Desk, model_id: str, file: Config) -> str:
    taken = {word for each in file.endpoints for word in (each.id, each.name)}
    for number in itertools.count(1):
        id_ = f"{model_id[:_LONGEST_STEM]}:{number}"
        if id_ not in taken and not any(desk.get(kind, id_) for kind in (Kind.ENDPOINT, Kind.MODEL)):
            break
    return id_
