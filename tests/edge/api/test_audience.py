"""Many watch, one tells: made once for all, for nobody not at all, and never held up by the slowest."""

import asyncio
import itertools
from collections.abc import Callable

import pytest

from octoroute_py.core.errors import Refused
from octoroute_py.edge.api.audience import MOST_WAITING, Audience, Watcher


class Stage:
    """What is told: numbered events; `began` and `prepared` count the calls of the two."""

    def __init__(self, *, most: int = 3, wall: Callable[[], float] = lambda: 0.99) -> None:
        self.numbers = itertools.count(1)
        self.made = self.began = self.prepared = 0
        self.hold: asyncio.Event | None = None
        self.audience = Audience(self.event, begin=self.begin, prepare=self.prepare, wall=wall, most=most)

    def event(self) -> bytes:
        self.made = next(self.numbers)
        return b"%d;" % self.made

    def begin(self) -> None:
        self.began += 1

    async def prepare(self) -> None:
        self.prepared += 1
        if self.hold is not None:
            await self.hold.wait()


async def test_one_event_is_made_for_all_and_the_same_bytes_go_to_each() -> None:
    stage = Stage()
    watchers = [stage.audience.join() for _ in range(3)]
    first = [await each.next() for each in watchers]
    assert first == [b"1;"] * 3
    second = [await each.next() for each in watchers]
    assert second == [b"2;"] * 3
    assert (stage.made, stage.began) == (2, 1)
    stage.audience.end()


async def test_nothing_is_made_while_nobody_watches() -> None:
    stage = Stage()
    watcher = stage.audience.join()
    await watcher.next()
    stage.audience.leave(watcher)
    made = stage.made
    for _ in range(3):  # whoever told the others hears that it is over
        await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "live-feed"]
    assert (stage.made, len(stage.audience)) == (made, 0)
    again = stage.audience.join()
    assert await again.next() == b"%d;" % (made + 1)
    assert stage.began == 2
    stage.audience.end()


async def test_who_joins_later_gets_the_latest_at_once() -> None:
    stage = Stage(wall=lambda: 0.0)  # the next event is a second away
    early = stage.audience.join()
    await early.next()
    late = stage.audience.join()
    async with asyncio.timeout(0.2):
        assert await late.next() == b"1;"
    stage.audience.end()


async def test_there_are_only_so_many_seats() -> None:
    stage = Stage(most=2)
    watchers = [stage.audience.join() for _ in range(2)]
    with pytest.raises(Refused) as refused:
        stage.audience.join()
    assert (refused.value.status, refused.value.code) == (503, "too_many_watchers")
    stage.audience.leave(watchers[0])
    stage.audience.join()
    stage.audience.end()


async def test_who_takes_nothing_is_dropped_and_the_others_go_on() -> None:
    stage = Stage()
    told: list[bytes] = []
    dropped = asyncio.Event()

    async def slow() -> None:
        watcher = stage.audience.join()
        try:
            await watcher.next()
            await asyncio.Event().wait()  # a client that takes nothing
        except asyncio.CancelledError:
            assert watcher.dropped
            dropped.set()
        finally:
            stage.audience.leave(watcher)

    task = asyncio.create_task(slow())
    quick = stage.audience.join()
    async with asyncio.timeout(5):
        while not dropped.is_set():
            told.append(await quick.next() or b"")
    assert len(told) >= MOST_WAITING
    assert len(stage.audience) == 1
    await task
    stage.audience.end()


async def test_the_end_is_the_end_for_everybody_even_with_events_waiting() -> None:
    stage = Stage()
    one, other = stage.audience.join(), stage.audience.join()
    await one.next()
    stage.audience.end()
    assert [await one.next(), await other.next()] == [None, None]


async def test_figures_that_take_long_hold_up_the_first_event_only_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octoroute_py.edge.api.audience.PREPARE_WITHIN_S", 0.05)
    stage = Stage()
    stage.hold = asyncio.Event()
    watcher = stage.audience.join()
    assert [await watcher.next(), await watcher.next()] == [b"1;", b"2;"]
    assert stage.prepared == 1  # one look at a time
    stage.hold.set()
    stage.hold = None
    assert await watcher.next() == b"3;"
    assert stage.prepared == 2
    stage.audience.end()


async def test_a_defect_ends_it_for_all_instead_of_leaving_them_waiting() -> None:
    stage = Stage()
    audience = Audience(lambda: b"" + None, begin=stage.begin, prepare=stage.prepare, wall=lambda: 0.99)  # type: ignore[operator]
    watcher = audience.join()
    assert await watcher.next() is None


async def test_figures_that_cannot_be_read_keep_nothing_from_being_told() -> None:
    stage = Stage()

    async def broken() -> None:
        raise RuntimeError("no figures")

    audience = Audience(stage.event, begin=stage.begin, prepare=broken, wall=lambda: 0.99)
    watcher = audience.join()
    assert [await watcher.next(), await watcher.next()] == [b"1;", b"2;"]
    audience.end()


async def test_what_waits_is_taken_as_one_piece_in_its_order() -> None:
    watcher = Watcher(None)
    for number in range(MOST_WAITING):
        watcher.tell(b"%d;" % number)
    assert await watcher.next() == b"".join(b"%d;" % number for number in range(MOST_WAITING))
