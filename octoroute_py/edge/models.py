"""What can be asked for: GET /v1/models, /v1/models/{id} and the native GET /models."""

from starlette.types import Receive, Scope, Send

from octoroute_py.core.errors import NotFound
from octoroute_py.edge.wire_io import send_error, send_json
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.routing.intent import ModelName, model_names


def _row(model: ModelName) -> dict[str, object]:
    return {"id": model.id, "object": "model", "created": 0, "owned_by": model.owner}


class ListModels:
    """Every name once: auto, the tiers, then the endpoints' names, cheapest tier first."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/models."""
        rows = [_row(model) for model in model_names(self._gateway.config)]
        await send_json(scope, send, {"object": "list", "data": rows})


class OneModel:
    """One of the names, as OpenAI's `models.retrieve` asks for it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/models/{id}; ids of endpoints are known too, and names may hold slashes."""
        wanted: str = scope["path_params"]["id"]
        config = self._gateway.config
        for model in model_names(config):
            if model.id == wanted:
                await send_json(scope, send, _row(model))
                return
        if any(endpoint.id == wanted for endpoint in config.endpoints):
            await send_json(scope, send, _row(ModelName(wanted, "user")))
            return
        await send_error(scope, send, NotFound("The model does not exist.", code="model_not_found", param="model"))


class EndpointList:
    """One row a replica, with its health."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /models, as in octoroute 1.0.0 but by endpoint id."""
        await send_json(scope, send, {"models": endpoint_rows(self._gateway)})


def endpoint_rows(gateway: Gateway) -> list[dict[str, object]]:
    """What is known of each endpoint now; `endpoint` is its base URL, never its credential."""
    now = gateway.monotonic()
    rows: list[dict[str, object]] = []
    for endpoint in gateway.snapshot.table.endpoints:
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
