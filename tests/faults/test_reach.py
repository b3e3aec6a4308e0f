"""A metadata service that really listens hears nothing of registered endpoints."""

import json
import subprocess
import sys

from tests.fakes.repository import ROOT

_IN_A_NETWORK = ("unshare", "--user", "--map-root-user", "--net")


def test_no_registered_endpoint_reaches_a_metadata_service() -> None:
    argv = [*_IN_A_NETWORK, sys.executable, "-m", "tests.fakes.metadata_net"]
    result = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"passed": [], "reached": 0, "reached_by_the_file": 1}
