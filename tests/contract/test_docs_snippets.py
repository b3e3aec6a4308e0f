"""What the README and `octoroute demo` tell people to try works when it is pasted."""

import asyncio
import re
import shlex
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.fakes.gateway import RunningGateway, octoroute

pytestmark = pytest.mark.asyncio(loop_scope="module")

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
README_URL = "http://127.0.0.1:3000"
SNIPPET_S = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    async with octoroute("demo", "--port", "0", folder=tmp_path_factory.mktemp("demo")) as running:
        await running.read_until("Ctrl+C")
        yield running


def fenced(language: str, holding: str) -> str:
    """The README's code block in this language that holds these words."""
    [block] = [each for each in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if holding in each]
    return str(block)


def paragraph(text: str, start: str) -> str:
    """The indented block of the welcome that begins with these words."""
    [block] = [each for each in re.split(r"\n\n", text) if each.strip().startswith(start)]
    return textwrap.dedent(block)


async def run_python(code: str) -> str:
    """What a script prints; it must end well and say nothing on stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), SNIPPET_S)
    assert (process.returncode, err.decode()) == (0, "")
    return out.decode()


async def run_curl(line: str) -> httpx.Response:
    """Send what a curl line would send, without needing curl."""
    words = shlex.split(line.replace("\\\n", " "))
    assert words[0] == "curl"
    options = {"-H": "", "-d": "", "-D": "", "-X": ""}
    url = ""
    at = 1
    while at < len(words):
        if words[at] in options:
            options[words[at]] = words[at + 1]
            at += 1
        elif not words[at].startswith("-"):
            url = words[at]
        at += 1
    name, _, value = options["-H"].partition(":")
    async with httpx.AsyncClient(trust_env=False, timeout=SNIPPET_S) as client:
        method = options["-X"] or ("POST" if options["-d"] else "GET")
        headers = {name: value.strip()} if name else {}
        return await client.request(method, url, content=options["-d"], headers=headers)


def check_stream(answer: httpx.Response) -> None:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-octoroute-tier"] == "fast"
    assert answer.text.startswith("data: {")
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_the_demos_python_snippet_runs(demo: RunningGateway) -> None:
    printed = await run_python(paragraph("\n".join(demo.stdout), "from openai import OpenAI"))
    assert len(printed) > 100


async def test_the_demos_curl_line_works(demo: RunningGateway) -> None:
    check_stream(await run_curl(paragraph("\n".join(demo.stdout), "curl -s -D")))


async def test_the_demo_shows_what_its_requests_cost(demo: RunningGateway) -> None:
    url = shlex.split(paragraph("\n".join(demo.stdout), f"curl -s {demo.url}"))[-1]
    assert fenced("sh", "/api/analytics/savings\n").replace(README_URL, demo.url) == f"curl {url}\n"
    async with httpx.AsyncClient(trust_env=False, timeout=SNIPPET_S) as client:
        body = {"model": "fast", "messages": [{"role": "user", "content": "hello there"}]}
        answer = await client.post(demo.url + "/v1/chat/completions", json=body)
        told = (await client.get(url)).json()
    assert float(answer.headers["x-octoroute-cost"]) > 0
    assert told["baselineEndpoint"] == "deep/sim-deep#1"
    assert told["saved"] > 0


async def test_the_readmes_python_snippet_runs(demo: RunningGateway) -> None:
    printed = await run_python(fenced("python", "OpenAI(").replace(README_URL, demo.url))
    tier, _, text = printed.partition(" ")
    assert tier == "deep"
    assert len(text) > 100


async def test_the_readmes_curl_line_works(demo: RunningGateway) -> None:
    check_stream(await run_curl(fenced("sh", '"stream": true').replace(README_URL, demo.url)))


async def test_the_readmes_model_and_rule_are_in_force_at_once(demo: RunningGateway) -> None:
    block = fenced("sh", "/api/routing/rules").replace(README_URL, demo.url)
    lines = re.findall(r"^(curl (?:[^\n']|'[^']*')*)$", block, re.MULTILINE)
    answers = [await run_curl(line) for line in lines]
    assert [answer.status_code for answer in answers] == [201, 201, 200], [answer.text for answer in answers]
    told = answers[-1].json()
    assert (told["decidedBy"], told["rule"], told["selectedModel"]) == ("rule", "Writers", "qwen3-next")


async def test_what_the_readme_says_of_operating_is_done(demo: RunningGateway) -> None:
    block = fenced("sh", "/admin/undrain").replace(README_URL, demo.url)
    lines = [line.split("  #")[0].strip() for line in block.splitlines()]
    answers = [await run_curl(line) for line in lines]
    assert [answer.status_code for answer in answers] == [200] * len(lines), [answer.text for answer in answers]
    settings, dial, tier, reload, breakers, reset, drain, undrain = (answer.json() for answer in answers)
    assert settings["max_quality_loss"] != 0.1
    assert dial["updated_fields"] == ["max_quality_loss"]
    assert tier["updated_fields"] == ["default_tier"]
    assert reload["dropped"] == ["max_quality_loss"]
    assert {"id", "state", "trips"} <= set(breakers["endpoints"][0])
    assert reset["reset"] == ["fast/sim-fast#1"]
    assert [each["id"] for each in drain["endpoints"]] == ["fast/sim-fast#1"]
    assert undrain["endpoints"] == []


async def test_the_receipt_that_the_readme_names_is_there(demo: RunningGateway) -> None:
    assert "/v1/routing/decisions/{request_id}" in README
    async with httpx.AsyncClient(trust_env=False, timeout=SNIPPET_S) as client:
        body = {"model": "auto", "messages": [{"role": "user", "content": "hello there"}]}
        answer = await client.post(demo.url + "/v1/chat/completions", json=body)
        receipt = await client.get(f"{demo.url}/v1/routing/decisions/{answer.headers['x-request-id']}")
    assert receipt.json()["endpoint"] == answer.headers["x-octoroute-endpoint"]


async def test_every_path_in_the_readmes_table_is_there(demo: RunningGateway) -> None:
    rows = re.findall(
        r"^\| ((?:`[^`]+`(?:, )?)+)[^|]*\| (?:none|inference|viewer|operator|admin)", README, re.MULTILINE
    )
    named = [path for row in rows for path in re.findall(r"(?<=[ `])/[^\s`,?]+", row) if "..." not in path]
    assert len(named) > 40
    async with httpx.AsyncClient(trust_env=False, timeout=SNIPPET_S) as client:
        for path in named:
            answer = await client.request("QUERY", demo.url + re.sub(r"\{\w+\}", "x", path))
            assert answer.status_code == 405, (path, answer.status_code)


async def test_the_pages_that_the_demo_names_exist(demo: RunningGateway) -> None:
    told = "\n".join(demo.stdout)
    pages = re.findall(r"http://[\d.]+:\d+/[a-z]+", paragraph(told, "Watch it") + paragraph(told, "Ask for a tier"))
    assert len(pages) == 3
    async with httpx.AsyncClient(trust_env=False) as client:
        assert [(await client.get(page)).status_code for page in pages] == [200, 200, 200]
