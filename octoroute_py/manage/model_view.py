"""Models and endpoints as operators are told of them: those that are registered, and those that the file configures."""

import enum
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import msgspec

from octoroute_py.config.schema import Config, EndpointConfig
from octoroute_py.core.catalog import EndpointRole, Model, ModelEndpoint, ModelStatus, ModelType, Provider
from octoroute_py.core.clock import iso
from octoroute_py.core.registry import Registry
from octoroute_py.core.words import Location, Tier
from octoroute_py.manage.model_order import USED_PARAMETERS
from octoroute_py.routing.intent import by_tier
from octoroute_py.storage.registry import Document
from octoroute_py.tiers.registered import clashes, endpoints_of

_HOSTS = {"api.openai.com": Provider.OPENAI, "api.anthropic.com": Provider.ANTHROPIC}
_AZURE = ".openai.azure.com"


class ModelSource(enum.StrEnum):
    """Where a model comes from; what stands in the configuration file cannot be changed over the API."""

    CONFIG = "config"
    API = "api"


class EndpointView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An endpoint as it was registered or configured."""

    id: str
    model_id: str
    url: str
    type: EndpointRole = EndpointRole.PRIMARY
    weight: float
    health_check_url: str | None = None
    max_in_flight: int | None
    timeout_seconds: float | None
    allow_networks: tuple[str, ...] = ()


class ModelView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A model with its endpoints. `warnings` say what somebody may not expect of it."""

    id: str
    name: str
    version: str = "1"
    provider: Provider
    model_type: ModelType = ModelType.CHAT
    capabilities: tuple[str, ...]
    parameters: dict[str, msgspec.Raw]
    status: ModelStatus = ModelStatus.ACTIVE
    tier: Tier
    description: str = ""
    tags: tuple[str, ...] = ()
    upstream_model: str | None
    priority: int
    context_window: int | None
    credential: str | None = None
    location: Location | None
    compliance: tuple[str, ...]
    input_cost_per_mtok: float | None
    output_cost_per_mtok: float | None
    cached_input_cost_per_mtok: float | None
    endpoints: tuple[EndpointView, ...]
    source: ModelSource
    warnings: tuple[str, ...] = ()
    created_at: str | None = None
    updated_at: str | None = None


def model_view(document: Document, endpoints: Sequence[ModelEndpoint], config: Config) -> ModelView:
    """A registered model."""
    model = document.read(Model)
    return ModelView(
        **msgspec.structs.asdict(model),
        endpoints=tuple(endpoint_view(each) for each in endpoints),
        source=ModelSource.API,
        warnings=tuple(_warnings(model, tuple(endpoints), config)),
        created_at=iso(document.created_ms),
        updated_at=iso(document.updated_ms),
    )


def endpoint_view(endpoint: ModelEndpoint) -> EndpointView:
    """A registered endpoint."""
    return EndpointView(**msgspec.structs.asdict(endpoint))


def file_models(config: Config) -> dict[str, tuple[EndpointConfig, ...]]:
    """What the file configures, by name: no two tiers share one. Cheapest tier first."""
    found: dict[str, tuple[EndpointConfig, ...]] = {}
    for each in by_tier(config.endpoints):
        if each.registered is None:
            found[each.name] = (*found.get(each.name, ()), each)
    return found


def file_model_view(model_id: str, replicas: Sequence[EndpointConfig]) -> ModelView:
    """A model of the file; what its replicas do not share is told as of the first."""
    first = replicas[0]
    given = {"temperature": first.temperature, "maxTokens": first.max_tokens}
    return ModelView(
        id=model_id,
        name=first.name,
        provider=_provider(first.base_url),
        capabilities=() if first.capabilities is None else tuple(sorted(first.capabilities)),
        parameters={k: msgspec.Raw(msgspec.json.encode(v)) for k, v in given.items() if v is not None},
        tier=first.tier,
        upstream_model=first.model,
        priority=first.priority,
        context_window=first.context_window,
        location=first.location,
        compliance=first.compliance,
        input_cost_per_mtok=first.input_cost_per_mtok,
        output_cost_per_mtok=first.output_cost_per_mtok,
        cached_input_cost_per_mtok=first.cached_input_cost_per_mtok,
        endpoints=tuple(file_endpoint_view(model_id, each) for each in replicas),
        source=ModelSource.CONFIG,
    )


def file_endpoint_view(model_id: str, replica: EndpointConfig) -> EndpointView:
    """An endpoint of the file."""
    return EndpointView(
        id=replica.id,
        model_id=model_id,
        url=replica.base_url,
        weight=replica.weight,
        max_in_flight=replica.max_in_flight,
        timeout_seconds=replica.timeout_seconds,
    )


def _provider(url: str) -> Provider:
    host = urlsplit(url).hostname or ""
    return Provider.AZURE if host.endswith(_AZURE) else _HOSTS.get(host, Provider.CUSTOM)


def _warnings(model: Model, endpoints: tuple[ModelEndpoint, ...], config: Config) -> Iterator[str]:
    unused = [name for name in model.parameters if name not in USED_PARAMETERS]
    if unused:
        told = ", ".join(f"'{name}'" for name in unused[:20])
        yield f"parameters: {told} are kept and told back; only temperature and maxTokens are sent."
    if clashes(config, Registry(models={model.id: model}, endpoints={model.id: endpoints})):
        yield "The configuration file has a name or id of this model now: it is left out until one of them changes."
    if not endpoints:
        yield "It has no endpoint yet, so nobody can reach it."
    serving = {each.id for each in endpoints_of(model, endpoints, config)}
    if any(each.id not in serving for each in endpoints):
        yield "Endpoints are left out: [registry.credentials] has no such credential for their hosts any more."
    if model.model_type is not ModelType.CHAT:
        yield f"A model of type '{model.model_type.value}' takes no part in its tier: it answers when asked by name."
