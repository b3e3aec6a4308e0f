"""The browser's own exam: everything that a test of the page relies on to be noticed is planted here, and noticed."""

import pytest
from playwright.async_api import Page, Route

from octoroute_py.edge.dashboard import CONTENT_SECURITY_POLICY
from tests.fakes.browsing import Trouble, contrast, dead_controls, focusable, overflow, sign_in, until
from tests.fakes.town import Town

GOOD = """
<style>body { background: #fff; color: #222 } :focus-visible { outline: 3px solid #00f }</style>
<main><h1>Good</h1><button id="b">Count</button> <a href="/x">Elsewhere</a>
<label>Name <input></label><label><input type="checkbox"> Yes</label><output id="o"></output></main>
<script>let n = 0; b.addEventListener("click", () => { o.textContent = String(++n) })</script>
"""


async def shown(page: Page, body: str, *, policy: str | None = None) -> None:
    """Open a page of these words at an address of our own."""

    async def answer(route: Route) -> None:
        headers = {} if policy is None else {"content-security-policy": policy}
        text = f"<!doctype html><html lang=en><meta charset=utf-8><title>t</title><body>{body}"
        await route.fulfill(status=200, content_type="text/html", body=text, headers=headers)

    await page.route("**/planted", answer)


@pytest.fixture
def planted(home: str) -> str:
    """Where the planted page lies."""
    return f"{home}/planted"


async def test_a_page_without_faults_has_none(page: Page, planted: str) -> None:
    await shown(page, GOOD)
    await page.goto(planted)
    assert await overflow(page) + await contrast(page) + await focusable(page) + await dead_controls(page) == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<script>console.error('oh')</script>", "console error: oh"),
        ("<script>console.warn('hm')</script>", "console warning: hm"),
        ("<script>throw new Error('no')</script>", "exception: no"),
        ("<script>Promise.reject(new Error('later'))</script>", "exception: later"),
        ("<script>alert('xss')</script>", "dialog: alert xss"),
        ("<script>fetch('http://127.0.0.1:9/x').catch(() => 0)</script>", "request to elsewhere: http://127.0.0.1:9/x"),
        ("<script>fetch('http://127.0.0.1:9/x').catch(() => 0)</script>", "request failed: GET"),
        ("<img src='/nothing-here.png'>", "404"),
    ],
    ids=["error", "warning", "exception", "rejection", "dialog", "elsewhere", "failed", "missing"],
)
async def test_what_goes_wrong_on_a_page_is_noticed(
    page: Page, planted: str, trouble: Trouble, body: str, told: str
) -> None:
    await shown(page, body)
    await page.goto(planted)
    await until_told(page, trouble, told)
    trouble.expect(".")


@pytest.mark.parametrize(
    "body",
    [
        "<img src=x onerror=alert(1)>",
        "<script>alert(2)</script>",
        "<p style='color:red'>x</p>",
        "<a id=a href='javascript:alert(3)'>x</a>",
        "<img src='http://127.0.0.1:9/x.png'>",
    ],
)
async def test_what_the_policy_forbids_is_noticed_and_nothing_runs(
    page: Page, planted: str, trouble: Trouble, body: str
) -> None:
    await shown(page, body, policy=CONTENT_SECURITY_POLICY)
    await page.goto(planted)
    if "javascript:" in body:
        await page.click("#a")
    await until_told(page, trouble, "content policy: ")
    assert not any("dialog" in each for each in trouble.found)
    trouble.expect(".")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<div style='width:3000px'>wide</div>", "wide in a window"),
        ("<div style='position:relative;left:-50px'>left</div>", "beyond the edge"),
        ("<p style='width:40px;overflow:hidden;white-space:nowrap'>a long text that is cut</p>", "cut off at the side"),
        ("<p style='height:10px;overflow:hidden'>one<br>two<br>three</p>", "cut off below"),
    ],
    ids=["wide", "left", "clipped", "below"],
)
async def test_what_does_not_fit_is_noticed(page: Page, planted: str, body: str, told: str) -> None:
    await shown(page, body)
    await page.goto(planted)
    assert any(told in each for each in await overflow(page))


async def test_what_scrolls_by_itself_or_says_that_it_was_cut_fits(page: Page, planted: str) -> None:
    style = "width:40px;overflow:hidden;white-space:nowrap;text-overflow:ellipsis"
    cut = f"<p title='a long text' style='{style}'>a long text"
    await shown(page, f"<div style='overflow-x:auto'><table style='width:3000px'><td>x</table></div>{cut}")
    await page.goto(planted)
    assert await overflow(page) == []


@pytest.mark.parametrize(
    ("body", "good"),
    [
        ("<p style='color:#767676;background:#fff'>enough</p>", True),
        ("<p style='color:#888;background:#fff'>too little</p>", False),
        ("<p style='color:#888;background:#fff;font-size:24px'>enough for large</p>", True),
        ("<p style='color:#000;opacity:.4;background:#fff'>faded</p>", False),
        ("<div style='background:#222'><p style='background:rgba(255,255,255,.9);color:#fff'>veiled</p></div>", False),
        ("<div style='background:#222'><p style='color:#eee'>light on dark</p></div>", True),
        ("<p style='background:linear-gradient(red,blue)'>over a picture</p>", False),
        ("<button disabled style='color:#aaa;background:#fff'>not now</button>", True),
        ("<svg width=200 height=40><text y=20 fill='#ccc'>pale</text></svg>", False),
    ],
)
async def test_contrast_is_measured_as_it_is_seen(page: Page, planted: str, body: str, *, good: bool) -> None:
    await shown(page, body)
    await page.goto(planted)
    assert (await contrast(page) == []) == good


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_colour_scheme_is_the_one_that_was_asked_for(page: Page, planted: str, scheme: str) -> None:
    await shown(page, "<meta name=color-scheme content='light dark'><p style='color:#ddd'>light letters</p>")
    await page.goto(planted)
    assert (await contrast(page) == []) == (scheme == "dark")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<button><svg></svg></button>", "has no name"),
        ("<input>", "has no name"),
        ("<button style='outline:none'>no ring</button>", "does not show its focus"),
        ("<div style='cursor:pointer' onclick='1'>mouse</div><button>ok</button>", "for the mouse alone"),
    ],
    ids=["button", "input", "ring", "mouse"],
)
async def test_what_a_keyboard_cannot_use_is_noticed(page: Page, planted: str, body: str, told: str) -> None:
    await shown(page, f"<style>svg {{ width: 9px; height: 9px }}</style>{body}")
    await page.goto(planted)
    assert any(told in each for each in await focusable(page))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<button>dead</button>", "does nothing"),
        ("<a href='#'>nowhere</a>", "leads nowhere"),
        ("<a href='#gone'>gone</a>", "not there"),
    ],
)
async def test_a_control_that_does_nothing_is_noticed(page: Page, planted: str, body: str, told: str) -> None:
    await shown(page, body)
    await page.goto(planted)
    assert [told in each for each in await dead_controls(page)] == [True]


@pytest.mark.parametrize("role", ["viewer", "admin"])
async def test_the_page_lets_whoever_may_look_in_and_shows_what_there_is(page: Page, town: Town, role: str) -> None:
    await sign_in(page, town.url, town.keys[role])
    await until(page, "() => document.body.innerText.includes('sim-fast')")


class TestAnOpenGateway:
    """A gateway without keys, on a machine of one's own."""

    @pytest.fixture
    def home(self, open_town: Town) -> str:
        """Its page asks it alone."""
        return open_town.url

    async def test_its_page_comes_up_without_a_key(self, page: Page, open_town: Town) -> None:
        await sign_in(page, open_town.url)
        await until(page, "() => document.title !== '' && document.querySelector('input[type=password]') === null")


async def until_told(page: Page, trouble: Trouble, told: str) -> None:
    """Wait until it was noticed; the news comes over another way than the page's."""
    for _ in range(100):
        if any(told in each for each in trouble.found):
            return
        await page.evaluate("() => new Promise((done) => setTimeout(done, 20))")
    raise AssertionError(f"{told!r} is not among {trouble.found}")
