"""The page's frame: who may look, where the key is kept, what the keyboard does, how a lost connection looks."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from octoroute_py.web.assets import read_assets
from tests.fakes.browsing import PHONE, WIDE, Trouble, contrast, dead_controls, focusable, overflow, sign_in, until
from tests.fakes.gateway import octoroute
from tests.fakes.town import Town
from tests.fakes.town import town as running_town

WINDOWS = pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
MOST_BYTES = 300 * 1024
LIVE = "() => document.querySelector('.link-state')?.dataset.status === 'live'"
LOST = "() => document.querySelector('.link-state')?.dataset.status === 'lost'"


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
async def test_a_key_that_may_look_opens_the_page_and_says_whose_it_is(page: Page, town: Town, role: str) -> None:
    await sign_in(page, town.url, town.keys[role])
    await until(page, LIVE)
    await expect(page.locator(".who")).to_have_text(f"{role} · {role}")
    await expect(page.get_by_role("heading", name="Now", level=1)).to_be_visible()


async def test_a_wrong_key_is_refused_in_words_and_the_form_stays(page: Page, town: Town, trouble: Trouble) -> None:
    trouble.expect("401")
    await page.goto(f"{town.url}/dashboard")
    await page.fill("#key", "okr-nobody-knows-this-key-0123456789")
    await page.press("#key", "Enter")
    await until(page, "() => document.getElementById('key-wrong').textContent.length > 10")
    await expect(page.locator("#key")).to_be_visible()
    assert await page.locator("main").inner_text() == ""
    await page.fill("#key", "")
    await page.press("#key", "Enter")
    await expect(page.locator("#key-wrong")).to_have_text("Paste a key first.")


async def test_a_key_that_may_only_send_is_told_which_role_is_needed(page: Page, town: Town) -> None:
    await page.goto(f"{town.url}/dashboard")
    await page.fill("#key", town.keys["inference"])
    await page.press("#key", "Enter")
    await expect(page.locator("#key-wrong")).to_contain_text("role inference")
    await expect(page.locator("#key-wrong")).to_contain_text("viewer, operator or admin")


async def test_a_key_that_is_bound_to_workspaces_is_told_why_it_sees_no_numbers(
    page: Page, town: Town, trouble: Trouble
) -> None:
    trouble.expect("403")
    made = await town.post("/api/keys", {"name": "bound", "role": "viewer", "workspaces": ["default"]})
    assert made.status_code < 300, made.text
    await sign_in(page, town.url, made.json()["key"])
    await expect(page.locator(".banner")).to_contain_text("bound to workspaces")
    await expect(page.locator(".now-waiting")).to_contain_text("bound to workspaces")


async def test_the_key_is_kept_nowhere_but_in_memory(page: Page, town: Town) -> None:
    await sign_in(page, town.url, town.keys["viewer"])
    await until(page, LIVE)
    kept = await page.evaluate(
        "async () => JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}, location.href, "
        "(await indexedDB.databases()).length, document.documentElement.outerHTML, "
        "[...document.querySelectorAll('input')].map((each) => each.value)])"
    )
    assert town.keys["viewer"] not in kept
    assert await page.context.cookies() == []
    await page.reload()
    await expect(page.locator("#key")).to_be_visible()


async def test_signing_out_forgets_the_key_and_all_that_was_shown(page: Page, town: Town) -> None:
    await sign_in(page, town.url, town.keys["viewer"])
    await until(page, LIVE)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.locator("#key")).to_be_focused()
    assert await page.locator("main").inner_text() == ""
    await page.evaluate("() => { location.hash = '#/health' }")
    await expect(page.locator("#key")).to_be_visible()
    assert await page.locator("main").inner_text() == ""


async def test_a_key_that_is_revoked_meanwhile_asks_for_another_and_keeps_the_view(
    page: Page, town: Town, trouble: Trouble
) -> None:
    trouble.expect("401")
    made = (await town.post("/api/keys", {"name": "passing", "role": "viewer"})).json()
    await sign_in(page, town.url, made["key"], view="/health")
    await until(page, LIVE)
    assert (await town.post(f"/api/keys/{made['id']}/revoke", {})).status_code == 200
    await expect(page.locator("#key")).to_be_visible(timeout=15_000)
    await expect(page.get_by_role("alert")).to_contain_text("expired, or was revoked or replaced")
    await expect(page.get_by_role("heading", name="Health")).to_be_attached()
    await page.fill("#key", town.keys["viewer"])
    await page.press("#key", "Enter")
    await until(page, LIVE)
    await expect(page.get_by_role("heading", name="Health")).to_be_visible()


class TestWithoutKeys:
    @pytest.fixture
    def home(self, open_town: Town) -> str:
        return open_town.url

    async def test_an_open_gateway_asks_for_no_key(self, page: Page, open_town: Town) -> None:
        await sign_in(page, open_town.url)
        await until(page, LIVE)
        assert await page.locator("input[type=password]").count() == 0
        assert await page.get_by_role("button", name="Sign out").count() == 0


async def test_the_keyboard_goes_to_every_view_and_shows_its_keys(page: Page, town: Town) -> None:
    await sign_in(page, town.url, town.keys["viewer"])
    await until(page, LIVE)
    for key, title in (("h", "Health"), ("n", "Now")):
        await page.keyboard.press("g")
        await page.keyboard.press(key)
        await expect(page.get_by_role("heading", name=title, level=1)).to_be_focused()
        await expect(page.locator(".tab[aria-current=page]")).to_have_text(title)
        assert await page.title() == f"{title} · Octoroute"
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.keyboard.press("h")
    await expect(page.get_by_role("heading", name="Now", level=1)).to_be_visible()


async def test_an_address_that_leads_nowhere_leads_to_now(page: Page, town: Town) -> None:
    await sign_in(page, town.url, town.keys["viewer"], view="/no-such-view/%E0%A4%A")
    await expect(page.get_by_role("heading", name="Now", level=1)).to_be_visible()


async def test_the_colours_can_be_switched_for_this_page_alone(page: Page, town: Town) -> None:
    await sign_in(page, town.url, town.keys["viewer"])
    ground = "() => getComputedStyle(document.documentElement).backgroundColor"
    before = await page.evaluate(ground)
    await page.get_by_role("button", name="Switch between dark and light").click()
    assert await page.evaluate(ground) != before
    assert await page.evaluate("() => localStorage.length + sessionStorage.length") == 0


@WINDOWS
@SCHEMES
async def test_the_form_fits_and_can_be_read_and_reached(page: Page, town: Town, scheme: str) -> None:
    await page.goto(f"{town.url}/dashboard")
    await expect(page.locator("#key")).to_be_visible()
    assert await overflow(page) + await contrast(page) + await focusable(page) + await dead_controls(page) == []


async def test_the_page_has_landmarks_a_language_and_one_heading(page: Page, town: Town) -> None:
    await sign_in(page, town.url, town.keys["viewer"])
    await until(page, LIVE)
    for role in ("banner", "navigation", "main"):
        await expect(page.get_by_role(role)).to_have_count(1)
    assert await page.locator("h1").count() == 1
    assert await page.evaluate("() => document.documentElement.lang") == "en"


async def test_all_that_is_loaded_weighs_less_than_three_hundred_kilobytes(page: Page, town: Town) -> None:
    loaded: set[str] = set()
    page.on("response", lambda answer: loaded.add(answer.url.partition("/dashboard/static/")[2]))
    await sign_in(page, town.url, town.keys["admin"])
    await expect(page.locator(".chart canvas")).to_have_count(3)
    for view in ("health", "now"):
        await page.evaluate("(hash) => { location.hash = hash }", f"#/{view}")
        await expect(page.locator("main h1")).to_be_visible()
    assets = read_assets()
    assert {"app.css", "js/main.js", "vendor/uPlot.iife.min.js", "js/now.js", "css/health.css"} <= loaded
    assert loaded - {""} <= set(assets)
    assert sum(len(asset.body) for asset in assets.values()) <= MOST_BYTES


# A gateway of its own, which goes away and comes back.


@pytest_asyncio.fixture(loop_scope="session")
async def passing(tmp_path: Path) -> AsyncIterator[Town]:
    async with running_town(tmp_path, keys={}) as one:
        yield one


class TestLost:
    @pytest.fixture
    def home(self, passing: Town) -> str:
        return passing.url

    async def test_a_lost_connection_is_told_and_comes_back_by_itself(
        self, page: Page, passing: Town, trouble: Trouble, tmp_path: Path
    ) -> None:
        trouble.expect("ERR_|Failed to load|request failed")
        await passing.traffic(3)
        await sign_in(page, passing.url)
        await until(page, LIVE)
        passing.gateway.signal(signal.SIGTERM)
        await passing.gateway.wait()
        await until(page, LOST)
        await expect(page.locator(".banner")).to_contain_text("Connection lost")
        await expect(page.locator(".link-state")).to_contain_text("lost")
        again = tmp_path / "again"
        again.mkdir()
        command = ("serve", "-c", str(passing.folder / "config.toml"), "--port", str(passing.gateway.port))
        async with octoroute(*command, folder=again):
            await until(page, LIVE, within_s=30.0)
            await expect(page.locator(".banner")).to_have_count(0)
            await passing.ready()
            await passing.traffic(2)
            await until(page, "() => document.querySelectorAll('.tick-line').length >= 2")
