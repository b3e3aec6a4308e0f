"""POST /api/neural/route from end to end: the real router in its own process, behind the real application."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from tests.fakes.application import Running, httpx_config, running
from tests.fakes.repository import ROOT

PATH = "/api/neural/route"
GOOD = {
    "id": "good",
    "embedding": [1.0, 0.1, 0.0],
    "metadata": {"lang": "de"},
    "accessCount": 5000,
    "successRate": 0.98,
}
BAD = {"id": "bad", "embedding": [0.9, 0.4, 0.0], "accessCount": 5000, "successRate": 0.02}
REQUEST = {"queryEmbedding": [1.0, 0.0, 0.0], "candidates": [BAD, GOOD], "metadata": {"lang": "de"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one() -> AsyncIterator[Running]:
    async with running(httpx_config()) as application:
        yield application


async def post(one: Running, body: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return await one.client.post(PATH, content=content, headers={"content-type": "application/json"})


@pytest.mark.asyncio(loop_scope="module")
async def test_it_answers_with_decisions_in_camel_case_most_confident_first(one: Running) -> None:
    answer = await post(one, REQUEST)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"decisions", "inferenceTimeUs", "candidatesProcessed", "featureTimeUs"}
    assert [each["candidateId"] for each in body["decisions"]] == ["good", "bad"]
    assert set(body["decisions"][0]) == {"candidateId", "confidence", "useLightweight", "uncertainty"}
    assert body["decisions"][0]["confidence"] > body["decisions"][1]["confidence"]
    assert body["candidatesProcessed"] == 2
    assert 0 < body["featureTimeUs"] <= body["inferenceTimeUs"]
    assert answer.headers["x-request-id"]


WRONG: dict[str, tuple[Any, str | None]] = {
    "no JSON": (b"{", None),
    "no object": ([1], None),
    "nothing": ({}, None),
    "no candidates": ({"queryEmbedding": [1.0], "candidates": []}, "candidates"),
    "text for numbers": ({"queryEmbedding": "abc"}, "queryEmbedding"),
    "empty query": ({**REQUEST, "queryEmbedding": []}, "queryEmbedding"),
    "other dimensions": ({**REQUEST, "queryEmbedding": [1.0, 0.0]}, "candidates[0].embedding"),
    "too large a number": (
        b'{"queryEmbedding": [1e39], "candidates": [{"id": "a", "embedding": [1]}]}',
        "queryEmbedding",
    ),
    "a rate above 1": ({**REQUEST, "candidates": [{**GOOD, "successRate": 1.5}]}, "candidates[0].successRate"),
    "a negative count": ({**REQUEST, "candidates": [{**GOOD, "accessCount": -1}]}, "candidates[0].accessCount"),
    "an id twice": ({**REQUEST, "candidates": [GOOD, GOOD]}, "candidates[1].id"),
    "an unknown field": ({**REQUEST, "topk": 1}, None),
    "a top of nothing": ({**REQUEST, "topK": 0}, "topK"),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", WRONG)
async def test_what_is_wrong_is_told_in_the_shape_of_the_api(one: Running, name: str) -> None:
    given, field = WRONG[name]
    answer = await post(one, given)
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert body["code"] == "invalid_request"
    assert isinstance(body["error"], str)
    assert body.get("details") == (None if field is None else {"field": field})


@pytest.mark.asyncio(loop_scope="module")
async def test_top_k_keeps_the_best(one: Running) -> None:
    body = (await post(one, {**REQUEST, "topK": 1})).json()
    assert [each["candidateId"] for each in body["decisions"]] == ["good"]
    assert body["candidatesProcessed"] == 2


@pytest.mark.asyncio(loop_scope="module")
async def test_a_body_above_the_limit_is_413() -> None:
    async with running(httpx_config("[limits]\nmax_request_bytes = 1024")) as small:
        answer = await post(small, {**REQUEST, "queryEmbedding": [0.5] * 1024})
    assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")


@pytest.mark.asyncio(loop_scope="module")
async def test_many_at_once_each_get_their_own_answer(one: Running) -> None:
    asked = [{**REQUEST, "candidates": [{**GOOD, "id": f"c{number}"}]} for number in range(24)]
    answers = await asyncio.gather(*(post(one, each) for each in asked))
    assert [each.json()["decisions"][0]["candidateId"] for each in answers] == [f"c{n}" for n in range(24)]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_router_that_dies_costs_one_answer_at_most(one: Running) -> None:
    await post(one, REQUEST)
    pid = one.application.router_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    answers = [(await post(one, REQUEST)).status_code for _ in range(2)]
    assert answers[0] in {200, 503}
    assert answers[1] == 200
    assert one.application.router_pid != pid


def test_the_gateway_itself_imports_no_numpy_for_it() -> None:
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from octoroute_py.neural.process import RouterProcess\n"
        "import octoroute_py.app\n"
        "async def main():\n"
        "    process = RouterProcess()\n"
        "    answer = await process.ask(b'{}')\n"
        "    await process.close()\n"
        "    print(answer.status, sorted({'numpy', 'numba'} & set(sys.modules)))\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "400 []\n", done.stderr


def sqlite_config(folder: Path) -> str:
    return httpx_config(f'[storage]\nurl = "sqlite:///{folder}/kept.db"')


async def test_with_storage_candidates_and_history_are_kept_and_found_again(tmp_path: Path) -> None:
    async with running(sqlite_config(tmp_path)) as keeping:
        first = (await post(keeping, REQUEST)).json()
        assert first["routingId"] == 1
    async with running(sqlite_config(tmp_path)) as keeping:
        again = (await post(keeping, {"queryEmbedding": [1.0, 0.0, 0.0]})).json()
    assert [each["candidateId"] for each in again["decisions"]] == ["good", "bad"]
    assert again["routingId"] == 2
    kept = sqlite3.connect(tmp_path / "kept.db")
    assert kept.execute("SELECT id, access_count FROM candidates ORDER BY id").fetchall() == [
        ("bad", 5000),
        ("good", 5002),
    ]
    assert kept.execute("SELECT candidate_id, query_embedding FROM routing_history").fetchall() == [("good", None)] * 2
    kept.close()


def test_a_damaged_database_refuses_the_start_and_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "kept.db"
    file.write_bytes(b"not a database" * 100)
    (tmp_path / "config.toml").write_text(sqlite_config(tmp_path))
    argv = [sys.executable, "-m", "octoroute_py", "serve", "-c", str(tmp_path / "config.toml"), "--port", "0"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 78
    assert str(file) in done.stderr
    assert "Traceback" not in done.stderr
    assert file.read_bytes() == b"not a database" * 100
