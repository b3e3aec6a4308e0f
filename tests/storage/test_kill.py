"""A process that is killed at any moment loses nothing that it was told is written."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from octoroute_py.storage import candidates
from octoroute_py.storage.db import Database
from tests.fakes.repository import ROOT

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
