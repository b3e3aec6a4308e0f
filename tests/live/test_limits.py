"""Limits as clients meet them: never more than the limit in any window, refusals that say truly when to come back, and
keys that end at once.
"""

import asyncio
import contextlib
import itertools
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fakes.client import Answer, Client, ask
from tests.fakes.gateway import RunningGateway, gateway
from tests.fakes.ledger import PRICES, ledger_config
from tests.fakes.office import ENV, Issued, Office
from tests.fakes.orders import Kitchen, Order, many
from tests.fakes.upstream import FakeUpstream
from tests.fakes.waiting import until

RPM = 60
CALLS, CONNECTIONS, SPREAD_S = 200, 20, 5.0
WINDOW_S = 2.0
REVOKED_WITHIN_S = 1.0


class Call(NamedTuple):
    """A request and when it was on its way."""

    sent_s: float
    ended_s: float
    answer: Answer

    @property
    def retry_after_s(self) -> int:
        """What a refusal says."""
        return int(self.answer.headers["retry-after"])


@contextlib.asynccontextmanager
async def limited(
    folder: Path, *, more: str = "", env: dict[str, str] | None = None
) -> AsyncIterator[tuple[RunningGateway, Kitchen]]:
    kitchen = Kitchen()
    async with FakeUpstream() as upstream:
        upstream.always(kitchen.serve)
        config = ledger_config({tier: [upstream.base_url] for tier in PRICES}, more=more)
        async with gateway(config, folder, env={**ENV, **(env or {})}) as running:
            yield running, kitchen


async def flood(port: int, key: Issued | None, *, seconds: float, count: int, name: str) -> list[Call]:
    """So many requests over kept connections, evenly spread over the time."""
    numbers = itertools.count()
    began = time.monotonic()
    calls: list[Call] = []

    async def worker() -> None:
        async with await Client.connect(port) as client:
            while (number := next(numbers)) < count:
                await asyncio.sleep(began + number * seconds / count - time.monotonic())
                sent_s = time.monotonic()
                answer = await client.ask(Order(id=f"{name}-{number}").request(key))
                calls.append(Call(sent_s, time.monotonic(), answer))

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
    return calls


def most_in_a_window(calls: Sequence[Call], window_s: float) -> int:
    """How many calls were certainly admitted inside one window: sent after it began and answered before it ended."""
    admitted = [call for call in calls if call.answer.status == 200]
    return max(
        sum(first.sent_s <= call.sent_s and call.ended_s < first.sent_s + window_s for call in admitted)
        for first in admitted
    )


async def test_a_key_of_60_a_minute_gets_its_60_and_no_more_and_others_all_they_ask(tmp_path: Path) -> None:
    async with limited(tmp_path) as (running, kitchen):
        office = Office(running.port)
        slow = await office.issue("slow", limits={"requestsPerMinute": RPM})
        free = await office.issue("free")
        calls, others = await asyncio.gather(
            flood(running.port, slow, seconds=SPREAD_S, count=CALLS, name="slow"),
            flood(running.port, free, seconds=SPREAD_S, count=CALLS, name="free"),
        )
        assert Counter(call.answer.status for call in calls) == {200: RPM, 429: CALLS - RPM}
        assert {call.answer.status for call in others} == {200}
        assert sum(request_id.startswith("slow") for request_id in kitchen.seen) == RPM
        first_s = min(call.sent_s for call in calls)
        for call in calls:
            if call.answer.status == 429:
                headers = call.answer.headers
                assert call.answer.code == "rate_limit_exceeded"
                assert abs(call.ended_s + call.retry_after_s - (first_s + 60)) <= 1.2
                assert (headers["ratelimit-limit"], headers["ratelimit-remaining"]) == (str(RPM), "0")
                assert abs(call.ended_s + int(headers["ratelimit-reset"]) - (first_s + 60)) <= 11


@pytest.mark.parametrize("most", [20])
async def test_an_address_never_gets_more_than_its_limit_in_any_window_and_is_told_truly_when_to_come_back(
    most: int, tmp_path: Path
) -> None:
    env = {"RATE_LIMIT_MAX": str(most), "RATE_LIMIT_WINDOW_MS": str(round(WINDOW_S * 1000))}
    async with limited(tmp_path, env=env) as (running, _):
        calls = await flood(running.port, None, seconds=3.5 * WINDOW_S, count=300, name="ip")
        assert {call.answer.status for call in calls} == {200, 429}
        assert most_in_a_window(calls, WINDOW_S) <= most
        admitted = sum(call.answer.status == 200 for call in calls)
        assert 3 * most <= admitted <= 4 * most
        refused = max((call for call in calls if call.answer.status == 429), key=lambda call: call.sent_s)
        await asyncio.sleep(max(0.0, refused.ended_s + refused.retry_after_s - time.monotonic()))
        assert (await ask(running.port, Order(id="again").request())).status == 200


async def test_tokens_and_concurrency_are_limits_too(tmp_path: Path) -> None:
    async with limited(tmp_path) as (running, kitchen):
        office = Office(running.port)
        frugal = await office.issue("frugal", limits={"tokensPerMinute": 4 * (40 + 50)})
        answers = [await ask(running.port, Order(id=f"frugal-{n}", completion=50).request(frugal)) for n in range(6)]
        assert [answer.status for answer in answers] == [200] * 4 + [429] * 2
        assert answers[-1].code == "rate_limit_exceeded"
        narrow = await office.issue("narrow", limits={"maxConcurrent": 2})
        kitchen.gate = asyncio.Event()
        held = asyncio.create_task(many(running.port, [Order(id="held-1"), Order(id="held-2")], narrow))
        await until(lambda: _both(kitchen))
        third = await ask(running.port, Order(id="third").request(narrow))
        assert (third.status, third.code, third.headers["retry-after"]) == (429, "rate_limit_exceeded", "1")
        kitchen.gate.set()
        assert [answer.status for answer in await held] == [200, 200]
        assert (await ask(running.port, Order(id="fourth").request(narrow))).status == 200


async def _both(kitchen: Kitchen) -> bool:
    return {"held-1", "held-2"} <= set(kitchen.seen)


@pytest.mark.parametrize("by", ["api", "cli"])
async def test_a_revoked_key_is_refused_within_a_second(by: str, tmp_path: Path) -> None:
    async with limited(tmp_path) as (running, _):
        office = Office(running.port)
        key, other = await office.issue("leaver"), await office.issue("stayer")
        running_stream = asyncio.create_task(
            ask(running.port, Order(id="begun", stream=True, events=60, pause_s=0.05).request(key))
        )
        calls: list[Call] = []
        asking = asyncio.create_task(ask_on(running.port, key, calls))
        await asyncio.sleep(0.3)
        if by == "api":
            await office.revoke(key.id)
        else:
            await revoke_by_cli(key, tmp_path)
        revoked_s = time.monotonic()
        await asyncio.sleep(REVOKED_WITHIN_S + 0.5)
        asking.cancel()
        refusals = [call.answer for call in calls if call.answer.status != 200]
        assert (refusals[0].status, refusals[0].code) == (401, "invalid_api_key")
        late = [call.answer.status for call in calls if call.sent_s > revoked_s + REVOKED_WITHIN_S]
        assert len(late) > 5
        assert set(late) <= {401, 429}  # many wrong keys from one address end in 429
        assert (await running_stream).done
        assert (await ask(running.port, Order(id="stays").request(other))).status == 200


async def ask_on(port: int, key: Issued, calls: list[Call]) -> None:
    """One request after the other, until it is cancelled."""
    async with await Client.connect(port) as client:
        while True:
            sent_s = time.monotonic()
            answer = await client.ask(Order(id=f"on-{len(calls)}").request(key))
            calls.append(Call(sent_s, time.monotonic(), answer))
            await asyncio.sleep(0.03)


async def revoke_by_cli(key: Issued, folder: Path) -> None:
    argv = (sys.executable, "-m", "octoroute_py", "keys", "revoke", key.id, "-c", str(folder / "config.toml"))
    process = await asyncio.create_subprocess_exec(*argv, env={**os.environ, **ENV})
    assert await process.wait() == 0
