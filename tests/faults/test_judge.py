"""A judge that hangs, drips or dies on real sockets: every client is answered, in bounded time."""

import time
from pathlib import Path

import pytest

from tests.fakes import turns
from tests.fakes.client import ask, chat, post
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
