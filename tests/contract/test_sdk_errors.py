"""Errors arrive as the OpenAI SDK's own exceptions, with the right code, and tell nothing about the upstream."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import openai
import pytest
import pytest_asyncio
from openai.types.chat import ChatCompletionMessageParam

from tests.fakes import bodies, turns
from tests.fakes.gateway import RunningGateway, gateway
from tests.fakes.house import House
from tests.fakes.house import house as build
from tests.fakes.script import Turn
from tests.fakes.upstream import FakeUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
SECRET = "sk-upstream-key-9876543210"
LEAKY = "Trouble at http://10.1.2.3:8000/v1 with sk-upstream-key-9876543210 (see http://internal.example/x)"


def failing(status: int, *, code: str | None = None, kind: str = "server_error", headers: turns.Headers = ()) -> Turn:
    return turns.status(status, bodies.error_body(LEAKY, error_type=kind, code=code), headers=headers)


TURNS: Mapping[str, Turn] = {
    "rejects": failing(400, code="invalid_value", kind="invalid_request_error"),
    "too-long": turns.context_too_long("openai"),
    "too-long-vllm": turns.context_too_long("vllm"),
    "unprocessable": failing(422, code="bad_schema", kind="invalid_request_error"),
    "too-large": failing(413, code="too_large", kind="invalid_request_error"),
    "model-gone": failing(404, code="model_not_found", kind="invalid_request_error"),
    "unauthorized": failing(401, code="invalid_api_key"),
    "forbidden": failing(403, code="permission_denied"),
    "limited": failing(429, code="rate_limit_exceeded", kind="requests", headers=[("retry-after", "7")]),
    "quota": turns.quota_exhausted(),
    "broken": failing(500),
    "bad-gateway": failing(502),
    "unavailable": failing(503),
    "overloaded": failing(529, kind="overloaded_error"),
    "gateway-timeout": failing(504),
    "redirects": turns.redirect("http://internal.example/elsewhere"),
    "bad-json": turns.bad_json(),
    "html": turns.html_200(),
    "empty": turns.empty_200(),
    "cut": turns.cut("mid_body"),
    "reset": turns.reset("before_answer"),
    "hangs": turns.hang(),
}
"""Each endpoint fails in its own way; an endpoint of its own keeps one's cooldown from touching the next test."""


def fail_by_name(request: turns.Recorded) -> Iterable[turns.Step]:
    return TURNS[request.json["model"].removesuffix("-streamed")](request)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def failures(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    endpoints = "".join(
        f'[[models.deep]]\nname = "{name}{kind}"\nbase_url = "{{deep}}"\napi_key_env = "UP_KEY"\n'
        f"{'timeout_seconds = 1' if name == 'hangs' else ''}\n"
        for name in TURNS
        for kind in ("", "-streamed")
    )
    config = (
        '[[models.fast]]\nname = "f"\nbase_url = "{fast}"\n[[models.balanced]]\nname = "b"\nbase_url = "{balanced}"\n'
        + endpoints
        + '[routing]\nstrategy = "rule"\n[retry]\nmax_attempts = 1\nmax_total = 1\n'
    )
    folder = tmp_path_factory.mktemp("failures")
    (folder / ".env").write_text(f"UP_KEY={SECRET}\n")
    async with build(folder, config) as made:
        made.deep.always(fail_by_name)
        yield made


EXPECTED = [
    ("rejects", openai.BadRequestError, 400, "invalid_value"),
    ("too-long", openai.BadRequestError, 400, "context_length_exceeded"),
    ("too-long-vllm", openai.BadRequestError, 400, "context_length_exceeded"),
    ("unprocessable", openai.UnprocessableEntityError, 422, "bad_schema"),
    ("too-large", openai.APIStatusError, 413, "too_large"),
    ("model-gone", openai.NotFoundError, 404, "model_not_found"),
    ("unauthorized", openai.InternalServerError, 502, "upstream_auth_failed"),
    ("forbidden", openai.InternalServerError, 502, "upstream_auth_failed"),
    ("limited", openai.RateLimitError, 429, "rate_limit_exceeded"),
    ("quota", openai.InternalServerError, 503, "upstream_quota"),
    ("broken", openai.InternalServerError, 502, "upstream_error"),
    ("bad-gateway", openai.InternalServerError, 502, "upstream_error"),
    ("unavailable", openai.InternalServerError, 503, "upstream_error"),
    ("overloaded", openai.InternalServerError, 503, "upstream_error"),
    ("gateway-timeout", openai.InternalServerError, 504, "upstream_timeout"),
    ("redirects", openai.InternalServerError, 502, "upstream_error"),
    ("bad-json", openai.InternalServerError, 502, "upstream_error"),
    ("html", openai.InternalServerError, 502, "upstream_error"),
    ("empty", openai.InternalServerError, 502, "upstream_error"),
    ("cut", openai.InternalServerError, 502, "upstream_error"),
    ("reset", openai.InternalServerError, 502, "upstream_error"),
    ("hangs", openai.InternalServerError, 504, "upstream_timeout"),
]


def shows_nothing(text: str) -> bool:
    """Whether no address, key or trace of the upstream stands in what a client gets to see."""
    hidden = ("127.0.0.1", "10.1.2.3", "internal.example", "http://", SECRET, "Traceback", 'File "')
    return not [each for each in hidden if each in text]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("name", "kind", "status", "code"), EXPECTED)
async def test_a_failing_upstream_is_the_right_exception(
    failures: House, name: str, kind: type[openai.APIStatusError], status: int, code: str, stream: bool
) -> None:
    model = f"{name}-streamed" if stream else name
    with pytest.raises(openai.APIStatusError) as caught:
        await failures.sdk.chat.completions.create(
            model=model, messages=ASK, stream=stream, extra_body={"octoroute": {"timeout": 2}}
        )
    error = caught.value
    assert type(error) is kind
    assert (error.status_code, error.code) == (status, code)
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}
    assert error.type
    assert error.request_id
    assert error.response.headers["content-type"] == "application/json"
    assert shows_nothing(error.response.text), error.response.text
    assert shows_nothing(str(error.response.headers))
    if status in (429, 503):
        assert int(error.response.headers["retry-after"]) >= 1
    assert error.response.headers.get("x-should-retry") == (
        "false" if name in ("quota", "unauthorized", "forbidden") else None
    )


async def test_the_wait_of_a_limited_upstream_is_told(failures: House) -> None:
    """It was limited by the test before, or is by now; either way seven seconds and its jitter bound the wait."""
    with pytest.raises((openai.RateLimitError, openai.InternalServerError)) as caught:
        await failures.sdk.chat.completions.create(model="limited", messages=ASK)
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 9


async def test_an_error_inside_a_stream_is_an_exception_of_the_stream(failures: House) -> None:
    failures.fast.enqueue(turns.error_event_after(1))
    stream = await failures.sdk.chat.completions.create(model="fast", messages=ASK, stream=True)
    events = aiter(stream)
    assert (await anext(events)).choices[0].delta.role == "assistant"
    assert (await anext(events)).choices[0].delta.content == "part 0 "
    with pytest.raises(openai.APIError) as caught:
        await anext(events)
    assert caught.value.code == "upstream_error"


async def test_a_stream_that_is_cut_is_an_exception_of_the_stream(failures: House) -> None:
    failures.fast.enqueue(turns.cut("after_events", after=1))
    stream = await failures.sdk.chat.completions.create(model="fast", messages=ASK, stream=True)
    with pytest.raises(openai.APIError) as caught:
        [event async for event in stream]
    assert caught.value.code == "upstream_truncated"


async def test_an_unknown_model_is_not_found(failures: House) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await failures.sdk.chat.completions.create(model="gpt-none", messages=ASK)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert caught.value.type == "invalid_request_error"


KEYS = """
[[auth.keys]]
name = "app"
role = "inference"
env = "APP_KEY"
[[auth.keys]]
name = "ops"
role = "viewer"
env = "OPS_KEY"
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def locked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    async with FakeUpstream() as upstream:
        tiers = "".join(
            f'[[models.{tier}]]\nname = "{tier}-1"\nbase_url = "{upstream.base_url}"\n'
            for tier in ("fast", "balanced", "deep")
        )
        config = tiers + '[routing]\nstrategy = "rule"\n' + KEYS
        env = {"APP_KEY": "app-key-0123456789abcdef", "OPS_KEY": "ops-key-0123456789abcdef"}
        async with gateway(config, tmp_path_factory.mktemp("locked"), env=env) as process:
            yield process


def client_of(process: RunningGateway, key: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{process.url}/v1", api_key=key, max_retries=0)


async def test_the_right_key_opens(locked: RunningGateway) -> None:
    async with client_of(locked, "app-key-0123456789abcdef") as sdk:
        assert (await sdk.chat.completions.create(model="fast", messages=ASK)).choices
        assert (await sdk.models.list()).data


async def test_a_wrong_key_is_an_authentication_error(locked: RunningGateway) -> None:
    async with client_of(locked, "wrong") as sdk:
        with pytest.raises(openai.AuthenticationError) as caught:
            await sdk.chat.completions.create(model="fast", messages=ASK)
    assert caught.value.code == "invalid_api_key"
    assert caught.value.type == "authentication_error"
    assert caught.value.response.headers["www-authenticate"] == "Bearer"


async def test_a_key_without_the_role_is_a_permission_error(locked: RunningGateway) -> None:
    async with client_of(locked, "ops-key-0123456789abcdef") as sdk:
        with pytest.raises(openai.PermissionDeniedError) as caught:
            await sdk.chat.completions.create(model="fast", messages=ASK)
    assert caught.value.code == "permission_denied"


async def test_a_full_gateway_says_overloaded(tmp_path: Path) -> None:
    async with build(tmp_path, more="[limits]\nmax_in_flight = 1\n") as full:
        full.fast.enqueue(turns.hang())
        stuck = asyncio.ensure_future(full.sdk.chat.completions.create(model="fast", messages=ASK))
        await full.fast.wait_requests(1)
        with pytest.raises(openai.InternalServerError) as caught:
            await full.sdk.chat.completions.create(model="fast", messages=ASK)
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
    assert (caught.value.status_code, caught.value.code) == (503, "overloaded")
    assert int(caught.value.response.headers["retry-after"]) >= 1
