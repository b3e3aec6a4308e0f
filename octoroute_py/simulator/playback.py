"""Sends an answer at the model's speed, or fails at it on purpose."""

import asyncio

import msgspec

from octoroute_py.core.errors import Denied, GatewayError, Refused
from octoroute_py.simulator.faults import Fault
from octoroute_py.simulator.model import SimulatedModel
from octoroute_py.simulator.render import Answer
from octoroute_py.simulator.wire import Connection

_SLOWER = 10.0


class Pace(msgspec.Struct, frozen=True):
    """Seconds until the first token, and from one token to the next."""

    first_s: float
    token_s: float

    def slower(self) -> "Pace":
        """Ten times slower, and slow even where the model takes no time at all."""
        return Pace(max(self.first_s, 0.1) * _SLOWER, max(self.token_s, 0.01) * _SLOWER)


def pace_of(model: SimulatedModel, *, speed: float) -> Pace:
    """The model's own pace, `speed` times as fast."""
    return Pace(model.first_token_s / speed, model.token_s() / speed)


async def play(answer: Answer, wire: Connection, pace: Pace, *, stream: bool, fault: Fault | None) -> None:
    """Send the answer; raises GatewayError where the fault is an HTTP error."""
    match fault:
        case Fault.STATUS_500 | Fault.STATUS_503 | Fault.STATUS_429 | Fault.STATUS_401:
            raise _refusal(fault)
        case Fault.STATUS_302:
            await wire.send(302, b"", headers=(("location", "/v1/elsewhere"),))
        case Fault.HANG:
            await wire.until_closed()
        case Fault.RESET:
            await wire.reset()
        case _:
            chosen = pace.slower() if fault is Fault.SLOW else pace
            await (_streamed if stream else _whole)(answer, wire, chosen, fault)


async def _whole(answer: Answer, wire: Connection, pace: Pace, fault: Fault | None) -> None:
    wait = pace.first_s + answer.tokens * pace.token_s
    if wait > 0:
        await asyncio.sleep(wait)
    body = answer.body()
    match fault:
        case Fault.BAD_JSON:
            await wire.send(200, body[: len(body) // 2])
        case Fault.CUT_BEFORE_FIRST_EVENT:
            await wire.send(200, b"", claimed_bytes=len(body))
            await wire.cut()
        case Fault.CUT_MID_STREAM | Fault.STALL:
            await wire.send(200, body[: len(body) // 2], claimed_bytes=len(body))
            await _break(wire, fault)
        case _:
            await wire.send(200, body)


async def _streamed(answer: Answer, wire: Connection, pace: Pace, fault: Fault | None) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time() + pace.first_s
    await _until(due, loop)
    await wire.begin()
    if fault is Fault.CUT_BEFORE_FIRST_EVENT:
        await wire.cut()
    if fault is Fault.BAD_JSON:
        await wire.push(b'data: {"choices": [\n\n')
        await wire.finish()
        return
    events = list(answer.events())
    breaks_at = len(events) // 2 if fault in (Fault.CUT_MID_STREAM, Fault.STALL) else None
    for number, event in enumerate(events):
        if number == breaks_at:
            await _break(wire, fault)
        due += event.tokens * pace.token_s
        await _until(due, loop)
        await wire.push(event.data)
    await wire.finish()


async def _break(wire: Connection, fault: Fault | None) -> None:
    await (wire.until_closed() if fault is Fault.STALL else wire.cut())


async def _until(due: float, loop: asyncio.AbstractEventLoop) -> None:
    delay = due - loop.time()
    if delay > 0:
        await asyncio.sleep(delay)


def _refusal(fault: Fault) -> GatewayError:
    message = "This simulated model fails on purpose."
    match fault:
        case Fault.STATUS_503:
            return Refused(message, code="overloaded")
        case Fault.STATUS_429:
            return Refused(message, code="rate_limit_exceeded", status=429, retry_after_s=2.0)
        case Fault.STATUS_401:
            return Denied(message, code="invalid_api_key")
        case _:
            return GatewayError(message, code="server_error")
