"""POST /v1/routing/explain: what it tells is what would happen, and nothing happens by telling it (contract §3, §7)."""

import json
from typing import Any

import httpx
import pytest

from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.judging import completion

JSON = {"content-type": "application/json"}
RULE = httpx_config('default_tier = "balanced"', deep='capabilities = ["tools"]\nlocation = "local"')
LLM = RULE.replace('"rule"', '"llm"')
LONG = "Summarize this: " + "word " * 400

REQUESTS: list[dict[str, Any]] = [
    {},
    {"messages": [{"role": "user", "content": "hello there"}]},
    {"messages": [{"role": "user", "content": "Write a poem about caches"}]},
    {"messages": [{"role": "user", "content": LONG}]},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "debug"}]},
        ]
    },
    {"octoroute": {"importance": "high"}},
    {"octoroute": {"privacy": "local-only"}},
    {"model": "deep", "tools": [{"type": "function", "function": {"name": "f"}}]},
    {"model": "fast-model"},
    {
        "model": "deep",
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}],
    },
    {"model": "nobody"},
    {"messages": []},
    {"octoroute": {"importance": "urgent"}},
    {"octoroute": {"max_quality_loss": 2}},
]


async def explained(one: Running, query: str = "", **body: Any) -> httpx.Response:
    """What the gateway tells of a chat request."""
    sent = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], **body}
    return await one.client.post(f"/v1/routing/explain{query}", json=sent)


@pytest.mark.parametrize("body", REQUESTS, ids=[json.dumps(each)[:60] for each in REQUESTS])
async def test_it_tells_what_happens_to_the_same_request(body: dict[str, Any]) -> None:
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers=JSON)
        async with running(RULE) as one:
            told = await explained(one, **body)
            calls = len(mock.calls)
            live = await one.chat(**body)
    assert calls == 0
    assert told.status_code == live.status_code
    if live.status_code == 200:
        data = told.json()
        names = ("tier", "strategy", "reason")
        assert [data[name] for name in names] == [live.headers[f"x-octoroute-{name}"] for name in names]
        assert live.headers["x-octoroute-endpoint"] in data["candidates"]
    else:
        assert told.json() == live.json()


async def test_every_rule_is_told_and_no_word_of_the_request() -> None:
    async with running(RULE) as one:
        answer = await explained(one, messages=[{"role": "user", "content": "a quick brown fox"}])
    data = answer.json()
    assert [rule["name"] for rule in data["rules"]][-1] == "mid_length_qa"
    assert (data["facts"]["tokens"], data["next_step"], data["scorer"], data["judge"]) == (4, None, None, None)
    assert "brown" not in answer.text


async def test_the_judge_is_asked_only_when_that_is_wanted() -> None:
    with upstreams() as mock:
        judge = mock.post("http://balanced.test/v1/chat/completions")
        judge.respond(content=completion("DEEP"), headers=JSON)
        async with running(LLM) as one:
            told = (await explained(one)).json()
            assert (told["next_step"], told["tier"], told["reason"]) == ("judge", "balanced", "default_tier")
            assert told["judge"] == {"tier": "balanced", "strategy": "llm", "state": "not_asked"}
            assert judge.call_count == 0
            for query, state in (("?judge=ask", "answered"), ("", "remembered")):
                told = (await explained(one, query)).json()
                assert (told["next_step"], told["tier"], told["reason"]) == (None, "deep", "llm_judged")
                assert told["judge"]["state"] == state
            assert judge.call_count == 1
            assert (await explained(one, "?judge=maybe")).status_code == 400


async def test_it_is_counted_as_no_request() -> None:
    async with running(RULE) as one:
        await explained(one)
        page = (await one.client.get("/metrics")).text
    counted = [line for line in page.splitlines() if line.startswith("octoroute_requests_total") and line[-3:] != "0.0"]
    assert counted == []


async def test_a_body_that_is_too_large_or_no_json_is_refused() -> None:
    async with running(RULE + "[limits]\nmax_request_bytes = 1024\n") as one:
        assert (await one.client.post("/v1/routing/explain", content=b"{" * 2000)).status_code == 413
        assert (await one.client.post("/v1/routing/explain", content=b"{")).status_code == 400
        assert (await one.client.get("/v1/routing/explain")).status_code == 405
