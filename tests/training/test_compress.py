"""What compressing the shipped artifact costs; runs only where OCTOROUTE_ROUTING_DATA names the labelled rows."""

from pathlib import Path

import pytest

from octoroute_py.config.load import process_env
from octoroute_py.neural.shipped import shipped_path
from octoroute_py.neural.weights import load
from octoroute_py.training.compress import Form, compressed, quality_of
from octoroute_py.training.dataset import read_rows

FOLDER = process_env().get("OCTOROUTE_ROUTING_DATA")

pytestmark = [
    pytest.mark.labelled_rows,
    pytest.mark.skipif(not FOLDER, reason="OCTOROUTE_ROUTING_DATA names no folder"),
]


@pytest.fixture(scope="module")
def folder() -> Path:
    assert FOLDER is not None
    return Path(FOLDER)


def test_few_bits_and_few_ranks_cost_little_quality(folder: Path) -> None:
    rows = read_rows(folder / "calibration.jsonl.gz")
    artifact = load(shipped_path("default"))
    before = quality_of(artifact, rows).apgr
    for form, tolerated in (
        (Form(bits=8), 0.005),
        (Form(bits=4), 0.01),
        (Form(rank=8), 0.02),
        (Form(sparsity=0.8), 0.03),
    ):
        after = quality_of(compressed(artifact, form), rows).apgr
        assert before is not None
        assert after is not None
        assert after > before - tolerated, form
