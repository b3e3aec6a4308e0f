"""What the documents of the registry show can be pasted, one line after the other, and is answered well."""

import re
import shlex
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from octoroute_py.core.rules import (
    AgentPreferences,
    Conditions,
    Matcher,
    RuleBody,
    RuleTarget,
    TimeOfDay,
    TrafficSplit,
)
from tests.fakes.gateway import gateway
from tests.fakes.repository import ROOT
from tests.fakes.upstream import FakeUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

URL, UPSTREAM = "http://127.0.0.1:3000", "https://api.openai.com/v1"
DOCUMENTS = ("registry.md", "canary.md", "experiments.md")
KEY = "okr-operator-of-the-documents"
CONFIG = """
[[models.fast]]
name = "fast-model"
base_url = "{url}"
[[models.balanced]]
name = "balanced-model"
base_url = "{url}"
[[models.deep]]
name = "deep-model"
base_url = "{url}"
[routing]
strategy = "rule"
default_tier = "balanced"
[auth]
keys = [{{ name = "operations", role = "operator", env = "OPERATOR_KEY" }}]
"""
ROUTE = re.compile(r"`((?:(?:GET|POST|PUT|PATCH|DELETE)(?:, )?)+) (/api/[^`?]+)`((?:, `\w+`)*)")


def text_of(document: str) -> str:
    return (ROOT / "docs" / document).read_text(encoding="utf-8")


def curls(document: str) -> list[list[str]]:
    """The words of every curl line, in the order they stand there."""
    lines = "".join(re.findall(r"```sh\n(.*?)```", text_of(document), re.DOTALL)).replace("\\\n", " ")
    return [shlex.split(line) for line in re.findall(r"^(curl (?:[^\n']|'[^']*')*)$", lines, re.MULTILINE)]


def routes() -> set[tuple[str, str]]:
    """Every method and path in the tables; `POST …/pause`, `resume` are two."""
    texts = "".join(map(text_of, (*DOCUMENTS, "export.md")))
    return {
        (method, path if not word else f"{path.rpartition('/')[0]}/{word}")
        for methods, path, more in ROUTE.findall(texts)
        for method in methods.split(", ")
        for word in ("", *re.findall(r"\w+", more))
    }


class Reader(httpx.AsyncClient):
    """Somebody who pastes; what they send to OpenAI goes to the model server that is there."""

    upstream = ""

    async def paste(self, words: list[str]) -> httpx.Response:
        """The answer to what curl would send."""
        method, path, body, headers = "", "", None, {}
        at = iter(words[1:])
        for word in at:
            if word == "-X":
                method = next(at)
            elif word == "-d":
                body = next(at).replace(UPSTREAM, self.upstream)
            elif word == "-H":
                name, _, value = next(at).partition(":")
                headers[name] = value.strip().replace("$OPERATOR_KEY", KEY)
            else:
                assert word.startswith(URL), word
                path = word.removeprefix(URL)
        return await self.request(method or ("GET" if body is None else "POST"), path, content=body, headers=headers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reader(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Reader]:
    """Asks a gateway with the `[registry]` that docs/registry.md shows, for this machine."""
    [block] = re.findall(r"```toml\n(.*?)```", text_of("registry.md"), re.DOTALL)
    env = {"OPERATOR_KEY": KEY, "OPENAI_API_KEY": "sk-nobody"}
    async with FakeUpstream() as upstream:
        port = upstream.base_url.partition("//")[2].partition(":")[2].partition("/")[0]
        here = block.replace("api.openai.com", "127.0.0.1").replace("::1", "127.0.0.1").replace("443", port)
        config = CONFIG.format(url=upstream.base_url) + here
        async with (
            gateway(config, tmp_path_factory.mktemp("documents"), env=env) as running,
            Reader(base_url=running.url, headers={"authorization": f"Bearer {KEY}"}, trust_env=False) as client,
        ):
            client.upstream = upstream.base_url
            yield client


async def test_the_lines_can_be_pasted_one_after_the_other(reader: Reader) -> None:
    done = 0
    for document in DOCUMENTS:
        for words in curls(document):
            answer = await reader.paste(words)
            assert answer.is_success, (document, words, answer.text)
            done += 1
    assert done >= 14
    deployment = (await reader.get("/api/canary/deployments/autumn")).json()
    experiment = (await reader.get("/api/experiments/deep-for-writers")).json()
    assert (deployment["status"], experiment["status"]) == ("active", "running")


async def test_every_field_of_a_rule_is_told_of() -> None:
    for shape in (RuleBody, Conditions, TimeOfDay, Matcher, RuleTarget, TrafficSplit, AgentPreferences):
        for name in set(shape.__struct_encode_fields__) - {"description"}:
            assert re.search(rf'[`"]{name}[`".]', text_of("registry.md")), name


async def test_every_route_that_is_told_of_is_there(reader: Reader) -> None:
    told = routes()
    assert len(told) >= 36
    for method, path in sorted(told):
        answer = await reader.request(method, re.sub(r"\{\w+\}", "nobody", path))
        assert answer.status_code != 405, (method, path)
        assert "at this path" not in answer.text, (method, path)
