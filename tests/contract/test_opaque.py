"""What a client sends reaches the upstream as it was spelled; what belongs to one side stays on that side."""

import re

import msgspec
import pytest

from octoroute_py import __version__
from tests.fakes import bodies, turns
from tests.fakes.client import post
from tests.fakes.house import KEY_OF_DEEP, KEY_OF_SMALL, House
from tests.fakes.script import Recorded

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUES: dict[bytes, bytes] = {
    b"top_p": b"1.0e-2",
    b"presence_penalty": b"-0.0",
    b"frequency_penalty": b"1E5",
    b"seed": b"123456789012345678901234567890",
    b"x_float": b"0.1000000000000000055511151231257827",
    b"x_small": b"5e-324",
    b"x_string": rb'"\u0041\/\b\ud83d\ude00 \u2028"',
    b"x_raw": '"日本語 \u2028 \U0001f600"'.encode(),
    b"x_null": b"null",
    b"x_empty": b"{ }",
    b"x_nested": b'{"a" : [1, 2.50,\t{"b": null, "b2": 1e-7}],\n "c":"\\u0000"}',
    b"x_twice": b'{"k": 1, "k": 2}',
    b"tools": b'[ {"type":"function","function":{"name":"f","parameters":{"type":"object","minimum":1.0}}} ]',
    b"tool_choice": b'{"type":"function", "function":{"name":"f"}}',
    b"response_format": b'{"type":"json_schema","json_schema":{"name":"n","schema":{"maximum":1E300}}}',
    b"logit_bias": b'{"50256":-1.00e2}',
    b"stop": rb'["\n", "\u0045ND"]',
    b"user": b'""',
    b"metadata": b'{"octoroute":"not ours","model":"auto"}',
    b"n": b"1",
    b"parallel_tool_calls": b"false",
    b"auto": b'"auto"',
}
MESSAGES = (
    b'[ {"role":"system","content":"\\u0041","name":"x_1"} ,\n'
    b'{"role":"user","content":[{"type":"text","text":"a\\/b"},'
    b'{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","x":1.0}},{"type":"unheard","of":[1e1]}]},'
    b'{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function",'
    b'"function":{"name":"f","arguments":"{\\"a\\": 1.0}"}}],"reasoning_content":"\\t"},'
    b'{"role":"tool","tool_call_id":"c","content":"2.50"} ]'
)


def body_of(*fields: tuple[bytes, bytes]) -> bytes:
    """A body of these raw fields, spaced as nobody's encoder does it."""
    return b" {" + b" ,\r\n ".join(b'"%b" :\t%b' % field for field in fields) + b"}\n"


def raw_fields(request: Recorded) -> dict[str, bytes]:
    """The top-level values of what an upstream got, each as it was spelled."""
    found = msgspec.json.decode(request.body, type=dict[str, msgspec.Raw])
    return {name: bytes(raw) for name, raw in found.items()}


async def test_every_value_is_forwarded_as_it_was_spelled(house: House) -> None:
    answer = await house.ask(post(body_of((b"model", b'"fast"'), (b"messages", MESSAGES), *VALUES.items())))
    assert answer.status == 200, answer
    expected = {name.decode(): raw for name, raw in VALUES.items()} | {"model": b'"small"', "messages": MESSAGES}
    assert raw_fields(house.fast.requests[0]) == expected


async def test_fields_keep_their_order(house: House) -> None:
    names = [b"zeta", b"messages", b"alpha", b"model", b"9", b"\xc3\xa9"]
    values = {b"messages": MESSAGES, b"model": b'"fast"'}
    await house.ask(post(body_of(*[(name, values.get(name, b"0.10")) for name in names])))
    assert list(raw_fields(house.fast.requests[0])) == [name.decode() for name in names]


async def test_streams_are_forwarded_as_spelled_with_usage_asked_for(house: House) -> None:
    options = b'{"chunk_size" : 1.0, "include_obfuscation":false}'
    fields = ((b"stream", b"true"), (b"stream_options", options), *VALUES.items())
    await house.ask(post(body_of((b"model", b'"fast"'), (b"messages", MESSAGES), *fields)))
    seen = raw_fields(house.fast.requests[0])
    inner = msgspec.json.decode(seen.pop("stream_options"), type=dict[str, msgspec.Raw])
    assert {name: bytes(raw) for name, raw in inner.items()} == {
        "chunk_size": b"1.0",
        "include_obfuscation": b"false",
        "include_usage": b"true",
    }
    assert seen == {
        **{name.decode(): raw for name, raw in VALUES.items()},
        "model": b'"small"',
        "messages": MESSAGES,
        "stream": b"true",
    }


async def test_stream_options_of_a_client_that_asked_stay_untouched(house: House) -> None:
    options = b'{ "include_usage" :true, "x":1E0}'
    fields = ((b"stream", b"true"), (b"stream_options", options))
    await house.ask(post(body_of((b"model", b'"fast"'), (b"messages", MESSAGES), *fields)))
    assert raw_fields(house.fast.requests[0])["stream_options"] == options


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), {"max_tokens": b"100", "temperature": b"0.25"}),
        (((b"temperature", b"1.0E0"),), {"max_tokens": b"100", "temperature": b"1.0E0"}),
        (((b"temperature", b"null"),), {"max_tokens": b"100", "temperature": b"null"}),
        (((b"max_tokens", b"100"),), {"max_tokens": b"100", "temperature": b"0.25"}),
        (((b"max_tokens", b"101"),), {"max_tokens": b"100", "temperature": b"0.25"}),
        (((b"max_tokens", b"7"),), {"max_tokens": b"7", "temperature": b"0.25"}),
        (((b"max_tokens", b"null"),), {"max_tokens": b"null", "temperature": b"0.25"}),
        (((b"max_completion_tokens", b"5"),), {"max_completion_tokens": b"5", "temperature": b"0.25"}),
        (
            ((b"max_completion_tokens", b"500"), (b"max_tokens", b"9")),
            {"max_completion_tokens": b"100", "max_tokens": b"9", "temperature": b"0.25"},
        ),
    ],
)
async def test_only_limits_and_defaults_of_the_endpoint_change(
    house: House, given: tuple[tuple[bytes, bytes], ...], expected: dict[str, bytes]
) -> None:
    fields = ((b"model", b'"deep"'), (b"messages", MESSAGES), (b"octoroute", b'{"tag": "t"}'), *given)
    answer = await house.ask(post(body_of(*fields)))
    assert raw_fields(house.deep.requests[0]) == {"model": b'"large"', "messages": MESSAGES, **expected}
    lowered = re.search(rb"101|500", b"".join(raw for _, raw in given)) is not None
    assert ("x-octoroute-warning" in answer.headers) is lowered


async def test_other_operations_are_forwarded_as_spelled(house: House) -> None:
    extra = tuple((name, raw) for name, raw in VALUES.items() if name != b"n")
    spelled = {name.decode(): raw for name, raw in extra}
    for path, name, raw in (
        ("completions", b"prompt", b'[ "\\u0041", "b" ]'),
        ("embeddings", b"input", b"[[1, 2] ,[3]]"),
        ("responses", b"input", b'[ {"role":"user","content":"\\u0041"} ]'),
    ):
        answer = await house.ask(post(body_of((b"model", b'"fast"'), (name, raw), *extra), path=f"/v1/{path}"))
        assert answer.status == 200, answer
        seen = house.fast.requests[-1]
        assert seen.path == f"/v1/{path}"
        assert raw_fields(seen) == {"model": b'"small"', name.decode(): raw, **spelled}


async def test_a_buffered_answer_comes_back_byte_for_byte(house: House) -> None:
    body = '{ "id":"x", "choices" : [{"index":0,"message":{"content":"\\u0041 日本\u2028"},"x":1.0e0}],\n"usage":null} '
    house.fast.enqueue(turns.status(200, body.encode(), content_type="application/json; charset=utf-8"))
    answer = await house.ask(post(body_of((b"model", b'"fast"'), (b"messages", MESSAGES))))
    assert answer.body == body.encode()
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


CLIENT_HEADERS = {
    "Authorization": "Bearer sk-of-the-client",
    "X-API-Key": "sk-of-the-client",
    "Cookie": "session=1",
    "Origin": "http://localhost:8080",
    "Referer": "http://page.example/x",
    "User-Agent": "curl/8",
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Host": "evil.example",
    "X-Real-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6",
    "Via": "1.1 proxy",
    "OpenAI-Organization": "org-1",
    "OpenAI-Project": "proj-1",
    "Idempotency-Key": "k-1",
    "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "Tracestate": "a=b",
    "Baggage": "a=b",
    "X-Request-Id": "req-1",
    "X-Octoroute-Tag": "t",
    "X-Request-Timeout": "30",
    "X-Stainless-Lang": "python",
    "X-Custom": "1",
    "X-Hop": "1",
    "Keep-Alive": "timeout=5",
    "TE": "trailers",
    "Accept-Encoding": "gzip, br",
    "Proxy-Authorization": "Basic eDp5",
}
ALLOWED = {
    b"authorization",
    b"x-request-id",
    b"openai-beta",
    b"host",
    b"content-type",
    b"content-length",
    b"accept-encoding",
    b"user-agent",
    b"accept",
    b"connection",
}


async def test_only_allowed_headers_reach_the_upstream(house: House) -> None:
    headers = {**CLIENT_HEADERS, "OpenAI-Beta": "assistants=v2", "Connection": "keep-alive, X-Hop"}
    answer = await house.ask(post(body_of((b"model", b'"fast"'), (b"messages", MESSAGES)), headers=headers))
    assert answer.status == 200, answer
    [seen] = house.fast.requests
    names = [name.lower() for name, _ in seen.headers]
    assert set(names) <= ALLOWED
    assert len(names) == len(set(names))
    assert seen.header("openai-beta") == b"assistants=v2"
    assert seen.header("x-request-id") == answer.headers["x-request-id"].encode() == b"req-1"
    assert seen.headers_named("authorization") == [b"Bearer " + KEY_OF_SMALL.encode()]
    assert seen.header("host") == f"127.0.0.1:{house.fast.port}".encode()
    assert seen.header("content-type") == b"application/json"
    assert seen.header("content-length") == str(len(seen.body)).encode()
    assert seen.header("accept-encoding") == b"identity"
    assert seen.header("user-agent") == f"octoroute/{__version__}".encode()


async def test_a_header_that_connection_names_stays_on_its_hop(house: House) -> None:
    headers = {"OpenAI-Beta": "assistants=v2", "Connection": "OpenAI-Beta"}
    await house.ask(post(body_of((b"model", b'"fast"'), (b"messages", MESSAGES)), headers=headers))
    assert house.fast.requests[0].header("openai-beta") is None


async def test_an_endpoint_gets_its_own_key_and_headers(house: House) -> None:
    request = body_of((b"model", b'"deep"'), (b"messages", MESSAGES))
    await house.ask(post(request, headers={"Authorization": "Bearer sk-of-the-client", "X-Team": "spoofed"}))
    [seen] = house.deep.requests
    assert seen.headers_named("authorization") == [b"Bearer " + KEY_OF_DEEP.encode()]
    assert seen.headers_named("x-team") == [b"search"]


async def test_a_key_never_goes_along_to_another_endpoint(house: House) -> None:
    house.fast.enqueue(turns.status(500), turns.status(500))
    house.balanced.enqueue(turns.status(500), turns.status(500))
    answer = await house.ask(post(body_of((b"model", b'"fast"'), (b"messages", MESSAGES))))
    assert answer.headers["x-octoroute-attempts"] == "4", answer
    seen = [*house.fast.requests, *house.balanced.requests]
    keys = [(request.json["model"], request.header("authorization")) for request in seen]
    with_key = ("small", b"Bearer " + KEY_OF_SMALL.encode())
    assert keys == [with_key, ("vendor/small-v2", None), ("middle", None), ("middle", None)]
    assert [request for request in seen if request.header("x-team") or KEY_OF_DEEP.encode() in request.body] == []


async def test_only_allowed_headers_come_back(house: House) -> None:
    headers = [
        ("set-cookie", "a=b"),
        ("server", "uvicorn"),
        ("openai-organization", "org-secret"),
        ("openai-project", "proj"),
        ("location", "http://internal.example"),
        ("www-authenticate", "Basic"),
        ("via", "1.1 inner"),
        ("alt-svc", "h3"),
        ("strict-transport-security", "max-age=1"),
        ("access-control-allow-origin", "*"),
        ("x-request-id", "req-of-upstream"),
        ("x-octoroute-tier", "deep"),
        ("x-octoroute-spoofed", "1"),
        ("x-powered-by", "php"),
        ("cf-ray", "1"),
        ("openai-processing-ms", "17"),
        ("openai-version", "2020-10-01"),
        ("x-ratelimit-remaining-requests", "99"),
    ]
    allowed = {
        "content-type",
        "content-length",
        "transfer-encoding",
        "date",
        "cache-control",
        "openai-processing-ms",
        "openai-version",
        "x-ratelimit-remaining-requests",
        "x-request-id",
        *(f"x-octoroute-{name}" for name in ("tier", "strategy", "reason", "endpoint", "attempts")),
    }
    for stream in (b"false", b"true"):
        good = turns.stream_answer if stream == b"true" else turns.json_answer
        house.fast.enqueue(good(headers=headers))
        fields = ((b"model", b'"fast"'), (b"messages", MESSAGES), (b"stream", stream))
        answer = await house.ask(post(body_of(*fields)))
        assert answer.status == 200, answer
        assert set(answer.headers) <= allowed
        assert answer.headers["x-octoroute-tier"] == "fast"
        assert answer.headers["x-request-id"] != "req-of-upstream"
        assert answer.headers["openai-processing-ms"] == "17"
        assert answer.headers["x-ratelimit-remaining-requests"] == "99"


@pytest.mark.parametrize("given", ["bad id", "a\x01b", "ü", "x" * 129, "<script>"])
async def test_an_unsafe_request_id_is_replaced(house: House, given: str) -> None:
    request = post(body_of((b"model", b'"fast"'), (b"messages", MESSAGES)))
    field = b"host: gateway\r\nx-request-id: " + given.encode("latin-1") + b"\r\n"
    answer = await house.ask(request.replace(b"host: gateway\r\n", field))
    if answer.status != 400:  # a control character is refused by the HTTP parser itself
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
    assert given not in str(answer.headers)


async def test_the_model_in_an_answer_is_what_the_upstream_said(house: House) -> None:
    house.fast.enqueue(turns.json_answer(model="vendor/model-2026-01-01"))
    answer = await house.ask(post(body_of((b"model", b'"fast"'), (b"messages", MESSAGES))))
    assert answer.json["model"] == "vendor/model-2026-01-01"
    assert answer.body == bodies.chat_body("Hello from the fake upstream.", model="vendor/model-2026-01-01")
