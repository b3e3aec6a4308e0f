"""From a client's request to an upstream and back, with every room in between (contract §3 to §5)."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import respx

from tests.fakes import bodies
from tests.fakes.application import httpx_config, running, upstreams

JSON = {"content-type": "application/json"}
TIERS = ("fast", "balanced", "deep")
ANSWERS = {tier: bodies.chat_body(f"From {tier}.") for tier in TIERS}


class Fleet:
    """The three upstreams; each answers in its tier's name unless told otherwise."""

    def __init__(self, mock: respx.MockRouter) -> None:
        self.routes = {tier: mock.post(f"http://{tier}.test/v1/chat/completions") for tier in TIERS}
        for tier, route in self.routes.items():
            route.respond(content=ANSWERS[tier], headers=JSON)

    def fails(self, tier: str, *effects: Any) -> None:
        """What the tier's upstream does to its next requests, then it answers; statuses or exceptions."""
        turns = [each if isinstance(each, Exception) else httpx.Response(each) for each in effects]
        self.routes[tier].side_effect = [*turns, *[httpx.Response(200, content=ANSWERS[tier], headers=JSON)] * 9]

    def body(self, tier: str) -> dict[str, Any]:
        """What the tier's upstream was last asked."""
        asked: dict[str, Any] = json.loads(self.routes[tier].calls.last.request.content)
        return asked

    @property
    def asked(self) -> list[int]:
        """How often each tier's upstream was asked."""
        return [self.routes[tier].call_count for tier in TIERS]


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with upstreams() as mock:
        yield Fleet(mock)


def route_of(answer: httpx.Response) -> tuple[str, str, str, str]:
    """Tier, strategy, reason and number of attempts."""
    names = ("tier", "strategy", "reason", "attempts")
    return tuple(answer.headers.get(f"x-octoroute-{name}", "-") for name in names)


@pytest.mark.parametrize(
    ("text", "hints", "expected"),
    [
        ("Hi!", {}, ("fast", "rule", "rule_matched", "1")),
        ("Hi!", {"task_type": "deep_analysis"}, ("deep", "rule", "rule_matched", "1")),
        ("Write a python function", {"task_type": "code"}, ("balanced", "rule", "rule_matched", "1")),
        ("x" * 4 * 1100, {"task_type": "code"}, ("deep", "rule", "rule_matched", "1")),
        ("x" * 4 * 300, {"task_type": "document_summary"}, ("balanced", "rule", "rule_matched", "1")),
        ("Hi!", {"task_type": "casual_chat", "importance": "high"}, ("balanced", "rule", "default_tier", "1")),
    ],
)
async def test_auto_goes_where_the_rules_say(
    fleet: Fleet, text: str, hints: dict[str, str], expected: tuple[str, str, str, str]
) -> None:
    async with running(httpx_config('default_tier = "balanced"')) as one:
        hints = hints or {"task_type": "casual_chat"}
        answer = await one.chat(messages=[{"role": "user", "content": text}], octoroute=hints)
    assert answer.status_code == 200
    assert route_of(answer) == expected
    assert answer.content == ANSWERS[expected[0]]


async def test_hints_in_headers_and_in_the_body_mean_the_same_and_are_never_forwarded(fleet: Fleet) -> None:
    async with running(httpx_config()) as one:
        headers = {"x-octoroute-importance": "high", "x-octoroute-task-type": "code", "x-octoroute-tag": "t"}
        by_header = await one.chat(headers=headers)
        by_body = await one.chat(octoroute={"importance": "high", "task_type": "code", "tag": "t"})
    assert route_of(by_header) == route_of(by_body) == ("deep", "rule", "rule_matched", "1")
    assert "octoroute" not in fleet.body("deep")
    for call in fleet.routes["deep"].calls:
        assert not [name for name in call.request.headers if name.startswith("x-octoroute")]


@pytest.mark.parametrize(
    ("headers", "param"),
    [
        ({"x-octoroute-importance": "urgent"}, "X-Octoroute-Importance"),
        ({"x-octoroute-task-type": "poetry"}, "X-Octoroute-Task-Type"),
        ({"x-octoroute-privacy": "please"}, "X-Octoroute-Privacy"),
        ({"x-request-timeout": "soon"}, "X-Request-Timeout"),
        ({"x-request-timeout": "-1"}, "X-Request-Timeout"),
    ],
)
async def test_a_wrong_hint_is_the_clients_error(fleet: Fleet, headers: dict[str, str], param: str) -> None:
    async with running(httpx_config()) as one:
        answer = await one.chat(headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert fleet.asked == [0, 0, 0]


MODELS = {
    "auto": "fast",
    "AUTO": "fast",
    "fast": "fast",
    "Balanced": "balanced",
    "DEEP": "deep",
    "deep-model": "deep",
    "balanced/balanced-model#1": "balanced",
}


@pytest.mark.parametrize(("model", "tier"), MODELS.items())
async def test_a_model_is_a_tier_in_any_case_a_name_or_an_id(fleet: Fleet, model: str, tier: str) -> None:
    async with running(httpx_config()) as one:
        answer = await one.chat(model, octoroute={"task_type": "casual_chat"})
    assert answer.status_code == 200
    assert answer.headers["x-octoroute-endpoint"] == f"{tier}/{tier}-model#1"
    assert fleet.body(tier)["model"] == f"{tier}-model"


@pytest.mark.parametrize("model", ["gpt-9", "Deep-Model", "local", "cloud", "balanced/balanced-model#2", "x" * 5000])
async def test_any_other_model_does_not_exist(fleet: Fleet, model: str) -> None:
    async with running(httpx_config()) as one:
        answer = await one.chat(model)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_failure_goes_on_in_the_next_tier_unseen(fleet: Fleet) -> None:
    fleet.fails("fast", httpx.ConnectError("refused"))
    async with running(httpx_config()) as one:
        answer = await one.chat("fast")
    assert answer.content == ANSWERS["balanced"]
    assert route_of(answer) == ("balanced", "rule", "tier_fallback", "2")


async def test_replicas_come_before_the_next_tier(fleet: Fleet) -> None:
    replica = '[[models.fast]]\nname = "fast-model"\nbase_url = "http://fast.test/v1"\ntransport = "httpx"\n'
    fleet.fails("fast", 503)
    async with running(replica + httpx_config()) as one:
        answer = await one.chat("fast")
    assert route_of(answer) == ("fast", "rule", "explicit_tier", "2")
    assert fleet.asked == [2, 0, 0]


async def test_a_named_model_does_not_go_to_another_one(fleet: Fleet) -> None:
    fleet.fails("fast", *[401] * 9)
    async with running(httpx_config()) as one:
        answer = await one.chat("fast-model")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_auth_failed")
    assert fleet.asked == [1, 0, 0]
    assert route_of(answer) == ("fast", "rule", "explicit_endpoint", "1")


async def test_when_all_fail_the_first_cause_is_told_without_a_word_of_the_upstream(fleet: Fleet) -> None:
    for tier in TIERS:
        fleet.fails(tier, *[httpx.ConnectError("to http://10.0.0.7:8000 refused")] * 9)
    fleet.routes["fast"].side_effect = None
    fleet.routes["fast"].respond(503, text="stack trace at http://10.0.0.7", headers={"retry-after": "1"})
    async with running(httpx_config()) as one:
        answer = await one.chat("fast")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "upstream_error"
    assert int(answer.headers["retry-after"]) >= 1
    assert "10.0.0.7" not in answer.text
    assert sum(fleet.asked) <= 4


async def test_an_upstreams_verdict_passes_through_once(fleet: Fleet) -> None:
    fleet.routes["fast"].respond(422, content=bodies.error_body("no such voice", param="voice"), headers=JSON)
    async with running(httpx_config()) as one:
        answer = await one.chat("fast")
    assert (answer.status_code, answer.json()["error"]["message"]) == (422, "no such voice")
    assert fleet.asked == [1, 0, 0]


async def test_a_private_request_goes_to_local_endpoints_only(fleet: Fleet) -> None:
    async with running(httpx_config(deep='location = "local"')) as one:
        answer = await one.chat("fast", headers={"x-octoroute-privacy": "local-only"})
        assert route_of(answer) == ("deep", "rule", "local_only", "1")
        fleet.fails("deep", *[500] * 9)
        failed = await one.chat("fast", octoroute={"privacy": "local-only"})
        assert failed.status_code == 502
    assert fleet.asked[:2] == [0, 0]


async def test_a_private_request_without_a_local_endpoint_is_503(fleet: Fleet) -> None:
    async with running(httpx_config()) as one:
        answer = await one.chat(headers={"x-octoroute-privacy": "local-only"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_endpoint_available")
    assert answer.headers["retry-after"]
    assert fleet.asked == [0, 0, 0]


async def test_a_capability_or_window_that_is_missing_takes_the_next_tier_up(fleet: Fleet) -> None:
    more = {"fast": 'capabilities = ["chat"]\ncontext_window = 50', "balanced": "context_window = 50"}
    async with running(httpx_config(**more)) as one:
        tools = await one.chat("fast", tools=[{"type": "function", "function": {"name": "f"}}])
        long = await one.chat("fast", messages=[{"role": "user", "content": "x" * 1000}])
    assert route_of(tools) == ("balanced", "rule", "capability", "1")
    assert route_of(long) == ("deep", "rule", "context_overflow", "1")


async def test_every_value_of_the_client_goes_up_and_every_byte_of_the_answer_comes_down(fleet: Fleet) -> None:
    odd = b'{ "id":"x",  "choices":[{"index":0,"message":{"content":"\\u00e9"}}], "n":1.0e2, "z":null }'
    fleet.routes["fast"].respond(content=odd, headers=JSON)
    spelled = b'{"model":"fast","messages":[{"role":"user","content":"\\u00e9"}],"seed":1.50,"x":{"y":[1e3,null]}}'
    async with running(httpx_config(fast="temperature = 0.3")) as one:
        answer = await one.client.post("/v1/chat/completions", content=spelled)
    assert answer.content == odd
    sent = fleet.routes["fast"].calls.last.request.content
    for part in (b'"seed":1.50', b'"x":{"y":[1e3,null]}', b'"content":"\\u00e9"', b'"temperature":0.3'):
        assert part in sent


async def test_a_lowered_token_limit_is_told(fleet: Fleet) -> None:
    async with running(httpx_config(fast="max_tokens = 50")) as one:
        answer = await one.chat("fast", max_tokens=90)
    assert answer.headers["x-octoroute-warning"] == "max_tokens lowered from 90 to 50"
    assert fleet.body("fast")["max_tokens"] == 50


async def test_a_whole_answer_tells_what_all_of_its_attempts_cost_where_any_has_a_price(fleet: Fleet) -> None:
    fleet.routes["fast"].respond(content=b"no json", headers=JSON)
    prices = "input_cost_per_mtok = 3.0\noutput_cost_per_mtok = 15.0"
    async with running(httpx_config(fast=prices, balanced=prices)) as one:
        dear = await one.chat("fast", messages=[{"role": "user", "content": "x" * 400}])
        free = await one.chat("deep")
    assert route_of(dear) == ("balanced", "rule", "tier_fallback", "2")
    assert dear.headers["x-octoroute-cost"] == "0.000396"  # 100 tokens in vain, then 7 in and 5 out
    assert "x-octoroute-cost" not in free.headers


async def test_a_safe_request_id_is_kept_and_an_unsafe_one_replaced(fleet: Fleet) -> None:
    async with running(httpx_config()) as one:
        kept = await one.chat("fast", headers={"x-request-id": "my-id-1"})
        replaced = await one.chat("fast", headers={"x-request-id": "two words"})
    assert kept.headers["x-request-id"] == "my-id-1"
    assert fleet.routes["fast"].calls[0].request.headers["x-request-id"] == "my-id-1"
    assert len(replaced.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b"{}", "model"),
        (b'{"model":5,"messages":[]}', "model"),
        (b'{"model":"fast"}', "messages"),
        (b'{"model":"fast","messages":[]}', "messages"),
        (b'{"model":"fast","messages":{}}', "messages"),
        (b'{"model":"fast","messages":[{"role":"user"}],"stream":"yes"}', "stream"),
    ],
)
async def test_a_body_that_is_no_chat_is_400_with_the_field_to_blame(
    fleet: Fleet, body: bytes, param: str | None
) -> None:
    async with running(httpx_config()) as one:
        answer = await one.client.post("/v1/chat/completions", content=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_a_body_above_the_limit_is_413(fleet: Fleet) -> None:
    async with running(httpx_config("[limits]\nmax_request_bytes = 2000\n")) as one:
        answer = await one.chat("fast", messages=[{"role": "user", "content": "x" * 2000}])
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


async def test_requests_above_the_gateways_own_limit_are_told_to_come_back(fleet: Fleet) -> None:
    async with running(httpx_config("[limits]\nmax_in_flight = 1\n")) as one:
        inside: list[httpx.Response] = []

        async def while_one_is_under_way(request: httpx.Request) -> httpx.Response:
            inside.append(await one.chat("deep"))
            return httpx.Response(200, content=ANSWERS["fast"], headers=JSON)

        fleet.routes["fast"].mock(side_effect=while_one_is_under_way)
        assert (await one.chat("fast")).status_code == 200
    assert (inside[0].status_code, inside[0].json()["error"]["code"]) == (503, "overloaded")
    assert inside[0].headers["retry-after"] == "1"


async def test_what_happened_is_counted(fleet: Fleet) -> None:
    fleet.fails("fast", 500)
    async with running(httpx_config()) as one:
        await one.chat("fast")
        page = (await one.client.get("/metrics")).text
    for line in (
        'octoroute_requests_total{strategy="rule",tier="balanced"} 1.0',
        'octoroute_tier_fallbacks_total{from_tier="fast",to_tier="balanced"} 1.0',
        'octoroute_upstream_requests_total{endpoint="fast/fast-model#1",status_class="5xx"} 1.0',
        'octoroute_tokens_total{endpoint="balanced/balanced-model#1",kind="prompt"} 7.0',
        "octoroute_in_flight_requests 0.0",
    ):
        assert line in page


async def test_embeddings_need_a_name_and_completions_take_auto(fleet: Fleet) -> None:
    async with running(httpx_config()) as one:
        with upstreams() as mock:
            mock.post("http://fast.test/v1/embeddings").respond(content=bodies.embeddings_body([[0.5]]), headers=JSON)
            mock.post(path="/v1/completions").respond(content=bodies.completion_body("hi"), headers=JSON)
            vague = await one.client.post("/v1/embeddings", json={"model": "auto", "input": "a"})
            named = await one.client.post("/v1/embeddings", json={"model": "fast", "input": "a"})
            plain = await one.client.post("/v1/completions", json={"model": "auto", "prompt": "a"})
    assert (vague.status_code, vague.json()["error"]["param"]) == (400, "model")
    assert (named.status_code, plain.status_code) == (200, 200)
