"""Closed sets of label values that only metrics use."""

import enum

STATUS_CLASSES = ("2xx", "3xx", "4xx", "5xx")
"""Classes of the gateway's own answers; 499 (the client left) is a 4xx."""

UPSTREAM_CLASSES = (*STATUS_CLASSES, "error")
"""Classes of upstream answers; `error` stands for no answer at all."""

OTHER = "other"
"""Endpoint label for whatever is no configured endpoint."""

NO_TIER = "none"
"""Tier label for requests that ended before a tier was chosen."""


class HealthFailure(enum.StrEnum):
    """Why an endpoint's health could not be tracked (names of octoroute 1.0.0)."""

    UNKNOWN_ENDPOINT = "unknown_endpoint"
    HTTP_CLIENT_FAILED = "http_client_failed"
    INVALID_URL = "invalid_url"


class RecordingFailure(enum.StrEnum):
    """Which recording failed (the first three are names of octoroute 1.0.0)."""

    REQUEST = "record_request"
    ROUTING_DURATION = "record_routing_duration"
    MODEL_INVOCATION = "record_model_invocation"
    OUTCOME = "record_outcome"
    ACCESS_LINE = "write_access_line"


class Refusal(enum.StrEnum):
    """Why a request was turned away at the door; the values are the codes of the errors that clients get."""

    INVALID_API_KEY = "invalid_api_key"
    PERMISSION_DENIED = "permission_denied"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"


class BackgroundFailure(enum.StrEnum):
    """How a background health task ended (names of octoroute 1.0.0)."""

    PANIC = "panic"
    UNEXPECTED_TERMINATION = "unexpected_termination"


class ReloadOutcome(enum.StrEnum):
    """What came of reading the configuration again."""

    APPLIED = "applied"
    REFUSED = "refused"


JUDGE_RESULTS = ("ok", "timeout", "unavailable", "upstream", "oversize", "abandoned", OTHER)
"""How a question to the judge ended; `abandoned`: nobody waits for its answer any more."""


DANCER_ERRORS = (
    "circuit_open",
    "inference_failed",
    "router_failed",
    "router_unavailable",
    "storage_failed",
    "internal_error",
    "no_endpoint_available",
    "upstream_error",
    "upstream_timeout",
    "upstream_quota",
    "upstream_auth_failed",
    "upstream_stalled",
    "upstream_truncated",
)
"""Error codes of requests that were let in and not answered, those of the candidate router first."""

CODES = frozenset(
    (
        *DANCER_ERRORS,
        "client_gone",
        "context_length_exceeded",
        "headers_too_large",
        "insufficient_quota",
        "invalid_api_key",
        "invalid_request_error",
        "limit_reached",
        "loop_detected",
        "model_not_found",
        "not_found",
        "overloaded",
        "permission_denied",
        "rate_limit_exceeded",
        "request_too_large",
        "server_error",
        "storage_unavailable",
    )
)
"""Error codes that a client of a model may get, or that its row has."""


def status_class(status: int) -> int:
    """Index into STATUS_CLASSES; what is no HTTP status at all counts as the gateway's fault."""
    return status // 100 - 2 if 200 <= status < 600 else 3
