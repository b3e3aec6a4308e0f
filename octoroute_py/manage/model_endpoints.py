"""The endpoints of models as operators register and change them."""

from collections.abc import Callable

import msgspec

from octoroute_py.admission.principal import Principal
from octoroute_py.config.schema import Config
from octoroute_py.core.catalog import Model, ModelEndpoint
from octoroute_py.core.errors import BadRequest, Denied, NotFound
from octoroute_py.core.registry import Kind
from octoroute_py.core.words import Role
from octoroute_py.manage.documents import Desk, Documents, unknown
from octoroute_py.manage.endpoint_check import EndpointCheck, check_credential, check_name
from octoroute_py.manage.model_order import EndpointOrder
from octoroute_py.manage.model_uses import refuse_in_use
from octoroute_py.manage.model_view import EndpointView, endpoint_view, file_endpoint_view, file_models
from octoroute_py.manage.models import add_endpoint, addressed, endpoints_of
from octoroute_py.storage.registry import Document

Merge = Callable[[str], ModelEndpoint]
"""From the body that is kept to what it is to become. Raises BadRequest."""


class KeptEndpoint(msgspec.Struct, frozen=True):
    """An endpoint as it is told, and its document; one of the file has none."""

    view: EndpointView
    document: Document | None = None


class Endpoints:
    """The endpoints of a gateway's models; `file` is the configuration without what is registered.

    Everything raises Refused 503 without a database that can be used, and NotFound for a model there is none of.
    """

    def __init__(self, documents: Documents, *, file: Callable[[], Config], check: EndpointCheck) -> None:
        self._documents = documents
        self._file = file
        self._check = check

    async def create(self, model_id: str, order: EndpointOrder, *, by: Principal) -> KeptEndpoint:
        """Register an endpoint. Raises BadRequest 400 and 409, and Denied for networks from no admin."""
        self._refuse_of_file(model_id)
        await self._documents.get(Kind.MODEL, model_id)  # before its names are resolved for nobody
        file, endpoint = self._file(), addressed(order, model_id)
        if endpoint.id:
            check_name(endpoint.id, file)
        endpoint = await self._check.checked(endpoint, by=by)

        def add(desk: Desk) -> Document:
            model = desk.needed(Kind.MODEL, model_id).read(Model)
            check_credential(model, [endpoint], file)
            return add_endpoint(desk, endpoint, file)

        return _kept(await self._documents.change(add, by=by))

    async def every(self, model_id: str) -> list[KeptEndpoint]:
        """A model's endpoints, older ones first."""
        of_file = file_models(self._file()).get(model_id)

        def look(desk: Desk) -> list[KeptEndpoint]:
            if of_file is not None:
                return [KeptEndpoint(file_endpoint_view(model_id, each)) for each in of_file]
            desk.needed(Kind.MODEL, model_id)
            return [KeptEndpoint(endpoint_view(each)) for each in endpoints_of(desk, model_id)]

        return await self._documents.look(look)

    async def get(self, model_id: str, endpoint_id: str) -> KeptEndpoint:
        """One of a model's endpoints. Raises NotFound."""
        if model_id in file_models(self._file()):
            return next((each for each in await self.every(model_id) if each.view.id == endpoint_id), None) or _none()
        return _kept(await self._documents.look(lambda desk: _needed(desk, model_id, endpoint_id)))

    async def patch(
        self, model_id: str, endpoint_id: str, merge: Merge, *, expect: int | None, by: Principal
    ) -> KeptEndpoint:
        """Change an endpoint into what `merge` makes of it. Raises NotFound, Denied, BadRequest 400, 409 and 412.

        Where it may lead beyond what is public was an admin's word: whoever is none may not lead it anywhere else.
        """
        self._refuse_of_file(model_id)
        before = await self._documents.look(lambda desk: _needed(desk, model_id, endpoint_id))
        known, wanted = before.read(ModelEndpoint), merge(before.body)
        if _place(wanted) != _place(known):
            if known.allow_networks and not by.may(Role.ADMIN):
                raise Denied(
                    "Only an admin may change where this endpoint leads.", code="permission_denied", status=403
                )
            wanted = await self._check.checked(wanted, by=by)

        def turn(desk: Desk) -> Document:
            document = _needed(desk, model_id, endpoint_id)
            if expect is None and document.revision != before.revision:
                raise BadRequest("It was changed at the same time: try again.", status=409, code="conflict")
            check_credential(desk.needed(Kind.MODEL, model_id).read(Model), [wanted], self._file())
            return desk.replace(
                Kind.ENDPOINT,
                endpoint_id,
                wanted,
                action="endpoint.update",
                expect=before.revision if expect is None else expect,
            )

        return _kept(await self._documents.change(turn, by=by))

    async def remove(self, model_id: str, endpoint_id: str, *, expect: int | None, by: Principal) -> None:
        """Forget an endpoint. Raises NotFound, BadRequest 412, and 409 `in_use` while something names it."""
        self._refuse_of_file(model_id)

        def drop(desk: Desk) -> None:
            _needed(desk, model_id, endpoint_id)
            refuse_in_use(frozenset({endpoint_id}), desk.whole(), desk.policies())
            desk.remove(Kind.ENDPOINT, endpoint_id, action="endpoint.remove", expect=expect)

        await self._documents.change(drop, by=by)

    def _refuse_of_file(self, model_id: str) -> None:
        if model_id in file_models(self._file()):
            raise BadRequest(
                "This model stands in the configuration file: change it there.", status=409, code="read_only"
            )


def _place(endpoint: ModelEndpoint) -> tuple[object, ...]:
    return endpoint.url, endpoint.health_check_url, endpoint.allow_networks


def _needed(desk: Desk, model_id: str, endpoint_id: str) -> Document:
    desk.needed(Kind.MODEL, model_id)
    document = desk.needed(Kind.ENDPOINT, endpoint_id)
    if document.read(ModelEndpoint).model_id != model_id:
        raise unknown(Kind.ENDPOINT)
    return document


def _kept(document: Document) -> KeptEndpoint:
    return KeptEndpoint(endpoint_view(document.read(ModelEndpoint)), document)


def _none() -> KeptEndpoint:
    raise NotFound("There is no such endpoint.", code="not_found")
