"""A canary deployment of two registered models over a real database, with requests that are only told about."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from octoroute_py.admission.principal import Principal
from octoroute_py.config.load import parse_config
from octoroute_py.core.catalog import EndpointRole, Model, ModelEndpoint, ModelStatus, Provider
from octoroute_py.core.errors import Refused
from octoroute_py.core.registry import Kind, Registry
from octoroute_py.core.rollout import CanaryDeployment, RollbackCriteria, Side, SuccessCriteria, arm_of
from octoroute_py.core.words import Role, Surface, Tier
from octoroute_py.ledger.entry import entry_of
from octoroute_py.ledger.outcome import Attempt, Outcome
from octoroute_py.manage.canaries import Canaries
from octoroute_py.manage.canary_watch import CanaryWatch
from octoroute_py.manage.directories import follow_registry
from octoroute_py.manage.documents import Documents
from octoroute_py.manage.store import Store
from octoroute_py.routing.shares import Shares
from octoroute_py.storage import audit
from octoroute_py.storage.db import Database
from octoroute_py.tiers.registered import with_registry
from tests.fakes.application import httpx_config
from tests.fakes.journal_rows import keep

NOON = 1_800_000_000.0
OPS = Principal("ops", Role.OPERATOR, "key_ops")
CRITERIA = SuccessCriteria(min_requests=20, max_error_rate=0.1)
LIMITS = RollbackCriteria(max_error_rate=0.2)


def deployment(id_: str = "d", **fields: Any) -> CanaryDeployment:
    """A deployment of `new` in the place of `old`."""
    plain: dict[str, Any] = {
        "name": id_,
        "production_model_id": "old",
        "canary_model_id": "new",
        "success_criteria": CRITERIA,
        "rollback_criteria": LIMITS,
    }
    return CanaryDeployment(id=id_, **{**plain, **fields})


def attempt(endpoint: str, fault: str | None = None, *, began_s: float = 100.0, took_s: float = 0.05) -> Attempt:
    """One send; a fault means 500 where it is not None."""
    return Attempt(
        endpoint_id=endpoint,
        tier=Tier.BALANCED,
        status=200 if fault is None else 500,
        fault=fault,
        started_s=began_s,
        ended_s=began_s + took_s,
        cost_uusd=10,
    )


class Stand:
    """The registry, its watch, and a clock. While it is `broken` nothing can be written or read by management."""

    def __init__(self, database: Database) -> None:
        self.now = NOON
        self.broken = False
        self.changed = asyncio.Event()
        self.database = database
        self._file = parse_config(httpx_config())
        self._served = 0
        self._store = _Breaking(self, database)
        self.following = follow_registry(database, on_change=self._changed)
        self.documents = Documents(self._store, wall=self.wall, changed=self.following.refresh)
        self.restart()

    def wall(self) -> float:
        """The time."""
        return self.now

    def restart(self) -> None:
        """A new watch, which has seen nothing yet; shares begin anew."""
        self.shares = Shares()
        self.watch = CanaryWatch(self._store, self.documents, shares=self.shares, wall=self.wall)
        self.follow()
        self.canaries = Canaries(self.documents, self.watch)

    def follow(self) -> None:
        """What every change of the registry, and of the configuration, does."""
        self._changed(self.following.current)

    def _changed(self, registry: Registry) -> None:
        self.watch.follow(registry, with_registry(self._file, registry).endpoints)
        self.changed.set()

    async def model(self, id_: str, status: ModelStatus = ModelStatus.ACTIVE, *, endpoint: bool = True) -> None:
        """Register a model with an endpoint."""
        await self.put(Kind.MODEL, id_, Model(id=id_, name=id_, provider=Provider.CUSTOM, status=status))
        if endpoint:
            url = "http://m.test/v1"
            at = ModelEndpoint(id=f"{id_}:1", model_id=id_, url=url, type=EndpointRole.PRIMARY)
            await self.put(Kind.ENDPOINT, at.id, at)

    async def put(self, kind: Kind, id_: str, value: msgspec.Struct) -> None:
        """Keep a document, whatever it says."""
        await self.documents.change(lambda desk: desk.put(kind, id_, value, action="x"), by="test")

    async def started(self, id_: str = "d", **fields: Any) -> CanaryDeployment:
        """A deployment that runs; `old` and `new` are made."""
        for model in ("old", "new"):
            await self.model(model)
        await self.canaries.create(deployment(id_, **fields), by=OPS)
        await self.canaries.start(id_, by=OPS)
        return self.kept(id_)

    def kept(self, id_: str = "d") -> CanaryDeployment:
        """The deployment as the registry has it."""
        return self.following.current.canaries[id_]

    def status_of(self, model: str) -> ModelStatus:
        """What a registered model may serve."""
        return self.following.current.models[model].status

    def outcome(self, *attempts: Attempt, side: Side = Side.CANARY, id_: str = "d", **fields: Any) -> Outcome:
        """A request that the deployment decided about, just ended."""
        self._served += 1
        failed = attempts[-1].fault is not None
        plain: dict[str, Any] = {
            "request_id": f"r{self._served}",
            "surface": Surface.CHAT,
            "status": 502 if failed else 200,
            "error_code": "upstream_error" if failed else None,
            "attempts": attempts,
            "sends": len(attempts),
            "endpoint_id": attempts[-1].endpoint_id,
            "tier": Tier.BALANCED,
            "arms": arm_of(id_, side),
            "started_wall_s": self.now - 0.05,
            "started_ms": int(self.now * 1000) - 50,
            "started_s": 100.0,
            "duration_s": 0.05,
            "routing_s": 0.0,
            "cost_uusd": sum(each.cost_uusd for each in attempts),
        }
        return Outcome(**{**plain, **fields})

    def serve(self, good: int, bad: int = 0, *, side: Side = Side.CANARY, journal: bool = False) -> None:
        """So many requests to one side; the bad ones come last. With `journal` their rows are kept too."""
        endpoint = {Side.CANARY: "new:1", Side.PRODUCTION: "old:1"}[side]
        ended = [
            self.outcome(attempt(endpoint, None if number < good else "server_error"), side=side)
            for number in range(good + bad)
        ]
        for one in ended:
            self.watch.saw(one)
        if journal:
            keep(self.database, [entry_of(one) for one in ended])

    def audited(self) -> list[tuple[str, str, str]]:
        """Who did what to what, oldest first."""
        with self.database.read() as connection:
            rows = list(audit.newest(connection, 100))
        return [(row.actor, row.action, row.subject) for row in reversed(rows)]


class _Breaking(Store):
    """A store that can be out of order."""

    __slots__ = ("_stand",)

    def __init__(self, stand: Stand, database: Database) -> None:
        super().__init__(database)
        self._stand = stand

    def _opened(self) -> Database:
        if self._stand.broken:
            raise Refused("It is out of order.", code="storage_unavailable")
        return super()._opened()


@contextlib.contextmanager
def stand(folder: Path) -> Iterator[Stand]:
    """A registry and a watch that are there for a test."""
    database = Database.open("sqlite:///rollouts.db", base_dir=folder)
    one = Stand(database)
    try:
        yield one
    finally:
        one.following.close()
        database.close()
