"""Nobody spends more than a budget allows, however many ask at the same moment and however their requests end."""

import asyncio
import datetime
import itertools
import random
import time
from pathlib import Path

import pytest

from tests.fakes.client import Answer, Client, ask
from tests.fakes.ledger import PRICES, Standing
from tests.fakes.lockdown import held
from tests.fakes.orders import Order, left_uusd, many
from tests.fakes.race import COST_UUSD, RESERVED_UUSD, race, usd
from tests.fakes.waiting import until

ASKING = 200
FITTING = 10


def seconds_left(period: str = "daily") -> float:
    """To the end of the UTC day, ISO week or month, when a budget begins anew."""
    now = datetime.datetime.now(datetime.UTC)
    today = now.date()
    begins = {
        "daily": today + datetime.timedelta(days=1),
        "weekly": today + datetime.timedelta(days=7 - today.weekday()),
        "monthly": (today.replace(day=1) + datetime.timedelta(days=32)).replace(day=1),
    }
    return (datetime.datetime.combine(begins[period], datetime.time(), datetime.UTC) - now).total_seconds()


async def clear_of_midnight() -> None:
    """A test that spends a day's budget twice because the day ended proves nothing."""
    if seconds_left() < 30:
        await asyncio.sleep(31)


def check_refusal(answer: Answer, *, wait_s: float) -> None:
    assert answer.status == 429, answer
    assert answer.code == "insufficient_quota"
    assert answer.headers["x-should-retry"] == "false"
    assert abs(int(answer.headers["retry-after"]) - wait_s) <= 10


def orders(count: int, *, stream: bool = False, name: str = "race") -> list[Order]:
    return [Order(id=f"{name}-{number}", stream=stream) for number in range(count)]


@pytest.mark.parametrize("stream", [False, True], ids=["buffered", "streams"])
async def test_of_200_at_once_exactly_the_ten_that_fit_are_admitted(stream: bool, tmp_path: Path) -> None:
    await clear_of_midnight()
    async with race(tmp_path) as run:
        key = await run.office.issue("racer", budgets={"daily": usd(FITTING * RESERVED_UUSD)})
        other = await run.office.issue("bystander", budgets={"daily": usd(RESERVED_UUSD)})
        rush = await run.rush(key, orders(ASKING, stream=stream), fitting=FITTING)
        assert rush.statuses == {200: FITTING, 429: ASKING - FITTING}
        assert rush.upstream == FITTING
        assert rush.during == Standing(0, FITTING * RESERVED_UUSD)
        assert rush.after == Standing(FITTING * COST_UUSD, 0)
        for answer in rush.answers:
            if answer.status == 429:
                check_refusal(answer, wait_s=seconds_left())
        left = FITTING * (RESERVED_UUSD - COST_UUSD)
        assert await left_uusd(run.port, key, most=FITTING * RESERVED_UUSD) == left
        assert (await ask(run.port, Order(id="bystander", stream=stream).request(other))).status == 200


async def test_what_is_spent_can_be_spent_to_the_last_reservation_and_no_further(tmp_path: Path) -> None:
    await clear_of_midnight()
    async with race(tmp_path) as run:
        limit = FITTING * RESERVED_UUSD
        key = await run.office.issue("thrifty", budgets={"daily": usd(limit)})
        fits = (limit - RESERVED_UUSD) // COST_UUSD + 1
        statuses = [(await ask(run.port, order.request(key))).status for order in orders(fits + 3)]
        assert statuses == [200] * fits + [429] * 3
        assert run.journal.standing(key.id) == Standing(fits * COST_UUSD, 0)
        assert await left_uusd(run.port, key, most=limit) == limit - fits * COST_UUSD


@pytest.mark.parametrize("period", ["daily", "weekly", "monthly"])
async def test_every_period_is_a_limit_of_its_own(period: str, tmp_path: Path) -> None:
    await clear_of_midnight()
    async with race(tmp_path) as run:
        key = await run.office.issue("team", budgets={period: usd(2 * RESERVED_UUSD)})
        rush = await run.rush(key, orders(5), fitting=2)
        assert rush.statuses == {200: 2, 429: 3}
        for answer in rush.answers:
            if answer.status == 429:
                check_refusal(answer, wait_s=seconds_left(period))


async def test_a_single_request_above_its_own_limit_is_refused_and_a_smaller_one_is_not(tmp_path: Path) -> None:
    async with race(tmp_path) as run:
        key = await run.office.issue("small", budgets={"perRequest": usd(RESERVED_UUSD)})
        large = await ask(run.port, Order(id="large", limit=51 + 1).request(key))
        assert (large.status, large.code) == (429, "insufficient_quota")
        assert large.headers["x-should-retry"] == "false"
        assert (await ask(run.port, Order(id="just-right").request(key))).status == 200
        assert "large" not in run.kitchen.seen
        assert run.journal.standing(key.id) == Standing(COST_UUSD, 0)


@pytest.mark.parametrize("hint", ["x-octoroute-workspace: lab", "x-octoroute-agent-type: crawler"])
async def test_workspaces_and_agent_types_have_budgets_that_their_keys_share(hint: str, tmp_path: Path) -> None:
    await clear_of_midnight()
    limit = usd(3 * RESERVED_UUSD)
    agents = f"[limits.agent_types.crawler]\ndaily_usd = {limit:.6f}\n"
    async with race(tmp_path, more=agents) as run:
        configured = await run.office.post("/api/workspaces/lab/config", {"budgetLimits": {"daily": limit}})
        assert configured.status in (200, 201), configured
        keys = [await run.office.issue(f"team {number}") for number in range(2)]
        run.kitchen.gate = asyncio.Event()
        asked = [
            asyncio.create_task(ask(run.port, hinted(order.request(keys[number % 2]), hint)))
            for number, order in enumerate(orders(20))
        ]
        refused = [await answer for answer in itertools.islice(asyncio.as_completed(asked), 17)]
        assert {(answer.status, answer.code) for answer in refused} == {(429, "insufficient_quota")}
        run.kitchen.gate.set()
        assert sorted([answer.status for answer in await asyncio.gather(*asked)]) == [200] * 3 + [429] * 17
        unhinted = await many(run.port, orders(5, name="unhinted"), keys[0])
        assert {answer.status for answer in unhinted} == {200}


def hinted(request: bytes, line: str) -> bytes:
    """The request with one more header."""
    return request.replace(b"\r\n", f"\r\n{line}\r\n".encode(), 1)


async def test_with_streams_cancels_and_faults_mixed_in_no_look_ever_finds_too_much_spent(tmp_path: Path) -> None:
    await clear_of_midnight()
    async with race(tmp_path, routing="") as run:
        limit = 60 * RESERVED_UUSD
        key = await run.office.issue("mixed", budgets={"daily": usd(limit)})
        found = await run.mixture(key, waves=4, a_wave=100, chance=random.Random(7))
        assert found.statuses[200] > 30
        assert found.statuses[429] > 30
        assert set(found.statuses) <= {200, 429, 502, 503}
        assert found.left > 10
        assert found.looks > 50
        assert found.highest_uusd <= limit
        assert found.after.held_uusd == 0
        assert run.wrong_rows(found) == []
        assert await left_uusd(run.port, key, most=limit) == limit - found.after.spent_uusd
        told = await run.office.look("/api/analytics/savings?timeRange=24h")
        assert round(told["cost"] * 1_000_000) == run.journal.total_uusd()
        assert run.journal.integrity() == "ok"


async def test_a_provider_that_counts_more_than_was_reserved_is_paid_and_nobody_comes_after(tmp_path: Path) -> None:
    await clear_of_midnight()
    async with race(tmp_path) as run:
        key = await run.office.issue("surprised", budgets={"daily": usd(2 * RESERVED_UUSD)})
        dear = Order(id="dear", counted=1000, completion=50)
        assert (await ask(run.port, dear.request(key))).status == 200
        assert run.journal.spent(key.id) == PRICES["fast"].cost_uusd(prompt=1000, completion=50) > 2 * RESERVED_UUSD
        assert (await ask(run.port, Order(id="next").request(key))).code == "insufficient_quota"


async def test_a_client_that_leaves_gives_back_what_was_set_aside_but_for_its_prompt(tmp_path: Path) -> None:
    await clear_of_midnight()
    async with race(tmp_path) as run:
        prompt_uusd = PRICES["fast"].cost_uusd(prompt=40, completion=0)
        key = await run.office.issue("leaver", budgets={"daily": usd(RESERVED_UUSD + prompt_uusd)})
        run.kitchen.gate = asyncio.Event()
        asked = asyncio.create_task(ask(run.port, Order(id="leaves").request(key)))

        async def held() -> bool:
            return run.journal.standing(key.id).held_uusd == RESERVED_UUSD and "leaves" in run.kitchen.seen

        await until(held)
        assert (await ask(run.port, Order(id="too-many").request(key))).code == "insufficient_quota"
        asked.cancel()
        assert await run.settled(key) == Standing(prompt_uusd, 0)
        run.kitchen.gate.set()
        assert (await ask(run.port, Order(id="after").request(key))).status == 200


async def test_clients_that_leave_while_many_are_refused_leave_nothing_set_aside(tmp_path: Path) -> None:
    async with race(tmp_path) as run:
        rich = await run.office.issue("rich", budgets={"monthly": usd(1000 * RESERVED_UUSD)})
        poor = await run.office.issue("poor", budgets={"monthly": usd(1)})
        await asyncio.sleep(-time.time() % 1.0)  # refusals are counted by the second
        refused = await many(run.port, orders(150, name="refused"), poor)
        assert {answer.status for answer in refused} == {429}
        async with held(run.journal.path):  # which makes everybody wait who sets something aside
            await asyncio.gather(*(leave(run.port, order.request(rich)) for order in orders(20, name="leaves")))
        assert (await ask(run.port, Order(id="after").request(rich))).status == 200
        assert await run.settled(rich) == Standing(COST_UUSD, 0)
        assert await left_uusd(run.port, rich, most=1000 * RESERVED_UUSD) == 1000 * RESERVED_UUSD - COST_UUSD


async def leave(port: int, request: bytes) -> None:
    """Ask, and go before there can be an answer."""
    async with await Client.connect(port) as client:
        client.write(request)
        await asyncio.sleep(0.02)
