"""A judge that hangs, drips or dies on real sockets: every client is answered, in bounded time."""

import time
from pathlib import Path

import pytest

from tests.fakes import turns
from tests.fakes.client import Client, ask, ask_many, chat, post
from tests.fakes.gateway import gateway, rule_config
from tests.fakes.script import Fin, Rst, Script, Turn
from tests.fakes.upstream import FakeUpstream

LIMIT_S = 0.5
SLACK_S = 1.5
MORE = f"""
default_tier = "fast"
router_tier = "deep"
router_timeouts = {{ deep = {LIMIT_S} }}
[health]
enabled = false
"""

BAD: dict[str, Turn] = {
    "hangs": turns.hang(),
    "drips": turns.drip(pause_s=0.05, turn=turns.json_answer("DEEP")),
    "resets": Script((Rst(),)),
    "closes": Script((Fin(),)),
    "breaks off": turns.cut("mid_body"),
    "fails": turns.status(500),
}


@pytest.mark.parametrize("turn", BAD.values(), ids=BAD)
async def test_a_client_waits_for_a_bad_judge_no_longer_than_its_limit(tmp_path: Path, turn: Turn) -> None:
    async with FakeUpstream() as answering, FakeUpstream() as judge:
        judge.always(turn)
        urls = ([answering.base_url], [answering.base_url], [judge.base_url, judge.base_url])
        config = rule_config(*urls, more=MORE).replace('"rule"', '"llm"')
        async with gateway(config, tmp_path) as running:
            started = time.monotonic()
            answer = await ask(running.port, post(chat(model="auto")))
            took_s = time.monotonic() - started
        assert (answer.status, answer.headers["x-octoroute-reason"]) == (200, "judge_failed")
        assert took_s < LIMIT_S + SLACK_S
        assert 1 <= len(judge.requests) <= 2
        await judge.wait_idle()


async def test_two_hundred_equal_requests_at_once_cost_one_question(tmp_path: Path) -> None:
    async with FakeUpstream() as answering, FakeUpstream() as judge:
        judge.always(turns.drip(piece_bytes=40, turn=turns.json_answer("FAST")))  # slow enough for all to be waiting
        config = rule_config([answering.base_url], [answering.base_url], [judge.base_url], more=MORE)
        async with gateway(config.replace('"rule"', '"llm"'), tmp_path) as running:
            answers = await ask_many(running.port, post(chat(model="auto")), count=200, at_once=200)
    assert {(each.status, each.headers["x-octoroute-reason"]) for each in answers} == {(200, "llm_judged")}
    assert len(judge.requests) == 1
    assert len(answering.requests) == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/routing/explain?judge=ask"])
async def test_a_client_that_leaves_ends_a_question_that_nobody_else_waits_for(path: str, tmp_path: Path) -> None:
    async with FakeUpstream() as answering, FakeUpstream() as judge:
        judge.always(turns.hang())
        config = rule_config([answering.base_url], [answering.base_url], [judge.base_url], more=MORE)
        config = config.replace('"rule"', '"llm"').replace(f"deep = {LIMIT_S}", "deep = 60")
        async with gateway(config, tmp_path) as running:
            async with await Client.connect(running.port) as client:
                client.write(post(chat(model="auto"), path=path))
                await judge.wait_requests(1)
            await judge.wait_idle(2)
    assert answering.requests == []
