"""Whatever is set over the API decides where the very next chat completion goes, and still does after a restart."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams

Headers = Mapping[str, str]
MODEL = {"name": "Extra", "provider": "custom", "endpoints": [{"url": "http://127.0.0.1:1999/v1"}]}
NOBODY: Headers = {}


def config(folder: Path) -> str:
    """The three models of the file, which answer by httpx, and a database."""
    return httpx_config(
        f'[storage]\nurl = "sqlite:///{folder / "x.db"}"\n[registry]\nallow_networks = ["127.0.0.0/8"]\n'
    )


@pytest.fixture(autouse=True)
def answering() -> Iterator[None]:
    """The upstreams of the three tiers, which answer."""
    with upstreams() as mock:
        for tier in ("fast", "balanced", "deep"):
            mock.post(f"http://{tier}.test/v1/chat/completions").respond(
                content=bodies.chat_body("Hello."), headers={"content-type": "application/json"}
            )
        yield


async def goes_to(one: Running, headers: Headers, **body: Any) -> str:
    """The name of the model that answers the next chat; the status of one that is refused."""
    sent = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], **body}
    answer = await one.client.post("/v1/chat/completions", json=sent, headers=dict(headers))
    if answer.status_code != 200:
        return str(answer.status_code)
    return answer.headers["x-octoroute-endpoint"].split("/")[1].split("#")[0]


async def set_(one: Running, method: str, path: str, body: Any) -> None:
    answer = await one.client.request(method, path, json=body)
    assert answer.status_code in (200, 201), answer.text


@pytest.mark.parametrize(
    ("changes", "headers", "before", "after"),
    [
        pytest.param(
            [("POST", "/api/routing/rules", {"name": "all", "targets": [{"modelId": "deep-model"}]})],
            NOBODY,
            "fast-model",
            "deep-model",
            id="rule",
        ),
        pytest.param(
            [
                ("POST", "/api/routing/rules", {"id": "r", "name": "all", "targets": [{"modelId": "deep-model"}]}),
                ("PATCH", "/api/routing/rules/r", {"targets": [{"modelId": "balanced"}]}),
            ],
            NOBODY,
            "fast-model",
            "balanced-model",
            id="changed rule",
        ),
        pytest.param(
            [
                (
                    "POST",
                    "/api/routing/rules",
                    {
                        "name": "half",
                        "targets": [{"modelId": "balanced-model"}, {"modelId": "deep-model"}],
                        "trafficSplit": {"primary": 0, "canary": 100},
                    },
                )
            ],
            NOBODY,
            "fast-model",
            "deep-model",
            id="split",
        ),
        pytest.param(
            [("POST", "/api/agents/writer/preferences", {"preferredModels": ["deep-model"]})],
            {"X-Octoroute-Agent-Type": "writer"},
            "fast-model",
            "deep-model",
            id="preference",
        ),
        pytest.param(
            [("POST", "/api/workspaces/shop/config", {"modelRestrictions": ["balanced"]})],
            {"X-Octoroute-Workspace": "shop"},
            "fast-model",
            "balanced-model",
            id="restriction",
        ),
        pytest.param(
            [
                ("POST", "/api/models", {"id": "extra", **MODEL}),
                ("POST", "/api/routing/rules", {"name": "x", "targets": [{"modelId": "extra"}, {"modelId": "deep"}]}),
                ("PATCH", "/api/models/extra/status", {"status": "inactive"}),
            ],
            NOBODY,
            "fast-model",
            "deep-model",
            id="status",
        ),
        pytest.param(
            [
                (
                    "POST",
                    "/api/experiments",
                    {"id": "x", "name": "x", "arms": [{"name": "a", "tier": "deep"}, {"name": "b", "tier": "deep"}]},
                ),
                ("POST", "/api/experiments/x/start", None),
            ],
            NOBODY,
            "fast-model",
            "deep-model",
            id="experiment",
        ),
    ],
)
async def test_a_change_over_the_api_acts_on_the_next_chat_and_after_a_restart(
    tmp_path: Path, changes: list[tuple[str, str, Any]], headers: Headers, before: str, after: str
) -> None:
    async with running(config(tmp_path)) as one:
        assert await goes_to(one, headers) == before
        for method, path, body in changes:
            await set_(one, method, path, body)
        assert await goes_to(one, headers) == after
    async with running(config(tmp_path)) as one:
        assert await goes_to(one, headers) == after


async def test_what_is_taken_back_no_longer_acts_on_the_next_chat(tmp_path: Path) -> None:
    async with running(config(tmp_path)) as one:
        await set_(one, "POST", "/api/routing/rules", {"id": "r", "name": "r", "targets": [{"modelId": "deep"}]})
        await set_(one, "POST", "/api/agents/writer/preferences", {"preferredModels": ["balanced"]})
        writer = {"X-Octoroute-Agent-Type": "writer"}
        assert await goes_to(one, writer) == "deep-model"
        await set_(one, "PATCH", "/api/routing/rules/r", {"enabled": False})
        assert await goes_to(one, writer) == "balanced-model"
        assert (await one.client.delete("/api/agents/writer/preferences")).status_code == 200
        assert await goes_to(one, writer) == "fast-model"
        assert (await one.client.delete("/api/routing/rules/r")).status_code == 200
