"""A configuration as octoroute 1.0.0 wants it serves, with each of the strategies it had."""

from pathlib import Path

import pytest

from tests.fakes.house import House
from tests.fakes.house import house as build

CONFIG = """
# every key that octoroute 1.0.0 knows
[server]
host = "127.0.0.1"
port = 3000
request_timeout_seconds = 30

[[models.fast]]
name = "qwen/qwen3-vl-8b"
base_url = "{fast}"
max_tokens = 4096
temperature = 0.7
weight = 1.0
priority = 1

[[models.fast]]
name = "qwen/qwen3-vl-8b"
base_url = "{fast}"
max_tokens = 4096
temperature = 0.7
weight = 2.5
priority = 1

[[models.balanced]]
name = "qwen/qwen3-coder-30b"
base_url = "{balanced}"
max_tokens = 8192

[[models.deep]]
name = "openai/gpt-oss-120b"
base_url = "{deep}"
max_tokens = 16384
temperature = 0.3
weight = 1
priority = 255

[routing]
strategy = "rule"
default_importance = "normal"
router_tier = "balanced"

[routing.router_timeouts]
fast = 10
balanced = 10
deep = 20

[timeouts]
fast = 15
balanced = 30
deep = 60

[observability]
log_level = "info"
"""


@pytest.fixture(params=["rule", "hybrid"])
def config(request: pytest.FixtureRequest) -> str:
    """The sample, for upstreams to be filled in."""
    return CONFIG.replace('"rule"', f'"{request.param}"')


async def test_it_serves_chats_streams_and_the_native_route(tmp_path: Path, config: str) -> None:
    async with build(tmp_path, config) as house:
        await check_tiers(house)
        stream = await house.sdk.chat.completions.create(
            model="deep", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        text = "".join([event.choices[0].delta.content or "" async for event in stream])
        assert text == "Hello from the fake upstream."
        native = await house.sdk.post("../chat", cast_to=dict, body={"message": "hello", "importance": "low"})
        assert native["model_name"] == "qwen/qwen3-vl-8b"
        assert native["routing_strategy"] == "rule"


async def check_tiers(house: House) -> None:
    """Each tier answers with its own model, limits and temperature."""
    for tier, upstream, model, limit, temperature in (
        ("fast", house.fast, "qwen/qwen3-vl-8b", 4096, 0.7),
        ("balanced", house.balanced, "qwen/qwen3-coder-30b", 8192, None),
        ("deep", house.deep, "openai/gpt-oss-120b", 16384, 0.3),
    ):
        raw = await house.sdk.chat.completions.with_raw_response.create(
            model=tier, messages=[{"role": "user", "content": "hi"}]
        )
        assert raw.headers["x-octoroute-tier"] == tier
        sent = upstream.requests[-1].json
        assert (sent["model"], sent["max_tokens"]) == (model, limit)
        if temperature is not None:
            assert sent["temperature"] == temperature


async def test_replicas_of_one_name_are_one_model_and_two_rows(tmp_path: Path, config: str) -> None:
    async with build(tmp_path, config) as house:
        names = [model.id for model in (await house.sdk.models.list()).data]
        assert names.count("qwen/qwen3-vl-8b") == 1
        rows = (await house.sdk.get("../models", cast_to=dict))["models"]
        assert [row["id"] for row in rows] == [
            "fast/qwen/qwen3-vl-8b#1",
            "fast/qwen/qwen3-vl-8b#2",
            "balanced/qwen/qwen3-coder-30b#1",
            "deep/openai/gpt-oss-120b#1",
        ]
        assert (await house.sdk.models.retrieve("qwen/qwen3-vl-8b")).id == "qwen/qwen3-vl-8b"
        assert (await house.sdk.models.retrieve("fast/qwen/qwen3-vl-8b#2")).id == "fast/qwen/qwen3-vl-8b#2"
