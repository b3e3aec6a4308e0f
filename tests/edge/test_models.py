from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.words import Role, Tier
from tests.fakes.application import httpx_config, running
from tests.fakes.keyed import Keyed, holder, shown

REPLICA = '[[models.fast]]\nname = "fast-model"\nbase_url = "http://other.test/v1"\n'


async def test_every_name_is_listed_once_cheapest_tier_first() -> None:
    async with running(REPLICA + httpx_config()) as one:
        body = (await one.client.get("/v1/models")).json()
    assert body["object"] == "list"
    assert [row["id"] for row in body["data"]] == [
        "auto",
        "fast",
        "balanced",
        "deep",
        "fast-model",
        "balanced-model",
        "deep-model",
    ]
    assert all(row["object"] == "model" and row["owned_by"] and row["created"] == 0 for row in body["data"])


async def test_a_model_is_found_by_its_name_or_id_even_with_slashes() -> None:
    config = httpx_config().replace('"deep-model"', '"meta/llama-3"')
    async with running(config) as one:
        for name, path in {
            "auto": "auto",
            "meta/llama-3": "meta/llama-3",
            "deep/meta/llama-3#1": "deep/meta/llama-3%231",
        }.items():
            answer = await one.client.get(f"/v1/models/{path}")
            assert (answer.status_code, answer.json().get("id")) == (200, name)


async def test_an_unknown_model_is_404() -> None:
    async with running(httpx_config()) as one:
        answer = await one.client.get("/v1/models/gpt-9")
    assert answer.status_code == 404
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == ("model_not_found", "model")


async def test_the_native_list_has_one_row_a_replica() -> None:
    async with running(REPLICA + httpx_config()) as one:
        rows = (await one.client.get("/models")).json()["models"]
    assert [(row["id"], row["name"], row["tier"], row["healthy"], row["in_flight"]) for row in rows] == [
        ("fast/fast-model#1", "fast-model", "fast", True, 0),
        ("fast/fast-model#2", "fast-model", "fast", True, 0),
        ("balanced/balanced-model#1", "balanced-model", "balanced", True, 0),
        ("deep/deep-model#1", "deep-model", "deep", True, 0),
    ]


DENIED = WorkspacePolicy(restrictions=("deep",), deny=True)
KEYS = {
    "fast": holder(Role.INFERENCE, tiers=(Tier.FAST,)),
    "red": holder(Role.INFERENCE, workspaces=("red", "blue")),
    "other": holder(Role.INFERENCE, endpoints=("fast/fast-model#2",)),
    "none": holder(Role.INFERENCE, workspaces=("empty",)),
    "nowhere": holder(Role.INFERENCE, workspaces=()),
    "free": holder(Role.INFERENCE),
}
SHOWN = {
    "fast": ["auto", "fast", "fast-model"],
    "red": ["auto", "fast", "balanced", "fast-model", "balanced-model"],
    "other": ["auto", "fast", "fast-model"],
    "none": [],
    "free": ["auto", "fast", "balanced", "deep", "fast-model", "balanced-model", "deep-model"],
}
ROWS = {
    "fast": ["fast/fast-model#1", "fast/fast-model#2"],
    "red": ["fast/fast-model#1", "fast/fast-model#2", "balanced/balanced-model#1"],
    "other": ["fast/fast-model#2"],
    "none": [],
    "free": ["fast/fast-model#1", "fast/fast-model#2", "balanced/balanced-model#1", "deep/deep-model#1"],
}


async def test_a_key_sees_what_it_and_its_own_workspace_may_use_and_nothing_else() -> None:
    async with running(REPLICA + httpx_config()) as one:
        gateway = one.application.gateway
        gateway.access = Keyed(KEYS)  # type: ignore[assignment]
        gateway.policies = {"red": DENIED, "empty": WorkspacePolicy(restrictions=())}
        for key, names in SHOWN.items():
            listed = (await one.client.get("/v1/models", headers=shown(key))).json()["data"]
            assert [row["id"] for row in listed] == names, key
            rows = (await one.client.get("/models", headers=shown(key))).json()["models"]
            assert [row["id"] for row in rows] == ROWS[key], key
            for name in (*SHOWN["free"], *ROWS["free"]):
                path = name.replace("#", "%23")
                status = (await one.client.get(f"/v1/models/{path}", headers=shown(key))).status_code
                assert status == (200 if name in names or name in ROWS[key] else 404), (key, name)


async def test_a_key_that_may_use_no_workspace_is_refused() -> None:
    async with running(httpx_config()) as one:
        one.application.gateway.access = Keyed(KEYS)  # type: ignore[assignment]
        for path in ("/v1/models", "/v1/models/auto", "/models"):
            assert (await one.client.get(path, headers=shown("nowhere"))).status_code == 403
