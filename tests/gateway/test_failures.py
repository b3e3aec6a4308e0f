import msgspec
import pytest

from octoroute_py.gateway.failures import client_error, error_event, stream_error
from octoroute_py.transport.faults import Fault, FaultKind

TOLD = {
    FaultKind.CONNECT: (502, "upstream_error"),
    FaultKind.EXHAUSTED: (503, "overloaded"),
    FaultKind.TIMEOUT: (504, "upstream_timeout"),
    FaultKind.SERVER_ERROR: (502, "upstream_error"),
    FaultKind.UNAVAILABLE: (503, "upstream_error"),
    FaultKind.GATEWAY_TIMEOUT: (504, "upstream_timeout"),
    FaultKind.REQUEST_TIMEOUT: (504, "upstream_timeout"),
    FaultKind.RATE_LIMITED: (429, "rate_limit_exceeded"),
    FaultKind.QUOTA: (503, "upstream_quota"),
    FaultKind.AUTH: (502, "upstream_auth_failed"),
    FaultKind.MODEL_MISSING: (404, "model_not_found"),
    FaultKind.CONTEXT_LENGTH: (400, "context_length_exceeded"),
    FaultKind.REJECTED: (422, "invalid_request_error"),
    FaultKind.REDIRECT: (502, "upstream_error"),
    FaultKind.MALFORMED: (502, "upstream_error"),
    FaultKind.TRUNCATED: (502, "upstream_error"),
    FaultKind.STALLED: (502, "upstream_error"),
}
UPSTREAM_STATUS = {FaultKind.MODEL_MISSING: 404, FaultKind.CONTEXT_LENGTH: 400, FaultKind.REJECTED: 422}


@pytest.mark.parametrize("kind", FaultKind)
def test_every_fault_has_one_status_and_code_for_the_client(kind: FaultKind) -> None:
    error = client_error(Fault(kind, UPSTREAM_STATUS.get(kind, 500)), retry_after_s=7.0)
    assert (error.status, error.code) == TOLD[kind]


@pytest.mark.parametrize("kind", FaultKind)
def test_429_and_503_say_when_to_come_back_and_nothing_else_does(kind: FaultKind) -> None:
    error = client_error(Fault(kind, UPSTREAM_STATUS.get(kind, 500)), retry_after_s=7.0)
    assert error.retry_after_s == (7.0 if error.status in {429, 503} else None)


@pytest.mark.parametrize("kind", sorted(set(FaultKind) - set(UPSTREAM_STATUS)))
def test_what_a_failing_upstream_wrote_is_never_repeated(kind: FaultKind) -> None:
    fault = Fault(kind, 500, message="at http://10.0.0.7/v1", param="secret", code="secret", error_type="secret")
    body = client_error(fault, retry_after_s=7.0).body()
    assert b"10.0.0.7" not in body
    assert b"secret" not in body


@pytest.mark.parametrize("status", [400, 404, 413, 415, 422])
def test_an_upstreams_verdict_on_the_request_keeps_its_status_and_cleaned_words(status: int) -> None:
    fault = Fault(FaultKind.REJECTED, status, message="no such voice", param="voice", code="bad_voice", error_type="t")
    error = client_error(fault, retry_after_s=1.0)
    assert error.status == status
    assert msgspec.json.decode(error.body()) == {
        "error": {"message": "no such voice", "type": "t", "param": "voice", "code": "bad_voice"}
    }


@pytest.mark.parametrize("status", [405, 409, 418, 451, None])
def test_a_verdict_with_a_status_that_clients_would_misread_is_a_bad_gateway(status: int | None) -> None:
    error = client_error(Fault(FaultKind.REJECTED, status, message="odd"), retry_after_s=1.0)
    assert (error.status, error.code) == (502, "upstream_error")


def test_a_context_overflow_is_400_in_our_words_whatever_status_it_came_with() -> None:
    error = client_error(Fault(FaultKind.CONTEXT_LENGTH, 500), retry_after_s=1.0)
    assert (error.status, error.param) == (400, "messages")


STREAM_CODES = {
    FaultKind.STALLED: "upstream_stalled",
    FaultKind.TRUNCATED: "upstream_truncated",
    FaultKind.TIMEOUT: "upstream_timeout",
}


@pytest.mark.parametrize("kind", FaultKind)
def test_a_broken_stream_ends_with_one_error_event(kind: FaultKind) -> None:
    event = error_event(stream_error(Fault(kind)))
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    error = msgspec.json.decode(event[6:])["error"]
    assert error["code"] == STREAM_CODES.get(kind, "upstream_error")
    assert error["type"] == "upstream_error"
    assert error["message"]
