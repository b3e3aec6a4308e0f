"""What operators set over the API and what governs live traffic by it, as one part of the application."""

from collections.abc import Awaitable, Callable, Coroutine

from octoroute_py.admission.principal import Principal
from octoroute_py.config.schema import Config
from octoroute_py.core import clock
from octoroute_py.core.catalog import ModelEndpoint
from octoroute_py.core.clock import Wall
from octoroute_py.core.experiment import ArmStrategy
from octoroute_py.core.registry import Registry
from octoroute_py.edge.api.agents import AgentRoutes
from octoroute_py.edge.api.canaries import CanaryRoutes
from octoroute_py.edge.api.dry_run import DryRuns
from octoroute_py.edge.api.endpoints import EndpointRoutes
from octoroute_py.edge.api.experiments import ExperimentRoutes
from octoroute_py.edge.api.model_health import HealthRoutes
from octoroute_py.edge.api.models import ModelRoutes
from octoroute_py.edge.api.rules import RuleRoutes
from octoroute_py.edge.api.transfer import TransferRoutes
from octoroute_py.edge.asgi import Resource
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.manage.agents import Agents, Now
from octoroute_py.manage.canaries import Canaries
from octoroute_py.manage.canary_watch import CanaryWatch
from octoroute_py.manage.directories import follow_registry
from octoroute_py.manage.documents import Documents
from octoroute_py.manage.endpoint_check import EndpointCheck
from octoroute_py.manage.experiments import Experiments
from octoroute_py.manage.model_endpoints import Endpoints
from octoroute_py.manage.model_health import FOLLOW_EVERY_S, Health, follow_health
from octoroute_py.manage.models import Models
from octoroute_py.manage.rules import Rules
from octoroute_py.manage.store import Store
from octoroute_py.manage.transfer import Transfer
from octoroute_py.manage.transfer_check import checks_by
from octoroute_py.routing.rule_problems import problems
from octoroute_py.routing.rules import BUILT_IN
from octoroute_py.routing.shares import Shares
from octoroute_py.storage.db import Database
from octoroute_py.transport.resolve import check_endpoint_url, check_health_url


class Governing:
    """The registry as it is followed, the routes that change it, and the canary deployments that run by it.

    `on_change` is called in the event loop with every new registry; `wall` is the clock of the journal's rows. Reads at
    once: raises StorageError.
    """

    def __init__(self, database: Database | None, *, on_change: Callable[[Registry], None], wall: Wall) -> None:
        self.store = Store(database)
        self._wall = wall
        self.shares = Shares()
        self.following = follow_registry(database, on_change=on_change)
        self.health = follow_health(database)
        self.documents = Documents(self.store, wall=wall, changed=self.following.refresh)
        self.watch = CanaryWatch(self.store, self.documents, shares=self.shares, wall=wall)

    @property
    def registry(self) -> Registry:
        """What is in force."""
        return self.following.current

    def resources(
        self, gateway: Gateway, *, file: Callable[[], Config], limits: Callable[[], Awaitable[None]]
    ) -> list[Resource]:
        """The routes, the longer paths first; `file` is the configuration without what is registered.

        `limits` is awaited when the configuration of workspaces may have changed.
        """
        documents = self.documents
        check = EndpointCheck(file=file, base_url=check_endpoint_url, health_url=check_health_url)
        rules = Rules(
            documents,
            written=lambda: file().routing.rules,
            built_in=BUILT_IN,
            endpoints=lambda: file().endpoints,
            registry=lambda: self.registry,
            problems=problems,
        )
        agents = Agents(documents, now=lambda: Now(gateway.snapshot.table, self.registry), monotonic=gateway.monotonic)
        experiments = Experiments(
            documents,
            self.store,
            wall=self._wall,
            endpoints=lambda: file().endpoints,
            registry=lambda: self.registry,
            problems=problems,
            unusable=lambda strategy: _unusable(strategy, gateway),
        )
        return [
            EndpointRoutes(Endpoints(documents, file=file, check=check), gateway),
            HealthRoutes(Health(documents, file=file), gateway, reported=self.health.refresh),
            ModelRoutes(Models(documents, file=file, check=check)),
            RuleRoutes(rules),
            AgentRoutes(agents),
            CanaryRoutes(Canaries(documents, self.watch)),
            ExperimentRoutes(experiments),
            DryRuns(gateway),
            TransferRoutes(self._transfer(check, file=file, limits=limits), wall=clock.wall),
        ]

    def _transfer(
        self, check: EndpointCheck, *, file: Callable[[], Config], limits: Callable[[], Awaitable[None]]
    ) -> Transfer:
        async def admit(endpoint: ModelEndpoint, by: Principal, at: str) -> ModelEndpoint:
            return await check.checked(endpoint, by=by, at=at)

        async def changed() -> None:
            await limits()  # first, so that no model is there before what limits its use
            await self.following.refresh()
            await self.health.refresh()

        return Transfer(
            self.store, file=file, admit=admit, checks=checks_by(problems), wall=clock.wall, changed=changed
        )

    async def start(self) -> None:
        """Learn what was measured before this process; before the first request."""
        await self.watch.load()

    def beside(self) -> dict[str, Coroutine[None, None, None]]:
        """What runs beside the requests, by name."""
        return {
            "registry": self.following.run(),
            "model-health": self.health.run(every_s=FOLLOW_EVERY_S),
            "canaries": self.watch.run(),
        }

    def close(self) -> None:
        """Nothing is followed any more."""
        self.following.close()
        self.health.close()


def _unusable(strategy: ArmStrategy, gateway: Gateway) -> str | None:
    """Why an arm of an experiment cannot have this strategy now."""
    cascade = gateway.snapshot.trials.cascades.get(strategy)
    if cascade is None:
        return f"The strategy '{strategy}' needs what the configured strategy does not use: a scorer or a judge."
    return None if cascade.ready else "The scorer is not ready."
