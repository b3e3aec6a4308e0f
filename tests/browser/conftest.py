"""The page in Debian's Chromium: one browser for all tests, a fresh page for each, and nothing may go wrong on it.

A test that asks for `page` fails by itself when anything is said on the console, an exception is not caught, a request
fails or goes elsewhere, the content policy is violated or a dialog opens. Its window is `viewport` wide and high and
its colours are those of `scheme`: override either by parametrizing it.

    @pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    async def test_nothing_overflows(page: Page, town: Town) -> None: ...

Browser, towns and tests share one event loop, since a browser belongs to the loop that started it.
"""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.fakes.browsing import ARGUMENTS, PATIENCE_MS, WIDE, Trouble
from tests.fakes.town import Town
from tests.fakes.town import town as running_town

HERE = Path(__file__).parent
FIRST_REQUESTS = 40
Scheme = Literal["light", "dark"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here runs in the session's loop."""
    for item in items:
        if HERE in item.path.parents and isinstance(item, pytest.Function):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium, started once."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("there is no chromium: install the package of that name")
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=found, headless=True, args=list(ARGUMENTS))
        try:
            yield started
        finally:
            await started.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def town(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A gateway with a key for every role, which has answered some requests of all kinds."""
    async with running_town(tmp_path_factory.mktemp("town")) as one:
        await one.traffic(FIRST_REQUESTS)
        yield one


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def open_town(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A gateway without keys, as on a machine of one's own, that nobody has asked anything yet."""
    async with running_town(tmp_path_factory.mktemp("open-town"), keys={}) as one:
        yield one


@pytest.fixture
def viewport() -> tuple[int, int]:
    """The window's width and height in CSS pixels."""
    return WIDE


@pytest.fixture
def scheme() -> Scheme:
    """The colours that the user prefers."""
    return "light"


@pytest.fixture
def home(town: Town) -> str:
    """Where the page may ask; override it for a page of another town."""
    return town.url


@pytest.fixture
def trouble(home: str) -> Trouble:
    """What goes wrong on the page; tell it what is meant to."""
    return Trouble(home)


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, viewport: tuple[int, int], scheme: Scheme, trouble: Trouble) -> AsyncIterator[Page]:
    """A page in a browser profile of its own."""
    width, height = viewport
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=width < 600, is_mobile=width < 600
    )
    context.set_default_timeout(PATIENCE_MS)
    try:
        made = await context.new_page()
        await trouble.follow(made, context)
        yield made
        assert trouble.unexpected == []
    finally:
        await context.close()
