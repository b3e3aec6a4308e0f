"""What the client asked for by `model`: our choice, a tier, or certain endpoints."""

from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from octoroute_py.config.schema import Config, EndpointConfig
from octoroute_py.core.decision import Decision
from octoroute_py.core.errors import NotFound
from octoroute_py.core.words import TIERS, Reason, Strategy, Tier

AUTO: Final = "auto"
_SHOWN: Final = 128


class Auto(msgspec.Struct, frozen=True):
    """The gateway chooses the tier."""


class TierIntent(msgspec.Struct, frozen=True):
    """The client chose the tier; other tiers may still stand in for it."""

    tier: Tier


class Exact(msgspec.Struct, frozen=True):
    """The client chose the endpoints: the replicas of one name, or one id. Nothing else stands in for them."""

    ids: tuple[str, ...]


Intent: TypeAlias = Auto | TierIntent | Exact

_VIRTUAL: Final[dict[str, Auto | TierIntent]] = {AUTO: Auto()} | {tier.value: TierIntent(tier) for tier in TIERS}


_EXPLICIT: Final = {tier: Decision(tier, Strategy.RULE, Reason.EXPLICIT_TIER) for tier in TIERS}


class Catalog:
    """Every name a client may ask for, from the configured endpoints."""

    __slots__ = ("_exact",)

    def __init__(self, endpoints: Iterable[EndpointConfig]) -> None:
        ordered = by_tier(endpoints)
        self._exact: dict[str, Exact] = {endpoint.id: Exact((endpoint.id,)) for endpoint in ordered}
        first: dict[str, Tier] = {}
        called: dict[str, list[str]] = {}
        for endpoint in ordered:
            if first.setdefault(endpoint.name, endpoint.tier) is endpoint.tier:
                called.setdefault(endpoint.name, []).append(endpoint.id)
        # A name that stands in several tiers means the cheapest of them, as in octoroute 1.0.0; names of registered
        # models mean whoever was registered first, after what is so called in the file.
        self._exact.update((name, Exact(tuple(ids))) for name, ids in called.items())
        for endpoint in ordered:
            for alias in endpoint.registered.aliases if endpoint.registered is not None else ():
                if alias.lower() not in _VIRTUAL:
                    self._exact.setdefault(alias, self._exact[endpoint.name])

    def find(self, name: str) -> Exact | None:
        """The endpoints called so: first as a name, then as an id; case matters."""
        return self._exact.get(name)


class ModelName(msgspec.Struct, frozen=True):
    """One row of `/v1/models`."""

    id: str
    owner: str


def by_tier(endpoints: Iterable[EndpointConfig]) -> list[EndpointConfig]:
    """The endpoints, fast tier first, in file order inside a tier."""
    return sorted(endpoints, key=lambda endpoint: TIERS.index(endpoint.tier))


def read_intent(model: str, catalog: Catalog) -> Intent:
    """What `model` means; `auto` and the tiers in any case, then endpoint names, then endpoint ids.

    Raises NotFound (404 `model_not_found`) for anything else.
    """
    name = model.strip()
    virtual = _VIRTUAL.get(name.lower()) if len(name) <= _SHOWN else None
    intent = virtual or catalog.find(name)
    if intent is None:
        shown = "".join(char if char.isprintable() else "?" for char in name[:_SHOWN])
        raise NotFound(f"The model '{shown}' does not exist.", code="model_not_found", param="model")
    return intent


def tier_decision(intent: TierIntent) -> Decision:
    """The decision that the client made by naming a tier."""
    return _EXPLICIT[intent.tier]


def model_names(config: Config) -> tuple[ModelName, ...]:
    """What `/v1/models` lists: auto and the tiers, then every endpoint name once, cheapest tier first."""
    names = dict.fromkeys((AUTO, *(tier.value for tier in TIERS)), "octoroute")
    for endpoint in by_tier(config.endpoints):
        names.setdefault(endpoint.name, "user")
    return tuple(ModelName(name, owner) for name, owner in names.items())
