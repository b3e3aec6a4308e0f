"""The closed vocabularies: every value here may become a header, a metric label or a log field.

Names follow contract §2-§4; anything that reaches a label comes from one of these enums or from the configuration.
"""

import enum
from collections.abc import Iterable


class Tier(enum.StrEnum):
    """An ordered class of quality and cost; `fast` is the cheapest, `deep` the most capable."""

    FAST = "fast"
    BALANCED = "balanced"
    DEEP = "deep"


TIERS: tuple[Tier, ...] = (Tier.FAST, Tier.BALANCED, Tier.DEEP)
"""All tiers, cheapest first."""


class Location(enum.StrEnum):
    """Where an endpoint's answers are computed; `local-only` requests may only use LOCAL."""

    LOCAL = "local"
    CLOUD = "cloud"


class Strategy(enum.StrEnum):
    """Who decided the tier. `rule` also stands for an explicit tier or endpoint and for the default tier."""

    RULE = "rule"
    LLM = "llm"
    NEURAL = "neural"
    TOOL = "tool"


class Reason(enum.StrEnum):
    """Why the tier was chosen."""

    EXPLICIT_TIER = "explicit_tier"
    EXPLICIT_ENDPOINT = "explicit_endpoint"
    RULE_MATCHED = "rule_matched"
    NEURAL_DECIDED = "neural_decided"
    LLM_JUDGED = "llm_judged"
    DEFAULT_TIER = "default_tier"
    JUDGE_FAILED = "judge_failed"
    TIER_FALLBACK = "tier_fallback"
    LOCAL_ONLY = "local_only"
    POLICY = "policy"
    EXPERIMENT = "experiment"
    CONTEXT_OVERFLOW = "context_overflow"
    CAPABILITY = "capability"


class Importance(enum.StrEnum):
    """How much the caller cares about quality for this request."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class TaskType(enum.StrEnum):
    """What kind of work the prompt asks for (the six names of octoroute 1.0.0)."""

    CASUAL_CHAT = "casual_chat"
    CODE = "code"
    CREATIVE_WRITING = "creative_writing"
    DEEP_ANALYSIS = "deep_analysis"
    DOCUMENT_SUMMARY = "document_summary"
    QUESTION_ANSWER = "question_answer"


class Capability(enum.StrEnum):
    """What a request may need of an endpoint beyond plain chat (names of octoroute 2)."""

    CHAT = "chat"
    STREAM = "stream"
    TOOLS = "tools"
    STRUCTURED_OUTPUT = "structured_output"
    IMAGE_INPUT = "image_input"
    AUDIO_INPUT = "audio_input"
    VIDEO_INPUT = "video_input"
    REASONING = "reasoning"


CAPABILITY_WORDS: dict[str, Capability] = {
    **{capability.value: capability for capability in Capability},
    "images": Capability.IMAGE_INPUT,
    "vision": Capability.IMAGE_INPUT,
    "audio": Capability.AUDIO_INPUT,
    "video": Capability.VIDEO_INPUT,
    "json": Capability.STRUCTURED_OUTPUT,
    "json_schema": Capability.STRUCTURED_OUTPUT,
    "function-calling": Capability.TOOLS,
    "function_calling": Capability.TOOLS,
}
"""Words that a capability may be given by."""


class Surface(enum.StrEnum):
    """Which OpenAI operation a request uses; it fixes the upstream path and how an answer is known to be complete."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    RESPONSES = "responses"


class Inward(enum.StrEnum):
    """What the gateway asks of a model on its own account; the journal keeps it beside the surfaces, no client can."""

    JUDGE = "judge"


class BreakerState(enum.StrEnum):
    """The three states of every breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"

    @classmethod
    def best(cls, states: Iterable["BreakerState"]) -> "BreakerState":
        """The state that lets most through; closed where there is none."""
        found = {*states}
        return next((state for state in (cls.CLOSED, cls.HALF_OPEN, cls.OPEN) if state in found), cls.CLOSED)


class Keeping(enum.StrEnum):
    """How rows are kept: in the database; in the spool for now; in the spool until somebody mends the database; not."""

    OK = "ok"
    DEGRADED = "degraded"
    REFUSED = "refused"
    OFF = "off"


class Role(enum.StrEnum):
    """What a key may do (contract §7): operator includes viewer and inference, admin includes all."""

    INFERENCE = "inference"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, needed: "Role") -> bool:
        """Whether a holder of this role may do what `needed` allows."""
        return needed in _INCLUDES[self]


_INCLUDES: dict[Role, frozenset[Role]] = {
    Role.INFERENCE: frozenset({Role.INFERENCE}),
    Role.VIEWER: frozenset({Role.VIEWER}),
    Role.OPERATOR: frozenset({Role.OPERATOR, Role.VIEWER, Role.INFERENCE}),
    Role.ADMIN: frozenset(Role),
}
