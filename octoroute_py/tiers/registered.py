"""From the registry to endpoints: what was registered serves beside what the configuration file names."""

from collections.abc import Iterator, Set
from functools import lru_cache
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from octoroute_py.config.addresses import Wrong, location_of
from octoroute_py.config.schema import Config, EndpointConfig, NetworkRules, Registered, RegistryConfig, Secret
from octoroute_py.core.catalog import EndpointRole, Model, ModelEndpoint, ModelStatus
from octoroute_py.core.registry import Registry
from octoroute_py.core.words import CAPABILITY_WORDS, Capability
from octoroute_py.transport.reach import literal_address, read_url

T = TypeVar("T", int, float)

_ALWAYS: Final = frozenset({Capability.CHAT, Capability.STREAM})
_BACKUP_PRIORITY: Final = 0
_LOOPBACK: Final = ("127.0.0.1", "::1")


def with_registry(config: Config, registry: Registry) -> Config:
    """The configuration with the endpoints that are registered, behind its own.

    Names and ids of the file win: a model that would take one is left out (`clashes` tells which). No alias is the id
    of another model or endpoint, served or not: who names a model that serves nobody must not get another one.
    """
    taken = clashes(config, registry)
    ids = registry.models.keys() | {each.id for group in registry.endpoints.values() for each in group}
    found = [
        _without_aliases(endpoint, ids)
        for model in registry.models.values()
        if model.status is not ModelStatus.INACTIVE and model.id not in taken
        for endpoint in endpoints_of(model, registry.endpoints.get(model.id, ()), config)
    ]
    return msgspec.structs.replace(config, endpoints=(*config.endpoints, *found)) if found else config


def _without_aliases(endpoint: EndpointConfig, ids: Set[str]) -> EndpointConfig:
    own = endpoint.registered
    if own is None or ids.isdisjoint(own.aliases):
        return endpoint
    kept = tuple(alias for alias in own.aliases if alias not in ids)
    return msgspec.structs.replace(endpoint, registered=msgspec.structs.replace(own, aliases=kept))


def clashes(config: Config, registry: Registry) -> frozenset[str]:
    """The ids of models that the file has taken names or ids of since they were registered."""
    known = {word for each in config.endpoints for word in (each.id, each.name)}
    return frozenset(
        model.id
        for model in registry.models.values()
        if model.id in known or any(each.id in known for each in registry.endpoints.get(model.id, ()))
    )


def endpoints_of(model: Model, endpoints: tuple[ModelEndpoint, ...], config: Config) -> Iterator[EndpointConfig]:
    """What a model's endpoints are to the gateway; left out where its credential may not go."""
    words = frozenset(word.lower() for word in model.capabilities)
    known = frozenset(CAPABILITY_WORDS[word] for word in words if word in CAPABILITY_WORDS)
    for each in endpoints:
        credential = _credential(model, each, config)
        if credential is None and model.credential is not None:
            continue
        yield EndpointConfig(
            id=each.id,
            tier=model.tier,
            name=model.id,
            model=model.upstream_model or model.name,
            base_url=each.url,
            api_key=credential,
            max_tokens=_number(model, "maxTokens", int),
            temperature=_number(model, "temperature", float),
            weight=each.weight,
            priority=_BACKUP_PRIORITY if each.type is EndpointRole.BACKUP else model.priority,
            max_in_flight=each.max_in_flight,
            context_window=model.context_window,
            # words that say nothing of what a request may need leave the model open to all
            capabilities=known | _ALWAYS if known - _ALWAYS else None,
            location=model.location or location_of(each.url),
            input_cost_per_mtok=model.input_cost_per_mtok,
            output_cost_per_mtok=model.output_cost_per_mtok,
            cached_input_cost_per_mtok=model.cached_input_cost_per_mtok,
            compliance=tuple(tag.lower() for tag in model.compliance),
            timeout_seconds=each.timeout_seconds,
            registered=_registered(model, each, config, words),
        )


def _credential(model: Model, endpoint: ModelEndpoint, config: Config) -> Secret | None:
    """The key that the model names, if the configuration lets it go to the endpoint's host."""
    named = dict(config.registry.credentials).get(model.credential or "")
    return named.key if named is not None and _goes_to(endpoint.url, named.hosts) else None


def _registered(model: Model, endpoint: ModelEndpoint, config: Config, words: frozenset[str]) -> Registered:
    return Registered(
        model_id=model.id,
        status=model.status,
        model_type=model.model_type,
        rules=network_rules(config, endpoint),
        aliases=tuple(dict.fromkeys((model.name, f"{model.name}/{model.version}"))),
        capabilities=words,
        health_url=endpoint.health_check_url,
    )


def network_rules(config: Config, endpoint: ModelEndpoint) -> NetworkRules:
    """Where this endpoint may be: what the configuration allows, and what an admin allowed when it was registered."""
    own: RegistryConfig = config.registry
    named = tuple([each.base_url for each in config.endpoints if each.registered is None])
    allowed = _addresses_in(named) if own.allow_networks is None else own.allow_networks
    return NetworkRules(networks=(*allowed, *endpoint.allow_networks), ports=own.allow_ports)


def _goes_to(url: str, hosts: tuple[str, ...]) -> bool:
    """Whether requests to this URL go to one of these hosts, by the parser that connects."""
    try:
        return read_url(url).host in hosts
    except Wrong:
        return False


@lru_cache(maxsize=8)
def _addresses_in(urls: tuple[str, ...]) -> tuple[str, ...]:
    """The addresses that the file's own endpoints name: whoever wrote it lets the gateway talk to these machines.

    Remembered, because every registered endpoint asks for it again.
    """
    found: dict[str, None] = {}
    for url in urls:
        host = urlsplit(url).hostname or ""
        for name in _LOOPBACK if host == "localhost" else (host,):
            if (address := literal_address(name)) is not None:
                found[f"{address}/{address.max_prefixlen}"] = None
    return tuple(found)


def _number(model: Model, name: str, kind: type[T]) -> T | None:
    raw = model.parameters.get(name)
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.MsgspecError:
        return None  # whoever registers it is told
