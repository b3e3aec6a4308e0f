"""Who answers, as metrics know it: the labels of an endpoint and of the model that it serves."""

import hashlib
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import msgspec

from octoroute_py.config.schema import Config
from octoroute_py.core.catalog import ModelType
from octoroute_py.core.registry import Registry
from octoroute_py.telemetry.semconv import CHAT, EMBEDDINGS, TEXT_COMPLETION, provider_of

_OPERATIONS = {ModelType.COMPLETION: TEXT_COMPLETION, ModelType.EMBEDDING: EMBEDDINGS}


class Served(msgspec.Struct, frozen=True):
    """An endpoint's id, the model it serves, and whose API that speaks.

    What it is there for (`operation`) and whose it is (`vendor`, by its host) are OpenTelemetry's words, as in spans.
    """

    endpoint_id: str
    model: str
    provider: str = "openai"
    operation: str = CHAT
    vendor: str = "openai"


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """All names that may become labels; `workspaces` and `agent_types` are those that somebody has configured."""

    endpoints: tuple[Served, ...] = ()
    rules: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    agent_types: tuple[str, ...] = ()
    canaries: tuple[str, ...] = ()


def served_by(config: Config, registry: Registry) -> tuple[Served, ...]:
    """The endpoints of a configuration, which has the registered ones in it."""
    found = []
    for each in config.endpoints:
        own = each.registered
        model = None if own is None else registry.models.get(own.model_id)
        provider = each.kind.value if model is None else model.provider.value
        operation = CHAT if own is None else _OPERATIONS.get(own.model_type, CHAT)
        vendor = provider_of(urlsplit(each.base_url).hostname or "")
        found.append(Served(each.id, each.name, provider, operation, vendor))
    return tuple(found)


def agent_types_of(config: Config, registry: Registry) -> tuple[str, ...]:
    """The agent types that have limits or preferences."""
    return tuple(dict.fromkeys((*(name for name, _ in config.limits.agent_types), *registry.preferences)))


def plain(endpoint_ids: Iterable[str]) -> tuple[Served, ...]:
    """Endpoints of which nothing but the id is known: each serves a model of that name."""
    return tuple(Served(each, each) for each in endpoint_ids)


def tenant_of(workspace: str) -> str:
    """What stands for a workspace in labels: the first eight hexadecimal digits of its name's SHA-256."""
    return hashlib.sha256(workspace.encode()).hexdigest()[:8]


def first_models(endpoints: Iterable[Served], most: int) -> Mapping[str, Served]:
    """The first models by name, each with the first endpoint that serves it."""
    found: dict[str, Served] = {}
    for each in endpoints:
        if each.model not in found and len(found) < most:
            found[each.model] = each
    return found
