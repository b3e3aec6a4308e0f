"""Whatever the gateway writes down, it is no prompt, no answer and no key: not in the database nor its log of changes,
not in the spool, not in a backup, not in what it says."""

import asyncio
import os
import re
import sys
from pathlib import Path

from tests.fakes import turns
from tests.fakes.client import ask, chat, get, post
from tests.fakes.gateway import gateway
from tests.fakes.ledger import DATABASE, PRICES, Journal, ledger_config
from tests.fakes.lockdown import held
from tests.fakes.office import BOSS, ENV, Office
from tests.fakes.script import Recorded, Step
from tests.fakes.upstream import FakeUpstream
from tests.fakes.waiting import until

PROMPT = "zanzibar-4711-my-secret-diagnosis"
ANSWER = "quixotic-0815-what-the-model-said"
UPSTREAM_KEY = "sk-upstream-5e8f2d9a7b3c1f60"
PIECE = 12


def pieces(secret: str) -> list[bytes]:
    """Every part of a key that is long enough to be told from chance."""
    random_part = secret.removeprefix("okr-")
    return [random_part[at : at + PIECE].encode() for at in range(len(random_part) - PIECE + 1)]


def answer(request: Recorded) -> tuple[Step, ...]:
    stream = request.json.get("stream") is True
    made = turns.stream_answer(ANSWER, usage=None) if stream else turns.json_answer(ANSWER, usage=None)
    return tuple(made(request))


async def test_no_prompt_no_answer_and_no_key_is_anywhere(tmp_path: Path) -> None:
    async with FakeUpstream() as upstream:
        upstream.always(answer)
        config = ledger_config(
            {tier: [upstream.base_url] for tier in PRICES}, more='[observability]\nlog_level = "debug"\n'
        )
        config = config.replace('name = "fast-0"', 'name = "fast-0"\napi_key_env = "UPSTREAM_KEY"')
        async with gateway(config, tmp_path, env={**ENV, "UPSTREAM_KEY": UPSTREAM_KEY}) as running:
            office = Office(running.port)
            key = await office.issue("team", budgets={"daily": 1.0})
            rotated = (await office.post(f"/api/keys/{key.id}/rotate", {})).json["key"]
            asked = 0

            async def use() -> None:
                nonlocal asked
                for stream in (False, True):
                    asked += 1
                    body = chat(PROMPT, stream=stream, user="u-1", metadata={"note": PROMPT})
                    assert (await ask(running.port, post(body, headers=key.headers()))).status == 200

            await use()
            async with held(tmp_path / DATABASE):
                await use()
                seen = everything(tmp_path)
                assert any(name.endswith(".spool") for name in seen)
            journal = Journal(tmp_path / DATABASE)

            async def all_there() -> bool:
                return len(journal.rows()) == asked

            await until(all_there)
            backup = (sys.executable, "-m", "octoroute_py", "db", "backup", "-c", str(tmp_path / "config.toml"))
            await run(*backup, "-o", str(tmp_path / "copy.db"), UPSTREAM_KEY=UPSTREAM_KEY)
            for path in ("/metrics", "/info", "/api/keys", "/api/audit", "/api/metrics/requests", "/health/detailed"):
                told = await ask(running.port, get(path, headers={"authorization": f"Bearer {BOSS}"}))
                assert told.status == 200
                seen[path] = told.body
        seen |= {f"{name} at the end": data for name, data in everything(tmp_path).items()}
        assert "copy.db at the end" in seen
        secrets = [PROMPT.encode(), ANSWER.encode()]
        for secret in (BOSS, key.key, rotated, UPSTREAM_KEY):
            secrets += pieces(secret)
        assert [(name, secret) for name, data in seen.items() for secret in secrets if secret in data] == []
        assert re.search(rb"request status=200", seen["stderr.log at the end"])


def everything(folder: Path) -> dict[str, bytes]:
    """Every file that the gateway has made."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "config.toml"}


async def run(*argv: str, **env: str) -> None:
    process = await asyncio.create_subprocess_exec(*argv, env={**os.environ, **ENV, **env})
    assert await process.wait() == 0
