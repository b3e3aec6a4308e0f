"""Tells whoever runs the suite which tests were skipped, and why: into a file, for `scripts/test` to end with."""

import os
from pathlib import Path

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add a skipped test to the file that OCTOROUTE_SKIPPED names, in the process that leads a run."""
    kept = os.environ.get("OCTOROUTE_SKIPPED")
    if kept is None or not report.skipped or "PYTEST_XDIST_WORKER" in os.environ:
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    with Path(kept).open("a", encoding="utf-8") as file:
        file.write(f"{report.nodeid}: {reason}\n")
