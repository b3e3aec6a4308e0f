"""The router's process: each question gets its own answer, and no death, delay or departure spoils the next one."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import psutil
import pytest

from octoroute_py.neural.process import Broken, Busy, RouterProcess


def question(id: str, *, dimensions: int = 2) -> bytes:
    vector = [1.0] * dimensions
    return msgspec.json.encode({"queryEmbedding": vector, "candidates": [{"id": id, "embedding": vector}]})


def answered_id(body: bytes) -> str:
    found: str = msgspec.json.decode(body)["decisions"][0]["candidateId"]
    return found


@contextlib.asynccontextmanager
async def started(*, waiting: int = 64) -> AsyncIterator[RouterProcess]:
    process = RouterProcess(waiting=waiting)
    try:
        yield process
    finally:
        await process.close()


async def test_it_starts_with_the_first_question_and_ends_when_it_is_closed() -> None:
    async with started() as process:
        before = process.pid
        assert before is None
        assert answered_id((await process.ask(question("a"))).body) == "a"
        pid = process.pid
        assert pid is not None
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)
    with pytest.raises(Busy):
        await process.ask(question("b"))


async def test_a_caller_that_leaves_does_not_spoil_the_answers_of_others() -> None:
    async with started() as process:
        await process.ask(question("first"))
        leaving = [asyncio.create_task(process.ask(question(f"gone{n}", dimensions=4000))) for n in range(5)]
        staying = [asyncio.create_task(process.ask(question(f"here{n}"))) for n in range(5)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        found = [answered_id((await task).body) for task in staying]
    assert found == [f"here{n}" for n in range(5)]


async def test_more_questions_than_places_are_refused_and_the_rest_are_answered() -> None:
    async with started(waiting=3) as process:
        asked = [asyncio.create_task(process.ask(question(str(n)))) for n in range(6)]
        found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in found[3:]] == [Busy] * 3
    assert [answered_id(each.body) for each in found[:3] if not isinstance(each, BaseException)] == ["0", "1", "2"]


async def test_a_process_that_does_not_answer_is_replaced() -> None:
    async with started() as process:
        await process.ask(question("a"))
        stopped = process.pid
        assert stopped is not None
        os.kill(stopped, signal.SIGSTOP)
        process.answer_s = 0.2
        with pytest.raises(Broken):
            await process.ask(question("b"))
        assert not psutil.pid_exists(stopped)
        process.answer_s = 30.0
        assert answered_id((await process.ask(question("c"))).body) == "c"


async def test_a_process_that_died_with_nothing_to_do_costs_nobody_an_answer() -> None:
    async with started() as process:
        await process.ask(question("a"))
        pid = process.pid
        assert pid is not None
        died = psutil.Process(pid)
        died.kill()
        await asyncio.to_thread(died.wait)
        async with asyncio.timeout(20):
            while not process.lost:  # noqa: ASYNC110 - the event loop tells when it sees the end of the pipe
                await asyncio.sleep(0.001)
        assert answered_id((await process.ask(question("b"))).body) == "b"
        assert process.pid != pid


async def test_closing_does_not_wait_for_ever_and_leaves_no_process_behind() -> None:
    process = RouterProcess()
    await process.ask(question("a"))
    stopped = process.pid
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    waiting = [asyncio.create_task(process.ask(question(str(n)))) for n in range(5)]
    await asyncio.sleep(0)
    await process.close(within_s=0.1)
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in found] == [Broken] * 5
    after = process.pid
    assert after is None
    assert not psutil.pid_exists(stopped)


async def test_it_ends_when_the_gateway_is_killed() -> None:
    script = (
        "import asyncio, sys\n"
        "from octoroute_py.neural.process import RouterProcess\n"
        "async def main():\n"
        "    process = RouterProcess()\n"
        "    await process.ask(b'{}')\n"
        "    print(process.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    gateway = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert gateway.stdout is not None
    worker = psutil.Process(int(await gateway.stdout.readline()))
    gateway.kill()
    await gateway.wait()
    await asyncio.to_thread(worker.wait, 20)
    assert not worker.is_running()


async def test_a_database_that_cannot_be_used_is_told_in_every_answer(tmp_path: Path) -> None:
    (tmp_path / "kept.db").write_bytes(b"something else" * 99)
    process = RouterProcess(tmp_path / "kept.db")
    for _ in range(2):
        found = await process.ask(question("a"))
        assert (found.status, msgspec.json.decode(found.body)["code"]) == (503, "router_unavailable")
    await process.close()
