"""Many clients that want more than a budget has, at the same moment or in waves, and what became of it.

async with race(folder) as run:
    rush = await run.rush(key, asking=200, fitting=10)
    assert rush.statuses == {200: 10, 429: 190}
"""

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.fakes.client import Answer, Client, ask
from tests.fakes.gateway import RunningGateway, gateway
from tests.fakes.ledger import DATABASE, PRICES, Journal, Standing, ledger_config
from tests.fakes.office import ENV, Issued, Office
from tests.fakes.orders import Fault, Kitchen, Order
from tests.fakes.upstream import FakeUpstream
from tests.fakes.waiting import until

LEFTOVERS_S = 5.0
RESERVED_UUSD = PRICES["fast"].reserve_uusd(prompt=40, limit=50)
"""What is set aside for an order as it comes, at the fast tier."""
COST_UUSD = PRICES["fast"].cost_uusd(prompt=40, completion=20)
"""What it costs."""
ONE_TIER = 'tier_fallback = "none"\n'


def usd(uusd: int) -> float:
    """Micro-USD as the API takes it."""
    return uusd / 1_000_000


class Rush(NamedTuple):
    """Answers to requests of one moment; what the key stood at while those that were admitted waited, and after."""

    answers: list[Answer]
    upstream: int
    during: Standing
    after: Standing

    @property
    def statuses(self) -> dict[int, int]:
        """How many got which status."""
        return dict(Counter(answer.status for answer in self.answers))


class Mixture(NamedTuple):
    """Requests of several waves with the answers of clients that stayed; the most that was ever spent and held."""

    answered: list[tuple[Order, Answer]]
    left: int
    looks: int
    highest_uusd: int
    after: Standing

    @property
    def statuses(self) -> Counter[int]:
        """How many got which status."""
        return Counter(answer.status for _, answer in self.answered)


class Race:
    """A gateway with one endpoint a tier, its kitchen and its journal."""

    def __init__(self, running: RunningGateway, kitchen: Kitchen) -> None:
        self.port = running.port
        self.office = Office(running.port)
        self.kitchen = kitchen
        self.journal = Journal(running.folder / DATABASE)

    async def settled(self, key: Issued) -> Standing:
        """What a key stands at, once no request is under way."""

        async def nothing_held() -> bool:
            return not self.journal.open_intents()

        await until(nothing_held, LEFTOVERS_S)
        return self.journal.standing(key.id)

    async def rush(self, key: Issued, orders: Sequence[Order], *, fitting: int) -> Rush:
        """All orders at once; nobody is served before all but `fitting` have been refused."""
        self.kitchen.gate = gate = asyncio.Event()
        before = len(self.kitchen.seen)
        asked = [asyncio.create_task(ask(self.port, order.request(key))) for order in orders]
        try:
            async with asyncio.timeout(30):
                for ended in itertools.islice(asyncio.as_completed(asked), len(orders) - fitting):
                    await ended
            during = self.journal.standing(key.id)
        finally:
            gate.set()
        answers = await asyncio.gather(*asked)
        return Rush(list(answers), len(self.kitchen.seen) - before, during, await self.settled(key))

    async def mixture(self, key: Issued, *, waves: int, a_wave: int, chance: random.Random, name: str = "") -> Mixture:
        """Waves of streams, buffered calls, faults and clients that leave; looked at all the while."""
        looks: list[int] = []
        watching = asyncio.create_task(self._watch(key, looks))
        answered: list[tuple[Order, Answer]] = []
        left = 0
        for wave in range(waves):
            orders = [_any_order(f"{name}wave{wave}-{number}", chance) for number in range(a_wave)]
            ended = await asyncio.gather(*(_answer_or_leave(self.port, order, key, chance) for order in orders))
            answered += [(order, answer) for order, answer in zip(orders, ended, strict=True) if answer is not None]
            left += ended.count(None)
            await self.settled(key)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        return Mixture(answered, left, len(looks), max(looks), await self.settled(key))

    async def _watch(self, key: Issued, looks: list[int]) -> None:
        while True:
            looks.append(self.journal.standing(key.id).total_uusd)
            await asyncio.sleep(0.01)

    def wrong_rows(self, found: Mixture) -> list[str]:
        """What the journal says otherwise than clients were told."""
        rows = self.journal.by_id()
        problems = []
        for order, answer in found.answered:
            costs = [row.cost_uusd for row in rows.get(order.id, [])]
            if answer.status == 200 and answer.whole and (answer.done or not order.stream):
                (tier,) = {row.tier for row in rows.get(order.id, [])} or {"fast"}
                due = [PRICES[tier].cost_uusd(prompt=order.prompt, completion=order.completion)]
                if costs != due:
                    problems.append(f"{order.id} cost {costs}, not {due}")
            elif answer.status == 429 and (any(costs) or self.kitchen.seen[order.id]):
                problems.append(f"{order.id} was refused and cost {costs}")
        return problems


@contextlib.asynccontextmanager
async def race(folder: Path, *, routing: str = ONE_TIER, more: str = "") -> AsyncIterator[Race]:
    """A gateway for it."""
    kitchen = Kitchen()
    async with FakeUpstream() as upstream:
        upstream.always(kitchen.serve)
        urls = {name: [upstream.base_url] for name in PRICES}
        async with gateway(ledger_config(urls, routing=routing, more=more), folder, env=ENV) as running:
            yield Race(running, kitchen)


def _any_order(name: str, chance: random.Random) -> Order:
    """A request as they come: some streamed, some failing."""
    stream = chance.random() < 0.5
    faults: list[Fault | None] = [None, None, None, Fault.REFUSE_ONCE, Fault.REFUSE]
    if stream:
        faults.append(Fault.CUT)
    return Order(id=name, stream=stream, fault=chance.choice(faults), pause_s=chance.choice([0.0, 0.005, 0.02]))


async def _answer_or_leave(port: int, order: Order, key: Issued, chance: random.Random) -> Answer | None:
    """The answer; or None from a client that left after a while."""
    await asyncio.sleep(chance.uniform(0, 0.2))
    leaves = chance.random() < 0.2
    async with await Client.connect(port) as client:
        try:
            async with asyncio.timeout(chance.uniform(0.001, 0.05) if leaves else 30):
                return await client.ask(order.request(key))
        except TimeoutError:
            assert leaves, f"{order.id} was not answered"
            return None
