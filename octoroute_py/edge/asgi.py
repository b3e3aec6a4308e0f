"""The application: one Starlette whose every route is guarded, behind a gate for odd paths.

The chat routes are raw ASGI endpoints. With `[admin]` set, the management routes exist on its listener only.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from octoroute_py.core.errors import BadRequest, GatewayError, NotFound
from octoroute_py.core.words import Role, Surface
from octoroute_py.edge.admin.reload import RELOAD, Reload
from octoroute_py.edge.cors import Cors
from octoroute_py.edge.explain import explained_chat
from octoroute_py.edge.gate import path_is_plain
from octoroute_py.edge.guard import Guarded, Reach
from octoroute_py.edge.idempotent import ByHeader, Idempotent
from octoroute_py.edge.info import Info
from octoroute_py.edge.model_call import ModelCall
from octoroute_py.edge.models import EndpointList, ListModels, OneModel
from octoroute_py.edge.native import Native
from octoroute_py.edge.neural import ROUTE, AskRouter, NeuralRoute
from octoroute_py.edge.openapi import PATH as OPENAPI
from octoroute_py.edge.openapi import Described, Description
from octoroute_py.edge.operation import Operation
from octoroute_py.edge.ops import Operations
from octoroute_py.edge.wire_io import error_body, error_headers, request_id_of, send_error
from octoroute_py.gateway.idempotency import Idempotency
from octoroute_py.gateway.pipeline import Gateway

__all__ = ["ASGIApp", "RouteTable", "build_app", "routes"]

RouteTable = list[Route]
"""Routes with their guards."""

Lifespan = Callable[[], AbstractAsyncContextManager[None]]
"""What runs beside the application from before its first request to after its last."""

MANAGEMENT_PREFIXES = ("/admin", "/api", "/dashboard", "/metrics", OPENAPI)
"""What `[admin]` moves to its own listener (contract §2)."""


BOTH = frozenset({"/health", "/health/live", "/health/ready", "/health/detailed", "/info"})
"""What answers on both listeners: whoever watches the one watches what matters, and the page asks who its user is."""

_OPERATIONS = {
    "/v1/chat/completions": Surface.CHAT,
    "/v1/completions": Surface.COMPLETIONS,
    "/v1/embeddings": Surface.EMBEDDINGS,
    "/v1/responses": Surface.RESPONSES,
}
DIRECT_PATHS = tuple(_OPERATIONS)
"""POSTs here go to their guarded endpoint without Starlette's middleware and router between (docs/performance.md)."""


class Table:
    """Collects routes; there is no way to add one without saying who may use it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.routes: list[Route] = []
        self.described: list[Described] = []

    def add(
        self,
        method: str,
        path: str,
        app: ASGIApp,
        *,
        role: Role | None,
        reach: Reach = Reach.ALL,
        operation: Operation | None = None,
    ) -> None:
        """A route for one method; `role` None leaves it open to all. `operation` describes it in /openapi.json.

        Only a handler that keeps to its principal's workspaces may say that its reach is OWN.
        """
        guarded = Guarded(app, role=role, reach=reach, door=self._gateway, monotonic=self._gateway.monotonic)
        self.routes.append(Route(path, guarded, methods=[method]))
        if operation is not None:
            self.described.append((method, path, role, operation))


class Resource(Protocol):
    """One resource of the management API."""

    def add_to(self, table: Table) -> None:
        """Add its routes."""
        ...


def routes(
    gateway: Gateway,
    operations: Operations,
    reload: Reload,
    ask_router: AskRouter,
    resources: Sequence[Resource] = (),
    *,
    memory: Idempotency,
) -> RouteTable:
    """Every route of the gateway with the role it needs (contract §3, §6, §7).

    `memory` has the answers of requests that may be sent twice.
    """
    table = Table(gateway)
    for resource in resources:
        resource.add_to(table)
    for path, surface in _OPERATIONS.items():
        call = Idempotent(ModelCall(gateway, surface), gateway, memory=memory, source=ByHeader(surface))
        table.add("POST", path, call, role=Role.INFERENCE, reach=Reach.OWN)
    table.add("POST", "/v1/routing/explain", explained_chat(gateway), role=Role.INFERENCE, reach=Reach.OWN)
    table.add("GET", "/v1/models", ListModels(gateway), role=Role.INFERENCE, reach=Reach.OWN)
    table.add("GET", "/v1/models/{id:path}", OneModel(gateway), role=Role.INFERENCE, reach=Reach.OWN)
    table.add("POST", "/chat", ModelCall(gateway, Surface.CHAT, Native()), role=Role.INFERENCE, reach=Reach.OWN)
    table.add("GET", "/models", EndpointList(gateway), role=Role.INFERENCE, reach=Reach.OWN)
    table.add("GET", "/health", operations.live, role=None)
    table.add("GET", "/health/live", operations.live, role=None)
    table.add("GET", "/health/ready", operations.ready, role=None)
    table.add("GET", "/health/detailed", operations.detailed, role=Role.VIEWER)
    metrics_role = Role.VIEWER if gateway.config.observability.metrics_auth else None
    table.add("GET", "/metrics", operations.metrics, role=metrics_role)
    table.add("GET", "/info", Info(gateway, lambda: operations.uptime_s), role=None)
    table.add("POST", "/admin/reload", reload, role=Role.ADMIN, operation=RELOAD)
    # It may write, to candidates and history, and /api is closed to strangers as soon as a key exists (contract §7).
    table.add("POST", "/api/neural/route", NeuralRoute(gateway, ask_router), role=Role.OPERATOR, operation=ROUTE)
    table.add("GET", OPENAPI, Description(table.described), role=Role.VIEWER, reach=Reach.OWN)
    return table.routes


def build_app(
    table: Sequence[Route], *, cors_origins: Sequence[str], management_port: int | None, lifespan: Lifespan
) -> ASGIApp:
    """The ASGI application; with a `management_port` the management routes answer there, and nothing else does."""
    starlette = Starlette(
        routes=list(table),
        lifespan=lambda _: lifespan(),
        exception_handlers={HTTPException: _http_exception, Exception: _unexpected},
    )
    starlette.router.redirect_slashes = False
    direct = {route.path: route.app for route in table if route.path in DIRECT_PATHS}
    front = Front(starlette, direct=direct, management_port=management_port)
    return Cors(front, cors_origins) if cors_origins else front


class Front:
    """Refuses paths that mean one thing to a router and another to whatever stands before it (reliability F9).

    It also keeps the two listeners apart. `direct` maps the model calls' paths to their guarded
    endpoints, which every other method and path reaches through Starlette.
    """

    __slots__ = ("_app", "_direct", "_management_port")

    def __init__(self, app: ASGIApp, *, direct: Mapping[str, ASGIApp], management_port: int | None) -> None:
        self._app = app
        self._direct = direct
        self._management_port = management_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let plain paths of this listener pass."""
        if scope["type"] == "http":
            path: str = scope["path"]
            if not path_is_plain(scope.get("raw_path") or path.encode()):
                await send_error(scope, send, BadRequest("The request path is not a plain path."))
                return
            if self._management_port is not None and not self._belongs_here(path, scope.get("server")):
                await send_error(scope, send, _nothing_here())
                return
            if path in self._direct and scope["method"] == "POST":
                await self._direct[path](scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _belongs_here(self, path: str, server: tuple[str, int | None] | None) -> bool:
        if path in BOTH:
            return True
        here = server is not None and server[1] == self._management_port
        return path.startswith(MANAGEMENT_PREFIXES) == here


def _nothing_here() -> NotFound:
    return NotFound("There is nothing at this path.", code="not_found")


def _http_exception(request: Request, error: Exception) -> Response:
    """404 and 405 of the router, shaped like every other error of the path."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        shown: GatewayError = BadRequest(
            f"{request.method} is not allowed here.", status=405, code="method_not_allowed"
        )
    else:
        shown = _nothing_here()
    response = _response(request, shown)
    if isinstance(error, HTTPException) and error.headers:
        response.headers.update(error.headers)
    if status == 405:
        response.headers["allow"] = _allowed(request)
    return response


def _allowed(request: Request) -> str:
    """All methods of the path; the router knows those of the first route that has it."""
    found = [each for each in request.app.routes if isinstance(each, Route)]
    here = [each.methods or () for each in found if each.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for methods in here for method in methods}))


def _unexpected(request: Request, error: Exception) -> Response:
    return _response(request, GatewayError("The gateway failed.", code="internal_error"))


def _response(request: Request, error: GatewayError) -> Response:
    response = Response(error_body(request.scope["path"], error), status_code=error.status)
    response.raw_headers.extend(error_headers(error, request_id_of(request.scope)))
    return response
