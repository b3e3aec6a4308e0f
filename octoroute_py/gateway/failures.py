"""From what an upstream did to what the client is told (contract §3 errors, reliability §1.5). Pure.

The first real cause of a request's attempts is reported; nothing an upstream wrote reaches the client but the cleaned
message of a verdict on the request itself (400, 404, 413, 415, 422).
"""

from octoroute_py.core.errors import BadRequest, GatewayError, Refused, UpstreamFailed, UpstreamRejected
from octoroute_py.transport.faults import Fault, FaultKind

_BAD_GATEWAY = {
    FaultKind.CONNECT: "The model's server could not be reached.",
    FaultKind.SERVER_ERROR: "The model's server failed.",
    FaultKind.REDIRECT: "The model's server answered with a redirect, which is never followed.",
    FaultKind.MALFORMED: "The model's server gave an answer that is not valid.",
    FaultKind.TRUNCATED: "The model's server ended its answer too early.",
    FaultKind.STALLED: "The model's server stopped in the middle of its answer.",
}
_TIMEOUTS = frozenset({FaultKind.TIMEOUT, FaultKind.GATEWAY_TIMEOUT, FaultKind.REQUEST_TIMEOUT})
_LATER = {
    FaultKind.UNAVAILABLE: ("The model's server is overloaded or down for the moment.", "upstream_error"),
    FaultKind.QUOTA: ("The quota at the model's provider is used up.", "upstream_quota"),
}
_VERDICTS = frozenset({FaultKind.CONTEXT_LENGTH, FaultKind.REJECTED, FaultKind.MODEL_MISSING})
_PASSED_THROUGH = frozenset({400, 404, 413, 415, 422})
_STREAM_CODES = {
    FaultKind.STALLED: "upstream_stalled",
    FaultKind.TRUNCATED: "upstream_truncated",
    FaultKind.TIMEOUT: "upstream_timeout",
}


def client_error(fault: Fault, *, retry_after_s: float) -> GatewayError:
    """The error for a request whose first real cause was `fault`; `retry_after_s` is when it is worth another try."""
    kind = fault.kind
    if kind in _VERDICTS:
        return _verdict(fault)
    if kind in _TIMEOUTS:
        return UpstreamFailed("The model did not answer in time.", code="upstream_timeout", status=504)
    if kind is FaultKind.AUTH:
        return UpstreamFailed(
            "The model's server refused the gateway's credential.", code="upstream_auth_failed", final=True
        )
    if kind is FaultKind.RATE_LIMITED:
        return Refused(
            "The model's provider limits the rate of requests.",
            code="rate_limit_exceeded",
            status=429,
            error_type="rate_limit_error",
            retry_after_s=retry_after_s,
        )
    if kind is FaultKind.EXHAUSTED:
        return Refused("The gateway is busy.", code="overloaded", retry_after_s=retry_after_s)
    if kind in _LATER:
        message, code = _LATER[kind]
        return UpstreamFailed(
            message, code=code, status=503, retry_after_s=retry_after_s, final=kind is FaultKind.QUOTA
        )
    return UpstreamFailed(_BAD_GATEWAY[kind], code="upstream_error")


def _verdict(fault: Fault) -> GatewayError:
    """The upstream found the request itself wrong: its own status and cleaned words, as far as clients know them."""
    if fault.kind is FaultKind.CONTEXT_LENGTH:
        return BadRequest(
            fault.message or "The prompt is longer than the model's context window.",
            code="context_length_exceeded",
            param=fault.param or "messages",
        )
    if fault.status not in _PASSED_THROUGH:
        return UpstreamFailed("The model's server refused the request.", code="upstream_error")
    missing = fault.kind is FaultKind.MODEL_MISSING
    return UpstreamRejected(
        fault.message or "The model's server refused the request.",
        status=fault.status,
        code=fault.code or ("model_not_found" if missing else "invalid_request_error"),
        param=fault.param,
        error_type=fault.error_type,
    )


def stream_error(fault: Fault) -> GatewayError:
    """The error event of a stream that broke after its commit point."""
    if fault.kind is FaultKind.STALLED:
        message = "The model's server stopped in the middle of its answer."
    elif fault.kind is FaultKind.TRUNCATED:
        message = "The model's server ended its answer too early."
    elif fault.kind is FaultKind.TIMEOUT:
        message = "The answer took longer than the request may take."
    else:
        message = fault.message or "The model's server failed in the middle of its answer."
    return UpstreamFailed(message, code=_STREAM_CODES.get(fault.kind, "upstream_error"))


def error_event(error: GatewayError) -> bytes:
    """The SSE event that ends a broken stream; no `[DONE]` follows it."""
    return b"data: " + error.body() + b"\n\n"
