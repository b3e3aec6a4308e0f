import numpy as np
import pytest

from octoroute_py.neural.calibrate import fit_calibration
from octoroute_py.neural.calibration import Calibration
from tests.fakes.outcomes import drawn


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    """Fitted on 4,000 drawn outcomes."""
    raw, outcomes = drawn(np.random.default_rng(1), rows=4_000)
    return fit_calibration(raw, outcomes)
