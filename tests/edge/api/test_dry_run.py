"""`POST /api/routing/test`: what it tells is what would happen, and nothing happens by telling it."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from octoroute_py.core.words import Role
from tests.fakes.governor import Governor, governor
from tests.fakes.judging import completion
from tests.fakes.keyed import Keyed, holder, shown
from tests.fakes.repository import ROOT

WORDS = {"agentType": "chef", "workspaceId": "red", "userId": "u-1", "id": "dry-1"}


def by_id(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {rule["id"]: rule for rule in told["rulesConsidered"]}


async def test_a_prompt_is_enough_and_every_rule_is_told_with_what_became_of_it(tmp_path: Path) -> None:
    async with governor(tmp_path) as it:
        await it.rule("chefs", "deep-model", priority=5, conditions={"agentType": ["chef"]})
        await it.rule("all", "balanced-model")
        await it.rule("off", "fast-model", enabled=False)
        told = await it.told()
        sent = it.sent
    assert sent == 0
    assert (told["rule"], told["ruleId"], told["strategy"], told["reason"]) == ("all", "all", "rule", "rule_matched")
    assert (told["selectedModel"], told["selectedTier"], told["selectedFrom"]) == (
        "balanced-model",
        "balanced",
        ["balanced-model"],
    )
    assert told["availableModels"] == ["balanced-model"]
    rules = by_id(told)
    assert [rule["id"] for rule in told["rulesConsidered"][:2]] == ["chefs", "all"]
    assert (rules["chefs"]["matched"], rules["chefs"]["failed"]) == (False, "agentType")
    assert "chef" in rules["chefs"]["wanted"]
    assert (rules["chefs"]["source"], rules["chefs"]["priority"], rules["chefs"]["targets"]) == (
        "api",
        5,
        ["deep-model"],
    )
    assert (rules["all"]["matched"], rules["all"]["decided"], rules["all"]["eligibleTargets"]) == (
        True,
        True,
        ["balanced-model"],
    )
    assert rules["off"]["why"] == "It is switched off."
    assert rules["built_in:casual_chat"]["source"] == "built_in"
    assert [rule["id"] for rule in told["applicableRules"]] == ["all", "built_in:casual_chat"]
    assert told["reasoning"] == [
        "The rule 'all' is the first that matches and has where to send it.",
        "balanced-model is tried first, in the tier 'balanced'.",
    ]


async def test_the_prompt_in_the_documents_is_taken(tmp_path: Path) -> None:
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs/registry.md").read_text(), re.DOTALL)
    [block] = [msgspec.json.decode(each) for each in blocks if '"prompt"' in each]
    async with governor(tmp_path) as it:
        assert (await it.tried(block)).status_code == 200


async def test_the_words_of_the_model_router_go_where_the_same_words_go_for_real(tmp_path: Path) -> None:
    conditions = {
        "agentType": ["chef"],
        "workspaceId": ["red"],
        "requestType": ["analysis"],
        "contentLength": {"min": 2, "max": 2},
        "customConditions": {"metadata": {"course": "dessert"}},
    }
    words = {**WORDS, "metadata": {"requestType": "analysis", "course": "dessert", "priority": "high"}}
    async with governor(tmp_path) as it:
        await it.rule("r", {"modelId": "deep-model", "weight": 1}, "fast-model", conditions=conditions)
        told = await it.told(**words, parameters={"temperature": 0.5})
        live = await it.routed(**words, parameters={"temperature": 0.5})
        other = await it.told(**(words | {"metadata": {"requestType": "analysis"}}))
    assert (told["requestId"], told["rule"], told["selectedModel"]) == ("dry-1", "r", "deep-model")
    assert live.headers["x-octoroute-endpoint"] == "deep/deep-model#1"
    assert other["rule"] is not None
    assert other["rule"] != "r"


async def test_an_openai_body_has_its_own_headers_and_goes_where_it_goes_for_real(tmp_path: Path) -> None:
    conditions = {"customConditions": {"headers": {"X-Team": {"prefix": "re"}}, "metadata": {"n": 5}}}
    body = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], "metadata": {"n": "5"}}
    headers = {"X-Team": "red", "X-Octoroute-Importance": "high"}
    async with governor(tmp_path) as it:
        await it.rule("team", "fast-model", conditions=conditions)
        told = (await it.tried({"request": body, "headers": headers})).json()
        plain = (await it.tried({"request": body})).json()
        live = await it.client.post("/v1/chat/completions", json=body, headers=headers)
    assert (told["rule"], told["selectedModel"]) == ("team", "fast-model")
    assert live.headers["x-octoroute-endpoint"] == "fast/fast-model#1"
    assert plain["rule"] != "team"


async def test_a_model_that_is_named_asks_no_rule(tmp_path: Path) -> None:
    async with governor(tmp_path) as it:
        await it.rule("all", "deep")
        told = (await it.tried({"request": {"model": "fast", "messages": [{"role": "user", "content": "Hi"}]}})).json()
    assert (told["reason"], told["rule"], told["rulesConsidered"]) == ("explicit_tier", None, [])
    assert told["reasoning"][0].startswith("The request names 'fast' itself")


async def test_preferences_decide_where_no_rule_does_and_are_told(tmp_path: Path) -> None:
    async with governor(tmp_path) as it:
        await it.set("POST", "/api/agents/chef/preferences", {"preferredModels": ["deep-model"]})
        told = await it.told(agentType="chef")
        await it.rule("all", "fast")
        ruled = await it.told(agentType="chef")
    assert (told["selectedModel"], told["reason"], told["rule"]) == ("deep-model", "policy", None)
    assert told["preferences"]["preferredModels"] == ["deep-model"]
    assert told["reasoning"][:2] == [
        "No rule of an operator decides.",
        "Of what the agent type 'chef' prefers, deep-model can answer now.",
    ]
    assert (ruled["rule"], ruled["selectedModel"]) == ("all", "fast-model")


async def test_a_rule_whose_targets_cannot_answer_is_passed_over_and_says_so(tmp_path: Path) -> None:
    async with governor(tmp_path) as it:
        await it.rule("first", "deep-model", priority=2)
        await it.rule("second", "fast-model", priority=1)
        gateway = it.one.application.gateway
        gateway.snapshot.table.by_id["deep/deep-model#1"].cool_down(gateway.monotonic(), 60.0)
        told = await it.told()
    assert told["rule"] == "second"
    assert by_id(told)["first"]["why"] == "It matches, and none of its targets can answer this request now."
    assert told["reasoning"][0] == "The rule 'first' matches, and none of its targets can answer now."


async def test_several_models_of_a_tier_are_told_as_what_one_is_drawn_from(tmp_path: Path) -> None:
    second = '[[models.fast]]\nname = "other"\nbase_url = "http://other.test/v1"\ntransport = "httpx"\n'
    async with governor(tmp_path, fast=second) as it:
        await it.rule("all", "fast")
        told = await it.told()
    assert (told["selectedModel"], told["selectedFrom"]) == (None, ["fast-model", "other"])
    assert told["reasoning"][-1] == "One of fast-model, other is drawn when it is sent, in the tier 'fast'."


async def test_weights_are_drawn_by_the_id_of_the_request_as_for_real(tmp_path: Path) -> None:
    targets = [{"modelId": name, "weight": 1} for name in ("fast-model", "balanced-model", "deep-model")]
    async with governor(tmp_path) as it:
        await it.rule("spread", *targets)
        found = []
        for number in range(30):
            told = await it.told(**(WORDS | {"id": f"r-{number}"}))
            live = await it.routed(**(WORDS | {"id": f"r-{number}"}))
            found.append((told["selectedModel"], live.headers["x-octoroute-endpoint"].split("/")[1].split("#")[0]))
    assert all(dry == live for dry, live in found)
    assert len(set(found)) == 3


async def test_a_judge_is_asked_only_when_that_is_wanted(tmp_path: Path) -> None:
    async with governor(tmp_path, strategy="llm", says=completion("DEEP")) as it:
        told = await it.told()
        assert it.sent == 0
        asked = await it.told(askJudge=True)
        assert it.sent == 1
    assert (told["nextStep"], told["selectedModel"], told["selectedTier"]) == ("judge", None, "balanced")
    assert told["reasoning"][-2].startswith("A judge would be asked next")
    assert ("nextStep" in asked, asked["selectedModel"], asked["reason"]) == (False, "deep-model", "llm_judged")


async def test_what_is_set_decides_about_the_very_next_request_and_after_a_restart(tmp_path: Path) -> None:
    async with governor(tmp_path) as it:
        before = (await it.one.chat()).headers["x-octoroute-tier"]
        await it.rule("all", "deep-model")
        first = (await it.one.chat()).headers["x-octoroute-endpoint"]
        changed = await it.client.patch("/api/routing/rules/all", json={"targets": [{"modelId": "balanced-model"}]})
        assert changed.status_code == 200
        second = (await it.one.chat()).headers["x-octoroute-endpoint"]
    async with governor(tmp_path) as again:
        after = (await again.one.chat()).headers["x-octoroute-endpoint"]
        await again.client.delete("/api/routing/rules/all")
        last = (await again.one.chat()).headers["x-octoroute-tier"]
    assert (before, first, second) == ("fast", "deep/deep-model#1", "balanced/balanced-model#1")
    assert (after, last) == (second, before)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": "Hi", "id": "no spaces"}, "id"),
        ({"prompt": "Hi", "agentType": ""}, "agentType"),
        ({"prompt": "Hi", "agent": "x"}, "agent"),
        ({"prompt": "Hi", "metadata": {"priority": "urgent"}}, "metadata.priority"),
        ({"prompt": "Hi", "parameters": {"stream": True}}, "parameters.stream"),
        ({"prompt": "Hi", "request": {}}, "request"),
        ({"request": {"model": "auto"}}, "request.messages"),
        ({"request": {"messages": [{"role": "user", "content": "Hi"}]}}, "request.model"),
        ({"request": {"model": "auto", "messages": []}}, "request.messages"),
        ({"prompt": "Hi", "headers": {"X-Octoroute-Privacy": "none"}}, "X-Octoroute-Privacy"),
        ({"prompt": "Hi", "headers": {"X Y": "1"}}, "headers"),
        ({"prompt": "Hi", "headers": {"X-A": "a\nb"}}, "headers.X-A"),
        ({"prompt": "Hi", "workspaceId": "red", "headers": {"X-Octoroute-Workspace": "blue"}}, "workspaceId"),
    ],
)
async def test_what_is_wrong_with_a_request_is_told_by_the_field_to_blame(
    tmp_path: Path, body: dict[str, Any], param: str
) -> None:
    async with governor(tmp_path) as it:
        answer = await it.tried(body)
    assert (answer.status_code, answer.json().get("details")) == (400, {"field": param}), answer.text


async def test_an_unknown_model_gets_the_answer_that_the_request_would_get(tmp_path: Path) -> None:
    async with governor(tmp_path) as it:
        answer = await it.tried({"request": {"model": "nobody", "messages": [{"role": "user", "content": "Hi"}]}})
    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")


async def test_a_viewer_may_try_but_have_no_judge_asked_and_bound_keys_may_not_try(tmp_path: Path) -> None:
    keys = {
        "viewer": holder(Role.VIEWER),
        "operator": holder(Role.OPERATOR),
        "bound": holder(Role.ADMIN, workspaces=("red",)),
    }
    async with governor(tmp_path) as it:
        it.one.application.gateway.access = Keyed(keys)  # type: ignore[assignment]

        async def status(key: str, **more: Any) -> int:
            body = {"prompt": "Hi", **more}
            return (await it.client.post("/api/routing/test", json=body, headers=shown(key))).status_code

        assert await status("viewer") == 200
        assert await status("viewer", askJudge=True) == 403
        assert await status("operator", askJudge=True) == 200
        assert await status("bound") == 403


async def test_trying_is_no_request_to_whoever_counts_them(tmp_path: Path) -> None:
    async def counted(it: Governor) -> tuple[object, str]:
        page = (await it.client.get("/metrics")).text
        return (await it.client.get("/api/metrics/requests")).json(), page

    async with governor(tmp_path) as it:
        await it.rule("all", "deep")
        before = await counted(it)
        for _ in range(3):
            await it.told()
        assert await counted(it) == before


async def test_what_a_rule_decides_for_real_is_counted_by_its_id(tmp_path: Path) -> None:
    async with governor(tmp_path) as it:
        await it.rule("all", "deep")
        await it.one.chat()
        await it.one.chat(model="fast")
        it.one.application.gateway.settle()
        page = (await it.client.get("/metrics?family=model_router")).text
    assert 'model_router_routing_rule_matches{rule_id="all"} 1.0' in page
    assert 'model_router_routing_rule_matches{rule_id="built_in:code"} 0.0' in page
