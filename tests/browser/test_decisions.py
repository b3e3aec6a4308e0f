"""Decisions: the list of what was asked, its filters, and one decision explained, held against journal and API."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.conftest import Scheme
from tests.fakes.browsing import PHONE, WIDE, Trouble, contrast, dead_controls, focusable, overflow, sign_in, until
from tests.fakes.town import PAYLOADS, Ask, Town
from tests.fakes.town import town as running_town

WINDOWS = pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
ROW = "a.row"
IDS = "() => [...document.querySelectorAll('a.row')].map((each) => each.dataset.id)"
LIVE = "() => document.querySelector('.link-state')?.dataset.status === 'live'"

Json = dict[str, Any]


def chat(text: str, **hints: str) -> Ask:
    """A request of the gateway's own choosing; `hints` are headers behind `x-octoroute-`."""
    headers = {f"x-octoroute-{name.replace('_', '-')}": value for name, value in hints.items()}
    return Ask({"model": "auto", "messages": [{"role": "user", "content": text}], "max_tokens": 16}, headers)


async def opened(page: Page, town: Town, path: str = "", *, role: str = "viewer") -> None:
    """Sign in at the decisions, and wait for the first rows."""
    await sign_in(page, town.url, town.keys[role] if town.keys else None, view=f"/decisions{path}")
    await page.locator(ROW).first.wait_for(state="attached")


async def journal(town: Town, query: str = "") -> list[Json]:
    """Requests as the API tells them, newest first."""
    page: Json = await town.look(f"/api/metrics/requests?limit=50{query}")
    rows: list[Json] = page["requests"]
    return rows


def kept(town: Town, request_id: str) -> Mapping[str, Any]:
    """A request's row in the database itself."""
    with sqlite3.connect(f"file:{town.journal}?mode=ro", uri=True) as connection:
        connection.row_factory = sqlite3.Row
        row = connection.execute("SELECT * FROM journal WHERE request_id = ?", (request_id,)).fetchone()
    connection.close()
    return dict(row)


async def figures(page: Page) -> dict[str, str]:
    """The numbers of a receipt: names and the exact values behind them."""
    found: dict[str, str] = await page.evaluate(
        "() => Object.fromEntries([...document.querySelectorAll('.figure')].map((each) => {"
        " const value = each.querySelector('dd');"
        " return [each.querySelector('dt').firstChild.data, value.title || value.textContent]; }))"
    )
    return found


async def shown_json(page: Page) -> Json:
    """The receipt as the page has it."""
    text = await page.locator(".receipt pre.json").text_content()
    told: Json = json.loads(text or "")
    return told


# The list


async def test_the_list_shows_the_journals_latest_requests_in_its_order(page: Page, town: Town) -> None:
    await opened(page, town)
    rows = await journal(town)
    assert await page.evaluate(IDS) == [row["requestId"] for row in rows]
    for row in rows[:20]:
        cells = page.locator(f'{ROW}[data-id="{row["requestId"]}"]')
        assert await cells.locator(".tier").inner_text() == (row["tier"] or "none")
        assert await cells.locator(".endpoint").inner_text() == (row["modelId"] or "–")
        assert (await cells.locator(".status").inner_text()).startswith(str(row["httpStatus"]))
        if row["error"]:
            assert row["error"].replace("_", " ") in await cells.locator(".why").inner_text()
        assert await cells.locator(".cost").get_attribute("title") == f"${row['cost']:.6f}"


async def test_a_request_appears_by_itself_when_it_has_ended(page: Page, town: Town) -> None:
    await opened(page, town)
    await until(page, LIVE)
    await page.mouse.move(5, 5)
    answer = await town.send(chat("a new one appears"))
    await expect(page.locator(ROW).first).to_have_attribute("data-id", answer.headers["x-request-id"], timeout=4000)


async def test_nothing_moves_under_a_reader_until_new_ones_are_asked_for(page: Page, town: Town) -> None:
    await opened(page, town)
    await until(page, LIVE)
    before = await page.evaluate(IDS)
    await page.locator(ROW).nth(3).click()
    await page.locator(".receipt").wait_for()
    sent = [(await town.send(chat(f"while one reads {number}"))).headers["x-request-id"] for number in range(3)]
    button = page.get_by_role("button", name="3 new")
    await button.wait_for(timeout=5000)
    assert await page.evaluate(IDS) == before
    await button.click()
    assert (await page.evaluate(IDS))[:3] == sent[::-1]
    await expect(button).to_be_hidden()


async def test_filters_stand_in_the_address_and_show_what_the_journal_gives(page: Page, town: Town) -> None:
    await opened(page, town)
    await page.get_by_label("Tier").select_option("deep")
    await page.get_by_label("Status").select_option("success")
    await until(page, "() => location.hash === '#/decisions?tier=deep&status=success'")
    wanted = [row["requestId"] for row in await journal(town, "&tier=deep&status=success")]
    assert wanted
    await until(
        page,
        "(ids) => JSON.stringify([...document.querySelectorAll('a.row')].map((a) => a.dataset.id)) === ids",
        json.dumps(wanted, separators=(",", ":")),
    )
    await page.get_by_role("button", name="Clear filters").click()
    await until(page, "() => location.hash === '#/decisions'")
    await until(page, "(count) => document.querySelectorAll('a.row').length > count", len(wanted))


@pytest.mark.parametrize(
    "query",
    [
        "strategy=neural",
        "reason=explicit_tier",
        "status=failed",
        "status=4xx",
        "endpoint=fast%2Fsim-fast%231",
        "agentType=translator",
        "tier=fast&strategy=rule",
        "workspace=default",
    ],
)
async def test_an_address_with_filters_can_be_shared(page: Page, town: Town, query: str) -> None:
    wanted = [row["requestId"] for row in await journal(town, f"&{query}")]
    assert wanted
    await opened(page, town, f"?{query}")
    assert await page.evaluate(IDS) == wanted


async def test_a_request_is_found_by_how_its_id_begins(page: Page, town: Town) -> None:
    wanted = (await journal(town))[5]["requestId"]
    await opened(page, town)
    await page.keyboard.press("/")
    field = page.get_by_role("searchbox", name="Request id begins with")
    await expect(field).to_be_focused()
    await field.fill(wanted[:-3])
    await until(
        page,
        "(id) => { const all = [...document.querySelectorAll('a.row')];"
        " return all.length > 0 && all.every((each) => each.dataset.id.startsWith(id)); }",
        wanted[:-3],
    )
    assert wanted in await page.evaluate(IDS)


async def test_a_filter_without_results_says_what_to_do(page: Page, town: Town) -> None:
    await sign_in(page, town.url, town.keys["viewer"], view="/decisions?agentType=nobody-at-all")
    await expect(page.locator(".listing .empty")).to_contain_text("No request matches these filters")
    await page.locator(".listing .empty").get_by_role("button", name="Clear filters").click()
    await page.locator(ROW).first.wait_for()


async def test_what_comes_live_obeys_the_filters(page: Page, town: Town) -> None:
    await opened(page, town, "?agentType=translator")
    await until(page, LIVE)
    await page.mouse.move(5, 5)
    await town.send(chat("not of this agent"))
    wanted = (await town.send(chat("of this agent", agent_type="translator"))).headers["x-request-id"]
    await expect(page.locator(ROW).first).to_have_attribute("data-id", wanted, timeout=4000)
    told = {row["requestId"]: row["agentType"] for row in await journal(town)}
    assert {told.get(each, "translator") for each in await page.evaluate(IDS)} == {"translator"}


async def test_older_pages_come_from_the_journal_each_request_once(page: Page, town: Town) -> None:
    await town.traffic(30)
    await opened(page, town)
    await page.get_by_role("button", name="Show older").click()
    await until(page, "() => document.querySelectorAll('a.row').length > 50")
    ids = await page.evaluate(IDS)
    with sqlite3.connect(f"file:{town.journal}?mode=ro", uri=True) as connection:
        rows = connection.execute(
            "SELECT request_id FROM journal WHERE surface != 'judge' ORDER BY started_ms DESC, id DESC LIMIT ?",
            (len(ids),),
        ).fetchall()
    connection.close()
    assert ids == [row[0] for row in rows]


class TestWithoutRequests:
    @pytest_asyncio.fixture(loop_scope="session")
    async def new_town(self, tmp_path: Path) -> AsyncIterator[Town]:
        async with running_town(tmp_path, keys={}) as one:
            yield one

    @pytest.fixture
    def home(self, new_town: Town) -> str:
        return new_town.url

    @WINDOWS
    async def test_an_empty_list_says_how_to_fill_it(self, page: Page, new_town: Town) -> None:
        await sign_in(page, new_town.url, view="/decisions")
        await expect(page.locator(".listing .empty")).to_contain_text("curl ")
        assert await overflow(page) + await contrast(page) + await focusable(page) == []


# One decision


@pytest.mark.parametrize(
    "query", ["strategy=neural", "reason=rule_matched", "reason=llm_judged", "tier=deep&status=success"]
)
async def test_a_receipts_numbers_are_the_journals(page: Page, town: Town, query: str) -> None:
    row = (await journal(town, f"&{query}"))[0]
    await opened(page, town, f"/{row['requestId']}")
    await page.locator(".receipt").wait_for()
    raw, told = kept(town, row["requestId"]), await figures(page)
    assert float(told["Duration"].split()[0]) == raw["duration_us"] / 1000
    assert float(told["Choosing"].split()[0]) == raw["routing_us"] / 1000
    assert float(told["Cost"].split()[0]) == raw["cost_uusd"] / 1e6
    assert float(told["At deep"].split()[0]) == raw["baseline_uusd"] / 1e6
    assert float(told["Saved"].split()[0]) == pytest.approx((raw["baseline_uusd"] - raw["cost_uusd"]) / 1e6, abs=1e-9)
    assert told["Tokens"] == f"{raw['prompt_tokens']} → {raw['completion_tokens']}"
    if raw["first_event_us"] is not None:
        assert float(told["First event"].split()[0]) == raw["first_event_us"] / 1000


async def test_a_receipt_says_what_explain_had_said(page: Page, town: Town) -> None:
    ask = chat("Why do tides come twice a day, and what has the moon to do with it?")
    said = (await town.post("/v1/routing/explain", ask.body)).json()
    sent = (await town.send(ask)).headers
    await opened(page, town, f"/{sent['x-request-id']}")
    await page.locator(".receipt").wait_for()
    told = await shown_json(page)
    for field in (
        "tier",
        "strategy",
        "reason",
        "rule",
        "confidence",
        "scorer",
        "candidates",
        "unfit",
        "facts",
        "models",
    ):
        assert told[field] == said[field], field
    assert told["answered_tier"] == sent["x-octoroute-tier"]
    await expect(page.locator(".sentence strong")).to_have_text(said["tier"])
    score, choice = said["scorer"]["score"], said["scorer"]["choice"]
    for tier, chance, risk in zip(
        ("fast", "balanced", "deep"), ("p_fast", "p_balanced", "p_deep"), choice["risks"], strict=True
    ):
        numbers = page.locator(f'.scorer-row[data-tier="{tier}"] .scorer-number')
        assert float(await numbers.nth(0).get_attribute("title") or "") == pytest.approx(score[chance], abs=1e-6)
        assert float(await numbers.nth(1).get_attribute("title") or "") == pytest.approx(risk, abs=1e-6)
    assert await page.locator(".rule").count() == len(said["rules"])


async def test_a_request_that_was_tried_twice_shows_both_on_its_timeline(page: Page, town: Town) -> None:
    row = next(each for each in await journal(town, "&status=5xx") if each["attempts"] > 0)
    await opened(page, town, f"/{row['requestId']}")
    attempts = page.locator(".timeline-row[data-attempt]")
    await attempts.first.wait_for()
    details = row["attemptDetails"]
    assert await attempts.count() == len(details)
    for number, detail in enumerate(details):
        await expect(attempts.nth(number)).to_contain_text(detail["endpoint"])
        await expect(attempts.nth(number).locator(".timeline-result")).to_contain_text(str(detail["status"] or ""))
    await expect(page.locator(".sentence")).to_contain_text("Failed at")


async def test_an_id_that_nobody_knows_is_told_so(page: Page, town: Town, trouble: Trouble) -> None:
    trouble.expect("404")
    await opened(page, town, "/no-such-request-1")
    await expect(page.locator(".reading .error")).to_contain_text("Nothing is known of this request")
    await expect(page.locator(".reading .error")).to_contain_text("no-such-request-1")


async def test_requests_of_one_id_can_all_be_read(page: Page, town: Town) -> None:
    for text in ("the first of two", "the second of two, which is longer"):
        await town.send(chat(text)._replace(headers={"x-request-id": "twice-the-same-1"}))
    await opened(page, town, "/twice-the-same-1")
    links = page.locator(".namesakes a")
    await expect(links).to_have_count(2)
    newest = (await shown_json(page))["request"]["entry"]
    await links.nth(1).click()
    await until(
        page,
        '(entry) => !document.querySelector(\'.receipt pre.json\')?.textContent.includes(`"entry": "${entry}"`)',
        newest,
    )
    assert (await shown_json(page))["request"]["at"] <= (await journal(town))[0]["timestamp"]


async def test_copying_the_id_says_that_it_was_done(page: Page, town: Town) -> None:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=town.url)
    wanted = (await journal(town))[0]["requestId"]
    await opened(page, town, f"/{wanted}")
    await page.get_by_role("button", name="Copy id").click()
    await expect(page.locator("#announce")).to_have_text("Copied the request id")
    assert await page.evaluate("() => navigator.clipboard.readText()") == wanted


async def test_the_keyboard_walks_the_list_opens_and_closes(page: Page, town: Town) -> None:
    await opened(page, town)
    await page.locator(ROW).first.focus()
    for _ in range(2):
        await page.keyboard.press("ArrowDown")
    wanted = (await page.evaluate(IDS))[2]
    await page.keyboard.press("Enter")
    await page.locator(".receipt").wait_for()
    assert await page.evaluate("() => location.hash") == f"#/decisions/{wanted}"
    await page.keyboard.press("Escape")
    await expect(page.locator(".receipt")).to_have_count(0)
    await expect(page.locator(f'{ROW}[data-id="{wanted}"]')).to_be_focused()


async def test_a_journal_that_fails_is_told_and_can_be_asked_again(page: Page, town: Town, trouble: Trouble) -> None:
    trouble.expect("503")
    fails = True

    async def answer(route: Any) -> None:
        if fails:
            await route.fulfill(status=503, json={"error": "The database is busy.", "code": "busy"})
        else:
            await route.continue_()

    await page.route("**/api/metrics/requests?*", answer)
    await sign_in(page, town.url, town.keys["viewer"], view="/decisions?agentType=translator")
    await expect(page.locator(".listing .error")).to_contain_text("The database is busy.")
    fails = False
    await page.get_by_role("button", name="Try again").click()
    await page.locator(ROW).first.wait_for()
    await expect(page.locator(".listing .error")).to_have_count(0)


# What it looks like


@WINDOWS
@SCHEMES
async def test_list_and_receipts_fit_and_can_be_read_and_reached(
    page: Page, town: Town, viewport: tuple[int, int], scheme: Scheme
) -> None:
    await opened(page, town)
    assert await overflow(page) + await contrast(page) == []
    for query in ("&strategy=neural", "&status=5xx", "&status=4xx", "&reason=rule_matched"):
        row = (await journal(town, query))[0]
        await page.evaluate("(hash) => { location.hash = hash }", f"#/decisions/{row['requestId']}")
        await page.locator(".receipt").wait_for()
        for fold in await page.locator(".receipt details").all():
            await fold.evaluate("(node) => { node.open = true }")
        assert await overflow(page) + await contrast(page) == [], query


@WINDOWS
async def test_everything_can_be_reached_and_does_something(page: Page, town: Town, viewport: tuple[int, int]) -> None:
    row = (await journal(town, "&strategy=neural"))[0]
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=town.url)
    await opened(page, town, f"/{row['requestId']}")
    await page.locator(".receipt").wait_for()
    assert await focusable(page) == []
    assert await dead_controls(page) == []


async def test_on_a_phone_list_and_receipt_take_turns(page: Page, town: Town) -> None:
    await page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    await opened(page, town)
    await page.locator(ROW).nth(2).click()
    await page.locator(".receipt").wait_for()
    await expect(page.locator(".rows")).to_be_hidden()
    await page.get_by_role("link", name="All decisions").click()
    await expect(page.locator(".rows")).to_be_visible()


# Names that want to be run, in a town of their own


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hostile(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    rules = "".join(
        f'[[routing.rules]]\nname = {json.dumps(name)}\npriority = {9 - number}\ntier = "fast"\n'
        f'when = {{ header = {{ x-which = "{number}" }} }}\n'
        for number, name in enumerate(PAYLOADS)
    )
    async with running_town(tmp_path_factory.mktemp("hostile"), keys={}, more=rules) as one:
        for number, name in enumerate(PAYLOADS):
            headers = {"x-which": str(number), "x-octoroute-agent-type": name, "x-octoroute-tag": name}
            answer = await one.send(chat("hello")._replace(headers=headers))
            assert answer.status_code == 200, answer.text
        yield one


class TestHostileNames:
    @pytest.fixture
    def home(self, hostile: Town) -> str:
        return hostile.url

    @WINDOWS
    async def test_they_are_shown_as_text_and_nothing_runs(self, page: Page, hostile: Town) -> None:
        await sign_in(page, hostile.url, view="/decisions")
        await expect(page.locator(ROW)).to_have_count(len(PAYLOADS))
        for number, row in enumerate(await journal(hostile)):
            name = PAYLOADS[len(PAYLOADS) - 1 - number]
            assert row["rule"] == name
            await expect(page.locator(ROW).nth(number).locator(".why")).to_contain_text(name)
            await page.evaluate("(hash) => { location.hash = hash }", f"#/decisions/{row['requestId']}")
            await expect(page.locator(".sentence em")).to_have_text(name)
            await expect(page.locator(".receipt-tags")).to_contain_text(name)
            await page.evaluate("() => { location.hash = '#/decisions' }")
            await expect(page.locator(".receipt")).to_have_count(0)
        assert await page.locator("main img, main script, main b, main iframe").count() == 0
        assert await overflow(page) == []

    async def test_an_address_cannot_run_either(self, page: Page, hostile: Town, trouble: Trouble) -> None:
        trouble.expect("404|400")
        for name in PAYLOADS:
            await page.goto("about:blank")
            await sign_in(page, hostile.url, view=f"/decisions/{quote(name, safe='')}?agentType={quote(name, safe='')}")
            await page.locator(".reading .error").wait_for()
            await expect(page.locator(".reading .error code")).to_have_text(name)
        assert await page.locator("main img, main script").count() == 0


# A receipt of the journal alone


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def forgetful(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    async with running_town(tmp_path_factory.mktemp("forgetful"), keys={}) as one:
        yield one


class TestForgotten:
    @pytest.fixture
    def home(self, forgetful: Town) -> str:
        return forgetful.url

    async def test_what_is_no_longer_known_is_told(self, page: Page, forgetful: Town) -> None:
        request_id = (await forgetful.send(chat("soon forgotten"))).headers["x-request-id"]
        for number in range(12):
            path = forgetful.folder / "config.toml"
            text = await asyncio.to_thread(path.read_text, encoding="utf-8")
            await asyncio.to_thread(path.write_text, f"{text}# {number}\n", encoding="utf-8")
            assert (await forgetful.post("/admin/reload", {})).status_code == 200
        await forgetful.send(chat("of a newer configuration"))
        assert (await forgetful.look(f"/api/decisions/{request_id}"))["complete"] is False
        await opened(page, forgetful, f"/{request_id}")
        await expect(page.locator(".receipt-gaps")).to_contain_text("Only what came of it is known")
        await expect(page.locator(".scorer-grid")).to_have_count(0)
        assert await overflow(page) + await contrast(page) == []
