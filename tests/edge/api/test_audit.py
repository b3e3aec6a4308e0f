"""GET /api/audit tells of changes as the API tells of everything: USD, ISO times, the fields' documented names."""

import json
from pathlib import Path
from typing import Any

from octoroute_py.storage import audit
from octoroute_py.storage.db import Database
from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.waiting import until

POLICY = {"modelRestrictions": ["fast"], "budgetLimits": {"daily": 0.5}}
CHEAP = {"max_tokens": 5, "model": "fast", "messages": [{"role": "user", "content": "Hi"}]}


def config(folder: Path) -> str:
    limits = "[limits.agent_types.crawler]\ndaily_usd = 0.00001\n"
    storage = f'[storage]\nurl = "sqlite:///{folder / "audit.db"}"\n'
    return httpx_config(limits + storage, fast="input_cost_per_mtok = 1\noutput_cost_per_mtok = 1")


async def entries(one: Running) -> list[dict[str, Any]]:
    answer = await one.client.get("/api/audit")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


async def test_a_workspaces_change_is_told_as_its_configuration_is(tmp_path: Path) -> None:
    async with running(config(tmp_path)) as one:
        told = (await one.client.post("/api/workspaces/red/config", json=POLICY)).json()["config"]
        await one.client.delete("/api/workspaces/red/config")
        forgotten, configured = await entries(one)
    assert (configured["action"], configured["details"]) == ("workspace.configure", {"before": None, "after": told})
    assert (forgotten["action"], forgotten["details"]) == ("workspace.forget", {"before": told, "after": None})
    assert told["budgetLimits"] == {"daily": 0.5}


async def test_a_budget_that_was_reached_is_told_in_usd_with_its_period(tmp_path: Path) -> None:
    with upstreams() as mock:
        upstream = mock.post("http://fast.test/v1/chat/completions")
        upstream.respond(content=bodies.chat_body("Hi."), headers={"content-type": "application/json"})
        async with running(config(tmp_path)) as one:
            sent = await one.client.post(
                "/v1/chat/completions", json=CHEAP, headers={"x-octoroute-agent-type": "crawler"}
            )
            assert sent.status_code == 200, sent.text

            async def told() -> bool:  # nobody waits for these rows, so they may come after the answer
                return len(await entries(one)) == 2

            await until(told)
            found = await entries(one)
    spent = float(sent.headers["x-octoroute-cost"])
    assert spent >= 0.00001
    assert [(each["subject"], each["details"]["level"]) for each in found] == [("crawler", 100), ("crawler", 80)]
    details = found[0]["details"]
    assert (details["subject"], details["period"], details["limit"], details["spent"]) == (
        "agent_type",
        "day",
        0.00001,
        spent,
    )
    assert details["startsAt"].endswith("T00:00:00.000Z")


async def test_what_cannot_be_understood_is_told_as_it_was_kept(tmp_path: Path) -> None:
    async with running(config(tmp_path)) as one:
        other = Database.open("sqlite:///audit.db", base_dir=tmp_path)
        other.submit(
            lambda connection: audit.append(
                connection, at_ms=1, actor="x", action="workspace.paint", subject="red", details={"colour": "blue"}
            )
        ).result()
        other.close()
        (found,) = await entries(one)
    assert json.dumps(found["details"]) == '{"colour": "blue"}'
