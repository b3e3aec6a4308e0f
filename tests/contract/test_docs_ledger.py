"""What docs/ledger.md shows can be pasted, and is answered as it says."""

import asyncio
import json
import re
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from octoroute_py.config.load import parse_config
from octoroute_py.config.schema import StorageConfig
from tests.fakes.client import Answer, ask, get, post
from tests.fakes.gateway import RunningGateway, gateway
from tests.fakes.repository import ROOT
from tests.fakes.upstream import FakeUpstream

DOCUMENT = (ROOT / "docs/ledger.md").read_text(encoding="utf-8")
URL = "http://127.0.0.1:3000"
COMMAND_S = 30.0


def blocks(language: str) -> list[str]:
    """The code blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def commands() -> list[list[str]]:
    """Every command of the shell blocks as its words, in the order they stand there."""
    lines = "".join(blocks("sh")).replace("\\\n", " ")
    found = re.findall(r"^((?:octoroute|curl) (?:[^\n']|'[^']*')*)$", lines, re.MULTILINE)
    return [shlex.split(line) for line in found]


def shape(value: Any) -> Any:
    """The names of a JSON value's fields, without what they hold."""
    if isinstance(value, dict):
        return {name: shape(held) for name, held in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict) else None


class Reader:
    """Somebody who pastes one command after the other; `keys` are the variables they set."""

    def __init__(self, running: RunningGateway) -> None:
        self._running = running
        self.keys: dict[str, str] = {}

    async def octoroute(self, *words: str) -> str:
        """What a command prints."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "octoroute_py", *words),
            cwd=self._running.folder,
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), COMMAND_S)
        assert process.returncode == 0, err.decode()
        return out.decode()

    async def curl(self, *words: str) -> Answer:
        """The answer to what curl would send."""
        headers, body, path = {}, None, ""
        at = iter(words)
        for word in at:
            if word == "-H":
                name, _, value = next(at).partition(":")
                headers[name] = re.sub(r"\$(\w+)", lambda found: self.keys[found[1]], value.strip())
            elif word == "-d":
                body = next(at)
            else:
                assert word.startswith(URL)
                path = word.removeprefix(URL)
        request = get(path, headers=headers) if body is None else post(body.encode(), path=path, headers=headers)
        return await ask(self._running.port, request)


@pytest_asyncio.fixture
async def reader(tmp_path: Path) -> AsyncIterator[Reader]:
    [config] = blocks("toml")
    async with FakeUpstream() as upstream:
        here = re.sub(r'base_url = "[^"]+"', f'base_url = "{upstream.base_url}"', config)
        async with gateway(here, tmp_path) as running:
            yield Reader(running)


async def test_the_commands_can_be_pasted_one_after_the_other_and_every_route_is_there(reader: Reader) -> None:
    done = []
    for program, *words in commands():
        done.append(program)
        if program == "curl":
            await check_answer(reader, words)
            continue
        printed = await reader.octoroute(*words)
        if words[:2] == ["keys", "create"]:
            found = re.search(r"okr-\S+", printed)
            assert found, printed
            reader.keys["ADMIN_KEY"] = found[0]
    assert len(done) >= 6
    paths = re.findall(r"^\| `GET (/api/[^`]+)` \|", DOCUMENT, re.MULTILINE)
    assert len(paths) == 6
    for path in paths:
        await check_answer(reader, [URL + path.replace("{id}", "search"), "-H", "authorization: Bearer $ADMIN_KEY"])


async def check_answer(reader: Reader, words: list[str]) -> None:
    answer = await reader.curl(*words)
    assert answer.status in (200, 201), answer
    if answer.status == 201:
        [documented] = blocks("json")
        assert shape(answer.json) == shape(json.loads(documented))


def test_the_settings_shown_are_the_defaults_where_they_say_nothing_else() -> None:
    [config] = blocks("toml")
    parsed = parse_config(config, env={})
    assert parsed.storage.journal_days == StorageConfig(url=None).journal_days
    assert parsed.storage.rollup_days == StorageConfig(url=None).rollup_days
    assert parsed.limits.agent_types[0][0] == "crawler"


def test_every_script_has_its_place_for_figures() -> None:
    scripts = {path.stem for path in Path(ROOT / "scripts/ledger").glob("*.py")} - {"figures", "analytics"}
    for name in scripts:
        assert DOCUMENT.count(f"<!-- {name}:start -->") == DOCUMENT.count(f"<!-- {name}:end -->") == 1
