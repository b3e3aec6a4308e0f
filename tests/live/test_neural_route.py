"""The router's process beside a real gateway: it starts when asked, and ends with the gateway, however that ends."""

import asyncio
import json
import signal
from pathlib import Path

import httpx
import psutil
import pytest

from tests.fakes.configs import MINIMAL
from tests.fakes.gateway import gateway

REQUEST = {"queryEmbedding": [1.0, 0.0], "candidates": [{"id": "a", "embedding": [1.0, 0.1], "successRate": 0.9}]}
CONFIG = MINIMAL + "[health]\nenabled = false\n[storage]\n"


async def route(url: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30.0, trust_env=False) as client:
        return await client.post(f"{url}/api/neural/route", content=json.dumps(REQUEST))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_its_process_is_there_when_needed_and_gone_with_the_gateway(tmp_path: Path, how: signal.Signals) -> None:
    async with gateway(CONFIG, tmp_path) as running:
        itself = psutil.Process(running.process.pid)
        assert itself.children() == []
        answer = await route(running.url)
        assert (answer.status_code, answer.json()["routingId"]) == (200, 1)
        (worker,) = itself.children()
        running.signal(how)
        await running.wait()
        await asyncio.to_thread(worker.wait, 20)
    assert not worker.is_running()
    assert (tmp_path / "octoroute.db").exists()


async def test_others_are_served_while_a_large_question_is_worked_on(tmp_path: Path) -> None:
    vector = [0.125 + number / 7 for number in range(256)]
    large = {
        "queryEmbedding": vector,
        "candidates": [{"id": str(number), "embedding": vector} for number in range(400)],
    }
    async with gateway(CONFIG, tmp_path) as running, httpx.AsyncClient(timeout=30.0, trust_env=False) as client:
        await route(running.url)
        body = json.dumps(large)
        assert len(body) > 1_000_000
        asked = [asyncio.create_task(client.post(f"{running.url}/api/neural/route", content=body)) for _ in range(3)]
        served = 0
        while not all(task.done() for task in asked):
            assert (await client.get(f"{running.url}/health")).status_code == 200
            served += 1
        assert [(await task).json()["candidatesProcessed"] for task in asked] == [400] * 3
        assert served > 3
