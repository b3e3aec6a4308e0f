"""From a Config to a running gateway."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from octoroute_py.admission.auth import Access, is_loopback
from octoroute_py.admission.claims import Subject
from octoroute_py.admission.keyring import IssuedKeys
from octoroute_py.admission.throttle import WrongKeys
from octoroute_py.app.capturing import content_log
from octoroute_py.app.cascades import Cascades
from octoroute_py.app.governing import Governing
from octoroute_py.app.in_force import InForce, Layers
from octoroute_py.app.ledger import CLOSE_WITHIN_S, Ledger
from octoroute_py.app.probes import Probes
from octoroute_py.app.reloading import LoadConfig, Means, Reloading
from octoroute_py.app.scrape_view import ScrapeView
from octoroute_py.app.settings import known_secrets, listening_hosts, open_database, refuse_unbuilt
from octoroute_py.app.tracing import Traces
from octoroute_py.app.watch import log_reach, watch_endpoints
from octoroute_py.config.schema import Config, EndpointConfig, KeyConfig
from octoroute_py.core import clock
from octoroute_py.core.allowance import NO_BUDGETS
from octoroute_py.core.errors import ConfigError
from octoroute_py.core.registry import Registry
from octoroute_py.core.words import Keeping
from octoroute_py.edge.admin.breakers import BreakerRoutes
from octoroute_py.edge.admin.config import ConfigRoutes
from octoroute_py.edge.admin.drain import DrainRoutes
from octoroute_py.edge.admin.reload import Reload, Reloaded, What
from octoroute_py.edge.api.analytics import AnalyticsApi
from octoroute_py.edge.api.audit import AuditRoutes
from octoroute_py.edge.api.decisions import DecisionRoutes
from octoroute_py.edge.api.feedback import FeedbackRoutes
from octoroute_py.edge.api.keys import KeyRoutes
from octoroute_py.edge.api.live import Live
from octoroute_py.edge.api.resilience import ResilienceRoutes
from octoroute_py.edge.api.route import RouteCalls
from octoroute_py.edge.api.workspaces import WorkspaceRoutes
from octoroute_py.edge.asgi import ASGIApp, Resource, RouteTable, build_app, routes
from octoroute_py.edge.dashboard import Dashboard
from octoroute_py.edge.ops import Operations
from octoroute_py.edge.tls import TlsDoor
from octoroute_py.gateway.idempotency import Idempotency
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.gateway.pulse import Pulse
from octoroute_py.ledger.recorder import Recorder
from octoroute_py.manage.analytics import Analytics, Model
from octoroute_py.manage.audit import Audit
from octoroute_py.manage.directories import follow_directory
from octoroute_py.manage.feedback import Feedback
from octoroute_py.manage.key_order import known_in
from octoroute_py.manage.keys import Keys
from octoroute_py.manage.store import Store
from octoroute_py.manage.today import Today
from octoroute_py.manage.workspaces import Workspaces
from octoroute_py.neural.process import RouterProcess
from octoroute_py.routing.artifact import load_neural
from octoroute_py.storage.errors import StorageError
from octoroute_py.telemetry.access import AccessLog
from octoroute_py.telemetry.labels import BackgroundFailure, HealthFailure
from octoroute_py.telemetry.live_rows import LiveRows
from octoroute_py.telemetry.metrics import Metrics
from octoroute_py.telemetry.scrub import Scrubber
from octoroute_py.telemetry.sink import Sink
from octoroute_py.tiers.health import HealthProber
from octoroute_py.transport.base import Transport
from octoroute_py.transport.connect import TransportMaker
from octoroute_py.web.assets import read_assets

if TYPE_CHECKING:
    from octoroute_py.routing.neural import NeuralRouter

_log = structlog.stdlib.get_logger("octoroute.app")


class Application:
    """Everything a running gateway consists of; `app` is what a server serves.

    Build it inside a running event loop. `load` is asked at every reload; `neural` is what `load_neural` gives for the
    configuration; `generated` is the admin key a first start made off loopback.
    """

    def __init__(
        self,
        config: Config,
        *,
        load: LoadConfig,
        sink: Sink,
        scrubber: Scrubber,
        neural: "NeuralRouter | None" = None,
        generated: KeyConfig | None = None,
        rng: random.Random | None = None,
    ) -> None:
        refuse_unbuilt(config)
        self._load = load
        self._scrubber = scrubber
        self._generated = generated
        self._loopback = all(is_loopback(host) for host in listening_hosts(config))
        self._wrong_keys = WrongKeys()
        self._rng = rng or random.Random()
        self._maker = TransportMaker(tell=log_reach)
        self._probes = Probes(self._make_transport)
        self.tls = None if config.server.tls is None else TlsDoor(config.server.tls)
        self._closing: set[asyncio.Task[None]] = set()
        self._prepared = asyncio.Event()
        self._metrics = Metrics((), live=self._live_rows)
        self._traces = Traces(config.tracing, self._metrics.traces)
        access_log = AccessLog(
            sink, fmt=config.observability.log_format, level=config.observability.log_level, now=clock.wall
        )
        scrubber.learn(known_secrets(config))
        self._content = content_log(config.observability, sink, scrubber)
        self._started = False
        with contextlib.ExitStack() as opened:
            self._open_storage(config, opened)
            self._view = ScrapeView(
                lambda: self.gateway, governing=self._governing, ledger=self._ledger, monotonic=clock.monotonic
            )
            self._pulse = Pulse(self._ledger.wall)
            self.gateway = self._make_gateway(config, neural, access_log)
            self.gateway.policies = self._directory.current.directory.workspaces
            self._prober = self._make_prober()
            file = None if self._database is None else Path(self._database.location)
            self._dancer = RouterProcess(file, logs=config.observability)
            self._memory = Idempotency(clock.monotonic)
            self.table = self._make_table()
            self.app: ASGIApp = build_app(
                self.table,
                cors_origins=config.cors.origins,
                management_port=None if config.admin is None else config.admin.port,
                lifespan=self._lifespan,
            )
            opened.pop_all()

    def _open_storage(self, config: Config, opened: contextlib.ExitStack) -> None:
        """What is kept, and what follows from it; `opened` lets go of it when the rest cannot be made."""
        self._database = open_database(config)
        if self._database is not None:
            opened.callback(self._database.close, within_s=CLOSE_WITHIN_S)
        try:
            self._directory = follow_directory(self._database, on_change=self._directory_changed)
            opened.callback(self._directory.close)
            self._ledger = Ledger(config.storage, self._database, metrics=self._metrics)
            opened.callback(self._ledger.let_go)
            self._governing = Governing(self._database, on_change=self._registry_changed, wall=self._ledger.wall)
            opened.callback(self._governing.close)
        except StorageError as error:
            raise ConfigError(f"storage: {error}") from None

    def _make_gateway(self, config: Config, neural: "NeuralRouter | None", access_log: AccessLog) -> Gateway:
        cascades = Cascades(
            lambda: self.gateway.snapshot,
            metrics=self._metrics,
            rng=self._rng,
            report=self._traces.beside(self._ledger.judged),
        )
        force = InForce(
            Layers(file=config, kept=self._governing.registry.settings),
            cascades,
            self._governing,
            make_transport=self._make_transport,
            probes=self._probes,
            later=self._later,
        )
        snapshot = force.first(neural or load_neural(force.config), rng=self._rng)
        force.gateway = Gateway(
            snapshot,
            self._access(config),
            metrics=self._metrics,
            recorder=Recorder(
                self._metrics, access_log, told=[self._governing.watch.saw, self._pulse.saw, *self._traces.told]
            ),
            monotonic=clock.monotonic,
            wall=clock.wall,
            rng=self._rng,
            accounts=self._ledger.accounts,
            sampler=self._traces.sampler,
            content=self._content,
        )
        self._force = force
        means = Means(self._load, self._access, self._renew_doors, self._scrubber, self._later, started=config)
        self._reloading = Reloading(force, cascades, self._governing, means)
        return force.gateway

    def _make_table(self) -> RouteTable:
        """Every route, guarded."""
        operations = Operations(self.gateway, self._prober, self._ledger.keeping)
        self._live = Live(
            self.gateway,
            self._pulse,
            today=Today(self._governing.store, wall=self._ledger.wall),
            keeping=self._ledger.keeping,
            readiness=operations.readiness,
        )
        return routes(
            self.gateway,
            operations,
            Reload(self._reloading.reload),
            self._dancer.ask,
            [*self._resources(), self._live],
            memory=self._memory,
        )

    def _resources(self) -> list[Resource]:
        store = self._governing.store
        keys = Keys(
            store,
            known=lambda: known_in(self.gateway.config, self._generated),
            wall=clock.wall,
            changed=self._directory.refresh,
        )
        workspaces = Workspaces(
            store,
            endpoints=lambda: self.gateway.config.endpoints,
            wall=clock.wall,
            changed=self._directory.refresh,
            models=lambda: self._governing.registry.models,
        )
        analytics = self._analytics(store)

        def behind() -> bool:
            return self._ledger.keeping().state is not Keeping.OK

        feedback = Feedback(store, wall=clock.wall, behind=behind)
        return [
            KeyRoutes(keys, wall=clock.wall, standing=partial(self._ledger.standing, Subject.KEY)),
            AuditRoutes(Audit(store)),
            WorkspaceRoutes(workspaces),
            FeedbackRoutes(feedback),
            AnalyticsApi(self.gateway, analytics),
            DecisionRoutes(self.gateway, analytics, behind=behind),
            *self._governing.resources(self.gateway, file=lambda: self._force.config, limits=self._directory.refresh),
            ConfigRoutes(self._reloading.shown, self._reloading.change),
            ResilienceRoutes(self.gateway, self._memory),
            Dashboard(read_assets()),
            BreakerRoutes(self.gateway),
            DrainRoutes(self.gateway),
            RouteCalls(self.gateway, self._memory, answered=None if self._database is None else feedback.answered),
        ]

    def _analytics(self, store: Store) -> Analytics:
        def baseline() -> str | None:
            deep = self.gateway.snapshot.baseline
            return None if deep is None else deep.id

        def budgets(workspace: str) -> object:
            policy = self.gateway.policies.get(workspace)
            return self._ledger.standing(Subject.WORKSPACE, workspace, NO_BUDGETS if policy is None else policy.budgets)

        return Analytics(
            store,
            wall=self._ledger.wall,
            models=lambda: [Model(each.id, each.name, each.tier.value) for each in self.gateway.config.endpoints],
            baseline=baseline,
            budgets=budgets,
        )

    def _registry_changed(self, registry: Registry) -> None:
        self._reloading.registry_changed(registry)

    def _directory_changed(self, issued: IssuedKeys) -> None:
        self.gateway.policies = issued.directory.workspaces
        self.gateway.access = self._access(self.gateway.config)

    def _make_prober(self) -> HealthProber:
        return HealthProber(
            lambda: self.gateway.snapshot.table,
            config_getter=lambda: self.gateway.config.health,
            probe=self._probes.ask,
            clock=clock.monotonic,
            rng=self._rng,
            on_failure=self._prober_failed,
            on_lost=lambda id_, why: self._metrics.health_tracking_failure(id_, HealthFailure(why.value)),
        )

    @property
    def router_pid(self) -> int | None:
        """The process that answers /api/neural/route, once it was asked."""
        return self._dancer.pid

    async def reload(self, what: What = What.BOTH) -> Reloaded:
        """As `POST /admin/reload`; raises ConfigError and changes nothing."""
        return await self._reloading.reload(what)

    def _renew_doors(self, config: Config) -> None:
        """Take the certificate as it is now; raises ConfigError for one that cannot be used."""
        if self.tls is not None and config.server.tls is not None:
            self.tls.renew(config.server.tls)

    def reload_on_signal(self) -> asyncio.Task[None]:
        """SIGHUP: reload soon, and say in the log when the file cannot be used."""
        return self._later(self._reloading.reload_and_tell())

    async def prepared(self) -> None:
        """Wait until the scorer is ready, or known to be none."""
        await self._prepared.wait()

    async def start(self) -> None:
        """Bring in what the last run left behind; once. Raises ConfigError when the storage does not allow it."""
        if self._started:
            return
        self._started = True
        try:
            await self._ledger.start()
            await self._governing.start()
            self._traces.start()
        except BaseException:
            await self._close_storage()
            raise

    @contextlib.asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        await self.start()
        beside = (
            asyncio.create_task(self._prober.run(), name="health-prober"),
            asyncio.create_task(watch_endpoints(lambda: self.gateway.snapshot.table), name="endpoint-watch"),
            asyncio.create_task(self._reloading.run(), name="configuration-files"),
            asyncio.create_task(self._memory.run(), name="old-answers"),
            asyncio.create_task(self._directory.run(), name="directory"),
            *(asyncio.create_task(work, name=name) for name, work in self._governing.beside().items()),
            asyncio.create_task(self._ledger.upkeep(lambda: self.gateway.config.storage), name="ledger-upkeep"),
        )
        self._later(self._prepare())
        try:
            yield
        finally:
            self._live.end()
            self.gateway.settle()
            for task in beside:
                task.cancel()
            await _all_ended(beside)
            closing = [endpoint.transport.aclose() for endpoint in self.gateway.snapshot.table.endpoints]
            judge = self.gateway.snapshot.router.judge
            if judge is not None:
                closing.append(judge.settled())
            await _all_ended((*closing, *self._probes.closing(), *self._closing, self._dancer.close()))
            await self._traces.close()
            if self._content is not None:
                await asyncio.to_thread(self._content.close)
            await self._close_storage()

    async def _close_storage(self) -> None:
        self._directory.close()
        self._governing.close()
        await self._ledger.close()
        if self._database is not None:
            await asyncio.to_thread(self._database.close, within_s=CLOSE_WITHIN_S)

    def _access(self, config: Config) -> Access:
        # The listeners stay where they were opened, whatever a reloaded file says: so does what a stranger may do.
        return Access(
            config.auth,
            loopback=self._loopback,
            generated=self._generated,
            issued=self._directory.current,
            wrong_keys=self._wrong_keys,
            origins=config.cors.origins,
        )

    def _make_transport(self, config: EndpointConfig) -> Transport:
        try:
            return self._maker.make_transport(config)
        except ValueError as error:
            raise ConfigError(f"{config.id}: {error}") from None

    def _prober_failed(self, failure_type: str) -> None:
        self.gateway.metrics.health_task_failure(BackgroundFailure(failure_type))
        _log.error("health probing broke and is started again", failure_type=failure_type, exc_info=True)

    async def _prepare(self) -> None:
        """Make the scorer ready beside what else starts: until then the gateway is alive but not ready."""
        neural = self.gateway.snapshot.router.neural
        try:
            if neural is not None and not neural.ready:
                await asyncio.to_thread(neural.prepare)
        except ConfigError as error:
            _log.error("the scorer could not be prepared", problems=str(error).splitlines())
            return
        except Exception:  # noqa: BLE001 - what cannot score abstains, and /health/ready says so
            _log.error("the scorer could not be prepared", exc_info=True)
            return
        self._prepared.set()

    def _later(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task

    def _live_rows(self) -> LiveRows:
        return self._view.read()


async def _all_ended(work: Iterable[Awaitable[None]]) -> None:
    """Wait for all of it; what broke is told, and keeps nothing else from its end."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, Exception):
            _log.error("something that ran beside the requests had broken", exc_info=result)
