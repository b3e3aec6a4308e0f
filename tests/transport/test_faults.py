"""Every upstream failure gets one name, a wait that can be trusted, and words that can be shown."""

import json
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.config.schema import EndpointConfig, Secret
from octoroute_py.core.words import Tier
from octoroute_py.transport.base import (
    BadFraming,
    ConnectFailed,
    Disconnected,
    NoSocket,
    TimedOut,
    TooLarge,
    TransportError,
)
from octoroute_py.transport.faults import (
    Fault,
    FaultKind,
    classify_exception,
    classify_response,
    clean_fault,
    clean_message,
    fault_from_error_event,
    read_retry_after,
    secrets_of,
)

WALL = 1_800_000_000.0


def classify(status: int, body: object = None, *headers: tuple[bytes, bytes]) -> Fault:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify_response(status, list(headers), raw, wall=WALL)


def error(message: str = "no", **fields: object) -> dict[str, object]:
    return {"error": {"message": message, **fields}}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (204, FaultKind.MALFORMED),
        (301, FaultKind.REDIRECT),
        (307, FaultKind.REDIRECT),
        (400, FaultKind.REJECTED),
        (401, FaultKind.AUTH),
        (402, FaultKind.QUOTA),
        (403, FaultKind.AUTH),
        (404, FaultKind.REJECTED),
        (408, FaultKind.REQUEST_TIMEOUT),
        (413, FaultKind.REJECTED),
        (418, FaultKind.REJECTED),
        (422, FaultKind.REJECTED),
        (429, FaultKind.RATE_LIMITED),
        (500, FaultKind.SERVER_ERROR),
        (502, FaultKind.SERVER_ERROR),
        (503, FaultKind.UNAVAILABLE),
        (504, FaultKind.GATEWAY_TIMEOUT),
        (520, FaultKind.SERVER_ERROR),
        (529, FaultKind.UNAVAILABLE),
        (599, FaultKind.SERVER_ERROR),
    ],
)
def test_the_status_decides_when_the_body_says_nothing_special(status: int, kind: FaultKind) -> None:
    for body in (b"", b"<html>nginx</html>", b'{"error":{"message":"no"}}', b"{bad", b"[" * 100_000):
        fault = classify(status, body)
        assert (fault.kind, fault.status) == (kind, status)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, error("You exceeded your current quota", type="insufficient_quota", code="insufficient_quota")),
        (429, {"type": "error", "error": {"type": "rate_limit_error", "message": "enforced_spend_limit_reached"}}),
        (429, {"type": "error", "error": {"type": "enforced_spend_limit_reached", "message": "cap"}}),
        (400, error("Your credit balance is too low to access the API.", type="invalid_request_error")),
        (403, error("stop", code="insufficient_quota")),
    ],
)
def test_a_spend_cap_is_not_a_rate_limit(status: int, body: object) -> None:
    assert classify(status, body).kind is FaultKind.QUOTA


@pytest.mark.parametrize(
    "body",
    [
        error(
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
            code="context_length_exceeded",
        ),
        error("too long", code="context_length_exceeded"),
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
            "type": "BadRequestError",
            "code": 400,
        },
        error("The decoder prompt (length 9) is longer than the maximum model length of 8. Make sure ..."),
        error("The input (9 tokens) is longer than the model's context length (8 tokens)."),
        error("request (9 tokens) exceeds the available context size (8 tokens)", type="exceed_context_size_error"),
        error("the request exceeds the available context size. try increasing the context size"),
        {"error": "the input length exceeds the context length"},
        {"error": "input length exceeds maximum context length"},
        {
            "error": "Trying to keep the first 6269 tokens when context the overflows. "
            "However, the model is loaded with context length of only 4096 tokens"
        },
        error("The number of tokens to keep from the initial prompt is greater than the context length"),
        {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8"}},
        {"detail": "maximum context length is 10"},
    ],
)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_prompt_too_long_is_known_in_every_dialect(body: object, status: int) -> None:
    assert classify(status, body).kind is FaultKind.CONTEXT_LENGTH


def test_llama_cpp_may_say_context_size_with_a_500() -> None:
    assert classify(500, error("x", type="exceed_context_size_error")).kind is FaultKind.CONTEXT_LENGTH


@pytest.mark.parametrize(
    "message", ["Invalid 'context'", "max_tokens is too large", "the context is missing", "length must be positive"]
)
def test_other_rejections_are_not_taken_for_a_long_prompt(message: str) -> None:
    assert classify(400, error(message)).kind is FaultKind.REJECTED


@pytest.mark.parametrize(
    "body",
    [
        error("The model 'gpt-9' does not exist or you do not have access to it.", code="model_not_found"),
        {"error": "model 'qwen9' not found"},
        {"error": {"message": 'model "qwen9" not found, try pulling it first', "type": "api_error"}},
        {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404},
    ],
)
def test_a_missing_model_is_told_from_a_missing_path(body: object) -> None:
    assert classify(404, body).kind is FaultKind.MODEL_MISSING


def test_the_upstreams_words_are_read_from_every_shape() -> None:
    assert classify(400, error("m", param="p", code="c", type="t")) == Fault(
        FaultKind.REJECTED, 400, None, "m", "p", "c", "t"
    )
    shapes: list[object] = [{"error": "m"}, {"message": "m"}, {"detail": "m"}, {"detail": [{"msg": "m"}]}]
    shapes += ["m", [error("m")], b"m"]
    for body in shapes:
        assert classify(400, body).message == "m", body
    odd_shapes: list[object] = [{"error": {"message": 5}}, {"error": []}, [], 7, {"error": {"code": [], "param": {}}}]
    for odd in odd_shapes:
        assert classify(400, odd).message is None


def test_a_redirect_tells_nothing_of_its_target() -> None:
    fault = classify(307, b"http://169.254.169.254/", (b"location", b"http://169.254.169.254/"))
    assert fault == Fault(FaultKind.REDIRECT, 307)


@pytest.mark.parametrize(
    ("exception", "kind"),
    [
        (ConnectFailed("x"), FaultKind.CONNECT),
        (NoSocket("x"), FaultKind.EXHAUSTED),
        (TimedOut("x"), FaultKind.TIMEOUT),
        (Disconnected("x"), FaultKind.TRUNCATED),
        (BadFraming("x"), FaultKind.MALFORMED),
        (TooLarge("x"), FaultKind.MALFORMED),
    ],
)
def test_every_transport_error_has_its_fault_without_its_text(exception: TransportError, kind: FaultKind) -> None:
    assert classify_exception(exception) == Fault(kind)


def test_only_the_endpoints_own_failures_move_the_breaker() -> None:
    innocent = {
        FaultKind.RATE_LIMITED,
        FaultKind.QUOTA,
        FaultKind.AUTH,
        FaultKind.MODEL_MISSING,
        FaultKind.CONTEXT_LENGTH,
        FaultKind.REJECTED,
        FaultKind.EXHAUSTED,
    }
    assert {kind for kind in FaultKind if not kind.counts_for_breaker} == innocent
    assert [kind for kind in FaultKind if not kind.may_try_elsewhere] == [FaultKind.EXHAUSTED, FaultKind.REJECTED]


@pytest.mark.parametrize(
    ("payload", "kind", "status"),
    [
        ({"error": {"message": "x"}}, FaultKind.SERVER_ERROR, 500),
        ({"error": {"message": "x", "code": "429"}}, FaultKind.RATE_LIMITED, 429),
        ({"error": {"type": "authentication_error"}}, FaultKind.AUTH, 401),
        ({"error": {"code": "insufficient_quota"}}, FaultKind.QUOTA, 429),
        ({"error": {"message": "This model's maximum context length is 5"}}, FaultKind.CONTEXT_LENGTH, 400),
        ({"error": {"message": "x", "code": 200}}, FaultKind.SERVER_ERROR, 500),
    ],
)
def test_an_error_event_counts_as_the_status_it_stands_for(payload: object, kind: FaultKind, status: int) -> None:
    fault = fault_from_error_event(json.dumps(payload).encode())
    assert (fault.kind, fault.status) == (kind, status)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([(b"retry-after", b"3")], 3.0),
        ([(b"retry-after", b" 2.5 ")], 2.5),
        ([(b"retry-after-ms", b"1500"), (b"retry-after", b"9")], 1.5),
        ([(b"retry-after-ms", b"soon"), (b"retry-after", b"9")], 9.0),
        ([(b"retry-after", formatdate(WALL + 30, usegmt=True).encode())], 30.0),
        ([(b"retry-after", b"100000")], 300.0),
        ([(b"retry-after", b"0")], None),
        ([(b"retry-after", b"-5")], None),
        ([(b"retry-after", b"nan")], None),
        ([(b"retry-after", b"inf")], None),
        ([(b"retry-after", b"1e999")], None),
        ([(b"retry-after", b"1_0")], None),
        ([(b"retry-after", b"tomorrow")], None),
        ([(b"retry-after", b"\xff\xfe")], None),
        ([(b"retry-after", b"Wed, 99 Foo 2026 99:99:99 GMT")], None),
        ([(b"retry-after", formatdate(WALL - 30, usegmt=True).encode())], None),
        ([(b"x-ratelimit-reset-requests", b"6m0s")], 300.0),
        ([(b"x-ratelimit-reset-requests", b"1m2.5s")], 62.5),
        ([(b"x-ratelimit-reset-tokens", b"250ms")], 0.25),
        ([(b"x-ratelimit-reset-tokens", b"1s"), (b"x-ratelimit-reset-requests", b"20s")], 20.0),
        (
            [
                (b"x-ratelimit-reset-tokens", b"1s"),
                (b"x-ratelimit-remaining-tokens", b"0"),
                (b"x-ratelimit-reset-requests", b"20s"),
                (b"x-ratelimit-remaining-requests", b"17"),
            ],
            1.0,
        ),
        ([(b"x-ratelimit-reset-tokens", b"20s"), (b"retry-after", b"4")], 4.0),
        ([(b"x-ratelimit-reset-tokens", b"1700000000")], None),
        ([(b"x-ratelimit-reset-tokens", b"1s garbage")], None),
        ([(b"retry-after", b"3"), (b"retry-after", b"90")], 3.0),
        ([], None),
    ],
)
def test_retry_after_in_every_form(headers: list[tuple[bytes, bytes]], seconds: float | None) -> None:
    assert read_retry_after(headers, wall=WALL, jitter=1.0) == pytest.approx(seconds)


def test_jitter_stretches_the_wait_beyond_the_clamp() -> None:
    assert read_retry_after([(b"retry-after", b"400")], wall=WALL, jitter=1.25) == 375.0


@given(st.binary(max_size=60), st.sampled_from([b"retry-after", b"retry-after-ms", b"x-ratelimit-reset-tokens"]))
def test_no_header_value_raises_or_asks_for_too_much(value: bytes, name: bytes) -> None:
    seconds = read_retry_after([(name, value)], wall=WALL, jitter=1.0)
    assert seconds is None or 0 < seconds <= 300


def test_a_429_carries_its_wait_without_jitter() -> None:
    assert classify(429, b"", (b"retry-after", b"3")).retry_after_s == 3.0


ENDPOINT = EndpointConfig(
    id="fast/a#1",
    tier=Tier.FAST,
    name="a",
    model="m",
    base_url="https://models.internal.example:8443/v1",
    api_key=Secret("sk-live-0123456789abcdefghij"),
    headers=(("x-team", "team-credential-77"),),
)


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-live-0123456789abcdefghij.",
        "bad key SK-LIVE-0123456789ABCDEFGHIJ",
        "bad key ...0123456789abcdef...",
        "see https://models.internal.example:8443/v1/chat/completions?key=1",
        "cannot reach models.internal.example:8443",
        "cannot reach MODELS.internal.example now",
        "dial tcp 10.0.0.7:8443: refused",
        "header team-credential-77 refused",
        "Bearer abcdefghijklmnop is wrong",
        "postgres://user:pw@db/x failed",
    ],
)
def test_no_secret_or_address_survives_cleaning(text: str) -> None:
    cleaned = clean_message(text, secrets=secrets_of(ENDPOINT)).lower()
    for hidden in (
        "0123456789ab",
        "models.internal",
        "8443",
        "10.0.0.7",
        "team-credential",
        "abcdefghijklmnop",
        "https:",
        "user:pw",
    ):
        assert hidden not in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "Unsupported value: 'temperature' does not support 0.2 with this model, use 1.0 (é, 漢).",
        "messages[12].content[a] is a sketchbook; skateboarding is fine at 10:30",
        "Bearer token missing",
    ],
)
def test_plain_words_survive_cleaning(text: str) -> None:
    assert clean_message(text, secrets=secrets_of(ENDPOINT)) == text


def test_a_one_word_host_hides_with_its_port_only() -> None:
    local = EndpointConfig(id="i", tier=Tier.FAST, name="a", model="m", base_url="http://model:8000/v1")
    assert clean_message("the model at model:8000 is [::1]:80", secrets=secrets_of(local)) == (
        "the model at [hidden] is [address]"
    )


def test_cleaned_text_is_short_and_printable() -> None:
    assert clean_message("a\r\nb\x00\x1b[31mc\u202ed", secrets=()) == "a b [31mc d"
    assert len(clean_message("x " * 5_000_000, secrets=())) == 500
    clean_message("a\ud800b", secrets=()).encode()


def test_a_cleaned_fault_keeps_plain_codes_and_loses_the_rest() -> None:
    fault = Fault(
        FaultKind.REJECTED, 400, None, "at http://x", "messages[0].content", "sk-live-0123456789abcdefghij", "a b\r\n"
    )
    cleaned = clean_fault(fault, secrets=secrets_of(ENDPOINT))
    assert cleaned == Fault(FaultKind.REJECTED, 400, None, "at [url]", "messages[0].content", None, None)


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_key_never_survives_whatever_surrounds_it(before: str, after: str) -> None:
    key = "zq9-K7mP2xR8tV4wY6nB"
    assert key not in clean_message(before + key + after, secrets=(key,))


def test_an_error_in_a_large_body_is_read_when_it_is_small_itself() -> None:
    error = b'{"message":"no more","code":"insufficient_quota"}'
    padding = b"[1" + b",1" * 100_000 + b"]"
    fault = fault_from_error_event(b'{"x":' + padding + b',"error":' + error + b"}")
    assert (fault.kind, fault.message) == (FaultKind.QUOTA, "no more")
    for large in (
        b'{"error":{"message":"no more","x":' + padding + b"}}",
        b'{"message":"no more","x":' + padding + b"}",
    ):
        fault = fault_from_error_event(large)
        assert (fault.kind, fault.status, fault.message) == (FaultKind.SERVER_ERROR, 500, None)
    assert fault_from_error_event(padding).kind is FaultKind.MALFORMED
