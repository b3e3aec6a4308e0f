"""Mixed traffic at a steady rate that remembers every answer it got whole, and what that must have cost.

    traffic = Traffic(port, keys, chance=random.Random(1))
    async with traffic.running(rate=100):
        ...                                   # kill the gateway, fill its disk, set its clock
    for promise in traffic.kept: ...          # each must be in the journal, once

Half of it streams; some clients leave; some upstreams fail before the answer, some in its middle.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from tests.fakes.client import Answer, Client
from tests.fakes.ledger import PRICES, Journal, Row
from tests.fakes.office import Issued
from tests.fakes.orders import Fault, Order

STREAMED = 0.5
LEAVING = 0.1
FAILING = 0.1
PATIENCE_S = 30.0


class Promise(NamedTuple):
    """An answer that a client has; `whole` if its body ended as it should."""

    order: Order
    key: Issued
    answer: Answer
    took_s: float

    @property
    def whole(self) -> bool:
        """Whether it is good and complete: this must be in the journal."""
        return self.answer.status == 200 and self.answer.whole and (self.answer.done or not self.order.stream)

    def broken_by(self, rows: Sequence[Row]) -> str | None:
        """What is wrong with its rows in the journal, or None."""
        if len(rows) != 1:
            return f"{self.order.id} stands {len(rows)} times in the journal"
        (row,) = rows
        due = PRICES[row.tier].cost_uusd(prompt=self.order.prompt, completion=self.order.completion)
        counted = (row.prompt_tokens, row.completion_tokens, row.cost_uusd, row.key_id, row.endpoint)
        endpoint = self.answer.headers["x-octoroute-endpoint"]
        expected = (self.order.prompt, self.order.completion, due, self.key.id, endpoint)
        if counted != expected:
            return f"{self.order.id} stands there with {counted}, not {expected}"
        told = self.answer.headers.get("x-octoroute-cost")
        if not self.order.stream and told != f"{due / 1_000_000:.6f}":
            return f"{self.order.id} told its client that it cost {told}, not {due} micro-USD"
        return None


def broken(promises: Sequence[Promise], journal: Journal) -> list[str]:
    """What is wrong with the rows of the whole ones among them."""
    rows = journal.by_id()
    looked = (promise.broken_by(rows.get(promise.order.id, ())) for promise in promises if promise.whole)
    return [found for found in looked if found is not None]


class Traffic:
    """Clients of these keys, in turn; what they sent by key id, and what came.

    `statuses` counts 0 for connections that broke, `broke` says how; clients that left are in `left`. Without `keeps`
    nothing is remembered but the counts.
    """

    def __init__(
        self, port: int, keys: Sequence[Issued], *, chance: random.Random, name: str = "t", keeps: bool = True
    ) -> None:
        self.port = port
        self.kept: list[Promise] = []
        self.statuses: Counter[int] = Counter()
        self.sent_by: dict[str, list[str]] = {key.id: [] for key in keys}
        self.broke: list[str] = []
        self.sent = 0
        self.left = 0
        self._keys = keys
        self._chance = chance
        self._name = name
        self._keeps = keeps
        self._open: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self, rate: float) -> AsyncIterator[None]:
        """So many requests a second while the block runs, and until the last of them has ended."""
        sending = asyncio.create_task(self._send(rate))
        try:
            yield
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
            await asyncio.gather(*self._open)

    async def burst(self, count: int, *, at_once: int) -> None:
        """So many requests, `at_once` of them under way at any time."""
        until = self.sent + count

        async def client() -> None:
            while self.sent < until:
                key, order = self._take()
                await self._one(order, key)

        await asyncio.gather(*(client() for _ in range(at_once)))

    async def _send(self, rate: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            key, order = self._take()
            task = asyncio.create_task(self._one(order, key))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _take(self) -> tuple[Issued, Order]:
        key, order = self._keys[self.sent % len(self._keys)], self._next()
        if self._keeps:
            self.sent_by[key.id].append(order.id)
        return key, order

    def _next(self) -> Order:
        chance = self._chance
        self.sent += 1
        stream = chance.random() < STREAMED
        fault = None
        if chance.random() < FAILING:
            fault = chance.choice([Fault.REFUSE_ONCE, Fault.CUT if stream else Fault.RESET_ONCE])
        return Order(
            id=f"{self._name}-{self.sent}",
            model=chance.choice(["fast", "fast", "balanced"]),
            prompt=chance.randint(40, 80),
            completion=chance.randint(1, 50),
            stream=stream,
            events=chance.randint(1, 12),
            pause_s=chance.choice([0.0, 0.002, 0.02]),
            fault=fault,
        )

    def _broke(self, order: Order, how: str | None) -> None:
        if how is not None:
            self.statuses[0] += 1
            self.broke.append(f"{order.id}: {how}")

    async def _one(self, order: Order, key: Issued) -> None:
        leaves = self._chance.random() < LEAVING
        began = time.monotonic()
        try:
            async with await Client.connect(self.port) as client:
                async with asyncio.timeout(self._chance.uniform(0.001, 0.1) if leaves else PATIENCE_S):
                    answer = await client.ask(order.request(key))
        except TimeoutError:
            self.left += leaves
            self._broke(order, None if leaves else "no answer")
        except (OSError, ValueError) as error:  # refused, reset, or cut in the middle of a chunk's head
            self._broke(order, repr(error))
        else:
            self.statuses[answer.status] += 1
            if self._keeps:
                self.kept.append(Promise(order, key, answer, time.monotonic() - began))
