"""Which headers cross the gateway, and which never do."""

import msgspec
import pytest

from octoroute_py.config.schema import EndpointConfig, NetworkRules, Registered, Secret
from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.words import Tier
from octoroute_py.transport.headers import (
    OWN_MARK,
    VIA,
    Origin,
    field_lines,
    forwardable_request_headers,
    forwardable_response_headers,
    origin_of,
    request_fields,
)


def endpoint(headers: tuple[tuple[str, str], ...] = (), key: str | None = None) -> EndpointConfig:
    return EndpointConfig(
        id="fast/m#1",
        tier=Tier.FAST,
        name="m",
        model="m",
        base_url="http://127.0.0.1:1/v1",
        api_key=Secret(key) if key is not None else None,
        headers=headers,
    )


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://localhost:11434/v1", Origin(False, "localhost", 11434, b"localhost:11434", "/v1")),
        ("https://api.example.com/v1/", Origin(True, "api.example.com", 443, b"api.example.com", "/v1")),
        ("https://API.example.com:443", Origin(True, "api.example.com", 443, b"api.example.com", "")),
        ("http://[::1]:80/a/b", Origin(False, "::1", 80, b"[::1]", "/a/b")),
        ("http://[::1]:8000", Origin(False, "::1", 8000, b"[::1]:8000", "")),
        ("https://bücher.example/v1", Origin(True, "xn--bcher-kva.example", 443, b"xn--bcher-kva.example", "/v1")),
    ],
)
def test_a_base_url_tells_where_to_connect(url: str, origin: Origin) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/v1",
        "http:///v1",
        "host/v1",
        "http://user:secret@host/v1",
        "http://host/v1?key=secret",
        "http://host/v1#x",
        "http://host/a b",
        "http://ho st/v1",
        "http://host/ä",
    ],
)
def test_a_base_url_that_cannot_be_called_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match="base_url") as caught:
        origin_of(url)
    assert "secret" not in str(caught.value)


def test_a_request_carries_the_credential_and_asks_for_no_coding() -> None:
    fields = dict(request_fields(endpoint(key="sk-1")))
    assert fields[b"authorization"] == b"Bearer sk-1"
    assert fields[b"accept-encoding"] == b"identity"
    assert fields[b"content-type"] == b"application/json"
    assert fields[b"user-agent"].startswith(b"octoroute/")


def test_requests_to_registered_endpoints_carry_our_mark_and_all_the_marks_they_came_with() -> None:
    of_the_file = endpoint((("X-Title", "t"),))
    registered = Registered(model_id="m", status=ModelStatus.ACTIVE, rules=NetworkRules())
    assert (VIA, OWN_MARK) in request_fields(msgspec.structs.replace(of_the_file, registered=registered))
    assert VIA not in dict(request_fields(of_the_file))
    assert forwardable_request_headers([(VIA, b"another"), (VIA, b"third")]) == ((VIA, b"another"), (VIA, b"third"))
    with pytest.raises(ValueError, match="gateway itself"):
        request_fields(endpoint((("Octoroute-Via", "none"),)))


def test_no_key_means_no_authorization() -> None:
    assert b"authorization" not in dict(request_fields(endpoint()))


def test_own_headers_are_added_and_may_replace_agent_and_credential() -> None:
    own = (("User-Agent", "mine"), ("Authorization", "Basic abc"), ("X-Title", "café"), ("api-key", " k "))
    fields = request_fields(endpoint(own, key="sk-1"))
    assert len(fields) == len(dict(fields))
    assert dict(fields) | {b"user-agent": b"mine", b"authorization": b"Basic abc"} == dict(fields)
    assert dict(fields)[b"x-title"] == "café".encode("latin-1")
    assert dict(fields)[b"api-key"] == b"k"


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Transfer-Encoding", "CONNECTION", "accept-encoding", "te", "upgrade", "expect"],
)
def test_framing_and_hop_headers_cannot_be_configured(name: str) -> None:
    with pytest.raises(ValueError, match="gateway itself"):
        request_fields(endpoint(((name, "x"),)))


@pytest.mark.parametrize("value", ["sk\r\nx: y", "sk\n", "s\0k", "sk\u2026"])
def test_a_value_that_would_break_its_line_is_refused_without_showing_it(value: str) -> None:
    for config in (endpoint(key=value), endpoint((("x-key", value),))):
        with pytest.raises(ValueError, match="value of header") as caught:
            request_fields(config)
        assert "sk" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "ä"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no header name"):
        request_fields(endpoint(((name, "x"),)))


def test_field_lines_are_as_on_the_wire() -> None:
    assert field_lines([(b"a", b"1"), (b"b", b"")]) == b"a: 1\r\nb: \r\n"
    assert field_lines([]) == b""


@pytest.mark.parametrize("field", [(b"a", b"1\n"), (b"a", b"1\r"), (b"a\r\nb", b"1"), (b"a", b"\0")])
def test_field_lines_never_hold_more_lines_than_fields(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="line break"):
        field_lines([(b"x", b"y"), field])


def test_of_the_clients_headers_only_the_listed_go_upstream() -> None:
    headers = [
        (b"host", b"gateway"),
        (b"authorization", b"Bearer client"),
        (b"x-api-key", b"client"),
        (b"cookie", b"a=b"),
        (b"x-forwarded-for", b"1.2.3.4"),
        (b"openai-beta", b"assistants=v2"),
        (b"x-octoroute-tag", b"t"),
        (b"transfer-encoding", b"chunked"),
    ]
    assert forwardable_request_headers(headers) == ((b"openai-beta", b"assistants=v2"),)
    assert forwardable_request_headers([(b"accept", b"*/*")]) == ()


def test_a_header_named_in_connection_stays_on_its_hop() -> None:
    headers = [(b"openai-beta", b"x"), (b"connection", b"close, OpenAI-Beta")]
    assert forwardable_request_headers(headers) == ()


def test_a_forwarded_value_with_a_line_break_is_left_out() -> None:
    assert forwardable_request_headers([(b"openai-beta", b"x\r\ny: z")]) == ()


def test_of_the_upstreams_headers_only_the_listed_reach_the_client() -> None:
    passed = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-cache"),
        (b"openai-processing-ms", b"12"),
        (b"openai-version", b"2020-10-01"),
        (b"openai-request-id", b"r"),
        (b"x-generation-id", b"g"),
        (b"x-ratelimit-remaining-tokens", b"9"),
    ]
    kept = [
        (b"set-cookie", b"a=b"),
        (b"server", b"nginx"),
        (b"openai-organization", b"org"),
        (b"location", b"http://169.254.169.254/"),
        (b"x-request-id", b"theirs"),
        (b"transfer-encoding", b"chunked"),
        (b"content-length", b"2"),
        (b"connection", b"close"),
        (b"x-internal", b"1"),
        (b"retry-after", b"1"),
    ]
    assert forwardable_response_headers([*kept[:5], *passed, *kept[5:]]) == passed
