"""Requests that say what the upstream shall answer and count, and the upstream that does so.

    kitchen = Kitchen()
    upstream.always(kitchen.serve)
    order = Order(id="a-1", completion=30, fault=Fault.REFUSE_ONCE)
    answer = await ask(port, order.request(key))        # 200 in the end, 40 + 30 tokens
    assert PRICES["fast"].cost_uusd(prompt=order.prompt, completion=order.completion) == 24

The order stands in the user's message, which is filled up to four characters for each token of the prompt: so the
upstream counts what the gateway estimates.
"""

import asyncio
import enum
from collections import Counter
from collections.abc import Iterable

import msgspec

from tests.fakes import turns
from tests.fakes.client import Answer, Client, ask, chat, post
from tests.fakes.ledger import METER
from tests.fakes.office import Issued
from tests.fakes.script import Fin, Gate, Hang, Pause, Recorded, Rst, Step

CHARS_A_TOKEN = 4


class Fault(enum.StrEnum):
    """How an upstream fails an order; ONCE: only the first that gets it, another one answers."""

    REFUSE_ONCE = "refuse_once"
    RESET_ONCE = "reset_once"
    REFUSE = "refuse"
    CUT = "cut"  # a stream, after its last event
    HANG = "hang"


class _Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What stands in the message."""

    id: str
    usage: tuple[int, int]
    events: int = 3
    pause_s: float = 0.0
    fault: Fault | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What shall be answered; `limit` is the request's max_tokens, `pause_s` lies between two events.

    `prompt` tokens are at least the 40 that the order itself takes; `counted` are those the upstream tells, as many if
    None.
    """

    id: str
    model: str = "fast"
    prompt: int = 40
    counted: int | None = None
    completion: int = 20
    limit: int = 50
    stream: bool = False
    events: int = 3
    pause_s: float = 0.0
    fault: Fault | None = None

    def body(self) -> bytes:
        """The chat completion that carries it."""
        usage = (self.prompt if self.counted is None else self.counted, self.completion)
        told = _Told(id=self.id, usage=usage, events=self.events, pause_s=self.pause_s, fault=self.fault)
        text = msgspec.json.encode(told).decode()
        room = self.prompt * CHARS_A_TOKEN
        assert len(text) <= room, "an order of so few tokens cannot say what it wants"
        return chat(text.ljust(room), model=self.model, stream=self.stream, max_tokens=self.limit)

    def request(self, key: Issued | None = None) -> bytes:
        """The whole HTTP request, with the order's id as its own."""
        return post(self.body(), headers={"x-request-id": self.id} if key is None else key.headers(self.id))


class Kitchen:
    """Serves orders. While `gate` is set to an event that has not come, answers wait for it."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.arrived: list[tuple[float, str]] = []
        self.gate: asyncio.Event | None = None

    def serve(self, request: Recorded) -> Iterable[Step]:
        """The turn of one request."""
        told = msgspec.json.decode(request.json["messages"][-1]["content"], type=_Told)
        self.seen[told.id] += 1
        self.arrived.append((request.at, told.id))
        gate = () if self.gate is None else (Gate(self.gate),)
        return (*gate, *self._answer(request, told))

    def _answer(self, request: Recorded, told: _Told) -> Iterable[Step]:
        first = self.seen[told.id] == 1
        match told.fault:
            case Fault.REFUSE:
                return turns.status(503)(request)
            case Fault.REFUSE_ONCE if first:
                return turns.status(503)(request)
            case Fault.RESET_ONCE if first:
                return (Rst(),)
            case Fault.HANG:
                return (Hang(),)
            case _:
                return _good(request, told)


def _good(request: Recorded, told: _Told) -> Iterable[Step]:
    if not request.json.get("stream"):
        return turns.json_answer(usage=told.usage, delay_s=told.events * told.pause_s)(request)
    parts: list[str | Step] = []
    for number in range(told.events):
        parts += [Pause(told.pause_s), f"part {number} "]
    end = Fin() if told.fault is Fault.CUT else None
    return turns.stream_answer(*parts, usage=told.usage, then=end)(request)


async def left_uusd(port: int, key: Issued, *, most: int) -> int:
    """How much of a key's budgets is left, to the micro-USD, measured from outside and without spending any of it.

    Asks for more and more tokens of `METER`, one micro-USD each, and gets none: a request is admitted if and only if
    its reservation still fits. `most` is what can be left at most.
    """
    low, high = 0, most
    async with await Client.connect(port) as client:
        while low < high:
            middle = (low + high + 1) // 2
            order = Order(id=f"left-{key.id}-{middle}", model=METER, completion=0, limit=middle)
            answer = await client.ask(order.request(key))
            assert answer.status in (200, 429), answer
            if answer.status == 200:
                low = middle
            else:
                assert answer.code == "insufficient_quota", answer
                high = middle - 1
    return low


async def many(port: int, orders: Iterable[Order], key: Issued) -> list[Answer]:
    """All at once, each on a connection of its own."""
    return list(await asyncio.gather(*(ask(port, order.request(key)) for order in orders)))
