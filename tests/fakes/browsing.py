"""A browser as a test needs it: what a page did wrong, and what somebody with eyes and a keyboard would find wrong.

    await sign_in(page, town.url, key)
    assert await overflow(page) == []
    assert await contrast(page) == []

Every question gives a list of what is wrong, in words: empty is good.
"""

import asyncio
import json
import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Dialog, Page, Request

ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP foreign.test 127.0.0.1",
)
"""A sandbox needs more than a container gives; the rest keeps Chromium from the network, but for one foreign name."""
WIDE: Final = (1440, 900)
PHONE: Final = (390, 844)
PATIENCE_MS: Final = 10_000.0
MOST_TABS: Final = 400
"""More stops of the Tab key than any page of ours has."""

_LOOKS = Path(__file__).with_name("looks.js").read_text(encoding="utf-8")
_TELL = (
    "document.addEventListener('securitypolicyviolation', (e) => window.__violated("
    "`${e.effectiveDirective} blocked ${e.blockedURI || 'inline'} at ${e.sourceFile}:${e.lineNumber}`));"
)


class Trouble:
    """What went wrong on a page: anything in `found` fails the test in the end, unless it was `expected`."""

    def __init__(self, home: str) -> None:
        self.found: list[str] = []
        self._home = urlsplit(home)[:2]
        self._expected: list[re.Pattern[str]] = []

    def expect(self, pattern: str) -> None:
        """What matches is meant to happen in this test, as a refused key is; it may have happened already."""
        self._expected.append(re.compile(pattern))

    @property
    def unexpected(self) -> list[str]:
        """What nobody had reckoned with."""
        return [each for each in self.found if not any(pattern.search(each) for pattern in self._expected)]

    async def follow(self, page: Page, context: BrowserContext) -> None:
        """Note all that happens on this page, before it is opened."""
        await context.expose_function("__violated", lambda told: self.found.append(f"content policy: {told}"))
        await context.add_init_script(_TELL)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.found.append(f"exception: {error.message}\n{error.stack}"))
        page.on("requestfailed", self._failed)
        page.on("request", self._asked)
        page.on("dialog", self._asked_user)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            place = message.location
            self.found.append(f"console {message.type}: {message.text} ({place['url']}:{place['lineNumber']})")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # which is the page's own wish, or its end
            self.found.append(f"request failed: {request.method} {request.url}: {request.failure}")

    def _asked(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob") and url[:2] != self._home:
            self.found.append(f"request to elsewhere: {request.url}")

    async def _asked_user(self, dialog: Dialog) -> None:
        self.found.append(f"dialog: {dialog.type} {dialog.message}")
        await dialog.dismiss()


async def sign_in(page: Page, url: str, key: str | None = None, *, view: str = "") -> None:
    """Open the page and show it a key if it asks for one; `view` is what stands behind the # of its address.

    It is in when no form asks for a key any more.
    """
    await page.goto(f"{url}/dashboard{f'#{view}' if view else ''}")
    field = page.locator("input[type=password]")
    if key is not None:
        await field.fill(key)
        await field.press("Enter")
        await field.wait_for(state="hidden", timeout=PATIENCE_MS)
    else:
        await page.locator("main").wait_for(state="visible")


async def until(page: Page, script: str, argument: object = None, *, within_s: float = 10.0) -> Any:
    """What a function of the page gives, once that is true; the page's own policy forbids `wait_for_function`."""
    last: Any = None
    try:
        async with asyncio.timeout(within_s):
            while not (last := await page.evaluate(script, argument)):  # noqa: ASYNC110 - no event comes from another process
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not so within {within_s} s: {script} gives {last!r}") from None
    return last


async def overflow(page: Page) -> list[str]:
    """What does not fit: a page that scrolls sideways, things beyond its edge, text that is cut off without a sign."""
    return await _ask(page, "overflow")


async def contrast(page: Page) -> list[str]:
    """Texts whose contrast with what lies behind them is below WCAG AA (4.5, or 3 for large ones), as it is shown now.

    Ask once for each colour scheme. Text over a picture or a gradient cannot be judged and is told as such.
    """
    return await _ask(page, "contrast")


async def focusable(page: Page) -> list[str]:
    """What can be clicked but has no name, is never reached by Tab, or does not show that it has the focus.

    It presses Tab until it is back at the start, so the focus is elsewhere afterwards.
    """
    wrong = await _ask(page, "nameless")
    await page.evaluate(f"({_LOOKS}).begin()")
    for _ in range(MOST_TABS):
        await page.keyboard.press("Tab")
        if await page.evaluate(f"({_LOOKS}).stop()"):
            break
    else:
        wrong.append(f"the Tab key does not come round within {MOST_TABS} stops")
    return wrong + await _ask(page, "unreached")


async def dead_controls(page: Page) -> list[str]:
    """Buttons and links that do nothing: links that lead nowhere, and enabled buttons that change nothing at all.

    Every enabled button is clicked, but those marked `data-acts` (they change the gateway), and what opens is closed
    with Escape. "Nothing" is: no change of the document or the address, no request, no focus, nothing copied.
    """
    wrong = await _ask(page, "dead_links")
    for number in range(int(await page.evaluate(f"({_LOOKS}).buttons()"))):
        name = await page.evaluate(f"(n) => ({_LOOKS}).watch(n)", number)
        if name is None:
            continue
        requests: list[str] = []

        def note(request: Request, requests: list[str] = requests) -> None:
            requests.append(request.url)

        page.on("request", note)
        await page.evaluate(f"(n) => ({_LOOKS}).click(n)", number)
        await asyncio.sleep(0.15)
        page.remove_listener("request", note)
        acted = await page.evaluate(f"({_LOOKS}).acted()")
        if not acted and not requests:
            wrong.append(f"does nothing when clicked: {name}")
        await page.keyboard.press("Escape")
    return wrong


async def _ask(page: Page, question: str) -> list[str]:
    told = await page.evaluate(f"JSON.stringify(({_LOOKS}).{question}())")
    return [str(each) for each in json.loads(told)]
