"""What went wrong at an upstream, as one closed list, so that policy never looks at statuses or texts."""

import enum
import re
from collections.abc import Sequence

import msgspec

from octoroute_py.transport.base import ConnectFailed, Disconnected, Headers, NoSocket, TimedOut, TransportError
from octoroute_py.transport.error_text import (
    MAX_BODY_READ,
    ErrorDetail,
    clean_message,
    clean_word,
    read_error_body,
    read_error_value,
    secrets_of,
)
from octoroute_py.transport.retry_after import read_retry_after

__all__ = [
    "Fault",
    "FaultKind",
    "classify_exception",
    "classify_response",
    "clean_fault",
    "clean_message",
    "fault_from_error_event",
    "malformed",
    "read_retry_after",
    "secrets_of",
]


class FaultKind(enum.StrEnum):
    """Every way an attempt can fail."""

    CONNECT = "connect"
    EXHAUSTED = "exhausted"
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    UNAVAILABLE = "unavailable"
    GATEWAY_TIMEOUT = "gateway_timeout"
    REQUEST_TIMEOUT = "request_timeout"
    RATE_LIMITED = "rate_limited"
    QUOTA = "quota"
    AUTH = "auth"
    MODEL_MISSING = "model_missing"
    CONTEXT_LENGTH = "context_length"
    REJECTED = "rejected"
    REDIRECT = "redirect"
    MALFORMED = "malformed"
    TRUNCATED = "truncated"
    STALLED = "stalled"

    @property
    def counts_for_breaker(self) -> bool:
        """Whether it says something about the endpoint's health, rather than about the request, key or limits."""
        return self in _ENDPOINT_FAILURES

    @property
    def may_try_elsewhere(self) -> bool:
        """Whether another endpoint may do better; for CONTEXT_LENGTH only one with a larger window.

        EXHAUSTED is our own lack of sockets, which every endpoint would meet.
        """
        return self is not FaultKind.REJECTED and self is not FaultKind.EXHAUSTED


_ENDPOINT_FAILURES = frozenset(
    {
        FaultKind.CONNECT,
        FaultKind.TIMEOUT,
        FaultKind.SERVER_ERROR,
        FaultKind.UNAVAILABLE,
        FaultKind.GATEWAY_TIMEOUT,
        FaultKind.REQUEST_TIMEOUT,
        FaultKind.REDIRECT,
        FaultKind.MALFORMED,
        FaultKind.TRUNCATED,
        FaultKind.STALLED,
    }
)


class Fault(msgspec.Struct, frozen=True):
    """One failed attempt.

    `status` is the upstream's (None when no answer came); for an error event inside a 200 it is the status the event
    stands for. `retry_after_s` is the upstream's wish without jitter. `message`, `param`, `code` and `error_type` are
    the upstream's own words: only `clean_fault` output may reach a client or a log.
    """

    kind: FaultKind
    status: int | None = None
    retry_after_s: float | None = None
    message: str | None = None
    param: str | None = None
    code: str | None = None
    error_type: str | None = None


class _Large(msgspec.Struct, gc=False):
    error: msgspec.Raw = msgspec.Raw(b"")


_decode_large = msgspec.json.Decoder(_Large).decode
_SPEND_CAP = frozenset(
    {"insufficient_quota", "enforced_spend_limit_reached", "billing_hard_limit_reached", "billing_error"}
)
_SPEND_CAP_TEXT = re.compile(r"enforced_spend_limit_reached|insufficient_quota|credit balance is too low", re.I)
_CONTEXT_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_CONTEXT_TEXT = re.compile(
    r"maximum context length"  # OpenAI, vLLM, SGLang, Ollama
    r"|longer than the (?:maximum model length|model's context length)"  # vLLM, SGLang
    r"|exceeds? (?:the )?(?:maximum |available |model'?s? )*context (?:length|size|window)"  # llama.cpp, Ollama
    r"|(?:loaded with|greater than the|smaller than the|overflows?.{0,40}) context (?:length|window)"  # LM Studio
    r"|context (?:the )?overflows|context length exceeded"
    r"|prompt is too long: \d+ tokens"  # Anthropic
    r"|input token count .{0,40}exceeds the maximum",  # Gemini
    re.IGNORECASE,
)
_MODEL_TEXT = re.compile(
    r"^model ['\"`]?.{1,200}?['\"`]? (?:was )?not found"  # Ollama
    r"|the model ['\"`].{1,200}?['\"`] (?:does not exist|was not found|not found)"  # OpenAI, vLLM
    r"|no such model|invalid model identifier",
    re.IGNORECASE,
)
_EVENT_STATUS = {
    "insufficient_quota": 429,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "requests": 429,
    "tokens": 429,
    "overloaded_error": 529,
    "overloaded": 503,
    "service_unavailable": 503,
    "timeout_error": 504,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "billing_error": 402,
    "not_found_error": 404,
    "model_not_found": 404,
    "request_too_large": 413,
    "context_length_exceeded": 400,
    "exceed_context_size_error": 400,
    "invalid_request_error": 400,
    "BadRequestError": 400,
    "NotFoundError": 404,
}


def malformed(message: str) -> Fault:
    """An answer that is not what the operation promises; `message` is ours, without upstream text."""
    return Fault(FaultKind.MALFORMED, message=message)


def classify_response(status: int, headers: Headers, body: bytes, *, wall: float) -> Fault:
    """What an answer other than a good 200 means; `body` may be cut short. `wall` is for HTTP dates."""
    if 200 <= status < 300:
        return Fault(FaultKind.MALFORMED, status)
    if status < 400:
        return Fault(FaultKind.REDIRECT, status)  # its body and Location are nobody's business
    return _fault(status, read_error_body(body), retry_after_s=read_retry_after(headers, wall=wall))


def classify_exception(error: TransportError) -> Fault:
    """What a call that broke below HTTP means."""
    if isinstance(error, NoSocket):
        return Fault(FaultKind.EXHAUSTED)
    if isinstance(error, ConnectFailed):
        return Fault(FaultKind.CONNECT)
    if isinstance(error, TimedOut):
        return Fault(FaultKind.TIMEOUT)
    if isinstance(error, Disconnected):
        return Fault(FaultKind.TRUNCATED)
    return Fault(FaultKind.MALFORMED)


def fault_from_error_event(payload: bytes) -> Fault:
    """What an error object inside a 200 means: the status it names, else that of its code or type, else 500.

    Of a payload above MAX_BODY_READ only its `error` is read, and that only if it is smaller itself.
    """
    try:
        value = msgspec.json.decode(payload) if len(payload) <= MAX_BODY_READ else _error_of_large(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return Fault(FaultKind.MALFORMED, 200)
    detail = read_error_value(value)
    status = detail.status or _EVENT_STATUS.get(detail.code or "") or _EVENT_STATUS.get(detail.error_type or "")
    if status is None:
        status = 400 if _CONTEXT_TEXT.search(detail.message or "") else 500
    return _fault(status, detail, retry_after_s=None)


def _error_of_large(payload: bytes) -> object:
    raw = _decode_large(payload).error
    return {"error": msgspec.json.decode(raw)} if 0 < len(raw) <= MAX_BODY_READ else None


def clean_fault(fault: Fault, *, secrets: Sequence[str]) -> Fault:
    """The fault with words that may be shown: see `clean_message`; codes and params that are no plain words go."""
    return Fault(
        fault.kind,
        fault.status,
        fault.retry_after_s,
        clean_message(fault.message, secrets=secrets) or None if fault.message else None,
        clean_word(fault.param, secrets=secrets),
        clean_word(fault.code, secrets=secrets),
        clean_word(fault.error_type, secrets=secrets),
    )


def _fault(status: int, detail: ErrorDetail, *, retry_after_s: float | None) -> Fault:
    return Fault(
        _kind_of_client_error(status, detail) if status < 500 else _kind_of_server_error(status, detail),
        status,
        retry_after_s,
        detail.message,
        detail.param,
        detail.code,
        detail.error_type,
    )


def _kind_of_server_error(status: int, detail: ErrorDetail) -> FaultKind:
    if detail.error_type in _CONTEXT_CODES or detail.code in _CONTEXT_CODES:
        return FaultKind.CONTEXT_LENGTH  # llama.cpp builds differ in the status they give it
    if status in {503, 529}:
        return FaultKind.UNAVAILABLE
    return FaultKind.GATEWAY_TIMEOUT if status == 504 else FaultKind.SERVER_ERROR


def _kind_of_client_error(status: int, detail: ErrorDetail) -> FaultKind:
    message = detail.message or ""
    words = {detail.code, detail.error_type}
    if status == 402 or words & _SPEND_CAP or _SPEND_CAP_TEXT.search(message):
        return FaultKind.QUOTA
    if status == 429:
        return FaultKind.RATE_LIMITED
    if status in {401, 403}:
        return FaultKind.AUTH
    if status == 408:
        return FaultKind.REQUEST_TIMEOUT
    if status in {400, 413, 422} and (words & _CONTEXT_CODES or _CONTEXT_TEXT.search(message)):
        return FaultKind.CONTEXT_LENGTH
    if status in {400, 404} and ("model_not_found" in words or (status == 404 and _MODEL_TEXT.search(message))):
        return FaultKind.MODEL_MISSING
    return FaultKind.REJECTED
