"""What can be asked for: GET /v1/models, /v1/models/{id} and the native GET /models.

Each shows a key what it may use, by its grant and by what its own workspace is restricted to, and nothing else.
"""

from collections.abc import Sequence

from starlette.types import Receive, Scope, Send

from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.errors import GatewayError, NotFound
from octoroute_py.edge.guard import PRINCIPAL
from octoroute_py.edge.wire_io import send_error, send_json
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.gateway.scope import Scope as Allowance
from octoroute_py.gateway.scope import workspace_of
from octoroute_py.routing.intent import AUTO, ModelName, model_names


def _row(model: ModelName) -> dict[str, object]:
    return {"id": model.id, "object": "model", "created": 0, "owned_by": model.owner}


class ListModels:
    """Every name once: auto, the tiers, then the endpoints' names, cheapest tier first."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/models."""
        try:
            allowed = usable(self._gateway, scope)
        except GatewayError as error:
            await send_error(scope, send, error)
            return
        rows = [_row(model) for model in _names(self._gateway, allowed)]
        await send_json(scope, send, {"object": "list", "data": rows})


class OneModel:
    """One of the names, as OpenAI's `models.retrieve` asks for it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/models/{id}; ids of endpoints are known too, and names may hold slashes."""
        try:
            await send_json(scope, send, _row(self._find(scope)))
        except GatewayError as error:
            await send_error(scope, send, error)

    def _find(self, scope: Scope) -> ModelName:
        wanted: str = scope["path_params"]["id"]
        allowed = usable(self._gateway, scope)
        for model in _names(self._gateway, allowed):
            if model.id == wanted:
                return model
        meant = self._gateway.snapshot.catalog.find(wanted)  # an id, or another name of a registered model
        if meant is not None and any(endpoint.id in meant.ids for endpoint in allowed):
            return ModelName(wanted, "user")
        raise NotFound("The model does not exist.", code="model_not_found", param="model")


class EndpointList:
    """One row a replica, with its health."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /models, as in octoroute 1.0.0 but by endpoint id."""
        try:
            allowance = _allowance(self._gateway, scope)
        except GatewayError as error:
            await send_error(scope, send, error)
            return
        await send_json(scope, send, {"models": endpoint_rows(self._gateway, allowance)})


def usable(gateway: Gateway, scope: Scope) -> Sequence[EndpointConfig]:
    """The endpoints that whoever asks may use. Raises Denied for a key that may use no workspace."""
    allowance = _allowance(gateway, scope)
    endpoints = gateway.config.endpoints
    return endpoints if allowance is None else [each for each in endpoints if allowance.allows(each)]


def _allowance(gateway: Gateway, scope: Scope) -> Allowance | None:
    principal = scope[PRINCIPAL]
    policy = gateway.policies.get(workspace_of(principal, None))
    return gateway.snapshot.scopes.of(policy, principal.grant)


def _names(gateway: Gateway, allowed: Sequence[EndpointConfig]) -> list[ModelName]:
    """What the list shows of those endpoints: tiers that have one, names that one bears, auto where there is any."""
    shown = {AUTO} if allowed else set()
    for endpoint in allowed:
        shown.update((endpoint.tier.value, endpoint.name))
    return [model for model in model_names(gateway.config) if model.id in shown]


def endpoint_rows(gateway: Gateway, allowance: Allowance | None = None) -> list[dict[str, object]]:
    """What is known now of each endpoint that may be used; `endpoint` is its base URL, never its credential."""
    now = gateway.monotonic()
    rows: list[dict[str, object]] = []
    for endpoint in gateway.snapshot.table.endpoints:
        if allowance is not None and not allowance.allows(endpoint.config):
            continue
        checked = endpoint.live.last_check
        out = endpoint.out(now)
        rows.append(
            {
                "id": endpoint.id,
                "name": endpoint.name,
                "tier": endpoint.tier,
                "endpoint": endpoint.config.base_url,
                "healthy": out is None,
                "out_because": out,
                "last_check_seconds_ago": None if checked is None else round(now - checked, 3),
                "consecutive_failures": max(endpoint.live.probe_failures, endpoint.breaker.consecutive_failures),
                "breaker": endpoint.breaker.state(now),
                "in_flight": endpoint.in_flight,
            }
        )
    return rows
