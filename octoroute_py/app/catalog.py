"""The parts of the API that are about models, and about all that is set: how they come together."""

from collections.abc import Awaitable, Callable

from octoroute_py.admission.principal import Principal
from octoroute_py.config.schema import Config
from octoroute_py.core.catalog import ModelEndpoint
from octoroute_py.core.clock import Wall
from octoroute_py.edge.api.endpoints import EndpointRoutes
from octoroute_py.edge.api.model_health import HealthRoutes
from octoroute_py.edge.api.models import ModelRoutes
from octoroute_py.edge.api.transfer import TransferRoutes
from octoroute_py.edge.asgi import Resource
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.manage.documents import Documents
from octoroute_py.manage.endpoint_check import EndpointCheck
from octoroute_py.manage.model_endpoints import Endpoints
from octoroute_py.manage.model_health import Health
from octoroute_py.manage.models import Models
from octoroute_py.manage.store import Store
from octoroute_py.manage.transfer import Transfer
from octoroute_py.transport.resolve import check_endpoint_url, check_health_url


def model_routes(
    documents: Documents,
    gateway: Gateway,
    *,
    file: Callable[[], Config],
    reported: Callable[[], Awaitable[None]],
) -> list[Resource]:
    """The routes, the longer paths first; `file` is the configuration without what is registered.

    `reported` is awaited after every report of a model's health.
    """
    check = EndpointCheck(file=file, base_url=check_endpoint_url, health_url=check_health_url)
    return [
        EndpointRoutes(Endpoints(documents, file=file, check=check), gateway),
        HealthRoutes(Health(documents, file=file), gateway, reported=reported),
        ModelRoutes(Models(documents, file=file, check=check)),
    ]


def transfer_routes(
    store: Store, *, file: Callable[[], Config], wall: Wall, changed: Callable[[], Awaitable[None]]
) -> TransferRoutes:
    """Export and import; `changed` is awaited after an import, for registry and workspaces to be read again."""
    check = EndpointCheck(file=file, base_url=check_endpoint_url, health_url=check_health_url)

    async def admit(endpoint: ModelEndpoint, by: Principal, at: str) -> ModelEndpoint:
        return await check.checked(endpoint, by=by, at=at)

    return TransferRoutes(Transfer(store, file=file, admit=admit, checks={}, wall=wall, changed=changed), wall=wall)
