"""What a key and its workspace may use, from the door to the upstreams (contract §7)."""

import pytest

from octoroute_py.admission.principal import Principal
from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.words import Role, Tier
from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.keyed import Keyed, holder, shown

JSON = {"content-type": "application/json"}
CONFIG = httpx_config(deep='location = "local"')
RULED = CONFIG.replace('"rule"', '"rule"\n[[routing.rules]]\nname = "up"\ntier = "deep"\nwhen.task_type = "code"', 1)
LLM = CONFIG.replace('"rule"', '"llm"\nrouter_tier = "balanced"')
POLICIES = {
    "red": WorkspacePolicy(restrictions=("fast", "balanced")),
    "blue": WorkspacePolicy(restrictions=("deep-model",)),
    "none": WorkspacePolicy(restrictions=()),
}
KEYS = {
    "reds": holder(Role.INFERENCE, workspaces=("red",)),
    "fast": holder(Role.INFERENCE, tiers=(Tier.FAST,)),
    "both": holder(Role.INFERENCE, workspaces=("blue", "red"), tiers=(Tier.DEEP, Tier.BALANCED)),
    "free": Principal("free", Role.OPERATOR, "free"),
}


def enter(one: Running) -> None:
    gateway = one.application.gateway
    gateway.policies = POLICIES
    gateway.access = Keyed(KEYS)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("key", "model", "workspace", "expected"),
    [
        ("reds", "auto", None, ("balanced", "policy")),
        ("reds", "fast", None, ("fast", "explicit_tier")),
        ("reds", "deep", None, "This workspace may not use the tier 'deep'."),
        ("reds", "deep-model", None, "This workspace may not use the model it asks for."),
        ("reds", "deep/deep-model#1", None, "This workspace may not use the model it asks for."),
        ("reds", "auto", "blue", "This key may not use this workspace."),
        ("reds", "auto", "no-such", "This key may not use this workspace."),
        ("fast", "auto", None, ("fast", "policy")),
        ("fast", "deep", None, "This key may not use the tier 'deep'."),
        ("fast", "auto", "blue", "This workspace may not use any model."),
        ("both", "auto", None, ("deep", "rule_matched")),
        ("both", "auto", "red", ("balanced", "policy")),
        ("free", "auto", None, ("deep", "rule_matched")),
        ("free", "auto", "none", "This workspace may not use any model."),
    ],
)
async def test_a_request_goes_only_where_its_key_and_its_workspace_let_it(
    key: str, model: str, workspace: str | None, expected: str | tuple[str, str]
) -> None:
    headers = shown(key) | ({"x-octoroute-workspace": workspace} if workspace else {})
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], "octoroute": {"task_type": "code"}}
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers=JSON)
        async with running(RULED) as one:
            enter(one)
            answer = await one.client.post("/v1/chat/completions", json=body, headers=headers)
            told = await one.client.post("/v1/routing/explain", json=body, headers=headers)
        asked = {call.request.url.host for call in mock.calls}
    if isinstance(expected, str):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
        assert answer.json()["error"]["message"] == expected
        assert (told.status_code, told.json()) == (403, answer.json())
        assert asked == set()
    else:
        names = ("tier", "reason")
        assert tuple(answer.headers[f"x-octoroute-{name}"] for name in names) == expected
        assert tuple(told.json()[name] for name in names) == expected
        assert asked == {f"{expected[0]}.test"}


async def test_neither_retries_nor_fallbacks_leave_what_is_allowed() -> None:
    with upstreams() as mock:
        mock.route().respond(500)
        async with running(CONFIG) as one:
            enter(one)
            answer = await one.chat("fast", headers=shown("reds"))
        asked = {call.request.url.host for call in mock.calls}
    assert answer.status_code == 502
    assert asked == {"fast.test", "balanced.test"}


async def test_an_explanation_shows_whom_the_policy_leaves_out() -> None:
    more = '[[models.fast]]\nname = "other"\nbase_url = "http://other.test/v1"\ntransport = "httpx"\n'
    async with running(more + CONFIG) as one:
        enter(one)
        one.application.gateway.policies = {"red": WorkspacePolicy(restrictions=("other",))}
        body = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
        told = (await one.client.post("/v1/routing/explain", json=body, headers=shown("reds"))).json()
    assert (told["candidates"], told["unfit"]) == (["fast/other#1"], {"fast/fast-model#1": "policy"})


async def test_the_judge_is_the_gateways_own_and_is_asked_where_the_client_may_not_go() -> None:
    with upstreams() as mock:
        judge = mock.post("http://balanced.test/v1/chat/completions")
        judge.respond(content=bodies.chat_body("DEEP"), headers=JSON)
        fast = mock.post("http://fast.test/v1/chat/completions")
        fast.respond(content=bodies.chat_body("Hello."), headers=JSON)
        async with running(LLM) as one:
            enter(one)
            answer = await one.chat(headers=shown("fast"))
    assert (answer.headers["x-octoroute-tier"], answer.headers["x-octoroute-strategy"]) == ("fast", "llm")
    assert (judge.call_count, fast.call_count) == (1, 1)


async def test_privacy_holds_inside_what_is_allowed() -> None:
    async with running(CONFIG) as one:
        enter(one)
        answer = await one.chat(headers=shown("reds") | {"x-octoroute-privacy": "local-only"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_endpoint_available")


async def test_a_policy_that_changes_holds_for_the_next_request_and_outlasts_a_reload() -> None:
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers=JSON)
        async with running(CONFIG) as one:
            enter(one)
            gateway = one.application.gateway
            assert (await one.chat("fast", headers=shown("reds"))).status_code == 200
            gateway.policies = {"red": WorkspacePolicy(restrictions=("fast",), deny=True)}
            assert (await one.chat("fast", headers=shown("reds"))).status_code == 403
            assert (await one.chat("deep", headers=shown("reds"))).status_code == 200
            await one.application.reload()
            gateway.access = Keyed(KEYS)  # type: ignore[assignment]
            assert (await one.chat("fast", headers=shown("reds"))).status_code == 403


async def test_a_workspace_has_one_name_in_headers_bodies_and_paths() -> None:
    async with running(CONFIG) as one:
        enter(one)
        one.application.gateway.policies = {"\xe9quipe": WorkspacePolicy(restrictions=())}
        for encoding in ("utf-8", "latin-1"):
            headers = [(b"x-octoroute-workspace", "\xe9quipe".encode(encoding))]
            headers += [(name.encode(), value.encode()) for name, value in shown("free").items()]
            body = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
            answer = await one.client.post("/v1/chat/completions", json=body, headers=headers)
            assert answer.status_code == 403, encoding
        assert (await one.chat(headers=shown("free"), octoroute={"workspace": "\xe9quipe"})).status_code == 403
