"""The playground: what it foretells is what happens, and what it shows is what the API gives."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, Request, expect

from tests.browser.conftest import Scheme
from tests.fakes import bodies, turns
from tests.fakes.browsing import PHONE, WIDE, Trouble, contrast, dead_controls, focusable, overflow, sign_in, until
from tests.fakes.script import Gate
from tests.fakes.town import PAYLOADS, Town
from tests.fakes.town import town as running_town
from tests.fakes.upstream import FakeUpstream

WINDOWS = pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
PROMPTS = (
    "hello there",
    "What is the capital of Peru?",
    "Prove step by step that the square root of two is irrational.",
    "Write a Python function that merges two sorted lists, with tests.",
    "Compare event sourcing with plain tables for a bank, at length, with all that speaks for and against them.",
)
SETTLED = (
    "() => document.querySelector('.prediction .sentence') && !document.querySelector('.prediction-body[data-stale]')"
)
ANSWERED = (
    "() => document.querySelector('.answer-end a')"
    " && document.querySelector('.composer-buttons [type=submit]').textContent === 'Send'"
)

Json = dict[str, Any]


async def opened(page: Page, town: Town, *, role: str = "operator") -> None:
    """Sign in at the playground."""
    await sign_in(page, town.url, town.keys[role] if town.keys else None, view="/playground")
    await page.get_by_role("heading", name="Playground", level=1).wait_for()


async def typed(page: Page, prompt: str) -> None:
    """Type a prompt and wait for what is foretold."""
    await page.get_by_label("Prompt", exact=True).fill(prompt)
    await until(page, SETTLED)


async def sent(page: Page) -> None:
    """Send it and wait until it has been answered."""
    await page.get_by_role("button", name="Send").click()
    await until(page, ANSWERED)


def body_of(prompt: str, **more: object) -> Json:
    return {"model": "auto", "messages": [{"role": "user", "content": prompt}], **more}


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_what_is_foretold_is_what_explain_says_and_what_happens(page: Page, town: Town, prompt: str) -> None:
    said = (await town.post("/v1/routing/explain", body_of(prompt, stream=True))).json()
    await opened(page, town)
    await typed(page, prompt)
    if said["next_step"] == "judge":
        await page.get_by_role("button", name="Ask the judge").click()
        await until(page, "() => !document.querySelector('.judge-ask')")
        said = (await town.post("/v1/routing/explain?judge=ask", body_of(prompt, stream=True))).json()
    await expect(page.locator(".prediction .sentence strong")).to_have_text(said["tier"])
    await sent(page)
    await expect(page.locator(".answer-facts .badge")).to_have_text(said["tier"])
    await expect(page.locator(".answer-facts")).to_contain_text("as predicted")
    await expect(page.locator(".answer-facts")).to_contain_text(said["strategy"])


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "whole"])
async def test_the_answer_is_what_the_api_gives(page: Page, town: Town, streamed: bool) -> None:
    prompt = "What is the capital of Peru, and since when?"
    wanted = (await town.post("/v1/chat/completions", body_of(prompt))).json()["choices"][0]["message"]["content"]
    await opened(page, town)
    await page.get_by_label("Stream").set_checked(streamed)
    await typed(page, prompt)
    await sent(page)
    assert await page.locator(".answer-text").last.text_content() == wanted
    await expect(page.locator(".answer-tokens")).to_contain_text("tokens")


async def test_its_receipt_is_a_click_away_and_says_what_it_cost(page: Page, town: Town) -> None:
    await opened(page, town)
    await typed(page, "What did this cost?")
    await sent(page)
    told = await page.locator(".answer-cost").get_attribute("title")
    await page.get_by_role("link", name="Receipt").click()
    await page.locator(".receipt").wait_for()
    request_id = (await page.evaluate("() => location.hash")).rpartition("/")[2]
    receipt = await town.look(f"/api/decisions/{request_id}")
    assert told == f"${receipt['cost_usd']:.6f}"
    assert receipt["cost_usd"] > 0
    await page.go_back()
    await expect(page.get_by_label("Prompt", exact=True)).to_have_value("What did this cost?")


async def test_every_choice_of_the_form_reaches_the_gateway(page: Page, town: Town) -> None:
    asked: list[Any] = []

    def note(request: Request) -> None:
        if request.url.endswith("/api/playground/chat"):
            asked.append(request.post_data_json)

    page.on("request", note)
    await opened(page, town)
    await page.get_by_text("System message").click()
    await page.get_by_label("System message").fill("Be brief.")
    await page.get_by_label("Model").select_option("balanced")
    await page.get_by_label("Importance").select_option("high")
    await page.get_by_label("Task").select_option("code")
    await page.get_by_label("Privacy").select_option("local-only")
    await page.get_by_label("Most tokens").fill("12")
    await typed(page, "Sort a list.")
    await sent(page)
    (body,) = asked
    assert body == {
        "model": "balanced",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Sort a list."}],
        "stream": True,
        "max_tokens": 12,
        "octoroute": {"importance": "high", "task_type": "code", "privacy": "local-only"},
    }
    await expect(page.locator(".answer-facts")).to_contain_text("explicit tier")
    await expect(page.locator(".answer-note")).to_contain_text("Cut at its limit of tokens.")


async def test_nothing_is_asked_while_typing_when_that_is_off(page: Page, town: Town) -> None:
    asked: list[str] = []
    page.on("request", lambda each: asked.append(each.url))
    await opened(page, town)
    await page.get_by_label("Explain while typing").uncheck()
    await page.get_by_label("Prompt", exact=True).press_sequentially("not told to anybody", delay=5)
    await expect(page.get_by_role("button", name="Explain")).to_be_visible()
    assert not any("/api/playground" in each for each in asked)
    await page.get_by_role("button", name="Explain").click()
    await until(page, SETTLED)
    assert sum("/api/playground/explain" in each for each in asked) == 1


async def test_typing_fast_asks_once(page: Page, town: Town) -> None:
    asked: list[str] = []
    page.on("request", lambda each: asked.append(each.url))
    await opened(page, town)
    await page.get_by_label("Prompt", exact=True).press_sequentially("many keys, one question", delay=5)
    await until(page, SETTLED)
    assert sum("/api/playground/explain" in each for each in asked) == 1


async def test_a_key_that_may_only_look_is_told_so_and_finds_no_dead_button(page: Page, town: Town) -> None:
    await opened(page, town, role="viewer")
    await expect(page.locator("main")).to_contain_text("This key may look, not send")
    await expect(page.locator("main")).to_contain_text("role operator or admin")
    assert await page.locator("main button").count() == 0


async def test_what_would_be_refused_is_told_before_and_after(page: Page, town: Town, trouble: Trouble) -> None:
    trouble.expect("400")
    await opened(page, town)
    await page.get_by_label("Most tokens").fill("-1")
    await page.get_by_label("Prompt", exact=True).fill("too few")
    await page.evaluate("() => document.querySelector('form.composer').noValidate = true")
    answer = await town.post("/v1/chat/completions", body_of("too few", max_tokens=-1))
    await page.get_by_role("button", name="Send").click()
    await until(page, ANSWERED)
    assert answer.status_code == 400
    await expect(page.locator(".answer .problem")).to_contain_text(answer.json()["error"]["message"])


async def test_nothing_of_a_prompt_is_stored(page: Page, town: Town) -> None:
    await opened(page, town)
    await typed(page, "a secret of mine")
    await sent(page)
    stored = await page.evaluate(
        "async () => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, "
        "(await indexedDB.databases()).length, history.state])"
    )
    assert "secret" not in stored
    await page.get_by_role("button", name="Sign out").click()
    await page.locator("#key").fill(town.keys["operator"])
    await page.locator("#key").press("Enter")
    await expect(page.get_by_label("Prompt", exact=True)).to_have_value("")


async def test_by_keyboard_alone_from_signing_in_to_an_answer(page: Page, town: Town) -> None:
    await page.goto(f"{town.url}/dashboard")
    await expect(page.locator("#key")).to_be_focused()
    await page.keyboard.type(town.keys["operator"])
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Now", level=1)).to_be_visible()
    await page.evaluate("() => document.activeElement.blur()")
    await page.keyboard.press("g")
    await page.keyboard.press("p")
    await expect(page.get_by_role("heading", name="Playground", level=1)).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    await page.keyboard.type("Typed without a mouse")
    await until(page, SETTLED)
    await page.keyboard.press("Control+Enter")
    await until(page, ANSWERED)
    assert await page.locator(".answer-text").last.text_content()
    for _ in range(40):
        if await page.evaluate("() => document.activeElement.textContent") == "Receipt":
            break
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.locator(".receipt").wait_for()


@WINDOWS
@SCHEMES
async def test_it_fits_and_can_be_read(page: Page, town: Town, viewport: tuple[int, int], scheme: Scheme) -> None:
    await opened(page, town)
    assert await overflow(page) + await contrast(page) == []
    await typed(page, PROMPTS[3])
    await sent(page)
    await until(page, "() => document.querySelector('.answer-cost')")
    assert await overflow(page) + await contrast(page) == []


@WINDOWS
async def test_everything_can_be_reached_and_does_something(page: Page, town: Town, viewport: tuple[int, int]) -> None:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=town.url)
    await opened(page, town)
    await typed(page, PROMPTS[1])
    await sent(page)
    assert await focusable(page) == []
    assert await dead_controls(page) == []


# Upstreams that say what they should not, or hang


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def odd() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as upstream:
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def odd_town(odd: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    more = f'[[models.deep]]\nname = "odd"\nbase_url = "{odd.base_url}"\npriority = 0\n'
    async with running_town(tmp_path_factory.mktemp("odd"), keys={}, more=more, strategy="llm") as one:
        yield one


class TestOddUpstreams:
    @pytest.fixture
    def home(self, odd_town: Town) -> str:
        return odd_town.url

    @pytest.mark.parametrize("payload", PAYLOADS)
    async def test_an_error_of_an_upstream_is_shown_as_text(
        self, page: Page, odd_town: Town, odd: FakeUpstream, trouble: Trouble, payload: str
    ) -> None:
        trouble.expect("400")
        odd.enqueue(turns.status(400, bodies.error_body(payload, error_type="invalid_request_error", code="bad")))
        await opened(page, odd_town)
        await page.get_by_label("Model").select_option("odd")
        await typed(page, "say no")
        await sent(page)
        told = page.locator(".answer .problem")
        await expect(told).to_contain_text("Not answered (400)")
        await expect(told).to_contain_text(payload)
        assert await page.locator("main img, main script").count() == 0

    @WINDOWS
    async def test_an_answer_is_text_whatever_stands_in_it(
        self, page: Page, odd_town: Town, odd: FakeUpstream, viewport: tuple[int, int]
    ) -> None:
        odd.enqueue(turns.stream_answer(*PAYLOADS, "\n" + "long" * 200))
        await opened(page, odd_town)
        await page.get_by_label("Model").select_option("odd")
        await typed(page, "say it")
        await sent(page)
        assert await page.locator(".answer-text").last.text_content() == "".join(PAYLOADS) + "\n" + "long" * 200
        assert await page.locator("main img, main script").count() == 0
        assert await overflow(page) == []

    async def test_a_stream_that_breaks_keeps_what_came_and_says_so(
        self, page: Page, odd_town: Town, odd: FakeUpstream
    ) -> None:
        odd.enqueue(turns.stream_answer("Half of ", bodies.sse(json.loads(bodies.error_body(PAYLOADS[0])))))
        await opened(page, odd_town)
        await page.get_by_label("Model").select_option("odd")
        await typed(page, "break off")
        await sent(page)
        await expect(page.locator(".answer .problem")).to_contain_text("The answer broke off")
        assert await page.locator(".answer-text").last.text_content() == "Half of "
        assert await page.locator("main img").count() == 0

    async def test_the_judge_is_asked_only_when_one_says_so(self, page: Page, odd_town: Town) -> None:
        asked: list[str] = []
        page.on("request", lambda each: asked.append(each.url))
        await opened(page, odd_town)
        await typed(page, "Who should answer this?")
        await expect(page.locator(".prediction .sentence")).to_contain_text("The judge decides")
        assert not any("judge=ask" in each for each in asked)
        await page.get_by_role("button", name="Ask the judge").click()
        await expect(page.locator(".prediction .sentence")).to_contain_text("the judge chose it")
        assert sum("judge=ask" in each for each in asked) == 1
        tier = await page.locator(".prediction .sentence strong").inner_text()
        await sent(page)
        await expect(page.locator(".answer-facts .badge")).to_have_text(tier)

    async def test_stop_ends_the_answer_here_and_upstream(self, page: Page, odd_town: Town, odd: FakeUpstream) -> None:
        gate = asyncio.Event()
        odd.enqueue(turns.stream_answer("Only the beginning", Gate(gate), "never seen"))
        await opened(page, odd_town)
        await page.get_by_label("Model").select_option("odd")
        await typed(page, "go on and on")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator(".answer-text").last).to_have_text("Only the beginning")
        await page.get_by_role("button", name="Stop").click()
        await expect(page.locator(".answer-note")).to_contain_text("Stopped.")
        await expect(page.get_by_role("button", name="Stop")).to_be_hidden()
        await expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
        await asyncio.wait_for(odd.connections[-1].closed.wait(), 5.0)
        gate.set()
        assert await page.locator(".answer-text").last.text_content() == "Only the beginning"

    async def test_a_gateway_that_does_not_answer_is_told(self, page: Page, odd_town: Town, trouble: Trouble) -> None:
        trouble.expect("request failed|ERR_FAILED")
        await opened(page, odd_town)
        await typed(page, "anybody there?")
        await page.route("**/api/playground/chat", lambda route: route.abort("failed"))
        await sent_without_receipt(page)
        await expect(page.locator(".answer .problem")).to_contain_text("The gateway does not answer.")


async def sent_without_receipt(page: Page) -> None:
    await page.get_by_role("button", name="Send").click()
    await until(page, "() => document.querySelector('.answer .problem')")
