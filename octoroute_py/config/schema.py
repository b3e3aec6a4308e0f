"""The configuration as frozen values (contract §2). No parsing here: `load` fills these, everyone else reads them.

All durations are seconds, all sizes bytes, prices USD per million tokens. `None` means unset.
"""

import enum
from pathlib import Path

import msgspec

from octoroute_py.core.allowance import NO_BUDGETS, NO_RATES, Budgets, Rates
from octoroute_py.core.catalog import ModelStatus, ModelType
from octoroute_py.core.words import Capability, Importance, Location, Role, TaskType, Tier


class StrategyName(enum.StrEnum):
    """The configured strategies; `hybrid` is a composition and never a label."""

    RULE = "rule"
    LLM = "llm"
    NEURAL = "neural"
    HYBRID = "hybrid"
    TOOL = "tool"


class TierFallback(enum.StrEnum):
    """Which other tiers may answer when the chosen one cannot."""

    UP = "up"
    NONE = "none"
    DOWN = "down"
    BOTH = "both"


class BalancerName(enum.StrEnum):
    """How one endpoint is picked inside a priority class."""

    WEIGHTED = "weighted"
    LEAST_LOADED = "least_loaded"
    LATENCY = "latency"


class EndpointKind(enum.StrEnum):
    """What software answers at the endpoint."""

    OPENAI = "openai"
    LLAMA_CPP = "llama_cpp"


class TransportName(enum.StrEnum):
    """AUTO is the lean pool unless proxy, http2 or ca_file asks for httpx."""

    AUTO = "auto"
    HTTPX = "httpx"


class TokenLimitField(enum.StrEnum):
    """Under which name a configured token limit is added to a chat body that has none."""

    MAX_TOKENS = "max_tokens"
    MAX_COMPLETION_TOKENS = "max_completion_tokens"


class AuthMode(enum.StrEnum):
    """AUTO: open on loopback without keys, keys required otherwise. NONE: open, explicitly."""

    AUTO = "auto"
    NONE = "none"


class LogFormat(enum.StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


class LogLevel(enum.StrEnum):
    """The least severe level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Secret:
    """A credential that shows itself only when asked by name; printing, formatting and encoding give `***`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The credential itself."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[server.tls]`: files in PEM; `client_ca_file` makes client certificates mandatory."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[server]`; `watch_config` reloads when the file changes, as SIGHUP does."""

    host: str = "127.0.0.1"
    port: int = 3000
    workers: int = 1
    request_timeout_seconds: float | None = None
    drain_seconds: float = 60.0
    watch_config: bool = False
    tls: TlsConfig | None = None


class NetworkRules(msgspec.Struct, frozen=True, kw_only=True):
    """Where an endpoint that was registered over the API may be, looked at for every connection.

    Public addresses, and private ones inside `networks` (CIDR). `ports` None: the usual ones (`transport.reach`).
    """

    networks: tuple[str, ...] = ()
    ports: tuple[int, ...] | None = None


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint has that was registered over the API and does not stand in the configuration file.

    `aliases` are further names clients may ask for. `capabilities` are the model's words, lower case. `health_url` is
    asked by probes instead of `{base_url}/models`.
    """

    model_id: str
    status: ModelStatus
    rules: NetworkRules
    model_type: ModelType = ModelType.CHAT
    aliases: tuple[str, ...] = ()
    capabilities: frozenset[str] = frozenset()
    health_url: str | None = None


class EndpointConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One `[[models.<tier>]]` entry: URL + upstream model + credential that answers for a tier.

    `capabilities` None means "assume everything"; CHAT and STREAM are always included when it is set.
    `base_url` has no trailing slash. `headers` are extra request headers (name, value). `bills_on_accept`: the provider
    charges for a prompt that it took and never answered. `compliance` are the tags a workspace may ask for.
    `registered` is there when the endpoint comes from the API.
    """

    id: str
    tier: Tier
    name: str
    model: str
    base_url: str
    api_key: Secret | None = None
    headers: tuple[tuple[str, str], ...] = ()
    max_tokens: int | None = None
    temperature: float | None = None
    token_limit_field: TokenLimitField = TokenLimitField.MAX_TOKENS
    include_usage: bool = True
    weight: float = 1.0
    priority: int = 1
    max_in_flight: int | None = None
    context_window: int | None = None
    capabilities: frozenset[Capability] | None = None
    location: Location = Location.CLOUD
    kind: EndpointKind = EndpointKind.OPENAI
    transport: TransportName = TransportName.AUTO
    proxy: Secret | None = None  # a proxy URL may carry a password
    http2: bool = False
    ca_file: Path | None = None
    input_cost_per_mtok: float | None = None
    output_cost_per_mtok: float | None = None
    cached_input_cost_per_mtok: float | None = None
    bills_on_accept: bool = False
    compliance: tuple[str, ...] = ()
    timeout_seconds: float | None = None
    idle_seconds: float | None = None
    connect_seconds: float | None = None
    registered: Registered | None = None

    @property
    def in_tier(self) -> bool:
        """Whether it takes part in what its tier is asked; else it answers only for who means it by name."""
        own = self.registered
        return own is None or (own.status is ModelStatus.ACTIVE and own.model_type is ModelType.CHAT)


class TimeOfDayRange(msgspec.Struct, frozen=True):
    """Minutes since midnight, start inclusive, end exclusive; start > end crosses midnight."""

    start_minute: int
    end_minute: int


class RuleWhen(msgspec.Struct, frozen=True, kw_only=True):
    """`when.*` of a rule: every condition given must hold.

    `min_tokens` and `max_tokens` bound the token estimate, both inclusive. `task_type`, `importance` and `model` list
    the values that match (`model` is the requested name, compared case-sensitively, `*` at the end matches a prefix).
    `header` maps lower-case names to values (exact) that must all be present. `pattern` is a regular expression
    searched in the first 16,384 characters of the last user message, or in the first 2,048 when it has an open-ended
    repeat (`*`, `+`, `{n,}`), which bounds the time one message can cost. `hours` are
    ranges in `timezone` (IANA name, default UTC).
    """

    min_tokens: int | None = None
    max_tokens: int | None = None
    task_type: tuple[TaskType, ...] = ()
    importance: tuple[Importance, ...] = ()
    model: tuple[str, ...] = ()
    header: tuple[tuple[str, str], ...] = ()
    pattern: str | None = None
    has_tools: bool | None = None
    has_images: bool | None = None
    hours: tuple[TimeOfDayRange, ...] = ()
    timezone: str = "UTC"


class RuleConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One `[[routing.rules]]` entry; higher `priority` is looked at first, ties in file order."""

    name: str
    tier: Tier
    priority: int = 0
    enabled: bool = True
    when: RuleWhen = RuleWhen()


class RouterTimeouts(msgspec.Struct, frozen=True, kw_only=True):
    """`[routing.router_timeouts]`: limit of one judge call by the judge's tier."""

    fast: float = 10.0
    balanced: float = 10.0
    deep: float = 10.0


class ShippedArtifact(enum.StrEnum):
    """Artifacts that come with the package."""

    DEFAULT = "default"
    LINEAR = "linear"


class NeuralConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[routing.neural]`; `artifact` is a file or the name of a shipped one."""

    artifact: Path | ShippedArtifact = ShippedArtifact.DEFAULT
    max_quality_loss: float = 0.05
    confidence_threshold: float | None = None
    max_uncertainty: float | None = None


class RoutingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[routing]`; `default_tier` None leaves the choice to the strategy (contract §4)."""

    strategy: StrategyName
    router_tier: Tier = Tier.BALANCED
    default_tier: Tier | None = None
    default_importance: Importance = Importance.NORMAL
    tier_fallback: TierFallback = TierFallback.UP
    balancer: BalancerName = BalancerName.WEIGHTED
    router_timeouts: RouterTimeouts = RouterTimeouts()
    rules: tuple[RuleConfig, ...] = ()
    neural: NeuralConfig = NeuralConfig()


class TimeoutsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[timeouts]`: limit of one attempt by tier."""

    fast: float | None = None
    balanced: float | None = None
    deep: float | None = None


class RetryConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[retry]`: sends in one tier, sends in all, back-off on the same endpoint, share of extra tries."""

    max_attempts: int = 3
    max_total: int = 4
    backoff_seconds: float = 0.25
    max_backoff_seconds: float = 8.0
    budget_ratio: float = 0.2


class BreakerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[breaker]`: opens at `failure_threshold` failures in a row or `failure_ratio` of `min_requests` verdicts."""

    enabled: bool = True
    failure_threshold: int = 5
    failure_ratio: float = 0.5
    min_requests: int = 10
    window_seconds: float = 60.0
    open_seconds: float = 5.0
    max_open_seconds: float = 300.0
    half_open_successes: int = 2


class HealthConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[health]`: active probes."""

    enabled: bool = True
    interval_seconds: float = 30.0
    timeout_seconds: float = 5.0
    failure_threshold: int = 3


class AgentTypeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """`[limits.agent_types.<name>]`: what all requests of one agent type share."""

    rates: Rates = NO_RATES
    budgets: Budgets = NO_BUDGETS


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[limits]`: `per_key` holds for each key that has no rates of its own, `per_ip` for each source address."""

    max_request_bytes: int = 10 * 1024 * 1024
    max_header_bytes: int = 32 * 1024
    max_in_flight: int | None = None
    per_key: Rates = NO_RATES
    per_ip: Rates = NO_RATES
    agent_types: tuple[tuple[str, AgentTypeLimits], ...] = ()


class Synchronous(enum.StrEnum):
    """When SQLite waits for the disk. NORMAL survives the end of the process, FULL also a loss of power."""

    NORMAL = "normal"
    FULL = "full"


class StorageConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[storage]`; without a `url` nothing is kept. Requests are kept for `journal_days`, their sums `rollup_days`."""

    url: Secret | None = None
    synchronous: Synchronous = Synchronous.NORMAL
    journal_days: int = 90
    rollup_days: int = 400


class CredentialConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[registry.credentials.<name>]`: a key that registered models may use, for requests to these hosts only."""

    key: Secret
    hosts: tuple[str, ...]


class RegistryConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[registry]`: what models that are registered over the API may use.

    `allow_networks` None: the addresses that the file's own endpoints name. `allow_ports` None: the usual ones.
    """

    allow_networks: tuple[str, ...] | None = None
    allow_ports: tuple[int, ...] | None = None
    credentials: tuple[tuple[str, CredentialConfig], ...] = ()


class KeyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One client key: its SHA-256 as 64 lower-case hex digits; the key itself is forgotten while loading."""

    name: str
    role: Role
    sha256: str


class ClientConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One `[[auth.clients]]` entry: what the holder of a client certificate with this name in it may do.

    `subject` is the certificate's common name or one of its alternative names, exactly. `workspaces` None means all.
    """

    subject: str
    role: Role
    workspaces: tuple[str, ...] | None = None


class TokenAlgorithm(enum.StrEnum):
    """How a JSON Web Token may be signed: by a secret both sides know, or by one whose public half is configured."""

    HS256 = "HS256"
    RS256 = "RS256"
    ES256 = "ES256"


class JwtConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[auth.jwt]`: tokens of one issuer that are as good as keys.

    `key` is the shared secret, or the public key in PEM. `workspace_claim` names the workspaces a token is bound to,
    `scopes_claim` what it may do, beside the standard `scope`.
    """

    algorithms: tuple[TokenAlgorithm]
    key: Secret
    issuer: str
    audience: str
    leeway_seconds: float = 30.0
    max_age_seconds: float = 86400.0
    workspace_claim: str = "tenantId"
    require_workspace: bool = True
    scopes_claim: str = "scopes"


class AuthConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[auth]`; TINY_DANCER_AUTH_TOKEN stands in `keys` as the admin key `tiny-dancer`."""

    mode: AuthMode = AuthMode.AUTO
    keys: tuple[KeyConfig, ...] = ()
    clients: tuple[ClientConfig, ...] = ()
    jwt: JwtConfig | None = None

    @property
    def has_keys(self) -> bool:
        """Whether anybody can show who they are without the key of a first start."""
        return bool(self.keys or self.clients) or self.jwt is not None


class AdminConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[admin]`: a second listener for /admin, /api, /dashboard and /metrics."""

    host: str = "127.0.0.1"
    port: int = 8081


class ObservabilityConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[observability]`; `log_levels` are those of single rooms, by the name of their logger."""

    log_level: LogLevel = LogLevel.INFO
    log_levels: tuple[tuple[str, LogLevel], ...] = ()
    log_format: LogFormat = LogFormat.TEXT
    metrics_auth: bool = False
    capture_content: bool = False


class TracingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[tracing]`: `otlp_endpoint` is the whole URL that spans are posted to, None turns tracing off."""

    otlp_endpoint: str | None = None
    service_name: str = "octoroute"
    sample_ratio: float = 1.0
    headers: tuple[tuple[str, Secret], ...] = ()
    timeout_seconds: float = 10.0


class CorsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[cors]`: exact origins; empty means no CORS headers at all."""

    origins: tuple[str, ...] = ()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A whole, valid configuration.

    `unbuilt` lists, one line each, what the file asks for that this version cannot do yet; `serve` refuses to start
    with them, `check` shows them. `path` is the file it came from (None: built in memory).
    """

    server: ServerConfig = ServerConfig()
    endpoints: tuple[EndpointConfig, ...]
    routing: RoutingConfig
    timeouts: TimeoutsConfig = TimeoutsConfig()
    retry: RetryConfig = RetryConfig()
    breaker: BreakerConfig = BreakerConfig()
    health: HealthConfig = HealthConfig()
    limits: LimitsConfig = LimitsConfig()
    auth: AuthConfig = AuthConfig()
    admin: AdminConfig | None = None
    storage: StorageConfig = StorageConfig()
    registry: RegistryConfig = RegistryConfig()
    redis_url: Secret | None = None
    observability: ObservabilityConfig = ObservabilityConfig()
    tracing: TracingConfig = TracingConfig()
    cors: CorsConfig = CorsConfig()
    path: Path | None = None
    unbuilt: tuple[str, ...] = ()
