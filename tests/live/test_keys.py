"""Keys while a gateway runs: another process issues and revokes them, and the gateway follows within a second."""

import asyncio
import sys
import time
from pathlib import Path

import msgspec

from tests.fakes import bodies, turns
from tests.fakes.client import Client, ask, chat, get, post
from tests.fakes.gateway import gateway, rule_config
from tests.fakes.upstream import FakeUpstream
from tests.fakes.waiting import until

WITHIN_S = 1.0
SOME_SLACK_S = 1.0
"""A machine under load may be late; the mean of several rounds may not (see below)."""
HOUSEKEEPING = '[health]\nenabled = false\n[storage]\nurl = "sqlite:///octoroute.db"\n'


async def keys(folder: Path, *args: str) -> str:
    """What `octoroute keys` prints, from a process of its own."""
    command = [sys.executable, "-m", "octoroute_py", "keys", *args, "-c", str(folder / "config.toml")]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, err
    return out.decode().strip()


def listing(key: str) -> bytes:
    return get("/v1/models", headers={"x-api-key": key})


async def test_a_key_of_another_process_works_within_a_second_and_is_refused_within_a_second_of_its_end(
    tmp_path: Path,
) -> None:
    took: list[float] = []
    async with FakeUpstream() as upstream:
        urls = [upstream.base_url]
        async with gateway(rule_config(urls, urls, urls, more=HOUSEKEEPING), tmp_path) as running:

            async def is_known(key: str, *, known: bool) -> float:
                began = time.monotonic()

                async def told() -> bool:
                    return ((await ask(running.port, listing(key))).status == 200) is known

                await until(told, WITHIN_S + SOME_SLACK_S)
                return time.monotonic() - began

            await keys(tmp_path, "create", "another")
            await is_known("okr-nobody", known=False)
            for number in range(2):
                made = msgspec.json.decode(await keys(tmp_path, "create", f"bob-{number}", "--json"))
                took.append(await is_known(made["key"], known=True))
                await keys(tmp_path, "revoke", made["id"])
                took.append(await is_known(made["key"], known=False))
    assert sum(took) / len(took) < WITHIN_S


async def test_a_stream_outlives_its_key_and_the_next_request_is_refused(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with FakeUpstream() as upstream:
        urls = [upstream.base_url]
        async with gateway(rule_config(urls, urls, urls, more=HOUSEKEEPING), tmp_path) as running:
            made = msgspec.json.decode(await keys(tmp_path, "create", "bob", "--json"))
            key = made["key"]

            async def answers(status: int) -> bool:
                return (await ask(running.port, listing(key))).status == status

            await until(lambda: answers(200))
            upstream.enqueue(turns.stream_answer("before", turns.Gate(gate), "after"))
            async with await Client.connect(running.port) as client:
                client.write(post(chat(stream=True), headers={"authorization": f"Bearer {key}"}))
                await client.head()
                await client.piece()
                await keys(tmp_path, "revoke", made["id"])
                await until(lambda: answers(401))
                gate.set()
                pieces = [await client.piece()]
                while bodies.DONE not in pieces[-1]:
                    pieces.append(await client.piece())
    assert b"after" in b"".join(pieces)


def everything_in(folder: Path) -> bytes:
    return b"".join(each.read_bytes() for each in folder.iterdir())


async def test_no_key_is_in_any_file_or_answer(tmp_path: Path) -> None:
    async with FakeUpstream() as upstream:
        urls = [upstream.base_url]
        config = rule_config(urls, urls, urls, more=HOUSEKEEPING + '[observability]\nlog_level = "debug"\n')
        async with gateway(config, tmp_path) as running:
            admin = await keys(tmp_path, "create", "root", "--role", "admin")

            async def known() -> bool:
                return (await ask(running.port, get("/api/keys", headers={"x-api-key": admin}))).status == 200

            await until(known)
            body = b'{"name": "bob"}'
            made = await ask(running.port, post(body, path="/api/keys", headers={"x-api-key": admin}))
            key, id = made.json["key"], made.json["id"]
            told = b""
            for path in ("/api/keys", f"/api/keys/{id}", "/api/audit", "/info", "/metrics", "/health/detailed"):
                told += (await ask(running.port, get(path, headers={"x-api-key": admin}))).body
            assert (await ask(running.port, post(chat(), headers={"x-api-key": key}))).status == 200
            wrong = f"{key[:-4]}aaaa"
            told += (await ask(running.port, post(chat(), headers={"x-api-key": wrong}))).body
            told += everything_in(tmp_path)
        told += running.log.encode()
    assert b"bob" in told
    for clear in (admin, key):
        assert [clear[at : at + 12] for at in range(len(clear) - 11) if clear[at : at + 12].encode() in told] == []
