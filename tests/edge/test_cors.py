"""`[cors]`: exact origins on every answer there is, and a question that needs no key."""

import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from octoroute_py.edge.cors import Cors
from octoroute_py.edge.cycle import BODY_FOLLOWS
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.bodies import chat_body

APP, OTHER = "https://chat.example", "https://evil.example"
KEY = "okr-inference-0123456789"
KEYS = f'[[auth.keys]]\nname = "k"\nrole = "inference"\nsha256 = "{hashlib.sha256(KEY.encode()).hexdigest()}"\n'
CONFIG = httpx_config(f'{KEYS}[cors]\norigins = ["{APP}", "http://localhost:5173"]\n')
QUESTION = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-lang",
}


@pytest.fixture
async def one() -> AsyncIterator[Running]:
    with upstreams() as mock:
        mock.route().respond(content=chat_body("hi"), headers={"content-type": "application/json"})
        async with running(CONFIG) as started:
            yield started


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/admin/config", "/api/models", "/nothing/here"])
async def test_a_question_is_answered_without_a_key(one: Running, path: str) -> None:
    answer = await one.client.options(path, headers={"origin": APP, **QUESTION})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-methods"] == "GET, POST, PUT, PATCH, DELETE"
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type,x-stainless-lang"
    assert answer.headers["access-control-max-age"] == "600"
    assert answer.headers["vary"] == "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", [OTHER, "null", f"{APP}.evil.example", "http://chat.example", f"{APP}:444", APP.upper()]
)
async def test_a_question_of_another_origin_is_refused(one: Running, origin: str) -> None:
    answer = await one.client.options("/v1/chat/completions", headers={"origin": origin, **QUESTION})
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]
    read = await one.client.get("/health", headers={"origin": origin})
    assert not [name for name in read.headers if name.startswith("access-control")]


@pytest.mark.parametrize("names", ["x y", "x,,y", "x\ty:", "a" * 5000])
async def test_names_of_headers_that_are_none_are_not_repeated(one: Running, names: str) -> None:
    asked = {"origin": APP, "access-control-request-method": "POST", "access-control-request-headers": names}
    answer = await one.client.options("/v1/chat/completions", headers=asked)
    assert "access-control-allow-headers" not in answer.headers


def may_be_read(answer: httpx.Response) -> bool:
    told = answer.headers.get_list("access-control-allow-origin")
    return (
        told == [APP] and answer.headers["access-control-expose-headers"] == "*" and "Origin" in answer.headers["vary"]
    )


async def test_every_answer_may_be_read_errors_included(one: Running) -> None:
    page, key = {"origin": APP}, {"authorization": f"Bearer {KEY}"}
    body = {"model": "fast", "messages": [{"role": "user", "content": "Hi"}]}
    chat = "/v1/chat/completions"
    answers = {
        200: await one.client.post(chat, json=body, headers=page | key),
        401: await one.client.post(chat, json=body, headers=page),
        403: await one.client.post("/admin/reload", headers=page | key),
        404: await one.client.get("/nothing", headers=page),
        405: await one.client.delete(chat, headers=page),
        400: await one.client.post(chat, content=b"{", headers=page | key),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert may_be_read(answer), status
    odd = one.client.build_request("GET", "/", headers=page)
    odd.url = odd.url.copy_with(raw_path=b"/v1/%2fmodels")
    assert may_be_read(await one.client.send(odd))


async def test_answers_vary_by_origin_also_where_none_is_sent(one: Running) -> None:
    answer = await one.client.get("/health")
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in answer.headers


async def test_all_origins_are_told_as_such_and_never_with_credentials() -> None:
    async with running(httpx_config(f'{KEYS}[cors]\norigins = ["*"]\n')) as one:
        for origin in (APP, OTHER, "null"):
            question = await one.client.options("/v1/models", headers={"origin": origin, **QUESTION})
            read = await one.client.get("/v1/models", headers={"origin": origin})
            assert (question.status_code, read.status_code) == (204, 401)
            for answer in (question, read):
                assert answer.headers["access-control-allow-origin"] == "*"
                assert "access-control-allow-credentials" not in answer.headers


async def test_options_without_a_question_is_no_question(one: Running) -> None:
    assert (await one.client.options("/v1/models", headers={"origin": APP})).status_code == 405


async def test_without_origins_nothing_stands_in_front() -> None:
    async with running(httpx_config()) as one:
        assert not isinstance(one.application.app, Cors)
        answer = await one.client.options("/v1/models", headers={"origin": APP, **QUESTION})
        assert answer.status_code == 405
        assert "vary" not in answer.headers


async def test_a_stream_goes_through_as_it_is_but_for_its_head() -> None:
    start = {"type": "http.response.start", "status": 200, "headers": ((b"a", b"b"),), BODY_FOLLOWS: True}
    pieces = [{"type": "http.response.body", "body": b"%d" % n, "more_body": n < 3} for n in range(4)]
    sent: list[Message] = []

    async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
        for message in ({**start}, *pieces):
            await send(message)

    async def nothing() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"origin", APP.encode())]}
    await Cors(streaming, [APP])(scope, nothing, send)
    head, *rest = sent
    assert rest == pieces
    assert head[BODY_FOLLOWS]
    assert head["headers"] == [
        (b"a", b"b"),
        (b"vary", b"Origin"),
        (b"access-control-allow-origin", APP.encode()),
        (b"access-control-expose-headers", b"*"),
    ]
