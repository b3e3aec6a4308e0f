from tests.fakes.application import httpx_config, running

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
