"""Nobody spends more than a budget allows, however many ask at the same moment and however their requests end."""

import asyncio
import contextlib
import datetime
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.client import Answer, Client, ask
from tests.fakes.gateway import RunningGateway, gateway
from tests.fakes.ledger import DATABASE, PRICES, Journal, Standing, ledger_config
from tests.fakes.office import ENV, Issued, Office
from tests.fakes.orders import Fault, Kitchen, Order, left_uusd, many
from tests.fakes.upstream import FakeUpstream
from tests.fakes.waiting import until

ASKING = 200
FITTING = 10
WAVES = 4
LEFTOVERS_S = 5.0
RESERVED_UUSD = PRICES["fast"].reserve_uusd(prompt=40, limit=50)
COST_UUSD = PRICES["fast"].cost_uusd(prompt=40, completion=20)


class Race:
    """A gateway with one endpoint a tier, its kitchen and its journal."""

    def __init__(self, running: RunningGateway, kitchen: Kitchen, upstream: FakeUpstream) -> None:
        self.port = running.port
        self.office = Office(running.port)
        self.kitchen = kitchen
        self.upstream = upstream
        self.journal = Journal(running.folder / DATABASE)

    async def settled(self, key: Issued) -> Standing:
        """What a key stands at, once none of its requests is under way."""

        async def nothing_held() -> bool:
            return not self.journal.open_intents()

        await until(nothing_held, LEFTOVERS_S)
        return self.journal.standing(key.id)


@contextlib.asynccontextmanager
async def race(folder: Path, *, routing: str = 'tier_fallback = "none"\n', more: str = "") -> AsyncIterator[Race]:
    kitchen = Kitchen()
    async with FakeUpstream() as upstream:
        upstream.always(kitchen.serve)
        urls = {name: [upstream.base_url] for name in PRICES}
        async with gateway(ledger_config(urls, routing=routing, more=more), folder, env=ENV) as running:
            yield Race(running, kitchen, upstream)


def usd(uusd: int) -> float:
    return uusd / 1_000_000


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


@pytest.mark.parametrize("stream", [False, True], ids=["buffered", "streams"])
async def test_of_200_at_once_exactly_the_ten_that_fit_are_admitted(stream: bool, tmp_path: Path) -> None:
    await clear_of_midnight()
    async with race(tmp_path) as run:
        key = await run.office.issue("racer", budgets={"daily": usd(FITTING * RESERVED_UUSD)})
        other = await run.office.issue("bystander", budgets={"daily": usd(RESERVED_UUSD)})
        run.kitchen.gate = asyncio.Event()
        asked = [asyncio.create_task(ask(run.port, order.request(key))) for order in orders(ASKING, stream=stream)]
        refused: list[Answer] = []
        for ended in asyncio.as_completed(asked):
            refused.append(await ended)
            if len(refused) == ASKING - FITTING:
                break
        assert run.journal.standing(key.id) == Standing(0, FITTING * RESERVED_UUSD)
        assert len(run.kitchen.seen) == FITTING
        bystander = asyncio.create_task(ask(run.port, Order(id="bystander", stream=stream).request(other)))
        await run.upstream.wait_requests(FITTING + 1)
        run.kitchen.gate.set()
        answers = await asyncio.gather(*asked)
        assert Counter(answer.status for answer in answers) == {200: FITTING, 429: ASKING - FITTING}
        assert (await bystander).status == 200
        for answer in answers:
            if answer.status == 429:
                check_refusal(answer, wait_s=seconds_left())
        assert await run.settled(key) == Standing(FITTING * COST_UUSD, 0)
        left = FITTING * (RESERVED_UUSD - COST_UUSD)
        assert await left_uusd(run.port, key, most=FITTING * RESERVED_UUSD) == left


def orders(count: int, *, stream: bool, name: str = "race") -> list[Order]:
    return [Order(id=f"{name}-{number}", stream=stream) for number in range(count)]


async def test_what_is_spent_can_be_spent_to_the_last_reservation_and_no_further(tmp_path: Path) -> None:
    await clear_of_midnight()
    async with race(tmp_path) as run:
        limit = FITTING * RESERVED_UUSD
        key = await run.office.issue("thrifty", budgets={"daily": usd(limit)})
        fits = (limit - RESERVED_UUSD) // COST_UUSD + 1
        statuses = [(await ask(run.port, order.request(key))).status for order in orders(fits + 3, stream=False)]
        assert statuses == [200] * fits + [429] * 3
        assert run.journal.standing(key.id) == Standing(fits * COST_UUSD, 0)
        assert await left_uusd(run.port, key, most=limit) == limit - fits * COST_UUSD


@pytest.mark.parametrize("period", ["daily", "weekly", "monthly"])
async def test_every_period_is_a_limit_of_its_own(period: str, tmp_path: Path) -> None:
    await clear_of_midnight()
    async with race(tmp_path) as run:
        key = await run.office.issue("team", budgets={period: usd(2 * RESERVED_UUSD)})
        answers = await many(run.port, orders(5, stream=False), key)
        spent = await run.settled(key)
        refused = [answer for answer in answers if answer.status != 200]
        assert spent == Standing((5 - len(refused)) * COST_UUSD, 0)
        assert spent.total_uusd <= 2 * RESERVED_UUSD
        assert refused
        for answer in refused:
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


async def test_workspaces_and_agent_types_have_budgets_that_their_keys_share(tmp_path: Path) -> None:
    await clear_of_midnight()
    agents = f"[limits.agent_types.crawler]\ndaily_usd = {usd(3 * RESERVED_UUSD):.6f}\n"
    async with race(tmp_path, more=agents) as run:
        configured = await run.office.post(
            "/api/workspaces/lab/config", {"budgetLimits": {"daily": usd(3 * RESERVED_UUSD)}}
        )
        assert configured.status in (200, 201), configured
        for hint in ("x-octoroute-workspace: lab", "x-octoroute-agent-type: crawler"):
            run.kitchen.gate = asyncio.Event()
            keys = [await run.office.issue(f"{hint[-4:]} {number}") for number in range(2)]
            asked = [
                asyncio.create_task(ask(run.port, hinted(order.request(keys[number % 2]), hint)))
                for number, order in enumerate(orders(20, stream=False, name=hint[-4:]))
            ]
            refused = [await answer for _, answer in zip(range(17), asyncio.as_completed(asked), strict=False)]
            assert {(answer.status, answer.code) for answer in refused} == {(429, "insufficient_quota")}
            run.kitchen.gate.set()
            statuses = Counter(answer.status for answer in await asyncio.gather(*asked))
            assert statuses == {200: 3, 429: 17}


def hinted(request: bytes, line: str) -> bytes:
    """The request with one more header."""
    return request.replace(b"\r\n", f"\r\n{line}\r\n".encode(), 1)


async def test_with_streams_cancels_and_faults_mixed_in_no_look_ever_finds_too_much_spent(tmp_path: Path) -> None:
    await clear_of_midnight()
    chance = random.Random(7)
    async with race(tmp_path, routing="") as run:
        limit = 60 * PRICES["fast"].reserve_uusd(prompt=40, limit=50)
        key = await run.office.issue("mixed", budgets={"daily": usd(limit)})
        watching = asyncio.create_task(watch(run, key, limit))
        kept: list[tuple[Order, Answer]] = []
        for wave in range(WAVES):
            mixed = [mixed_order(f"wave{wave}-{number}", chance) for number in range(100)]
            ended = await asyncio.gather(*(answer_or_leave(run.port, order, key, chance) for order in mixed))
            kept += [(order, answer) for order, answer in zip(mixed, ended, strict=True) if answer is not None]
            await run.settled(key)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        statuses = Counter(answer.status for _, answer in kept)
        assert statuses[200] > 30
        assert statuses[429] > 30
        assert set(statuses) <= {200, 429, 502, 503}
        check_sums(run, key, kept, spent=run.journal.spent(key.id))
        assert await left_uusd(run.port, key, most=limit) == limit - run.journal.spent(key.id)
        told = await run.office.look("/api/analytics/savings?timeRange=24h")
        assert round(told["cost"] * 1_000_000) == run.journal.total_uusd()
        assert run.journal.integrity() == "ok"


def check_sums(run: Race, key: Issued, kept: list[tuple[Order, Answer]], *, spent: int) -> None:
    """The rows add up, and each answer that came whole is one of them at its price."""
    rows = run.journal.by_id()
    assert sum(row.cost_uusd for found in rows.values() for row in found if row.key_id == key.id) == spent
    for order, answer in kept:
        if answer.status == 200 and answer.whole and (answer.done or not order.stream):
            (row,) = rows[order.id]
            assert row.cost_uusd == PRICES[row.tier].cost_uusd(prompt=order.prompt, completion=order.completion), row
            assert (row.status, row.error_code, row.sends) == (200, None, run.kitchen.seen[order.id])
        elif answer.status == 429:
            assert run.kitchen.seen[order.id] == 0
            assert [row.cost_uusd for row in rows.get(order.id, [])] in ([], [0])


async def watch(run: Race, key: Issued, limit: int) -> None:
    """Look again and again: what is spent and held together never exceeds the limit."""
    while True:
        standing = run.journal.standing(key.id)
        assert standing.total_uusd <= limit, standing
        await asyncio.sleep(0.01)


def mixed_order(name: str, chance: random.Random) -> Order:
    """A request as they come: some streamed, some failing."""
    stream = chance.random() < 0.5
    faults: list[Fault | None] = [None, None, None, Fault.REFUSE_ONCE, Fault.REFUSE]
    if stream:
        faults.append(Fault.CUT)
    return Order(id=name, stream=stream, fault=chance.choice(faults), pause_s=chance.choice([0.0, 0.005, 0.02]))


async def answer_or_leave(port: int, order: Order, key: Issued, chance: random.Random) -> Answer | None:
    """The answer; or None from a client that left after a while."""
    await asyncio.sleep(chance.uniform(0, 0.2))
    leaves = chance.random() < 0.2
    try:
        async with asyncio.timeout(chance.uniform(0.001, 0.05) if leaves else 30):
            async with await Client.connect(port) as client:
                return await client.ask(order.request(key))
    except TimeoutError:
        assert leaves, f"{order.id} was not answered"
        return None
