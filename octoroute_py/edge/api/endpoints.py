"""`/api/models/{id}/endpoints`: where a model answers, and how each of its endpoints is doing right now."""

import msgspec
from starlette.types import Receive, Scope

from octoroute_py.core.catalog import EndpointRole, ModelEndpoint
from octoroute_py.core.words import BreakerState, Role
from octoroute_py.edge.api.answer import Ready, add_routes
from octoroute_py.edge.api.documents import expected, read_patch, tagged
from octoroute_py.edge.api.models import ONE
from octoroute_py.edge.api.patch import patch_of
from octoroute_py.edge.api.wire import id_of, principal_of, query, read_json
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.operation import Operation
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.manage.model_endpoints import Endpoints, KeptEndpoint
from octoroute_py.manage.model_order import EndpointOrder
from octoroute_py.tiers.recent import milliseconds

ALL = f"{ONE}/endpoints"
EACH = f"{ONE}/endpoints/{{endpoint:path}}"
NOT_SERVING = "not_serving"
"""Why an endpoint is out that the gateway does not know: its model is inactive, or was left out with a warning."""

EndpointPatch = patch_of(ModelEndpoint, without=("id", "model_id"))


class EndpointState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An endpoint as it was registered or configured, and how it is now.

    `success_rate` (0 to 1) and `latency_ms`, the mean time to a whole answer, are those of the last five minutes; null
    while too little was measured.
    """

    id: str
    model_id: str
    url: str
    type: EndpointRole
    weight: float
    health_check_url: str | None
    max_in_flight: int | None
    timeout_seconds: float | None
    allow_networks: tuple[str, ...]
    available: bool
    out_because: str | None
    breaker: BreakerState | None
    in_flight: int
    last_check_seconds_ago: float | None
    success_rate: float | None
    latency_ms: float | None


class EndpointPage(msgspec.Struct, frozen=True):
    """The endpoints of a model."""

    endpoints: list[EndpointState]
    count: int


class EndpointRemoved(msgspec.Struct, frozen=True, rename="camel"):
    """An endpoint that is no more."""

    success: bool
    endpoint_id: str


class EndpointRoutes:
    """The routes of endpoints."""

    def __init__(self, endpoints: Endpoints, gateway: Gateway) -> None:
        self._endpoints = endpoints
        self._gateway = gateway

    def add_to(self, table: Table) -> None:
        """Add the routes."""
        add_routes(
            table,
            ("POST", ALL, self._create, Role.OPERATOR, CREATE),
            ("GET", ALL, self._list, Role.VIEWER, LIST),
            ("GET", EACH, self._get, Role.VIEWER, GET),
            ("PATCH", EACH, self._patch, Role.OPERATOR, PATCH),
            ("DELETE", EACH, self._delete, Role.OPERATOR, DELETE),
        )

    async def _create(self, scope: Scope, receive: Receive) -> object:
        query(scope)
        order = await read_json(scope, receive, EndpointOrder)
        return self._shown(await self._endpoints.create(id_of(scope), order, by=principal_of(scope)))

    async def _list(self, scope: Scope, receive: Receive) -> EndpointPage:
        query(scope)
        found = [self._state(each) for each in await self._endpoints.every(id_of(scope))]
        return EndpointPage(found, len(found))

    async def _get(self, scope: Scope, receive: Receive) -> object:
        query(scope)
        return self._shown(await self._endpoints.get(id_of(scope), id_of(scope, "endpoint")))

    async def _patch(self, scope: Scope, receive: Receive) -> object:
        query(scope)
        expect, merge = expected(scope), await read_patch(scope, receive, EndpointPatch, ModelEndpoint)
        model_id, endpoint_id = id_of(scope), id_of(scope, "endpoint")
        return self._shown(
            await self._endpoints.patch(model_id, endpoint_id, merge, expect=expect, by=principal_of(scope))
        )

    async def _delete(self, scope: Scope, receive: Receive) -> EndpointRemoved:
        query(scope)
        endpoint_id = id_of(scope, "endpoint")
        await self._endpoints.remove(id_of(scope), endpoint_id, expect=expected(scope), by=principal_of(scope))
        return EndpointRemoved(success=True, endpoint_id=endpoint_id)

    def _shown(self, kept: KeptEndpoint) -> Ready | EndpointState:
        state = self._state(kept)
        return state if kept.document is None else tagged(state, kept.document)

    def _state(self, kept: KeptEndpoint) -> EndpointState:
        view = msgspec.structs.asdict(kept.view)
        endpoint = self._gateway.snapshot.table.by_id.get(kept.view.id)
        if endpoint is None:
            return EndpointState(
                **view,
                available=False,
                out_because=NOT_SERVING,
                breaker=None,
                in_flight=0,
                last_check_seconds_ago=None,
                success_rate=None,
                latency_ms=None,
            )
        now = self._gateway.monotonic()
        live, why = endpoint.live, endpoint.unavailable(now)
        return EndpointState(
            **view,
            available=why is None,
            out_because=None if why is None else why.value,
            breaker=endpoint.breaker.state(now),
            in_flight=endpoint.in_flight,
            last_check_seconds_ago=None if live.last_check is None else round(now - live.last_check, 3),
            success_rate=live.recent.success_rate(now),
            latency_ms=milliseconds(live.recent.answer_s(now)),
        )


CREATE = Operation(
    summary="Register an endpoint of a model",
    body=EndpointOrder,
    answer=EndpointState,
    status=201,
    errors=(409,),
    etag=True,
)
LIST = Operation(summary="A model's endpoints", answer=EndpointPage)
GET = Operation(summary="One endpoint", answer=EndpointState, etag=True)
PATCH = Operation(
    summary="Change an endpoint: a JSON merge patch",
    body=EndpointPatch,
    answer=EndpointState,
    errors=(409, 412),
    etag=True,
)
DELETE = Operation(summary="Forget an endpoint, unless something names it", answer=EndpointRemoved, errors=(409, 412))
