"""The gateway ends when told to, with nobody's answer cut short; and it changes its configuration under load."""

import asyncio
import contextlib
import functools
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes import turns
from tests.fakes.client import Client, ask, chat, get, post
from tests.fakes.gateway import RunningGateway, gateway, rule_config
from tests.fakes.script import Pause
from tests.fakes.upstream import FakeUpstream
from tests.fakes.waiting import until

STREAM = post(chat(stream=True))
NO_PROBES = "[health]\nenabled = false\n"
LONG = turns.stream_answer(*[step for n in range(30) for step in (f"{n} ", Pause(0.05))])
EVENTS_OF_LONG = 1 + 30 + 1 + 1


def config_of(upstream: FakeUpstream, *, server: str = "", more: str = NO_PROBES) -> str:
    urls = [upstream.base_url]
    return rule_config(urls, urls, urls, more=f"{more}[server]\n{server}\n")


@contextlib.asynccontextmanager
async def begun(running: RunningGateway, *requests: bytes, upstream: FakeUpstream) -> AsyncIterator[list[Client]]:
    """These requests are under way, each on its own connection: the upstream has all of them."""
    seen = len(upstream.requests)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await Client.connect(running.port)) for _ in requests]
        for client, request in zip(clients, requests, strict=True):
            client.write(request)
        await upstream.wait_requests(seen + len(requests))
        yield clients


async def refused(port: int) -> bool:
    """Whether nobody listens there any more."""
    try:
        client = await Client.connect(port)
    except OSError:
        return True
    client.abort()
    return False


async def test_twenty_live_streams_finish_whole_after_sigterm(tmp_path: Path) -> None:
    async with FakeUpstream() as upstream, gateway(config_of(upstream), tmp_path) as running:
        upstream.always(LONG)
        async with begun(running, *[STREAM] * 20, upstream=upstream) as clients:
            heads = [await client.head() for client in clients]
            assert {head.status for head in heads} == {200}
            running.signal(signal.SIGTERM)
            await until(lambda: refused(running.port), 2 * 1.0)
            assert running.process.returncode is None
            for client, head in zip(clients, heads, strict=True):
                while piece := await client.piece():
                    head.body += piece
                assert head.whole
                assert head.done
                assert len(head.events) == EVENTS_OF_LONG
                assert await client.ended() == b""
        assert await running.wait(5) == 0


async def test_buffered_requests_finish_and_their_connections_are_told_to_close(tmp_path: Path) -> None:
    async with FakeUpstream() as upstream, gateway(config_of(upstream), tmp_path) as running:
        upstream.always(turns.json_answer(delay_s=0.8))
        async with begun(running, *[post(chat())] * 20, upstream=upstream) as clients:
            running.signal(signal.SIGTERM)
            for client in clients:
                answer = await client.answer()
                assert answer.status == 200
                assert answer.json["choices"]
                assert answer.headers["connection"] == "close"
                assert await client.ended() == b""
        assert await running.wait(5) == 0
        assert running.log.count("status=200") == 20
        # on a busy machine the spool may take a turn meanwhile, which is told too
        (line,) = [line for line in running.log.splitlines() if not {"request", "database"} & set(line.split())]
        assert line.endswith("info    draining in_flight=20 up_to_s=60.0")


async def test_kept_connections_are_told_with_an_answer_while_draining(tmp_path: Path) -> None:
    async with FakeUpstream() as upstream, gateway(config_of(upstream), tmp_path) as running:
        upstream.always(LONG)
        async with await Client.connect(running.port) as probe, await Client.connect(running.port) as worker:
            for client in (probe, worker):
                assert (await client.ask(get("/health/ready"))).status == 200
            async with begun(running, STREAM, upstream=upstream) as (streaming,):
                running.signal(signal.SIGTERM)
                await until(lambda: refused(running.port))
                answer = await probe.ask(get("/health/ready"))
                assert answer.status == 503
                assert "draining" in answer.json["reasons"]
                assert answer.headers["connection"] == "close"
                assert await probe.ended() == b""
                answer = await worker.ask(post(chat()))
                assert (answer.status, answer.code) == (503, "overloaded")
                assert "retry-after" in answer.headers
                assert answer.headers["connection"] == "close"
                assert await worker.ended() == b""
                assert (await streaming.answer()).done
        assert len(upstream.requests) == 1
        assert await running.wait(5) == 0


async def test_kept_connections_do_not_hold_up_the_end(tmp_path: Path) -> None:
    async with (
        FakeUpstream() as upstream,
        gateway(config_of(upstream), tmp_path) as running,
        await Client.connect(running.port) as used,
        await Client.connect(running.port) as fresh,
    ):
        assert (await used.ask(get("/health"))).status == 200
        fresh.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")  # a head that never ends
        began = time.monotonic()
        running.signal(signal.SIGTERM)
        assert await running.wait(5) == 0
        assert time.monotonic() - began < 2


async def test_what_is_left_at_the_drain_limit_gets_an_error_and_the_process_ends(tmp_path: Path) -> None:
    async with (
        FakeUpstream() as upstream,
        gateway(config_of(upstream, server="drain_seconds = 1"), tmp_path) as running,
    ):
        upstream.always(turns.stall_after(2))
        async with begun(running, *[STREAM] * 10, upstream=upstream) as streams:
            upstream.always(turns.hang())
            async with begun(running, *[post(chat()), STREAM] * 3, upstream=upstream) as waiting:
                began = time.monotonic()
                running.signal(signal.SIGTERM)
                for client in streams:
                    answer = await client.answer()
                    assert len(answer.events) == 1 + 2 + 1
                    assert answer.stream_error == "overloaded"
                    assert await client.ended() == b""
                for client in waiting:
                    answer = await client.answer()
                    assert (answer.status, answer.code) == (503, "overloaded")
                    assert await client.ended() == b""
        assert await running.wait(5) == 0
        assert 1 <= time.monotonic() - began < 1 + 2
        await upstream.wait_idle(1)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
async def test_a_second_signal_ends_it_within_two_seconds(first: signal.Signals, tmp_path: Path) -> None:
    async with FakeUpstream() as upstream, gateway(config_of(upstream), tmp_path) as running:
        upstream.always(turns.stall_after(2))
        async with begun(running, STREAM, upstream=upstream) as (client,):
            await client.head()
            running.signal(first)
            await asyncio.sleep(0.3)
            assert running.process.returncode is None
            began = time.monotonic()
            running.signal(signal.SIGTERM)
            assert await running.wait(5) == 0
            assert time.monotonic() - began < 2


async def test_a_client_that_does_not_read_cannot_hold_up_the_end(tmp_path: Path) -> None:
    async with (
        FakeUpstream() as upstream,
        gateway(config_of(upstream, server="drain_seconds = 0.5"), tmp_path) as running,
        await Client.connect(running.port, receive_buffer=4096) as client,
    ):
        upstream.always(turns.flood(400_000_000))
        client.write(STREAM)
        await upstream.wait_requests(1)
        await asyncio.sleep(0.3)
        began = time.monotonic()
        running.signal(signal.SIGTERM)
        assert await running.wait(10) == 0
        assert time.monotonic() - began < 0.5 + 2 * 2


async def generation(running: RunningGateway) -> int:
    return int((await ask(running.port, get("/health/detailed"))).json["generation"])


async def put(running: RunningGateway, config: str, *, generation_after: int) -> None:
    """Reload with this file and wait until it is in force."""
    (running.folder / "config.toml").write_text(config, encoding="utf-8")
    running.signal(signal.SIGHUP)

    async def in_force() -> bool:
        return await generation(running) == generation_after

    await until(in_force)


async def test_a_reload_leaves_live_streams_alone_and_new_requests_go_by_the_new_config(tmp_path: Path) -> None:
    async with FakeUpstream() as old, FakeUpstream() as new, gateway(config_of(old), tmp_path) as running:
        old.always(LONG)
        async with begun(running, *[STREAM] * 5, upstream=old) as clients:
            await put(running, config_of(new), generation_after=2)
            assert (await ask(running.port, post(chat()))).status == 200
            assert len(new.requests) == 1
            for client in clients:
                answer = await client.answer()
                assert answer.done
                assert len(answer.events) == EVENTS_OF_LONG
        assert len(old.requests) == 5
        await old.wait_idle(2)  # nothing of the removed endpoint is left


async def test_a_file_that_cannot_be_used_changes_nothing_and_is_told_in_the_log(tmp_path: Path) -> None:
    async with FakeUpstream() as upstream, gateway(config_of(upstream), tmp_path) as running:
        sound = config_of(upstream)
        broken = {
            "syntax": sound + "[[[",
            "unknown field": sound + "bogus_field = 1\n",
            "duplicate id": sound.replace("[[models.balanced]]", '[[models.balanced]]\nid = "fast/fast-0#1"'),
            "negative price": sound.replace("[[models.deep]]", "[[models.deep]]\ninput_cost_per_mtok = -1"),
            "missing secret": sound.replace("[[models.deep]]", '[[models.deep]]\napi_key_env = "NOT_SET_ANYWHERE"'),
            "unbuilt": sound + '[redis]\nurl = "redis://127.0.0.1"\n',
        }

        async def told(times: int) -> bool:
            return running.log.count("not reloaded") == times

        upstream.always(LONG)
        async with begun(running, STREAM, upstream=upstream) as (client,):
            upstream.always(turns.good_answer)
            for number, (kind, config) in enumerate(broken.items(), 1):
                (running.folder / "config.toml").write_text(config, encoding="utf-8")
                running.signal(signal.SIGHUP)
                await until(functools.partial(told, number))
                assert await generation(running) == 1, kind
            assert "bogus_field" in running.log
            assert "NOT_SET_ANYWHERE" in running.log
            assert (await ask(running.port, post(chat()))).status == 200
            assert (await client.answer()).done
        await put(running, sound, generation_after=2)


async def test_a_key_that_is_removed_is_refused_at_once(tmp_path: Path) -> None:
    one, two = '{name = "one", role = "inference", env = "ONE"}', '{name = "two", role = "admin", env = "TWO"}'
    three = '{name = "three", role = "inference", env = "THREE"}'
    env = {"ONE": "key-number-one-0123456789", "TWO": "key-number-two-0123456789", "THREE": "key-number-three-0123456"}
    asked = post(chat(), headers={"authorization": f"Bearer {env['ONE']}"})
    reloading = post(b"", path="/admin/reload", headers={"authorization": f"Bearer {env['TWO']}"})
    async with FakeUpstream() as upstream:
        config = config_of(upstream, more=f"{NO_PROBES}[auth]\nkeys = [{one}, {two}, {three}]\n")
        async with gateway(config, tmp_path, env=env) as running, await Client.connect(running.port) as client:
            assert (await client.ask(asked)).status == 200
            config = config.replace(f"{one}, ", "")
            (running.folder / "config.toml").write_text(config, encoding="utf-8")
            told = (await client.ask(reloading)).json
            assert (told["success"], told["generation"], told["config"]) == (True, 2, {"changed": ["auth"]})
            assert (await client.ask(asked)).status == 401
