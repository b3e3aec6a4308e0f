"""Pages of other origins: they can neither frame the page, nor read the gateway, nor make it do anything (P47).

The gateway has no keys and listens on loopback, where it trusts whoever asks: the case that is worth attacking.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page

from tests.fakes.browsing import Trouble, until
from tests.fakes.town import Town


@pytest.fixture
def home(open_town: Town) -> str:
    """Whose gateway is attacked."""
    return open_town.url


@contextlib.asynccontextmanager
async def foreign(page: Page, body: str = "") -> AsyncIterator[None]:
    """Somebody else's page is open: of another origin, though of this machine, or Chromium itself would refuse."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        text = f"<!doctype html><title>t</title><link rel=icon href='data:,'>{body}".encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + text)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        await page.goto(f"http://foreign.test:{server.sockets[0].getsockname()[1]}/")
        yield


async def test_no_page_can_put_ours_into_a_frame(page: Page, open_town: Town, trouble: Trouble) -> None:
    trouble.expect(".")
    async with foreign(page, f"<iframe src='{open_town.url}/dashboard'></iframe>"):
        await until(page, "() => document.querySelector('iframe').contentDocument === null")
        assert await page.frames[1].locator("main").count() == 0
    assert any("frame-ancestors" in each for each in trouble.found), trouble.found


@pytest.mark.parametrize("path", ["/api/live", "/api/keys", "/info", "/dashboard"])
async def test_no_page_can_read_what_the_gateway_says(page: Page, open_town: Town, trouble: Trouble, path: str) -> None:
    trouble.expect(".")
    async with foreign(page):
        told = await page.evaluate(
            "(url) => fetch(url).then((answer) => answer.text(), (error) => `refused: ${error.name}`)",
            f"{open_town.url}{path}",
        )
    assert told == "refused: TypeError"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/admin/reload", ""),
        ("/api/keys", '{"name": "mine", "role": "admin"}'),
        ("/v1/chat/completions", '{"model": "fast", "messages": [{"role": "user", "content": "spend"}]}'),
    ],
)
async def test_no_page_can_make_the_gateway_do_anything(
    page: Page, open_town: Town, trouble: Trouble, path: str, body: str
) -> None:
    trouble.expect(".")
    before = await state_of(open_town)
    script = (
        "([url, body]) => fetch(url, { method: 'POST', mode: 'no-cors', credentials: 'include', body }).then(() => 1)"
    )
    async with foreign(page):
        assert await page.evaluate(script, [f"{open_town.url}{path}", body]) == 1  # sent, and nobody was asked before
    assert await state_of(open_town) == before


async def state_of(town: Town) -> tuple[int, int, int]:
    """What would have changed: the configuration's generation, the keys, the requests that reached a model."""
    info, keys = await town.look("/health/detailed"), await town.look("/api/keys")
    models = (await town.look("/api/analytics/models?timeRange=1h"))["totalTokens"]
    return info["generation"], len(keys["keys"] if isinstance(keys, dict) else keys), models
