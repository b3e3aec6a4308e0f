"""The receipt of a request says what an explanation said just before it, and what the request's own answer says."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from octoroute_py.routing.explain import Explanation
from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.governor import Governor, governor
from tests.fakes.judging import completion

JSON = {"content-type": "application/json"}
RULES = """
[[routing.rules]]
name = "words"
tier = "deep"
priority = 5
when.pattern = "(?i)prove"
[[routing.rules]]
name = "long words"
tier = "balanced"
priority = 4
when.min_tokens = 10
when.pattern = "lemma"
[[routing.rules]]
name = "headed"
tier = "fast"
priority = 3
when.header = { x-team = "red" }
[[routing.rules]]
name = "off"
tier = "fast"
enabled = false
"""
REGISTRY = '[registry]\nallow_networks = ["127.0.0.0/8"]\nallow_ports = [9]\n'
WORDS = ("prove", "the", "lemma", "hello", "write", "poem", "code", "of", "summarize", "a", "function", "night", "hi")
FIELDS = Explanation.__struct_fields__


def drawn(rng: random.Random) -> tuple[dict[str, Any], dict[str, str]]:
    """A body and headers as clients send them."""
    text = " ".join(rng.choices(WORDS, k=rng.choice([1, 3, 8, 40, 300])))
    body: dict[str, Any] = {"model": rng.choice(["auto"] * 8 + ["fast", "deep", "deep-model"])}
    body["messages"] = [{"role": "user", "content": text}]
    if rng.random() < 0.3:
        body["messages"] = [{"role": "system", "content": "Be brief."}, *body["messages"]]
    if rng.random() < 0.2:
        body["tools"] = [{"type": "function", "function": {"name": "f"}}]
    if rng.random() < 0.5:
        body["user"] = f"u{rng.randrange(20)}"
    if rng.random() < 0.3:
        body["metadata"] = {"plan": rng.choice(["gold", "tin", "gold and more"]), "secret": "sesame"}
    hints: dict[str, Any] = {}
    if rng.random() < 0.3:
        hints["importance"] = rng.choice(["low", "high"])
    if rng.random() < 0.4:
        hints["agent_type"] = rng.choice(["coder", "writer"])
    if hints:
        body["octoroute"] = hints
    headers = {"x-team": rng.choice(["red", "redder", "blue"])} if rng.random() < 0.4 else {}
    return body, headers


async def told_thrice(
    one: Running, body: dict[str, Any], headers: dict[str, str], *, number: int, query: str = ""
) -> tuple[dict[str, Any], httpx.Response, dict[str, Any]]:
    """What is explained, what happens, and what is told of it."""
    named = {**headers, "x-request-id": f"r-{number}"}
    before = await one.client.post(f"/v1/routing/explain{query}", json=body, headers=named)
    live = await one.client.post("/v1/chat/completions", json=body, headers=named)
    told = await one.client.get(f"/v1/routing/decisions/r-{number}")
    assert (before.status_code, live.status_code, told.status_code) == (200, 200, 200), (before.text, live.text, body)
    return before.json(), live, told.json()


def is_the_same(before: dict[str, Any], told: dict[str, Any]) -> None:
    """Equal in every field of an explanation, but for what the receipt says nobody asked."""
    unknown = set(told["unknown"])
    expected, found = ({name: each[name] for name in FIELDS} for each in (before, told))
    for name in unknown & set(FIELDS):
        assert found[name] is None
        del found[name], expected[name]
    if "facts.has_code" in unknown:
        assert found["facts"]["has_code"] is None
        expected["facts"]["has_code"] = None
    for ours, theirs in zip(found["rules"], expected["rules"], strict=True):
        if ours["matched"] is None:
            assert "rules.matched" in unknown
            theirs.update(matched=None, failed=None, wanted=None, eligible=None)
        elif ours["matched"] and ours["eligible"] is None and theirs["eligible"] is not None:
            assert "rules.eligible" in unknown
            theirs["eligible"] = None
    assert found == expected


def is_as_the_headers_say(live: httpx.Response, told: dict[str, Any]) -> None:
    answered = (told["answered_tier"], told["strategy"], told["answered_reason"], told["endpoint"])
    assert answered == tuple(live.headers[f"x-octoroute-{name}"] for name in ("tier", "strategy", "reason", "endpoint"))
    assert str(len(told["attempts"])) == live.headers["x-octoroute-attempts"]
    assert (told["complete"], told["request"]["status"]) == (True, 200)
    assert "sesame" not in str(told)


async def hold(one: Running, *, seed: int, requests: int) -> list[dict[str, Any]]:
    """Random requests, each held against what was explained; the receipts."""
    rng, found = random.Random(seed), []
    for number in range(requests):
        body, headers = drawn(rng)
        before, live, told = await told_thrice(one, body, headers, number=number)
        is_the_same(before, told)
        is_as_the_headers_say(live, told)
        found.append(told)
    return found


@pytest.fixture
def answering() -> Iterator[None]:
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers=JSON)
        yield


@pytest.mark.usefixtures("answering")
@pytest.mark.parametrize("gated", ["", 'capabilities = ["tools"]\ncontext_window = 4000'])
async def test_with_rules_of_the_file(gated: str) -> None:
    async with running(httpx_config('default_tier = "balanced"', deep=gated) + RULES) as one:
        told = await hold(one, seed=1, requests=120)
    assert {each["decided_by"] for each in told} == {"client", "rule", "strategy"}
    unknown = {name for each in told for name in each["unknown"]}
    assert unknown == ({"rules.matched"} if gated else {"rules.matched", "facts"})


async def test_with_rules_rule_sets_experiments_and_preferences(tmp_path: Path) -> None:
    async with governor(tmp_path, 'default_tier = "balanced"' + RULES + REGISTRY) as one:
        await govern(one)
        told = await hold(one.one, seed=2, requests=250)
    assert {each["decided_by"] for each in told} == {"client", "experiment", "rule", "preferences", "strategy"}
    assert {arm for each in told for arm in each["arms"]} == {"x:usual", "x:deep", "y:plain", "y:set"}
    assert {rule["rule_set"] for each in told for rule in each["rules"]} == {None, "other"}
    decided = [each for each in told if each["rule_id"] == "plan"]
    assert decided
    for each in decided:
        eligible = next(rule["eligible"] for rule in each["rules"] if rule["id"] == "plan")
        assert sorted(eligible) == ["balanced-model", "deep-model"]
        assert each["models"] == eligible


async def govern(one: Governor) -> None:
    """Rules, a rule set, experiments and preferences, each for a part of the requests."""
    spare = {"id": "spare", "name": "spare", "provider": "custom", "tier": "deep", "status": "testing"}
    await one.set("POST", "/api/models", spare | {"endpoints": [{"url": "http://127.0.0.1:9/v1"}]})
    await one.rule("none", "spare", conditions={"contentLength": {"min": 1}})
    await one.rule(
        "plan",
        "deep-model",
        "balanced-model",
        conditions={"customConditions": {"metadata": {"plan": "gold"}}},
    )
    await one.rule("set", "deep-model", ruleSet="other", conditions={"contentLength": {"min": 30}})
    await one.rule("large", "balanced-model", conditions={"contentLength": {"min": 900}})
    await one.set(
        "PUT", "/api/agents/writer/preferences", {"preferredModels": ["deep-model"], "fallbackModels": ["fast-model"]}
    )
    usual, deep = {"name": "usual", "modelId": "fast-model"}, {"name": "deep", "tier": "deep"}
    coders = {"agentType": ["coder"]}
    await one.set("POST", "/api/experiments", {"id": "x", "name": "x", "arms": [usual, deep], "conditions": coders})
    arms = [{"name": "plain", "strategy": "rule"}, {"name": "set", "ruleSet": "other"}]
    short = {"contentLength": {"max": 60}}
    await one.set("POST", "/api/experiments", {"id": "y", "name": "y", "arms": arms, "conditions": short})
    for name in ("x", "y"):
        await one.set("POST", f"/api/experiments/{name}/start", {})


async def test_with_a_canary_that_fails_and_falls_back(tmp_path: Path) -> None:
    storage = f'[storage]\nurl = "sqlite:///{tmp_path / "x.db"}"\n[breaker]\nenabled = false\n'
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers=JSON)
        async with running(httpx_config('default_tier = "balanced"') + storage + REGISTRY) as one:
            model = {"id": "new", "name": "new", "provider": "custom", "tier": "deep"}
            await made(one, "/models", model | {"endpoints": [{"url": "http://127.0.0.1:9/v1"}]})
            split = {"production": 40, "canary": 60}
            order = {"id": "d", "name": "d", "productionModelId": "balanced-model", "canaryModelId": "new"}
            await made(one, "/canary/deployments", order | {"trafficSplit": split})
            await made(one, "/canary/deployments/d/start", {})
            told = await hold(one, seed=3, requests=60)
    arms = [each["arms"] for each in told]
    assert ["canary/d:canary"] in arms
    assert ["canary/d:production"] in arms
    fell_back = [each for each in told if len(each["attempts"]) == 2]
    assert fell_back
    for each in fell_back:
        first, second = each["attempts"]
        assert (first["endpoint"], first["fault"], first["status"]) == ("new:1", "connect", None)
        assert 0 <= first["started_ms"] <= second["started_ms"] <= each["timing"]["duration_ms"]
        assert each["why_endpoint"]["candidates"][0]["attempts"] == [1]


async def made(one: Running, path: str, body: Any) -> None:
    answer = await one.client.post(f"/api{path}", json=body)
    assert answer.is_success, answer.text


@pytest.mark.usefixtures("answering")
async def test_with_the_scorer_that_is_shipped() -> None:
    config = httpx_config('default_tier = "balanced"').replace('"rule"', '"neural"') + RULES
    async with running(config) as one:
        await one.application.prepared()
        told = await hold(one, seed=4, requests=80)
    scored = [each for each in told if each["scorer"] is not None]
    assert {each["strategy"] for each in scored} >= {"neural"}
    assert all("scorer" in each["unknown"] for each in told if each["scorer"] is None and each["decided_by"] == "rule")


async def test_with_a_judge() -> None:
    config = httpx_config('default_tier = "balanced"').replace('"rule"', '"llm"')
    with upstreams() as mock:
        mock.post("http://balanced.test/v1/chat/completions").respond(content=completion("DEEP"), headers=JSON)
        mock.route().respond(content=bodies.chat_body("Hello."), headers=JSON)
        async with running(config) as one:
            body = {"model": "auto", "messages": [{"role": "user", "content": "What is it?"}]}
            before, live, told = await told_thrice(one, body, {}, number=1)
            assert (before["next_step"], before["judge"]["state"]) == ("judge", "not_asked")
            assert (told["next_step"], told["judge"]["state"], told["tier"]) == (None, "answered", "deep")
            is_as_the_headers_say(live, told)
            before, live, told = await told_thrice(one, body, {}, number=2)
            assert told["judge"]["state"] == "remembered"
            is_the_same(before, told)
            mock.post("http://balanced.test/v1/chat/completions").respond(status_code=500, content=bodies.error_body())
            body["messages"][0]["content"] = "Another one"  # type: ignore[index]
            _, live, told = await told_thrice(one, body, {}, number=3)
            assert (told["judge"]["state"], told["reason"]) == ("failed", "judge_failed")
            is_as_the_headers_say(live, told)
