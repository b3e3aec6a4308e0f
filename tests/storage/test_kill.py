"""A process that is killed at any moment loses nothing that it was told is written."""

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from octoroute_py.ledger.keeper import Keeper
from octoroute_py.storage import candidates
from octoroute_py.storage.db import Database
from octoroute_py.storage.schema import journal
from octoroute_py.storage.spool import Spool
from tests.fakes.repository import ROOT
from tests.fakes.rows import open_intents

WRITES_AND_TELLS = """
import sys
from pathlib import Path
from octoroute_py.storage import candidates
from octoroute_py.storage.candidates import RoutingRow, CandidateRow
from octoroute_py.storage.db import Database

database = Database.open("sqlite:///x.db", base_dir=Path(sys.argv[1]))
row = CandidateRow(id="a", embedding=bytes(8), metadata="{}", created_at=1, access_count=0, success_rate=0.0)
database.write(lambda connection: candidates.put(connection, row, now=1))
routing = RoutingRow(
    candidate_id="a", query_embedding=None, confidence=0.5, use_lightweight=True, uncertainty=0.1, timestamp=1,
    inference_time_us=1,
)
while True:
    futures = [database.submit(lambda connection: candidates.add_routing(connection, routing)) for _ in range(8)]
    for future in futures:
        print(future.result(), flush=True)
"""


@pytest.mark.parametrize("after", [1, 137, 700])
def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path, after: int) -> None:
    argv = [sys.executable, "-c", WRITES_AND_TELLS, str(tmp_path)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(after)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.readlines()
    acknowledged = [int(line) for line in told if line.endswith("\n")]
    assert len(acknowledged) >= after
    assert acknowledged == list(range(1, len(acknowledged) + 1))
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)
    with database.read() as connection:
        kept = candidates.totals(connection).routes
        (candidate,) = candidates.newest(connection, 1)
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    assert len(acknowledged) <= kept <= len(acknowledged) + 8
    assert candidate.access_count == kept
    database.close()


KEEPS_AND_TELLS = """
import asyncio, sys
from pathlib import Path
from octoroute_py.ledger.keeper import Keeper
from octoroute_py.storage.db import Database
from octoroute_py.storage.spool import Spool
from tests.fakes.rows import an_entry, an_intent

async def main():
    folder = Path(sys.argv[1])
    database = Database.open("sqlite:///x.db", base_dir=folder, busy_wait_s=0.05)
    keeper = Keeper(database, Spool(folder / "x.db.spool"), retry_s=0.01)
    await keeper.start()

    async def request(number):
        id = f"{sys.argv[2]}-{number}"
        if number % 3:
            keeper.intend(an_intent(id, reserved_uusd=1000))
        else:
            await keeper.reserve(an_intent(id, reserved_uusd=1000))
            print("reserved", id, flush=True)
        await asyncio.sleep(0.05 if number % 2 else 0)
        await keeper.keep(an_entry(id, cost_uusd=number))
        print("kept", id, flush=True)

    async def client(first):
        for number in range(first, 10**9, 16):
            await request(number)

    await asyncio.gather(*[client(first) for first in range(16)])

asyncio.run(main())
"""


async def start_once(database: Database, folder: Path) -> None:
    """What a gateway does first: bring in what the last one left."""
    keeper = Keeper(database, Spool(folder / "x.db.spool"))
    await keeper.start()
    await keeper.close()


def test_nothing_that_was_kept_or_reserved_is_lost_by_kills_whatever_takes_the_rows(tmp_path: Path) -> None:
    """Round after round on one database, some of them while another process holds its lock."""
    kept: list[str] = []
    reserved: list[str] = []
    for number, (after, locked) in enumerate([(40, False), (300, False), (80, True), (500, True), (100, False)]):
        argv = [sys.executable, "-c", KEEPS_AND_TELLS, str(tmp_path), str(number)]
        with contextlib.ExitStack() as stack:
            process = stack.enter_context(subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True))
            assert process.stdout is not None
            told = [process.stdout.readline() for _ in range(after // 2)]
            if locked:
                other = stack.enter_context(contextlib.closing(sqlite3.connect(tmp_path / "x.db", timeout=10)))
                other.execute("BEGIN EXCLUSIVE")
            told += [process.stdout.readline() for _ in range(after)]
            process.send_signal(signal.SIGKILL)
            told += process.stdout.readlines()
        words = [line.split() for line in told if line.startswith(("kept ", "reserved ")) and line.endswith("\n")]
        kept += [id for word, id in words if word == "kept"]
        reserved += [id for word, id in words if word == "reserved"]
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)
    asyncio.run(start_once(database, tmp_path))
    with database.read() as connection:
        columns = (journal.c.request_id, journal.c.cost_uusd, journal.c.error_code)
        rows = {id: (cost, code) for id, cost, code in connection.execute(select(*columns))}
        ids = Counter(connection.execute(select(journal.c.request_id)).scalars())
        assert open_intents(connection) == []
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    database.close()
    assert len(kept) > 900
    assert max(ids.values()) == 1
    assert {id: rows.get(id) for id in kept} == {id: (int(id.split("-")[1]), None) for id in kept}
    assert [id for id in reserved if id not in rows] == []
    interrupted = {id for id, (_, code) in rows.items() if code == "interrupted"}
    assert {rows[id][0] for id in interrupted} == {1000}
