import io

import numpy as np
from rich.console import Console

from octoroute_py.cli.findings import show
from octoroute_py.training.evaluate import evaluate
from octoroute_py.training.report import NO_BETTER
from tests.fakes.evidence import calibrated, evidence_of, knowing_nothing


def test_the_printed_report_fits_a_terminal_and_ends_with_the_verdict() -> None:
    rows = evidence_of(*knowing_nothing(np.random.default_rng(3), rows=400))
    report = evaluate(rows, calibrated(rows=800), artifact="x.safetensors", data="t.jsonl", draws=200)
    printed = io.StringIO()
    show(report, console=Console(file=printed, width=110, markup=False, highlight=False))
    lines = printed.getvalue().splitlines()
    assert lines[0].startswith("x.safetensors on t.jsonl: 400 rows")
    assert lines[-1] == f"At a tolerated loss of 5 %: {NO_BETTER}."
    for name in ("APGR", "CPT50", "CPT80", "APGR, linear", "APGR, length", "AUC right", "AUC gain", "ECE"):
        assert any(line.startswith(name) for line in lines), name
    assert sum("no better" in line for line in lines) >= 9
