"""The metrics page is written once for all who ask at the same time, and off the event loop."""

import asyncio
import threading

from octoroute_py.edge.scrapes import Scrapes


class Renderer:
    """Writes pages that are numbered, and not before it may."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.threads: set[int] = set()
        self.may = threading.Event()

    def __call__(self, family: str | None) -> bytes:
        self.threads.add(threading.get_ident())
        self.asked.append(family)
        assert self.may.wait(5.0)
        return f"{family} {len(self.asked)}".encode()


async def until_asked(renderer: Renderer, times: int) -> None:
    while len(renderer.asked) < times:  # noqa: ASYNC110 - what is waited for happens in a thread
        await asyncio.sleep(0)


async def test_who_asks_meanwhile_gets_the_same_page_and_who_asks_later_a_new_one() -> None:
    renderer = Renderer()
    scrapes = Scrapes(renderer)
    waiting = [asyncio.create_task(scrapes.page(None)) for _ in range(10)]
    other = asyncio.create_task(scrapes.page("gen_ai"))
    await until_asked(renderer, 2)
    renderer.may.set()
    pages = await asyncio.gather(*waiting)
    assert len(set(pages)) == 1
    assert (await other).startswith(b"gen_ai")
    assert sorted(renderer.asked, key=str) == [None, "gen_ai"]
    assert (await scrapes.page(None)) not in pages
    assert threading.get_ident() not in renderer.threads


async def test_somebody_who_leaves_takes_nothing_away_from_the_others() -> None:
    renderer = Renderer()
    scrapes = Scrapes(renderer)
    first, second = (asyncio.create_task(scrapes.page(None)) for _ in range(2))
    await until_asked(renderer, 1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    renderer.may.set()
    assert await second == b"None 1"
    assert first.cancelled()


async def test_a_page_that_could_not_be_written_is_tried_again_by_the_next() -> None:
    failures = [ZeroDivisionError()]

    def render(_: str | None) -> bytes:
        if failures:
            raise failures.pop()
        return b"page"

    scrapes = Scrapes(render)
    results = await asyncio.gather(scrapes.page(None), scrapes.page(None), return_exceptions=True)
    assert [type(each) for each in results] == [ZeroDivisionError, ZeroDivisionError]
    assert await scrapes.page(None) == b"page"
