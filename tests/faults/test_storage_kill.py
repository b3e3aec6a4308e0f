"""A gateway that is killed under load lost nothing that a client was told; three rounds of scripts/ledger/kill.py."""

import subprocess
import sys

from tests.fakes.repository import ROOT


def test_what_clients_received_before_a_kill_is_in_the_journal_once_at_its_price() -> None:
    argv = [sys.executable, "-m", "scripts.ledger.kill", "--rounds", "3", "--seed", "11"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "| rows missing, doubled, with a wrong cost; wrong sums | 0 |" in done.stdout
