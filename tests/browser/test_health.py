"""Health: what keeps the gateway, who is out and why, and what an admin's buttons do, at once and announced."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from tests.fakes.browsing import PHONE, WIDE, Trouble, contrast, dead_controls, focusable, overflow, sign_in, until
from tests.fakes.town import GONE, Ask, Town
from tests.fakes.town import town as running_town

WALL = (2560, 1440)
WINDOWS = pytest.mark.parametrize("viewport", [WIDE, PHONE, WALL], ids=["wide", "phone", "wall"])
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
DRAWN = "() => document.querySelectorAll('.endpoint-row').length > 4"
ASK_GONE = Ask({"model": GONE, "messages": [{"role": "user", "content": "hello"}]}, good=False)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A town of this file's own: what is drained or broken here troubles nobody else."""
    async with running_town(tmp_path_factory.mktemp("health")) as one:
        await one.traffic(12)
        yield one


@pytest.fixture
def home(own: Town) -> str:
    return own.url


async def opened(page: Page, town: Town, role: str) -> None:
    await sign_in(page, town.url, town.keys[role], view="/health")
    await until(page, DRAWN)


def row(page: Page, name: str) -> Locator:
    return page.locator(".endpoint-row", has_text=name)


async def test_it_says_what_the_gateway_says_of_itself(page: Page, own: Town) -> None:
    await opened(page, own, "viewer")
    await expect(page.locator(".health-verdict")).to_have_text("Ready")
    info = await own.look("/info")
    facts = await page.locator(".health-facts").first.inner_text()
    assert info["version"] in facts
    health = await own.look("/health/detailed")
    assert str(health["generation"]) in facts
    rows = await page.locator(".endpoint-row .mono").all_inner_texts()
    assert sorted(rows) == sorted(each["id"] for each in health["endpoints"])


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_who_may_not_act_sees_no_button_to_act(page: Page, own: Town, role: str) -> None:
    await opened(page, own, role)
    assert await page.locator("main button").count() == 0
    await expect(page.get_by_role("heading", name="Latest changes")).to_have_count(0)


async def test_an_open_breaker_is_reset_by_hand_and_the_next_request_goes_there(page: Page, own: Town) -> None:
    for _ in range(8):
        await own.send(ASK_GONE)
    await opened(page, own, "admin")
    await expect(row(page, GONE)).to_have_attribute("data-state", re.compile("open"))
    await expect(row(page, GONE).locator(".endpoint-help")).to_contain_text(
        re.compile("tried again by itself|server runs")
    )
    await row(page, GONE).get_by_role("button", name="Reset").click()
    dialog = page.get_by_role("dialog", name="Reset this breaker?")
    await expect(dialog).to_contain_text(GONE)
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    assert await breaker(own) in ("open", "half_open")
    await row(page, GONE).get_by_role("button", name="Reset").click()
    await dialog.get_by_role("button", name="Reset").click()
    await expect(page.locator(".health-told")).to_contain_text("1 circuit breaker reset")
    assert await breaker(own) == "closed"
    await expect(row(page, GONE)).to_have_attribute("data-state", "closed")
    refused = await own.send(ASK_GONE)
    assert refused.headers["x-octoroute-attempts"] != "0"


async def test_a_drained_endpoint_gets_nothing_until_it_is_undrained(page: Page, own: Town) -> None:
    ask = Ask({"model": "sim-balanced", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4})
    assert (await own.send(ask)).status_code == 200
    await opened(page, own, "admin")
    await row(page, "sim-balanced").get_by_role("button", name="Drain").click()
    await page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    await expect(page.locator(".health-told")).to_contain_text("takes no new requests")
    assert (await own.send(ask)).status_code == 503
    await expect(row(page, "sim-balanced").locator(".state-word")).to_have_text("drained")
    await expect(row(page, "sim-balanced").locator(".endpoint-help")).to_contain_text("Undrain lets it back")
    await row(page, "sim-balanced").get_by_role("button", name="Undrain").click()
    await expect(page.locator(".health-told")).to_contain_text("takes requests")
    assert (await own.send(ask)).status_code == 200
    await expect(row(page, "sim-balanced").locator(".state-word")).to_have_text("closed")


async def test_the_gateway_is_drained_and_undrained_and_the_page_goes_on_telling(page: Page, own: Town) -> None:
    await opened(page, own, "admin")
    await page.get_by_role("button", name="Drain the gateway").click()
    await page.get_by_role("dialog").get_by_role("button", name="Drain the gateway").click()
    await expect(page.locator(".health-verdict")).to_have_text("Draining")
    await expect(page.locator(".banner")).to_contain_text("takes no new requests")
    ask = Ask({"model": "fast", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4})
    assert (await own.send(ask)).status_code == 503
    await page.get_by_role("button", name="Undrain the gateway").click()
    await expect(page.locator(".health-verdict")).to_have_text("Ready")
    assert (await own.send(ask)).status_code == 200


async def test_what_does_not_work_is_told_in_the_gateways_words(page: Page, own: Town, trouble: Trouble) -> None:
    trouble.expect("404")
    await opened(page, own, "admin")

    async def other(route: object) -> None:
        await route.continue_(post_data='{"endpoint": "no/such"}')  # type: ignore[attr-defined]

    await page.route("**/admin/circuit-breaker/reset", other)
    await page.get_by_role("button", name="Reset all breakers").click()
    await page.get_by_role("dialog").get_by_role("button", name="Reset all").click()
    await expect(page.locator(".health-told")).to_have_text("That did not work: There is no such endpoint.")


async def test_changes_over_the_api_are_told_with_who_made_them(page: Page, own: Town) -> None:
    made = await own.post("/api/keys", {"name": "<b>temp</b>", "role": "viewer"})
    assert made.status_code in (200, 201)
    await opened(page, own, "admin")
    await expect(page.locator(".changes li").first).to_contain_text("by admin")


async def test_a_tier_that_is_out_is_told_though_the_gateway_is_ready(page: Page, own: Town) -> None:
    ids = [each["id"] for each in (await own.look("/health/detailed"))["endpoints"] if each["tier"] == "deep"]
    await opened(page, own, "viewer")
    reasons = page.locator(".health-reasons")
    await expect(reasons).not_to_contain_text("No endpoint of deep")
    for each in ids:
        await own.post("/admin/drain", {"endpoint": each})
    try:
        await expect(reasons).to_contain_text("No endpoint of deep can answer")
        await expect(page.locator(".health-verdict")).to_have_text("Ready")
    finally:
        for each in ids:
            await own.post("/admin/undrain", {"endpoint": each})
    await expect(reasons).not_to_contain_text("No endpoint of deep")


async def test_kept_settings_are_told_by_their_names(page: Page, own: Town) -> None:
    for value in (0.07, None):
        await own.put("/admin/config", {"max_quality_loss": value, "persist": True})
    await opened(page, own, "admin")
    await expect(page.locator(".changes li").first).to_contain_text("max_quality_loss")


@WINDOWS
@SCHEMES
async def test_it_fits_can_be_read_and_reached_and_nothing_is_dead(page: Page, own: Town, scheme: str) -> None:
    await opened(page, own, "admin")
    await expect(page.locator(".changes, .health-changes .empty").first).to_be_visible()
    assert await overflow(page) + await contrast(page) + await focusable(page) + await dead_controls(page) == []
    await page.get_by_role("button", name="Reset all breakers").click()
    assert await overflow(page) + await contrast(page) + await focusable(page) == []


async def breaker(town: Town) -> str:
    """The state of the breaker of the endpoint that is gone."""
    told = await town.look("/admin/circuit-breaker", role="admin")
    return next(str(each["state"]) for each in told["endpoints"] if GONE in each["id"])
