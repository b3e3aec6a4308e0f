"""Now: its numbers are the journal's, what happens shows within seconds, and it can be read everywhere."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from octoroute_py.core.money import usd
from tests.fakes.browsing import PHONE, WIDE, contrast, dead_controls, focusable, overflow, sign_in, until
from tests.fakes.town import GONE, PAYLOADS, Ask, Town
from tests.fakes.town import town as running_town

WALL = (2560, 1440)
WINDOWS = pytest.mark.parametrize("viewport", [WIDE, PHONE, WALL], ids=["wide", "phone", "wall"])
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
DRAWN = "() => document.querySelectorAll('.tick-line').length > 3 && document.querySelector('.u-wrap') !== null"
STAT = "(name) => document.querySelector(`[data-stat='${name}'] .value`)?.title"
NODE = "(name) => [...document.querySelectorAll('.map-endpoint')].find((each) => each.innerText.includes(name))"
HELLO = Ask({"model": "deep", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8})
OPEN_WITHIN_S = 3.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A town of this file's own: its journal holds these tests' requests alone."""
    async with running_town(tmp_path_factory.mktemp("now")) as one:
        await one.traffic(30)
        yield one


@pytest.fixture
def home(own: Town) -> str:
    return own.url


async def opened(page: Page, town: Town, *, role: str = "viewer") -> None:
    await sign_in(page, town.url, town.keys[role])
    await until(page, DRAWN)


def journal(path: Path) -> tuple[int, int, int]:
    """Requests of clients, what everything cost and what answers would have cost at deep, in millionths of a USD."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        row = database.execute(
            "SELECT COUNT(*) FILTER (WHERE surface != 'judge'), SUM(cost_uusd), SUM(baseline_uusd) FROM journal "
            "WHERE started_ms >= unixepoch('now', 'start of day') * 1000"
        ).fetchone()
    database.close()
    return int(row[0]), int(row[1]), int(row[2])


async def test_the_share_of_failures_is_that_of_the_journal(page: Page, own: Town) -> None:
    with sqlite3.connect(f"file:{own.journal}?mode=ro", uri=True) as database:
        failed, whole = database.execute(
            "SELECT COUNT(*) FILTER (WHERE error_code IS NOT NULL AND status != 499), COUNT(*) FROM journal "
            "WHERE surface != 'judge'"
        ).fetchone()
    database.close()
    await opened(page, own)
    told = await page.evaluate(STAT, "Failed")
    assert told == f"{failed} of {whole} requests of the last five minutes"
    assert failed > 0


async def test_the_numbers_are_those_of_the_journal_and_of_analytics(page: Page, own: Town) -> None:
    await own.traffic(10)
    requests, cost, baseline = journal(own.journal)
    saved = baseline - cost
    await opened(page, own)
    said = f"${usd(cost):.6f}"
    await until(page, f"(said) => ({STAT})('Spent today') === said", said, within_s=15.0)
    assert await page.evaluate(STAT, "Saved today") == f"{'−' if saved < 0 else ''}${abs(usd(saved)):.6f}"
    await expect(page.locator("[data-stat='Spent today'] .sub")).to_have_text(f"{requests} requests, UTC day")
    assert await page.evaluate(STAT, "Requests / s") == f"{requests} requests since the start"
    told = await own.look("/api/analytics/savings")
    assert said == f"${told['totalCost']:.6f}"


async def test_a_request_shows_in_the_latest_decisions_and_leads_to_its_receipt(page: Page, own: Town) -> None:
    await opened(page, own)
    sent = await own.send(HELLO)
    request_id = sent.headers["x-request-id"]
    line = page.locator(f".tick-line[href='#/decisions/{request_id}']")
    await expect(line).to_be_visible(timeout=OPEN_WITHIN_S * 1000)
    await expect(line).to_contain_text("deep")
    await expect(line).to_contain_text("explicit tier")


async def test_a_breaker_that_opens_shows_within_three_seconds_in_a_word(page: Page, own: Town) -> None:
    await opened(page, own)
    await own.post("/admin/circuit-breaker/reset", {}, role="admin")
    await until(page, f"(name) => ({NODE})(name)?.dataset.state === 'closed'", GONE)
    ask = Ask({"model": GONE, "messages": [{"role": "user", "content": "hello"}]}, good=False)
    for _ in range(8):
        await own.send(ask)
    states = {
        each["id"]: each["state"] for each in (await own.look("/admin/circuit-breaker", role="admin"))["endpoints"]
    }
    assert any(state == "open" for name, state in states.items() if GONE in name)
    await until(page, f"(name) => ({NODE})(name)?.dataset.state === 'open'", GONE, within_s=OPEN_WITHIN_S)
    node = page.locator(".map-endpoint", has_text=GONE)
    await expect(node.locator(".map-word")).to_have_text("open")
    assert "open" in (await node.get_attribute("aria-label") or "")


async def test_an_endpoint_tells_its_numbers_when_pointed_at_and_leads_to_its_decisions(page: Page, own: Town) -> None:
    await opened(page, own)
    node = page.locator(".map-endpoint", has_text="sim-deep").first
    await node.hover()
    await expect(page.locator(".map-tip")).to_contain_text("Requests, 5 min")
    await page.mouse.move(5, 5)
    await expect(page.locator(".map-tip")).to_be_hidden()
    await node.focus()
    await expect(page.locator(".map-tip")).to_contain_text("Breaker")
    assert "endpoint=deep%2F" in (await node.get_attribute("href") or "")


async def test_lines_join_the_nodes_and_what_flows_stands_still_where_motion_is_not_wanted(
    page: Page, own: Town
) -> None:
    await page.emulate_media(reduced_motion="reduce")
    await opened(page, own)
    joined = await page.evaluate(
        "() => [document.querySelectorAll('.edge').length, document.querySelectorAll('.map-endpoint').length, "
        "[...document.querySelectorAll('.edge')].every((each) => each.getAttribute('d')?.startsWith('M')), "
        "document.getAnimations().filter((each) => each.playState === 'running').length]"
    )
    assert joined[0] == joined[1] + 3
    assert joined[2:] == [True, 0]
    await page.emulate_media(reduced_motion="no-preference")
    await own.traffic(4)
    await until(page, "() => document.getAnimations().some((each) => each.playState === 'running')")


async def test_the_crosshair_tells_the_values_of_all_charts_at_one_moment(page: Page, own: Town) -> None:
    await opened(page, own)
    box = await page.locator(".chart .u-over").first.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2)
    await until(
        page, "() => [...document.querySelectorAll('.chart-when')].every((each) => /^\\d\\d:/.test(each.textContent))"
    )


@WINDOWS
@SCHEMES
async def test_it_fits_can_be_read_and_reached_and_nothing_is_dead(page: Page, own: Town, scheme: str) -> None:
    await opened(page, own)
    async with own.busy(per_s=4.0):
        assert await overflow(page) == []
        assert await contrast(page) == []
    last = await own.send(HELLO)
    await expect(page.locator(f".tick-line[href='#/decisions/{last.headers['x-request-id']}']")).to_be_visible()
    assert await focusable(page) == []
    assert await dead_controls(page) == []


class TestQuiet:
    """A gateway that nobody has asked anything yet."""

    @pytest.fixture
    def home(self, open_town: Town) -> str:
        return open_town.url

    async def test_it_says_how_to_begin(self, page: Page, open_town: Town) -> None:
        await sign_in(page, open_town.url)
        hint = page.locator(".now-empty")
        await expect(hint).to_contain_text("No request yet")
        await expect(hint).to_contain_text(f"curl {open_town.url}/v1/chat/completions")
        assert await contrast(page) == []


class TestHostile:
    """Names that want to be run."""

    @pytest_asyncio.fixture(loop_scope="session")
    async def evil(self, tmp_path: Path) -> AsyncIterator[Town]:
        more = "".join(
            f"[[models.fast]]\nname = '''{name}'''\nid = 'evil/{number}'\nbase_url = 'http://127.0.0.1:9/v1'\n"
            f"priority = 0\n"
            for number, name in enumerate(PAYLOADS)
        )
        rules = f"[[routing.rules]]\nname = '''{PAYLOADS[0]}'''\ntier = 'deep'\nwhen.pattern = 'payload'\n"
        async with running_town(tmp_path, more=more + rules) as one:
            yield one

    @pytest.fixture
    def home(self, evil: Town) -> str:
        return evil.url

    async def test_names_are_shown_as_text(self, page: Page, evil: Town) -> None:
        ask = {"model": "auto", "messages": [{"role": "user", "content": "a payload"}], "max_tokens": 4}
        await sign_in(page, evil.url, evil.keys["viewer"])
        await evil.send(Ask(ask))
        await evil.send(Ask({**ask, "model": PAYLOADS[1]}))
        for name in PAYLOADS:
            await expect(page.locator(".map-endpoint", has_text=name)).to_have_count(1)
        await expect(page.locator(".tick-line", has_text=PAYLOADS[0]).first).to_be_visible()
        assert await page.locator("main img, main script").count() == 0
        await page.evaluate("() => { location.hash = '#/health' }")
        for name in PAYLOADS:
            await expect(page.locator(".endpoint-row", has_text=name)).to_have_count(1)
        assert await page.evaluate("() => document.querySelectorAll('main img, main script').length") == 0
