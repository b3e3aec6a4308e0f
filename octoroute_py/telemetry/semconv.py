"""Names of spans, metrics and their attributes: OpenTelemetry's for HTTP and generative AI, and ours: `octoroute.`.

Written out here and not taken from a package: they are part of what the gateway promises, and where they are made
nothing of OpenTelemetry is imported.
"""

from typing import Final

from octoroute_py.core.words import Inward, Surface

HTTP_METHOD: Final = "http.request.method"
HTTP_ROUTE: Final = "http.route"
HTTP_STATUS: Final = "http.response.status_code"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"

REQUEST_ID: Final = "octoroute.request_id"
WORKSPACE: Final = "octoroute.workspace"
AGENT_TYPE: Final = "octoroute.agent_type"
TIER: Final = "octoroute.tier"
STRATEGY: Final = "octoroute.strategy"
REASON: Final = "octoroute.reason"
RULE: Final = "octoroute.rule"
CONFIDENCE: Final = "octoroute.confidence"
ENDPOINT: Final = "octoroute.endpoint"
ATTEMPTS: Final = "octoroute.attempts"
ATTEMPT: Final = "octoroute.attempt"
COST_USD: Final = "octoroute.cost_usd"
STREAM: Final = "octoroute.stream"
JUDGE: Final = "octoroute.judge"

ROUTING_SPAN: Final = "routing_request"
FEATURES_SPAN: Final = "feature_engineering"
INFERENCE_SPAN: Final = "model_inference"
UNCERTAINTY_SPAN: Final = "uncertainty_estimation"
FIRST_EVENT: Final = "first_event"

CHAT: Final = "chat"
TEXT_COMPLETION: Final = "text_completion"
EMBEDDINGS: Final = "embeddings"

_OPERATIONS: Final[dict[Surface | Inward | None, str]] = {
    Surface.CHAT: CHAT,
    Surface.RESPONSES: CHAT,
    Surface.COMPLETIONS: TEXT_COMPLETION,
    Surface.EMBEDDINGS: EMBEDDINGS,
    Inward.JUDGE: CHAT,
}

_PROVIDERS: Final = (
    ("openai.azure.com", "azure.ai.openai"),
    ("inference.ai.azure.com", "azure.ai.inference"),
    ("openai.com", "openai"),
    ("anthropic.com", "anthropic"),
    ("cohere.com", "cohere"),
    ("cohere.ai", "cohere"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("amazonaws.com", "aws.bedrock"),
    ("perplexity.ai", "perplexity"),
    ("x.ai", "x_ai"),
    ("deepseek.com", "deepseek"),
    ("groq.com", "groq"),
    ("mistral.ai", "mistral_ai"),
)
_SPEAKS: Final = "openai"
"""The provider of an endpoint whose host says nothing: by the protocol it speaks, as the convention has it."""


def operation_of(surface: Surface | Inward | None) -> str:
    """`gen_ai.operation.name` of a request."""
    return _OPERATIONS.get(surface, CHAT)


def provider_of(host: str) -> str:
    """`gen_ai.provider.name` of an endpoint at this host (lower-case)."""
    for domain, provider in _PROVIDERS:
        if host == domain or host.endswith("." + domain):
            return provider
    return _SPEAKS
