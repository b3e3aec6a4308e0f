import numpy as np
import pytest

from octoroute_py.training.evaluate import Evidence, evaluate
from octoroute_py.training.report import Report
from tests.fakes.evidence import calibrated, evidence_of
from tests.fakes.outcomes import drawn


@pytest.fixture(scope="session")
def report() -> Report:
    """Of a scorer that knows something, on 1,500 rows of two sources."""
    return evaluate(known_rows(), calibrated(), artifact="a.safetensors", data="test.jsonl")


def known_rows() -> Evidence:
    return evidence_of(*drawn(np.random.default_rng(5), rows=1_500))
