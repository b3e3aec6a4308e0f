"""The feed told over ASGI: what its events hold, who may read it, and when it ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from octoroute_py.core.words import Role
from octoroute_py.gateway.pulse import KEPT, WINDOW_S
from tests.edge.test_routes import ALL_KEYS, KEYS
from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.keyed import Keyed, holder, shown
from tests.fakes.waiting import until

STORED = '[storage]\nurl = "sqlite:///{folder}/live.db"\n'
SAVINGS = "/api/analytics/savings?timeRange=24h"
SECRET_WORDS = "a prompt that nobody else may read"
PRICES = {
    tier: f"input_cost_per_mtok = {price}\noutput_cost_per_mtok = {price}\n"
    for tier, price in (("fast", 1), ("balanced", 10), ("deep", 100))
}
Event = tuple[str, dict[str, Any]]


class Feed:
    """One watcher, driven over ASGI; `status` and `headers` once it has begun."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.ended = False
        self.left = asyncio.Event()
        self._news = asyncio.Event()

    async def receive(self) -> MutableMapping[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.body += message.get("body", b"")
            self.ended = not message.get("more_body", False)
        self._news.set()

    async def over(self) -> None:
        """Wait for its end."""
        async with asyncio.timeout(5):
            while not self.ended:
                self._news.clear()
                await self._news.wait()

    async def events(self, count: int) -> list[Event]:
        """The first so many events."""
        async with asyncio.timeout(5 + count):
            while self.body.count(b"\n\n") < count:
                self._news.clear()
                await self._news.wait()
        return [_event(each) for each in self.body.split(b"\n\n")[:count]]


def _event(text: bytes) -> Event:
    name, data = text.split(b"\n")
    return name.removeprefix(b"event: ").decode(), msgspec.json.decode(data.removeprefix(b"data: "))


@contextlib.asynccontextmanager
async def watching(
    one: Running, headers: Mapping[str, str] | None = None, *, method: str = "GET"
) -> AsyncIterator[Feed]:
    """Watch while this is open."""
    feed = Feed()
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": "/api/live",
        "raw_path": b"/api/live",
        "query_string": b"",
        "headers": [(name.encode(), each.encode()) for name, each in (headers or {}).items()],
        "client": ("127.0.0.1", 4711),
        "server": ("gateway", 80),
    }
    task = asyncio.ensure_future(one.application.app(scope, feed.receive, feed.send))
    try:
        yield feed
    finally:
        feed.left.set()
        async with asyncio.timeout(5):
            await task


async def kept(one: Running, requests: int) -> bool:
    """Whether the journal has so many rows: on a busy machine they may come later than the answers."""
    found: int = (await one.client.get(SAVINGS)).json()["requests"]
    return found == requests


async def chats(one: Running, *models: str) -> None:
    for model in models:
        await one.chat(model, messages=[{"role": "user", "content": SECRET_WORDS}])


async def test_the_first_event_is_the_past_and_the_next_the_present(tmp_path: Path) -> None:
    with upstreams() as mock:
        mock.route(host="deep.test").respond(500, json={"error": {"message": "<img src=x onerror=alert(1)>"}})
        mock.route().respond(content=bodies.chat_body("Hello."), headers={"content-type": "application/json"})
        async with running(httpx_config(STORED.format(folder=tmp_path), **PRICES)) as one:
            await chats(one, "fast", "balanced", "deep", "no-such-model", "auto")
            await until(lambda: kept(one, 5))
            async with watching(one) as feed:
                (first, history), (second, tick) = await feed.events(2)
            savings = (await one.client.get(SAVINGS)).json()
    assert (feed.status, feed.headers[b"content-type"]) == (200, b"text/event-stream")
    assert feed.headers[b"cache-control"] == b"no-store"
    assert (first, second) == ("history", "tick")
    assert history["windowSeconds"] == WINDOW_S
    assert {len(values) for values in history["series"].values()} == {WINDOW_S}
    assert set(history["series"]) == set(tick["second"])
    assert [each["status"] for each in history["recent"]] == [200, 404, 502, 200, 200]  # newest first
    assert tick["totals"] == {"requests": 5, "failed": 2}
    assert (tick["inFlight"], tick["ready"], tick["draining"], tick["generation"]) == (0, True, False, 1)
    assert (tick["decisions"], tick["decisionsMissed"]) == ([], 0)  # the history has told them
    money = tick["money"]
    assert money["requests"] == savings["requests"] == 5
    assert (money["costUsd"], money["baselineUsd"]) == (savings["totalCost"], savings["baseline"])
    assert money["savedUsd"] == savings["saved"]
    assert money["costUsd"] > 0
    assert [tier["tier"] for tier in tick["tiers"]] == ["fast", "balanced", "deep"]
    (fast,) = tick["tiers"][0]["endpoints"]
    assert (fast["id"], fast["state"], fast["available"], fast["why"]) == ("fast/fast-model#1", "closed", True, None)
    (deep,) = tick["tiers"][2]["endpoints"]
    assert deep["failed5m"] == deep["requests5m"] > 0
    assert tick["storage"]["state"] == "ok"
    assert tick["judge"] is None


async def test_what_ends_while_somebody_watches_is_told_once() -> None:
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers={"content-type": "application/json"})
        async with running(httpx_config()) as one:
            await chats(one, "fast")
            async with watching(one) as feed:
                await feed.events(2)
                await chats(one, *["fast"] * 3, *["deep"] * 22)
                events = await feed.events(4)
    ticks = [tick for name, tick in events if name == "tick"]
    told = [each for tick in ticks for each in tick["decisions"]]
    assert len(told) + sum(tick["decisionsMissed"] for tick in ticks) == 25
    assert len({each["requestId"] for each in told}) == len(told) >= 20
    assert ticks[-1]["totals"]["requests"] == 26
    assert all(tick["money"] is None for tick in ticks)  # nothing is kept
    newest = told[0]
    assert (newest["tier"], newest["endpoint"], newest["status"]) == ("deep", "deep/deep-model#1", 200)
    assert newest["promptTokens"] > 0


async def test_the_newest_are_at_most_fifty_and_nobody_reads_a_prompt_or_a_key() -> None:
    with upstreams() as mock:
        mock.route().respond(
            content=bodies.chat_body("The answer itself."), headers={"content-type": "application/json"}
        )
        async with running(httpx_config(ALL_KEYS)) as one:
            for _ in range(KEPT + 5):
                await one.chat(
                    "fast", headers=shown_key(Role.INFERENCE), messages=[{"role": "user", "content": SECRET_WORDS}]
                )
            async with watching(one, shown_key(Role.VIEWER)) as feed:
                (_, history), _ = await feed.events(2)
    assert len(history["recent"]) == KEPT
    for secret in (SECRET_WORDS, "The answer itself", *KEYS.values()):
        assert secret.encode() not in feed.body


def shown_key(role: Role) -> dict[str, str]:
    return {"x-api-key": KEYS[role]}


@pytest.mark.parametrize("role", [None, Role.INFERENCE])
async def test_who_may_not_look_is_told_so_in_the_words_of_the_api(role: Role | None) -> None:
    async with running(httpx_config(ALL_KEYS)) as one:
        async with watching(one, None if role is None else shown_key(role)) as feed:
            await feed.over()
        assert feed.status == (401 if role is None else 403)
        assert set(msgspec.json.decode(feed.body)) == {"error", "code"}


async def test_a_key_that_is_bound_to_workspaces_is_refused() -> None:
    async with running(httpx_config()) as one:
        one.application.gateway.access = Keyed({"bound": holder(Role.ADMIN, workspaces=("red",))})  # type: ignore[assignment]
        async with watching(one, shown("bound")) as feed:
            await feed.over()
    assert feed.status == 403
    assert "workspaces" in msgspec.json.decode(feed.body)["error"]


async def test_it_ends_when_the_key_is_no_longer_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octoroute_py.edge.api.live.ASK_AGAIN_S", 0.0)
    async with running(httpx_config()) as one:
        gateway = one.application.gateway
        gateway.access = Keyed({"viewer": holder(Role.VIEWER)})  # type: ignore[assignment]
        async with watching(one, shown("viewer")) as feed:
            await feed.events(2)
            gateway.access = Keyed({"other": holder(Role.VIEWER)})  # type: ignore[assignment]
            await feed.over()


async def test_the_head_alone_does_not_wait_for_an_end_that_never_comes() -> None:
    async with running(httpx_config()) as one, watching(one, method="HEAD") as feed:
        await feed.over()
        assert (feed.status, feed.body) == (200, b"")


async def test_a_drained_endpoint_and_an_open_breaker_show() -> None:
    async with running(httpx_config("[breaker]\nfailure_threshold = 1\n")) as one:
        gateway = one.application.gateway
        now = gateway.monotonic()
        fast, balanced, _ = gateway.snapshot.table.endpoints
        hold = fast.begin(now)
        hold.failure(now)
        hold.close()
        balanced.auth_out(now)
        gateway.draining = True
        async with watching(one) as feed:
            _, (_, tick) = await feed.events(2)
    shown_fast, shown_balanced = tick["tiers"][0]["endpoints"][0], tick["tiers"][1]["endpoints"][0]
    assert (shown_fast["state"], shown_fast["available"], shown_fast["why"]) == ("open", False, "breaker")
    assert (shown_balanced["state"], shown_balanced["why"]) == ("closed", "auth_failed")
    assert [tier["state"] for tier in tick["tiers"]] == ["open", "open", "closed"]
    assert (tick["draining"], tick["ready"], tick["reasons"]) == (True, False, ["draining"])
