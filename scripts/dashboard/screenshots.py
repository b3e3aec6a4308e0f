"""Photographs of the page: a gateway over simulated models, real traffic of five minutes, Debian's Chromium.

usage: scripts/screenshots [--seconds N] [--out FOLDER] [--view NAME ...] [--width N ...] [--scheme dark|light]

One endpoint does not answer, so that its breaker opens, and one is drained.
"""

import argparse
import asyncio
import contextlib
import io
import itertools
import math
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import httpx
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from octoroute_py.core.words import TIERS, Tier
from octoroute_py.simulator.fleet import FLEET, serve_fleet

Scheme = Literal["dark", "light"]
NAMES = {
    Tier.FAST: ("qwen3-8b", "gemma3-4b", "phi-4-mini"),
    Tier.BALANCED: ("llama3.3-70b", "mistral-small"),
    Tier.DEEP: ("qwen3-235b", "deepseek-r1", "kimi-k2"),
}
DRAINED, GONE = "balanced/mistral-small", "kimi-k2"
PROMPTS = (
    "hello there",
    "good morning, how are you?",
    "What is the capital of Peru?",
    "Write a Python function that merges two sorted lists, and its tests.",
    "Sum up the causes of the French revolution in five lines.",
    "Prove step by step that the square root of two is irrational.",
    "Translate 'the night is young' into French, Spanish and Italian.",
    "Compare event sourcing with plain tables for a bank, with the trade-offs of both.",
    "Give me a name for a cat.",
    "Refactor this class so that it can be tested without a database: class Shop: ...",
)
AGENTS = ("", "", "support", "coder", "research")
TYPED = "Design a rate limiter that is fair between tenants, and prove that no burst gets through."
WIDTHS: dict[int, tuple[int, float, Scheme]] = {1440: (900, 1.0, "dark"), 390: (844, 2.0, "light")}
"""Height, pixels per CSS pixel and colours of each width."""
MOST_BYTES = 200_000
"""A larger picture is kept in 256 colours."""
VIEWS = ("now", "decisions", "playground", "health")


def configuration(urls: dict[Tier, str]) -> str:
    """Eight endpoints behind three simulated models, at their prices."""
    parts = []
    for tier, names in NAMES.items():
        model = FLEET[tier]
        for name in names:
            url = "http://127.0.0.1:9/v1" if name == GONE else urls[tier]
            parts.append(
                f'[[models.{tier}]]\nid = "{tier}/{name}"\nname = "{name}"\nmodel = "{model.name}"\n'
                f'base_url = "{url}"\nlocation = "{"local" if tier is Tier.FAST else "cloud"}"\n'
                f"max_tokens = 4096\nmax_in_flight = 32\n"
                f"input_cost_per_mtok = {model.input_cost_per_mtok}\n"
                f"output_cost_per_mtok = {model.output_cost_per_mtok}\n"
            )
    parts.append('[routing]\nstrategy = "hybrid"\ndefault_tier = "balanced"\n')
    parts.append(
        '[[routing.rules]]\nname = "research goes deep"\ntier = "deep"\nwhen.pattern = "(?i)prove|trade-offs"\n'
    )
    parts.append('[breaker]\nopen_seconds = 120\n[storage]\nurl = "sqlite:///journal.db"\n')
    return "".join(parts)


@contextlib.asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[str]:
    """The URL of a gateway over simulated models, while it runs."""
    async with await serve_fleet() as fleet:
        path = folder / "config.toml"
        path.write_text(configuration({tier: fleet.simulators[tier].base_url for tier in TIERS}), encoding="utf-8")
        command = (sys.executable, "-m", "octoroute_py", "serve", "-c", str(path), "--port", "0")
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        try:
            line = ""
            while not line.startswith("listening on "):
                line = (await process.stdout.readline()).decode()
                assert line, (folder / "log").read_text(encoding="utf-8")
            yield line.split()[2]
        finally:
            process.terminate()
            await process.wait()


async def traffic(client: httpx.AsyncClient) -> None:
    """Requests until it is cancelled, more and fewer by turns."""
    dice = random.Random(6)
    async with asyncio.TaskGroup() as sending:
        for number in itertools.count():
            sending.create_task(_ask(client, dice, number))
            await asyncio.sleep(1.0 / (5.0 + 3.5 * math.sin(number / 60.0)))


@contextlib.asynccontextmanager
async def traffic_of(client: httpx.AsyncClient) -> AsyncIterator[None]:
    """The same while this is open."""
    running = asyncio.create_task(traffic(client))
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


async def _ask(client: httpx.AsyncClient, dice: random.Random, number: int) -> None:
    body = {
        "model": GONE if number % 60 == 7 else "auto",
        "messages": [{"role": "user", "content": dice.choice(PROMPTS)}],
        "max_tokens": dice.choice((32, 64, 128)),
        "stream": dice.random() < 0.5,
    }
    agent = dice.choice(AGENTS)
    with contextlib.suppress(httpx.HTTPError):
        await client.post("/v1/chat/completions", json=body, headers={"x-octoroute-agent-type": agent} if agent else {})


async def photograph(page: Page, url: str, view: str, request_id: str, target: Path) -> None:
    """One view as somebody has it in front of them."""
    place = f"decisions/{request_id}" if view == "decisions" else view
    await page.goto(f"{url}/dashboard#/{place}")
    await page.locator("main h1, main h2").first.wait_for()
    if view == "playground":
        await page.locator("main textarea").first.fill(TYPED)
        await asyncio.sleep(2.0)
        await page.keyboard.press("Control+Enter")
    await asyncio.sleep(4.0)
    keep(await page.screenshot(), target)


def keep(png: bytes, target: Path) -> None:
    """Write a picture, as small as it can be."""
    with Image.open(io.BytesIO(png)) as picture:
        whole = picture.convert("RGB")
    whole.save(target, optimize=True)
    if target.stat().st_size > MOST_BYTES:
        whole.quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)


async def photographs(browser: Browser, url: str, request_id: str, asked: argparse.Namespace) -> None:
    """All that were asked for."""
    for width in asked.width:
        height, scale, scheme = WIDTHS.get(width, (900, 1.0, "dark"))
        context = await browser.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=scale,
            color_scheme=asked.scheme or scheme,
            is_mobile=width < 600,
        )
        for view in asked.view:
            page = await context.new_page()
            await photograph(page, url, view, request_id, asked.out / f"{view}-{width}.png")
            await page.close()
        await context.close()


async def interesting(client: httpx.AsyncClient) -> str:
    """A request whose receipt tells much: one that the scorer decided."""
    answer = await client.get("/api/metrics/requests", params={"limit": "200"})
    rows = answer.raise_for_status().json()["requests"]
    return str(next((row for row in rows if row.get("reason") == "neural_decided"), rows[0])["requestId"])


async def main(asked: argparse.Namespace, folder: Path) -> None:
    """Traffic first, then the photographs."""
    asked.out.mkdir(parents=True, exist_ok=True)
    async with gateway(folder) as url, httpx.AsyncClient(base_url=url, trust_env=False, timeout=60.0) as client:
        while (await client.get("/health/ready")).status_code != 200:  # noqa: ASYNC110 - no event comes from another process
            await asyncio.sleep(0.1)
        await client.post("/admin/drain", json={"endpoint": DRAINED})
        async with traffic_of(client), async_playwright() as playwright:
            await asyncio.sleep(asked.seconds)
            browser = await playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            await photographs(browser, url, await interesting(client), asked)
            await browser.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Photographs of the page into docs/images.")
    parser.add_argument("--seconds", type=float, default=310.0, help="of traffic before the first photograph")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--view", nargs="+", choices=VIEWS, default=list(VIEWS))
    parser.add_argument("--width", nargs="+", type=int, default=list(WIDTHS))
    parser.add_argument("--scheme", choices=("dark", "light"), default=None)
    return parser.parse_args()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="octoroute-page-") as made:
        asyncio.run(main(_arguments(), Path(made)))
