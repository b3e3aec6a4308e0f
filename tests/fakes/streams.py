"""Live streams with numbered events: when each came, and whether any is missing, doubled or out of order."""

import asyncio
import itertools
import re
import time
from typing import NamedTuple

from tests.fakes.client import Client
from tests.fakes.office import Issued
from tests.fakes.orders import Order

_PART = re.compile(rb"part (\d+) ")


class Watched(NamedTuple):
    """A stream that has ended: when its events came (monotonic), whether they are all there in order, and its end."""

    times: list[float]
    in_order: bool
    done: bool
    whole: bool
    status: int

    @property
    def sound(self) -> bool:
        """Whether it is as if nothing had happened."""
        return self.status == 200 and self.in_order and self.done and self.whole

    def longest_gap_s(self, since: float = 0.0, until: float = float("inf")) -> float:
        """The longest silence between two events that overlaps this time."""
        pairs = itertools.pairwise(self.times)
        return max((after - before for before, after in pairs if after >= since and before <= until), default=0.0)


async def watch(port: int, order: Order, key: Issued) -> Watched:
    """Read one stream to its end."""
    times: list[float] = []
    body = b""
    async with await Client.connect(port) as client:
        client.write(order.request(key))
        answer = await client.head()
        while piece := await client.piece():
            body += piece
            times += [time.monotonic()] * piece.count(b'"content":"part ')
    answer.body = body
    numbers = [int(number) for number in _PART.findall(body)]
    return Watched(times, numbers == list(range(order.events)), answer.done, answer.whole, answer.status)


class Audience:
    """Several streams at once, each with an event every `pause_s`."""

    def __init__(self, port: int, keys: list[Issued], *, count: int, events: int, pause_s: float) -> None:
        orders = [
            Order(id=f"stream-{number}", stream=True, events=events, pause_s=pause_s, prompt=60)
            for number in range(count)
        ]
        self.orders = orders
        self._tasks = [
            asyncio.create_task(watch(port, order, keys[number % len(keys)])) for number, order in enumerate(orders)
        ]

    async def ended(self) -> list[Watched]:
        """All of them, once they have ended."""
        return list(await asyncio.gather(*self._tasks))
