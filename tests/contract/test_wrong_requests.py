"""Every wrong request gets the right status, code and param, in OpenAI's envelope, with a request id."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fakes.client import Answer, Client, chat, get, post
from tests.fakes.house import KEY_OF_DEEP, KEY_OF_SMALL, House
from tests.fakes.house import house as build

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 20_000
USER = [{"role": "user", "content": "hello"}]
ROUTES = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/chat")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with build(tmp_path_factory.mktemp("wrong"), more=f"[limits]\nmax_request_bytes = {LIMIT}\n") as made:
        yield made


def check(house: House, answer: Answer, status: int, code: str, param: str | None = None) -> None:
    """The answer is this error, complete and clean, and no upstream was asked."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    error = answer.json["error"]
    assert set(answer.json) == {"error"}
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param), answer
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    shown = str(answer.headers) + answer.body.decode()
    hidden = [*(upstream.base_url for upstream in house.upstreams), KEY_OF_DEEP, KEY_OF_SMALL, "Traceback", "127.0.0.1"]
    assert [each for each in hidden if each in shown] == []
    assert [len(upstream.requests) for upstream in house.upstreams] == [0, 0, 0]


async def send(house: House, body: object, *, path: str = ROUTES[0], headers: dict[str, str] | None = None) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await house.ask(post(raw, path=path, headers=headers))


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"{",
        b'{"model": "fast"',
        b'{"model": "fast",}',
        b"{'model': 'fast'}",
        b'{"model": "fast"} {}',
        b'{"model": NaN}',
        b"\xff\xfe{\x00}\x00",
        b'\xef\xbb\xbf{"model": "fast"}',
        b'{"model": "\xff"}',
        b"[" * 10_000,
        b'{"a":' * 3_000 + b"1" + b"}" * 3_000,
        b"<html>",
        b"model=fast&messages=hello",
    ],
)
async def test_a_body_that_is_no_json_object(house: House, path: str, body: bytes) -> None:
    answer = await send(house, body, path=path)
    param = answer.json["error"]["param"]
    assert param is None or param in {"a", "model", "message"}
    check(house, answer, 400, "invalid_request_error", param)


CHAT = [
    ({"messages": USER}, "model"),
    ({"model": None, "messages": USER}, "model"),
    ({"model": 5, "messages": USER}, "model"),
    ({"model": ["fast"], "messages": USER}, "model"),
    ({"model": {"name": "fast"}, "messages": USER}, "model"),
    ({"model": True, "messages": USER}, "model"),
    ({"model": "", "messages": USER}, "model"),
    ({"model": "  ", "messages": USER}, "model"),
    ({"model": "fast"}, "messages"),
    ({"model": "fast", "messages": None}, "messages"),
    ({"model": "fast", "messages": []}, "messages"),
    ({"model": "fast", "messages": "hello"}, "messages"),
    ({"model": "fast", "messages": {"role": "user"}}, "messages"),
    ({"model": "fast", "messages": [1]}, "messages"),
    ({"model": "fast", "messages": ["hello"]}, "messages"),
    ({"model": "fast", "messages": [[]]}, "messages"),
    ({"model": "fast", "messages": [*USER, None]}, "messages"),
    ({"model": "fast", "messages": USER, "stream": "true"}, "stream"),
    ({"model": "fast", "messages": USER, "stream": 1}, "stream"),
    ({"model": "fast", "messages": USER, "stream": []}, "stream"),
    ({"model": "fast", "messages": USER, "stream_options": 5}, "stream_options"),
    ({"model": "fast", "messages": USER, "stream_options": {"include_usage": "yes"}}, "stream_options"),
    ({"model": "fast", "messages": USER, "max_tokens": -1}, "max_tokens"),
    ({"model": "fast", "messages": USER, "max_tokens": "9"}, "max_tokens"),
    ({"model": "fast", "messages": USER, "max_completion_tokens": 1.5}, "max_completion_tokens"),
    ({"model": "fast", "messages": USER, "n": 0}, "n"),
    ({"model": "fast", "messages": USER, "n": "3"}, "n"),
    ({"model": "fast", "messages": USER, "octoroute": "high"}, "octoroute"),
    ({"model": "fast", "messages": USER, "octoroute": None}, "octoroute"),
    ({"model": "fast", "messages": USER, "octoroute": [1]}, "octoroute"),
    ({"model": "fast", "messages": USER, "octoroute": {"tag": "x" * 5000}}, "octoroute"),
    ({"model": "fast", "messages": USER, "octoroute": {"importence": "high"}}, "octoroute.importence"),
    ({"model": "fast", "messages": USER, "octoroute": {"importance": "critical"}}, "octoroute.importance"),
    ({"model": "fast", "messages": USER, "octoroute": {"importance": 1}}, "octoroute.importance"),
    ({"model": "fast", "messages": USER, "octoroute": {"task_type": "chat"}}, "octoroute.task_type"),
    ({"model": "fast", "messages": USER, "octoroute": {"privacy": "public"}}, "octoroute.privacy"),
    ({"model": "fast", "messages": USER, "octoroute": {"privacy": True}}, "octoroute.privacy"),
    ({"model": "fast", "messages": USER, "octoroute": {"timeout": 0}}, "octoroute.timeout"),
    ({"model": "fast", "messages": USER, "octoroute": {"timeout": "soon"}}, "octoroute.timeout"),
    ({"model": "fast", "messages": USER, "octoroute": {"workspace": ""}}, "octoroute.workspace"),
]


@pytest.mark.parametrize(("body", "param"), CHAT)
async def test_a_wrong_field_is_named(house: House, body: dict[str, object], param: str) -> None:
    check(house, await send(house, body), 400, "invalid_request_error", param)


@pytest.mark.parametrize("path", ROUTES[1:4])
@pytest.mark.parametrize("model", [None, 5, "", ["fast"]])
async def test_the_other_operations_check_model_too(house: House, path: str, model: object) -> None:
    body = {"model": model, "prompt": "x", "input": "x"}
    check(house, await send(house, body, path=path), 400, "invalid_request_error", "model")


@pytest.mark.parametrize("path", ROUTES[:4])
@pytest.mark.parametrize("model", ["gpt-5", "auto ish", "small ü", "Small", "x" * 5000, "http://10.0.0.1", "\u2028"])
async def test_an_unknown_model_is_not_found(house: House, path: str, model: str) -> None:
    body = {"model": model, "messages": USER, "prompt": "x", "input": "x"}
    answer = await send(house, body, path=path)
    if model.strip():
        check(house, answer, 404, "model_not_found", "model")
    else:
        check(house, answer, 400, "invalid_request_error", "model")
    assert len(answer.body) < 1000


async def test_a_field_given_twice_is_refused(house: House) -> None:
    body = b'{"model": "fast", "messages": [{"role":"user","content":"a"}], "mod\\u0065l": "deep"}'
    check(house, await send(house, body), 400, "invalid_request_error", "model")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Octoroute-Importance", "critical"),
        ("X-Octoroute-Importance", "HIGH"),
        ("X-Octoroute-Importance", ""),
        ("X-Octoroute-Task-Type", "poetry"),
        ("X-Octoroute-Privacy", "local"),
        ("X-Octoroute-Privacy", "Local-Only"),
        ("X-Octoroute-Privacy", ""),
        ("X-Request-Timeout", "soon"),
        ("X-Request-Timeout", "0"),
        ("X-Request-Timeout", "-1"),
        ("X-Request-Timeout", "nan"),
        ("X-Request-Timeout", "inf"),
        ("X-Request-Timeout", "1e3"),
        ("X-Request-Timeout", "30s"),
        ("X-Request-Timeout", ""),
        ("X-Octoroute-Session", "x" * 200),
    ],
)
async def test_a_wrong_hint_header_is_named(house: House, name: str, value: str) -> None:
    answer = await send(house, {"model": "fast", "messages": USER}, headers={name: value})
    check(house, answer, 400, "invalid_request_error", name)


@pytest.mark.parametrize("path", ROUTES)
async def test_a_body_whose_length_is_too_large_is_refused(house: House, path: str) -> None:
    answer = await send(house, b" " * (LIMIT + 1), path=path)
    check(house, answer, 413, "request_too_large")


async def test_a_body_too_large_is_refused_before_it_is_sent(house: House) -> None:
    head = post(b"", headers={"content-length": "999999999999"})
    async with await Client.connect(house.gateway.port) as client:
        client.write(head)
        check(house, await client.answer(), 413, "request_too_large")
        assert await client.ended() == b""


async def test_a_chunked_body_too_large_is_refused_as_it_grows(house: House) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ntransfer-encoding: chunked\r\n\r\n"
    piece = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    async with await Client.connect(house.gateway.port) as client:
        client.write(head + piece * 6)
        check(house, await client.answer(), 413, "request_too_large")


async def test_a_body_of_exactly_the_limit_is_taken(house: House) -> None:
    body = chat(model="fast")
    answer = await send(house, body + b" " * (LIMIT - len(body)))
    assert answer.status == 200, answer


async def test_a_small_chunked_body_is_taken(house: House) -> None:
    body = chat(model="fast")
    pieces = b"".join(b"%x\r\n%b\r\n" % (1, body[at : at + 1]) for at in range(len(body)))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ntransfer-encoding: chunked\r\n\r\n"
    answer = await house.ask(head + pieces + b"0\r\n\r\n")
    assert answer.status == 200, answer


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/", "/v2/models", "/v1/chat", "/v1/chat/completions/", "/v1/images/generations", "/favicon.ico"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_what_is_not_there_is_not_found(house: House, path: str, method: str) -> None:
    answer = await house.ask(f"{method} {path} HTTP/1.1\r\nhost: gateway\r\ncontent-length: 0\r\n\r\n".encode())
    check(house, answer, 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", {"POST"}),
        ("PUT", "/v1/chat/completions", {"POST"}),
        ("DELETE", "/v1/embeddings", {"POST"}),
        ("OPTIONS", "/v1/chat/completions", {"POST"}),
        ("GET", "/chat", {"POST"}),
        ("POST", "/v1/models", {"GET", "HEAD"}),
        ("DELETE", "/v1/models/small", {"GET", "HEAD"}),
        ("POST", "/models", {"GET", "HEAD"}),
        ("POST", "/metrics", {"GET", "HEAD"}),
        ("OPTIONS", "/health", {"GET", "HEAD"}),
        ("PATCH", "/health/ready", {"GET", "HEAD"}),
    ],
)
async def test_a_wrong_method_is_not_allowed(house: House, method: str, path: str, allowed: set[str]) -> None:
    answer = await house.ask(f"{method} {path} HTTP/1.1\r\nhost: gateway\r\ncontent-length: 0\r\n\r\n".encode())
    check(house, answer, 405, "method_not_allowed")
    assert {each.strip() for each in answer.headers["allow"].split(",")} == allowed


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/small", "/models", "/health", "/metrics", "/info"])
async def test_head_is_get_without_its_body(house: House, path: str) -> None:
    async with await Client.connect(house.gateway.port) as client:
        client.write(f"HEAD {path} HTTP/1.1\r\nhost: gateway\r\n\r\n".encode())
        head = await client.head()
        assert head.status == 200, head
        assert head.headers["x-request-id"]
        # Nothing of a body stands before the next answer.
        assert (await client.ask(get("/v1/models"))).json["object"] == "list"


@pytest.mark.parametrize(
    "path",
    [
        "/v1//models",
        "/v1/../v1/models",
        "/v1/./models",
        "/v1%2fmodels",
        "/v1/models/..%2f..%2fadmin",
        "/v1/models/%2e%2e/x",
        "/v1/models%2fsmall",
        "/v1/models/a%2F%2Fb",
        "/v1/models/%2F",
        "/v1/models/a%00b",
        "/v1/models/a%5cb",
        "//v1/models",
    ],
)
async def test_a_tricky_path_is_refused(house: House, path: str) -> None:
    answer = await house.ask(get(path))
    assert answer.status == 400, answer
    assert answer.json["error"]["code"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("request_head", "status", "code"),
    [
        (b"GET /v1/models HTTP/1.1\r\n\r\n", 400, "invalid_request_error"),
        (b"GET /v1/models HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, "invalid_request_error"),
        (b"GET /v1/models HTTP/1.1\r\nhost: a b\r\n\r\n", 400, "invalid_request_error"),
        (b"GET http://evil/v1/models HTTP/1.1\r\nhost: a\r\n\r\n", 400, "invalid_request_error"),
        (b"GET /v1/models/\xc3\xa9 HTTP/1.1\r\nhost: a\r\n\r\n", 400, "invalid_request_error"),
        (b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 400, "invalid_request_error"),
        (b"CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n", 400, "invalid_request_error"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_request_error"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "invalid_request_error"),
        (b"nonsense\r\n\r\n", 400, "invalid_request_error"),
        (b"GET /v1/models HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 101 + b"\r\n", 431, "headers_too_large"),
        (b"GET /v1/models HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 33_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (
            b"POST /chat HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "invalid_request_error",
        ),
    ],
)
async def test_a_broken_head_is_refused_and_the_connection_closed(
    house: House, request_head: bytes, status: int, code: str
) -> None:
    async with await Client.connect(house.gateway.port) as client:
        answer = await client.ask(request_head)
        check(house, answer, status, code)
        assert await client.ended() == b""
