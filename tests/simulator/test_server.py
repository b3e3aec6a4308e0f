"""The simulator over plain HTTP: keys, wrong requests, faults on purpose, and clients that leave."""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from octoroute_py.simulator.faults import Fault, FaultPlan
from octoroute_py.simulator.model import SimulatedModel
from octoroute_py.simulator.server import Simulator, serve

CHAT = "/v1/chat/completions"
ASK: dict[str, object] = {"model": "sim-test", "messages": [{"role": "user", "content": "hello there"}]}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "x"}]}, "model"),
        (CHAT, ASK | {"messages": "x"}, "messages"),
        (CHAT, ASK | {"stream": "yes"}, "stream"),
        (CHAT, ASK | {"n": 0}, "n"),
        (CHAT, ASK | {"max_tokens": -1}, "max_tokens"),
        (CHAT, ASK | {"temperature": 3}, "temperature"),
        (CHAT, ASK | {"response_format": {"type": "xml"}}, "response_format.type"),
        ("/v1/completions", {"model": "sim-test", "prompt": []}, "prompt"),
        ("/v1/embeddings", {"model": "sim-test", "input": ""}, "input"),
        ("/v1/embeddings", {"model": "sim-test", "input": "x", "encoding_format": "hex"}, "encoding_format"),
        ("/v1/responses", {"model": "sim-test", "input": []}, "input"),
    ],
)
async def test_a_wrong_request_names_the_field_to_blame(
    client: httpx.AsyncClient, path: str, body: dict[str, object], param: str
) -> None:
    answer = await client.post(path, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_object_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await client.post(CHAT, content=body)).status_code == 400


async def test_unknown_paths_and_methods_are_json_errors(client: httpx.AsyncClient) -> None:
    assert (await client.get("/nowhere")).json()["error"]["code"] == "not_found"
    assert (await client.get(CHAT)).status_code == 405
    assert (await client.get("/v1/models/other")).json()["error"]["code"] == "model_not_found"
    assert (await client.get("/health")).json() == {"status": "ok"}


async def test_a_key_is_asked_for_where_one_is_set() -> None:
    async with (
        await serve(SimulatedModel(name="sim-test"), api_key="sk-right") as simulator,
        httpx.AsyncClient(base_url=simulator.base_url, trust_env=False) as client,
    ):
        for headers in ({}, {"authorization": "Bearer sk-wrong"}):
            refused = await client.post("/chat/completions", json=ASK, headers=headers)
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == "invalid_api_key"
        right = {"authorization": "Bearer sk-right"}
        assert (await client.post("/chat/completions", json=ASK, headers=right)).status_code == 200


async def test_connections_are_kept_and_bodies_may_be_chunked(simulator: Simulator, client: httpx.AsyncClient) -> None:
    async def in_parts() -> AsyncIterator[bytes]:
        yield b'{"model": "sim-test", "messages": '
        yield b'[{"role": "user", "content": "x"}]}'

    for _ in range(3):
        assert (await client.post(CHAT, content=in_parts())).status_code == 200
    assert simulator.open_connections == 1
    assert simulator.requests == 3


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.STATUS_500, 500),
        (Fault.STATUS_503, 503),
        (Fault.STATUS_429, 429),
        (Fault.STATUS_401, 401),
        (Fault.STATUS_302, 302),
    ],
)
async def test_faults_that_are_statuses(client: httpx.AsyncClient, fault: Fault, status: int, stream: bool) -> None:
    answer = await client.post(CHAT, json=ASK | {"model": f"sim-test:{fault}", "stream": stream})
    assert answer.status_code == status
    assert ("retry-after" in answer.headers) is (status == 429)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", [Fault.RESET, Fault.CUT_BEFORE_FIRST_EVENT, Fault.CUT_MID_STREAM])
async def test_faults_that_break_the_connection(client: httpx.AsyncClient, fault: Fault, stream: bool) -> None:
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        await client.post(CHAT, json=ASK | {"model": f"sim-test:{fault}", "stream": stream})


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", [Fault.HANG, Fault.STALL])
async def test_faults_that_say_nothing_end_when_the_client_leaves(
    simulator: Simulator, client: httpx.AsyncClient, fault: Fault, stream: bool
) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await client.post(CHAT, json=ASK | {"model": f"sim-test:{fault}", "stream": stream}, timeout=0.05)
    await all_gone(simulator)


async def test_bad_json_does_not_parse(client: httpx.AsyncClient) -> None:
    answer = await client.post(CHAT, json=ASK | {"model": "sim-test:bad_json"})
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        answer.json()
    stream = await client.post(CHAT, json=ASK | {"model": "sim-test:bad_json", "stream": True})
    assert stream.text == 'data: {"choices": [\n\n'


async def test_control_sets_share_and_number_of_faults(client: httpx.AsyncClient) -> None:
    set_to = await client.post("/control", json={"fault": "status_500", "count": 2})
    assert set_to.json() == {"fault": "status_500", "rate": 1.0, "count": 2, "requests": 0}
    statuses = [(await client.post(CHAT, json=ASK)).status_code for _ in range(3)]
    assert statuses == [500, 500, 200]
    await client.post("/control", json={"fault": "status_503", "rate": 0.5})
    some = {(await client.post(CHAT, json=ASK)).status_code for _ in range(40)}
    assert some == {200, 503}
    await client.post("/control", json={})
    assert (await client.get("/control")).json()["fault"] is None
    for wrong in ({"fault": "nonsense"}, {"rate": 2}, {"speed": 1}):
        assert (await client.post("/control", json=wrong)).status_code == 400


async def test_without_control_nothing_can_be_made_to_fail() -> None:
    async with (
        await serve(SimulatedModel(name="sim-test")) as simulator,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{simulator.port}", trust_env=False) as client,
    ):
        assert (await client.post("/control", json={"fault": "hang"})).status_code == 404
        assert (await client.post(CHAT, json=ASK | {"model": "sim-test:hang"})).status_code == 404


async def test_a_plan_can_be_given_from_the_start() -> None:
    plan = FaultPlan(Fault.STATUS_503, count=1)
    async with (
        await serve(SimulatedModel(name="sim-test"), plan=plan) as simulator,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{simulator.port}", trust_env=False) as client,
    ):
        assert [(await client.post(CHAT, json=ASK)).status_code for _ in range(2)] == [503, 200]


async def test_a_stream_comes_token_by_token_and_ends_when_the_client_leaves() -> None:
    endless = SimulatedModel(name="sim-test", tokens_per_s=1e-6)
    async with (
        await serve(endless) as simulator,
        httpx.AsyncClient(base_url=simulator.base_url, trust_env=False) as client,
    ):
        async with client.stream("POST", "/chat/completions", json=ASK | {"stream": True}) as answer:
            first = await anext(answer.aiter_bytes())
            assert b'"role":"assistant"' in first
            assert b'"content":"This"' not in first
        await all_gone(simulator)


async def test_closing_lets_a_running_answer_end_within_its_grace() -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        simulator = await serve(SimulatedModel(name="sim-test", first_token_s=0.05))
        call = asyncio.ensure_future(client.post(f"{simulator.base_url}/chat/completions", json=ASK))
        await until(lambda: simulator.requests == 1)
        await simulator.aclose(grace_s=5)
        assert (await call).status_code == 200
        assert simulator.open_connections == 0
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{simulator.base_url}/models")


async def all_gone(simulator: Simulator) -> None:
    await until(lambda: simulator.open_connections == 0)


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not met():  # noqa: ASYNC110 - the server has no event for this, and the loop ends within a few turns
            await asyncio.sleep(0)
