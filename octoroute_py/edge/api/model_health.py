"""`/api/models/{id}/health`: what is reported of a model, and what the gateway measured itself."""

from collections.abc import Awaitable, Callable

from starlette.types import Receive, Scope

from octoroute_py.core.catalog import HealthReport
from octoroute_py.core.words import Role
from octoroute_py.edge.api.answer import add_routes
from octoroute_py.edge.api.models import ONE
from octoroute_py.edge.api.wire import id_of, query, read_json
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.operation import Operation
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.manage.model_health import Health, HealthView, health_view, measured
from octoroute_py.storage.registry import Document

PATH = f"{ONE}/health"


class HealthRoutes:
    """The routes of health; `reported` is awaited after every report, before it is answered."""

    def __init__(self, health: Health, gateway: Gateway, *, reported: Callable[[], Awaitable[None]]) -> None:
        self._health = health
        self._gateway = gateway
        self._reported = reported

    def add_to(self, table: Table) -> None:
        """Add the routes."""
        add_routes(table, ("POST", PATH, self._post, Role.OPERATOR, POST), ("GET", PATH, self._get, Role.VIEWER, GET))

    async def _post(self, scope: Scope, receive: Receive) -> HealthView:
        query(scope)
        report = await read_json(scope, receive, HealthReport)
        document = await self._health.report(id_of(scope), report)
        await self._reported()
        return self._view(id_of(scope), document)

    async def _get(self, scope: Scope, receive: Receive) -> HealthView:
        query(scope)
        return self._view(id_of(scope), await self._health.get(id_of(scope)))

    def _view(self, model_id: str, document: Document | None) -> HealthView:
        endpoints = self._gateway.snapshot.table.by_name.get(model_id, ())  # the name of a registered one is its id
        return health_view(model_id, document, measured(endpoints, self._gateway.monotonic()))


POST = Operation(summary="Report how a model is; it decides nothing", body=HealthReport, answer=HealthView)
GET = Operation(summary="How a model is", answer=HealthView)
