"""GET and PUT /admin/config: the settings that can be changed while the gateway runs, over those of the file."""

import enum
from collections.abc import Awaitable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlsplit, urlunsplit

import msgspec
from starlette.types import Receive, Scope, Send

from octoroute_py.admission.principal import Principal
from octoroute_py.config.overlay import PLACES
from octoroute_py.config.schema import BalancerName, Config, Secret, StrategyName, TierFallback
from octoroute_py.core.errors import BadRequest, ConfigError, GatewayError
from octoroute_py.core.settings import NO_SETTINGS, Settings
from octoroute_py.core.words import Role, Tier
from octoroute_py.edge.api.answer import Answer
from octoroute_py.edge.api.wire import principal_of, query, read_json
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.operation import Operation
from octoroute_py.edge.wire_io import ClientGone, send_json

READ_ONLY: Final = {
    "model_path": "routing.neural.artifact in the file says it",
    "enable_quantization": "the artifact says it",
    "database_path": "storage.url in the file says it",
    "generation": "it counts what is put in force",
    "sources": "it is told, not set",
    "weight_sources": "it is told, not set",
    "needs_artifact": "it is told, not set",
}
"""Fields that are shown and cannot be set, with the reason."""


class ValueSource(enum.StrEnum):
    """Where a value comes from."""

    FILE = "file"
    PERSISTED = "persisted"
    RUNTIME = "runtime"


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """The settings in force: the seven of Tiny Dancer, then ours.

    `enable_quantization` says whether the scorer that is loaded computes with small numbers. `needs_artifact` are the
    strategies whose artifact would have to be read first, `weights` those of the file's endpoints by id, and
    `weight_sources` tells of those that do not stand in the file.
    """

    model_path: str
    confidence_threshold: float | None
    max_uncertainty: float | None
    enable_circuit_breaker: bool
    circuit_breaker_threshold: int
    enable_quantization: bool
    database_path: str | None
    strategy: StrategyName
    default_tier: Tier | None
    tier_fallback: TierFallback
    balancer: BalancerName
    max_quality_loss: float
    weights: dict[str, float]
    generation: int
    sources: dict[str, ValueSource]
    weight_sources: dict[str, ValueSource]
    needs_artifact: list[StrategyName]

    def differing(self, other: "Shown") -> list[str]:
        """The settings that have another value there."""
        return [name for name in (*PLACES, "weights") if getattr(self, name) != getattr(other, name)]

    def differing_in(self, other: "Shown") -> list[str]:
        """The same, each weight by itself as `weights["<id>"]`."""
        ids = dict.fromkeys((*self.weights, *other.weights))
        weights = [f'weights["{id_}"]' for id_ in ids if self.weights.get(id_) != other.weights.get(id_)]
        return [*(name for name in self.differing(other) if name != "weights"), *weights]


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """The fields whose value is another one now."""

    success: bool
    message: str
    updated_fields: list[str]
    generation: int

    @classmethod
    def of(cls, updated: list[str], *, hidden: list[str], generation: int) -> "Changed":
        """The answer to a change; `hidden` were to be taken away, but are kept still."""
        message = f"{', '.join(updated)} changed." if updated else "Nothing changed."
        if hidden:
            message += f" Kept in the database, and taken away only with persist: {', '.join(hidden)}."
        return cls(success=True, message=message, updated_fields=updated, generation=generation)


class NotChanged(msgspec.Struct, frozen=True, kw_only=True):
    """Why nothing was changed."""

    success: bool = False
    message: str
    updated_fields: list[str] = []


class SettingsOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings to change: absent ones stay, null takes one away again.

    With `persist` they are kept in the database until they are taken away in the same way; without, they hold until
    the file is read again.
    """

    confidence_threshold: float | msgspec.UnsetType | None = msgspec.UNSET
    max_uncertainty: float | msgspec.UnsetType | None = msgspec.UNSET
    max_quality_loss: float | msgspec.UnsetType | None = msgspec.UNSET
    enable_circuit_breaker: bool | msgspec.UnsetType | None = msgspec.UNSET
    circuit_breaker_threshold: int | msgspec.UnsetType | None = msgspec.UNSET
    strategy: StrategyName | msgspec.UnsetType | None = msgspec.UNSET
    default_tier: Tier | msgspec.UnsetType | None = msgspec.UNSET
    tier_fallback: TierFallback | msgspec.UnsetType | None = msgspec.UNSET
    balancer: BalancerName | msgspec.UnsetType | None = msgspec.UNSET
    weights: dict[str, float | None] | msgspec.UnsetType | None = msgspec.UNSET
    persist: bool = False


class ChangeSettings(Protocol):
    """Changes settings. Raises ConfigError, GatewayError, and changes nothing."""

    def __call__(self, values: Mapping[str, object], *, persist: bool, by: Principal) -> Awaitable[Changed]:
        """What came of it."""
        ...


class ShowSettings(Protocol):
    """Tells what is in force."""

    def __call__(self) -> Shown:
        """At this moment."""
        ...


class ConfigRoutes:
    """Both routes."""

    def __init__(self, shown: ShowSettings, change: ChangeSettings) -> None:
        self._shown = shown
        self._change = change

    def add_to(self, table: Table) -> None:
        """Add them."""
        table.add("GET", "/admin/config", Answer(self._get), role=Role.ADMIN, operation=SHOW)
        table.add("PUT", "/admin/config", self._put, role=Role.ADMIN, operation=CHANGE)

    async def _get(self, scope: Scope, receive: Receive) -> Shown:
        query(scope)
        return self._shown()

    async def _put(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            query(scope)
            values = await read_json(scope, receive, dict[str, Any])
            persist = values.pop("persist", False)
            _refuse_read_only(values, persist)
            changed = await self._change(values, persist=persist, by=principal_of(scope))
        except ClientGone:
            return
        except GatewayError as error:
            await send_json(scope, send, NotChanged(message=error.client_message), status=error.status)
            return
        except ConfigError as error:
            await send_json(scope, send, NotChanged(message=str(error)), status=400)
            return
        await send_json(scope, send, changed)


def _refuse_read_only(values: Mapping[str, object], persist: object) -> None:
    if not isinstance(persist, bool):
        raise BadRequest("persist: must be true or false", param="persist")
    fixed = [f"{name}: cannot be changed here: {READ_ONLY[name]}" for name in values if name in READ_ONLY]
    if fixed:
        raise BadRequest("\n".join(fixed))


def shown_settings(
    config: Config,
    *,
    kept: Settings = NO_SETTINGS,
    runtime: Settings = NO_SETTINGS,
    generation: int = 0,
    scorer_loaded: bool = False,
    quantized: bool = False,
) -> Shown:
    """The settings of a configuration in which `runtime` lies over `kept`, and `kept` over the file."""
    layers = ((ValueSource.RUNTIME, runtime), (ValueSource.PERSISTED, kept))
    routing, neural, breaker = config.routing, config.routing.neural, config.breaker

    def source(name: str) -> ValueSource:
        return next((each for each, settings in layers if name in settings.plain()), ValueSource.FILE)

    weights = {each.id: each.weight for each in config.endpoints}
    return Shown(
        model_path=str(neural.artifact),
        confidence_threshold=neural.confidence_threshold,
        max_uncertainty=neural.max_uncertainty,
        enable_circuit_breaker=breaker.enabled,
        circuit_breaker_threshold=breaker.failure_threshold,
        enable_quantization=quantized,
        database_path=_without_password(config.storage.url),
        strategy=routing.strategy,
        default_tier=routing.default_tier,
        tier_fallback=routing.tier_fallback,
        balancer=routing.balancer,
        max_quality_loss=neural.max_quality_loss,
        weights=weights,
        generation=generation,
        sources={name: source(name) for name in (*PLACES, "weights")},
        weight_sources={
            id_: next(each for each, settings in layers if id_ in settings.weights)
            for id_ in weights
            if any(id_ in settings.weights for _, settings in layers)
        },
        needs_artifact=[] if scorer_loaded else [StrategyName.NEURAL, StrategyName.HYBRID],
    )


def _without_password(url: Secret | None) -> str | None:
    """Where the database is; a password may stand before the host or in the query."""
    if url is None:
        return None
    parts = urlsplit(url.reveal())
    user, at, place = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    shown = f"{name}:***" if password else name
    return urlunsplit((parts.scheme, f"{shown}{at}{place}", parts.path, "", "")) if parts.netloc else _plain(url)


def _plain(url: Secret) -> str:
    return url.reveal().partition("?")[0]


SHOW: Final = Operation(
    summary="The settings that can be changed while it runs, and where each comes from", answer=Shown
)
CHANGE: Final = Operation(
    summary="Change settings while it runs, for now or to be kept",
    body=SettingsOrder,
    answer=Changed,
    errors=(409,),
    failure=NotChanged,
)
