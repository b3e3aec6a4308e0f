"""Models and endpoints that operators register: one shape for the API, for what is kept and for what is exported.

JSON names are camelCase; money is USD per million tokens, times are milliseconds where a name says so.
"""

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from octoroute_py.core.words import Location, Tier

Id = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@+-]*$(?!\n)",
        description="Letters, digits and . _ : @ + -",
    ),
]
"""What a client may choose as an id: it stands in paths and headers."""
Label = Annotated[
    str,
    Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$(?!\n)", description="One line"),
]
"""A name for people, or a word that something is matched by: one line without control characters."""
Text = Annotated[str, Meta(max_length=2000, pattern=r"^[^\x00]*$")]
Words = Annotated[tuple[Label, ...], Meta(max_length=100)]
Url = Annotated[str, Meta(min_length=8, max_length=2048)]
Usd = Annotated[float, Meta(ge=0, le=1_000_000)]
Tokens = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Provider(enum.StrEnum):
    """Whose API a model speaks through."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    AZURE = "azure"
    CUSTOM = "custom"


class ModelType(enum.StrEnum):
    """What a model makes of what it is given."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    IMAGE = "image"
    AUDIO = "audio"


class ModelStatus(enum.StrEnum):
    """What a model may serve; only an admin, or a canary deployment, changes it."""

    ACTIVE = "active"
    """Everything."""
    CANARY = "canary"
    """Who asks for it by name, and the share that a split gives it."""
    TESTING = "testing"
    """Who asks for it by name, and experiments."""
    DEPRECATED = "deprecated"
    """Who asks for it by name, and is told."""
    INACTIVE = "inactive"
    """Nobody."""


class EndpointRole(enum.StrEnum):
    """An endpoint's part in its model: backups answer when no other can, canaries take their weight's share."""

    PRIMARY = "primary"
    BACKUP = "backup"
    CANARY = "canary"


class HealthStatus(enum.StrEnum):
    """What somebody who looks after a model says of it."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


class Model(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A model that was registered.

    `capabilities` are free words; those the gateway knows (tools, vision, json ...) close the model to requests that
    need one it lacks. Of `parameters`, `temperature` and `maxTokens` are sent where the client set none. `credential`
    names a `[registry.credentials]` table of the configuration.
    """

    id: Id
    name: Label
    version: Label = "1"
    provider: Provider
    model_type: ModelType = ModelType.CHAT
    capabilities: Words = ()
    parameters: dict[str, msgspec.Raw] = {}
    status: ModelStatus = ModelStatus.ACTIVE
    tier: Tier = Tier.BALANCED
    description: Text = ""
    tags: Words = ()
    upstream_model: Label | None = None
    priority: Annotated[int, Meta(ge=1, le=255)] = 1
    context_window: Tokens | None = None
    credential: Label | None = None
    location: Location | None = None
    compliance: Words = ()
    input_cost_per_mtok: Usd | None = None
    output_cost_per_mtok: Usd | None = None
    cached_input_cost_per_mtok: Usd | None = None


class ModelEndpoint(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Where a registered model answers: requests go to `{url}/chat/completions`.

    `allow_networks` (CIDR) are private networks it may resolve to beside those of the configuration; only an admin may
    give it.
    """

    id: Id
    model_id: Id
    url: Url
    type: EndpointRole = EndpointRole.PRIMARY
    weight: Annotated[float, Meta(gt=0, le=1_000_000)] = 1.0
    health_check_url: Url | None = None
    max_in_flight: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    timeout_seconds: Seconds | None = None
    allow_networks: Annotated[tuple[Label, ...], Meta(max_length=32)] = ()


class HealthReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How somebody found a model to be; None for what they did not tell. Advice for people: nothing is decided by it.

    `response_time` in ms, `error_rate` 0 to 1, `availability` and `uptime` 0 to 100.
    """

    status: HealthStatus | None = None
    response_time: Annotated[float, Meta(ge=0, le=86_400_000)] | None = None
    error_rate: Annotated[float, Meta(ge=0, le=1)] | None = None
    availability: Annotated[float, Meta(ge=0, le=100)] | None = None
    uptime: Annotated[float, Meta(ge=0, le=100)] | None = None
