"""What the configuration in force is composed of: the file, what lies over it, and what is registered beside it."""

import random
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

import msgspec
import structlog

from octoroute_py.admission.auth import Access
from octoroute_py.app.cascades import Cascades, Made
from octoroute_py.app.governing import Governing
from octoroute_py.app.probes import Probes
from octoroute_py.config.overlay import overlaid, usable
from octoroute_py.config.schema import Config
from octoroute_py.core import clock
from octoroute_py.core.registry import Registry
from octoroute_py.core.settings import NO_SETTINGS, Settings
from octoroute_py.gateway.context import Snapshot
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.gateway.snapshot import make_snapshot
from octoroute_py.tiers.registered import clashes, with_registry
from octoroute_py.tiers.table import MakeTransport, TierTable

if TYPE_CHECKING:
    from octoroute_py.routing.neural import NeuralRouter

_log = structlog.stdlib.get_logger("octoroute.app")

Later = Callable[[Coroutine[None, None, None]], object]
"""Does some work beside the requests."""


class Layers(msgspec.Struct, frozen=True, kw_only=True):
    """The file, the settings that are kept in the database, and over both those that only this process knows."""

    file: Config
    kept: Settings = NO_SETTINGS
    runtime: Settings = NO_SETTINGS

    def whole(self) -> Config:
        """The configuration that they come to. Raises WrongSettings for a runtime setting that does not fit."""
        kept, _ = usable(self.file, self.kept)
        settings = self.runtime.over(kept).plain()
        return overlaid(self.file, settings) if settings else self.file


class InForce:
    """Puts configurations in force for requests from now on; `gateway` is there after `begin`.

    `layers` are those in force, `config` what they come to. It changes in the event loop, between two requests.
    """

    gateway: Gateway

    def __init__(
        self,
        layers: Layers,
        cascades: Cascades,
        governing: Governing,
        *,
        make_transport: MakeTransport,
        probes: Probes,
        later: Later,
    ) -> None:
        self.layers = layers
        self.config = layers.whole()
        self._cascades = cascades
        self._governing = governing
        self._make_transport = make_transport
        self._probes = probes
        self._later = later
        self._clashes: frozenset[str] = frozenset()
        self._told: str | None = None

    def first(self, scorer: "NeuralRouter | None", *, rng: random.Random) -> Snapshot:
        """The snapshot that the gateway begins with. Raises ConfigError."""
        registry = self._governing.registry
        whole = with_registry(self.config, registry)
        self._tell(registry)
        table = TierTable.build(whole, self._make_transport, rng=rng, now=clock.monotonic())
        made = self._cascades.make(self.config, scorer)
        self._cascades.take(made)
        self._governing.watch.follow(registry, whole.endpoints)
        return self._snapshot(whole, table, made, registry, generation=1)

    def put(
        self,
        layers: Layers,
        registry: Registry,
        scorer: "NeuralRouter | None",
        *,
        access: Access | None = None,
        anew: bool = False,
    ) -> int:
        """Put these in force, whole or not at all; the new generation. Raises ConfigError and changes nothing.

        `access` None: who may do what stays as it is. `anew`: what a judge said before is forgotten.
        """
        old, config = self.gateway.snapshot, layers.whole()
        whole = with_registry(config, registry)
        made = self._cascades.make(config, scorer, anew=anew)
        table, removed = old.table.rebuild(whole, self._make_transport)
        snapshot = self._snapshot(whole, table, made, registry, generation=old.generation + 1, before=old)
        self.layers, self.config = layers, config
        self.gateway.swap(snapshot, access or self.gateway.access)
        retired = self._cascades.take(made)
        self.gateway.metrics.dancer.retire_trips(sum(endpoint.breaker.trips for endpoint in removed))
        self._tell(registry)
        self._governing.watch.follow(registry, whole.endpoints)
        if retired is not None:
            self._later(retired.settled())
        for transport in (*(endpoint.transport for endpoint in removed), *self._probes.forget(removed)):
            self._later(transport.aclose())
        return snapshot.generation

    def _snapshot(
        self,
        whole: Config,
        table: TierTable,
        made: Made,
        registry: Registry,
        *,
        generation: int,
        before: Snapshot | None = None,
    ) -> Snapshot:
        return make_snapshot(
            whole,
            table,
            made.router,
            registry=registry,
            share_now=self._governing.shares.of,
            generation=generation,
            before=before,
        )

    def _tell(self, registry: Registry) -> None:
        """Say once of each registered model that its name has been taken by the file, and of settings without use."""
        before, self._clashes = self._clashes, clashes(self.layers.file, registry)
        for taken in sorted(self._clashes - before):
            _log.warning("a registered model has a name that stands in the configuration: left out", id=taken)
        _, wrong = usable(self.layers.file, self.layers.kept)
        if wrong not in (None, self._told):
            _log.warning("settings that were kept do not fit the configuration: left out", problems=wrong.splitlines())
        self._told = wrong
