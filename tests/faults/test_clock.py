"""The machine's clock is set, forward and back: nobody's budget begins anew for it, and no stream and no timer notices.

The gateway runs by a wall clock that the test sets (`tests.fakes.shifted`), and once more under libfaketime where that
is installed.
"""

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.client import Answer, ask
from tests.fakes.gateway import gateway
from tests.fakes.ledger import DATABASE, PRICES, Journal, Standing, ledger_config
from tests.fakes.office import ENV, Issued, Office
from tests.fakes.orders import Kitchen, Order, left_uusd
from tests.fakes.shifted import Clock, clocks
from tests.fakes.streams import Audience
from tests.fakes.upstream import FakeUpstream

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
PAUSE_S = 0.05
LONGEST_GAP_S = PAUSE_S + 0.25
RESERVED_UUSD = PRICES["fast"].reserve_uusd(prompt=40, limit=50)
COST_UUSD = PRICES["fast"].cost_uusd(prompt=40, completion=50)
LIMIT_UUSD = 3 * RESERVED_UUSD


class Shop:
    """A gateway by a clock that can be set, and a key with a daily budget of three requests."""

    def __init__(self, port: int, clock: Clock, key: Issued, journal: Journal) -> None:
        self.port = port
        self.clock = clock
        self.key = key
        self.journal = journal
        self.office = Office(port)
        self.asked = 0

    async def buy(self) -> Answer:
        """One request that costs what it reserves."""
        self.asked += 1
        return await ask(self.port, Order(id=f"buy-{self.asked}", completion=50).request(self.key))

    async def left_uusd(self) -> int:
        """What is left of the budget."""
        return await left_uusd(self.port, self.key, most=LIMIT_UUSD)


@contextlib.asynccontextmanager
async def shop(folder: Path, clock: Clock) -> AsyncIterator[Shop]:
    kitchen = Kitchen()
    async with FakeUpstream() as upstream:
        upstream.always(kitchen.serve)
        config = ledger_config({tier: [upstream.base_url] for tier in PRICES}, routing='tier_fallback = "none"\n')
        async with gateway(config, folder, env={**ENV, **clock.env}, program=clock.program) as running:
            key = await Office(running.port).issue("shopper", budgets={"daily": LIMIT_UUSD / 1_000_000})
            yield Shop(running.port, clock, key, Journal(folder / DATABASE))


def at(hour: int, minute: int) -> datetime.datetime:
    """A time of a Wednesday in the middle of a month, far from now."""
    return datetime.datetime(2031, 3, 12, hour, minute, tzinfo=datetime.UTC)


@pytest.mark.parametrize("make", clocks())
async def test_a_clock_set_back_or_far_ahead_refunds_nothing(make: type[Clock], tmp_path: Path) -> None:
    async with shop(tmp_path, make(tmp_path, start=at(0, 30))) as run:
        assert [(await run.buy()).status for _ in range(4)] == [200, 200, 200, 429]
        assert await run.left_uusd() == 0
        for jump_s in (-HOUR_S, HOUR_S, HOUR_S, -HOUR_S, 40 * DAY_S, -40 * DAY_S, -HOUR_S):
            run.clock.jump(jump_s)
            refused = await run.buy()
            assert (refused.status, refused.code) == (429, "insufficient_quota"), jump_s
            assert 0 < int(refused.headers["retry-after"]) <= 24.5 * HOUR_S
            assert await run.left_uusd() == 0
        assert run.journal.standing(run.key.id) == Standing(3 * COST_UUSD, 0)
        check_times(run)


def check_times(run: Shop) -> None:
    """Rows of requests that followed each other have times that do so too, and nothing took less than no time."""
    started = [row.started_ms for row in run.journal.rows()]
    assert started == sorted(started)
    assert run.journal.ask("SELECT count(*) FROM journal WHERE duration_us < 0") == [(0,)]


@pytest.mark.parametrize("make", clocks())
async def test_a_day_that_really_ends_begins_the_budget_anew_and_setting_the_clock_back_does_not_end_that(
    make: type[Clock], tmp_path: Path
) -> None:
    async with shop(tmp_path, make(tmp_path, start=at(23, 50))) as run:
        assert [(await run.buy()).status for _ in range(4)] == [200, 200, 200, 429]
        refused = await run.buy()
        assert abs(int(refused.headers["retry-after"]) - 600) <= 30
        run.clock.jump(20 * 60)
        assert await run.left_uusd() == LIMIT_UUSD
        assert (await run.buy()).status == 200
        run.clock.jump(-20 * 60)
        assert await run.left_uusd() == LIMIT_UUSD - COST_UUSD
        assert [(await run.buy()).status for _ in range(3)] == [200, 200, 429]
        check_times(run)


@pytest.mark.parametrize("make", clocks())
async def test_streams_and_limits_go_by_another_clock(make: type[Clock], tmp_path: Path) -> None:
    async with shop(tmp_path, make(tmp_path, start=at(12, 0))) as run:
        slow = await run.office.issue("slow", limits={"requestsPerMinute": 2})
        streaming = await run.office.issue("streaming", limits={"maxConcurrent": 5})
        audience = Audience(run.port, [streaming], count=5, events=60, pause_s=PAUSE_S)
        await asyncio.sleep(0.3)
        statuses = [(await ask(run.port, Order(id=f"slow-{n}").request(slow))).status for n in range(3)]
        for jump_s in (HOUR_S, -2 * HOUR_S, 40 * DAY_S, -40 * DAY_S):
            run.clock.jump(jump_s)
            await asyncio.sleep(0.3)
            statuses.append((await ask(run.port, Order(id=f"slow{jump_s}").request(slow))).status)
        assert statuses == [200, 200] + [429] * 5
        for stream in await audience.ended():
            assert stream.sound
            assert stream.longest_gap_s() < LONGEST_GAP_S
        assert run.journal.ask("SELECT count(*) FROM journal WHERE duration_us < 0") == [(0,)]


@pytest.mark.parametrize("make", clocks())
async def test_a_key_ends_by_the_wall_clock(make: type[Clock], tmp_path: Path) -> None:
    async with shop(tmp_path, make(tmp_path, start=at(12, 0))) as run:
        brief = await run.office.issue("brief", expiresAt="2031-03-12T12:30:00Z")
        assert (await ask(run.port, Order(id="in-time").request(brief))).status == 200
        run.clock.jump(HOUR_S)
        late = await ask(run.port, Order(id="too-late").request(brief))
        assert (late.status, late.code) == (401, "invalid_api_key")
