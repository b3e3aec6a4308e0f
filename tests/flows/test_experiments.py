"""An experiment on live requests: callers keep their arm, what came of it is read back, and a bad arm is found out."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import respx

from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.waiting import until

ANSWER = bodies.chat_body("Yes.")
USERS, EACH = 60, 5
TONE = {"id": "tone", "name": "Tone", "arms": [{"name": "usual", "tier": "fast"}, {"name": "deep", "tier": "deep"}]}


class Stage:
    """A gateway whose fast tier answers and whose deep tier fails."""

    def __init__(self, one: Running, mocked: respx.MockRouter) -> None:
        self.one = one
        mocked.post("http://fast.test/v1/chat/completions").mock(
            return_value=httpx.Response(200, content=ANSWER, headers={"content-type": "application/json"})
        )
        mocked.post("http://deep.test/v1/chat/completions").mock(
            return_value=httpx.Response(500, content=bodies.error_body())
        )

    async def api(self, method: str, path: str = "", body: Any = None) -> Any:
        answer = await self.one.client.request(method, f"/api/experiments{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def results(self, requests: int) -> Any:
        """The results once so many requests are in the database: a busy disk may take a moment."""

        found: list[Any] = []

        async def there() -> bool:
            found.append(await self.api("GET", "/tone/results"))
            return bool(sum(arm["requests"] for arm in found[-1]["arms"]) >= requests)

        await until(there)
        return found[-1]

    async def chat(self, user: int) -> bool:
        """Whether this user's request was answered."""
        return (await self.one.chat(user=f"u{user}")).status_code == 200


@contextlib.asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    config = httpx_config(
        f'default_tier = "fast"\n[breaker]\nenabled = false\n[storage]\nurl = "sqlite:///{folder / "x.db"}"\n'
    )
    with upstreams() as mocked:
        async with running(config) as one:
            yield Stage(one, mocked)


async def test_an_arm_that_fails_is_found_out_and_callers_keep_theirs(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        await it.api("POST", body=TONE)
        before = {user: await it.chat(user) for user in range(USERS)}
        await it.api("POST", "/tone/start")
        rounds = [{user: await it.chat(user) for user in range(USERS)} for _ in range(EACH)]
        found = await it.results(USERS * EACH)
        await it.api("POST", "/tone/pause")
        meanwhile = {user: await it.chat(user) for user in range(USERS)}
        paused = await it.api("GET", "/tone/results")
        await it.api("POST", "/tone/resume")
        again = {user: await it.chat(user) for user in range(USERS)}
        await it.api("POST", "/tone/stop")
        after = {user: await it.chat(user) for user in range(USERS)}
        stopped = await it.results(USERS * (EACH + 1))
    assert all((*before.values(), *meanwhile.values(), *after.values()))
    assert all(each == rounds[0] for each in (*rounds, again))
    usual, deep = found["arms"]
    lucky = sum(rounds[0].values())
    assert (usual["requests"], usual["failures"], usual["callers"]) == (lucky * EACH, 0, lucky)
    assert (deep["requests"], deep["failures"]) == ((USERS - lucky) * EACH,) * 2
    assert found["comparisons"][0]["effect"] == -1
    assert found["comparisons"][0]["anytime"]["verdict"] == "worse"
    assert paused["arms"] == found["arms"]
    assert sum(arm["requests"] for arm in stopped["arms"]) == USERS * (EACH + 1)


async def test_a_request_by_name_takes_no_part(tmp_path: Path) -> None:
    async with stage(tmp_path) as it:
        await it.api("POST", body=TONE)
        await it.api("POST", "/tone/start")
        for user in range(20):
            await it.one.chat("fast", user=f"u{user}")
        found = await it.api("GET", "/tone/results")
    assert [arm["requests"] for arm in found["arms"]] == [0, 0]
