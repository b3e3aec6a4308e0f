"""The scorer that serves: calibrated, ready at once, and warm in places that cannot be written."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from octoroute_py.core.words import Tier
from octoroute_py.features.vector import Prompt
from octoroute_py.neural.artifact import ArtifactError
from octoroute_py.neural.shipped import shipped_path
from octoroute_py.neural.weights import load
from octoroute_py.routing.scorer import Scorer
from tests.fakes.artifacts import drawn_artifact
from tests.fakes.evidence import calibrated
from tests.fakes.repository import PACKAGE

HARD = "Prove that every bounded sequence of real numbers has a convergent subsequence. \\int_0^1 x^2 dx = ?\nAnswer:"
SCRIPT = """
import sys
from octoroute_py.features.vector import Prompt
from octoroute_py.neural.shipped import shipped_path
from octoroute_py.neural.weights import load
from octoroute_py.routing.scorer import Scorer
scorer = Scorer(load(shipped_path("default")))
scorer.warm()
print(scorer.score(Prompt(sys.argv[1])).p_fast)
"""


@pytest.fixture(scope="module")
def shipped() -> Scorer:
    scorer = Scorer(load(shipped_path("default")))
    scorer.warm()
    return scorer


def test_an_artifact_that_is_not_calibrated_is_refused() -> None:
    with pytest.raises(ArtifactError, match="octoroute calibrate"):
        Scorer(drawn_artifact())


def test_a_score_is_the_calibrated_raw_one() -> None:
    scorer = Scorer(dataclasses.replace(drawn_artifact(tags=("shop",)), calibration=calibrated()))
    prompt = Prompt("What is a norm?", tag="shop")
    assert scorer.score(prompt) == scorer.calibration.score(scorer.raw(prompt))
    assert scorer.raw(prompt) != scorer.raw(Prompt("What is a norm?"))
    assert scorer.score(prompt) == scorer.score(prompt)


@pytest.mark.parametrize("name", ["default", "linear"])
def test_the_shipped_artifacts_are_small_complete_and_calibrated(name: str) -> None:
    artifact = load(shipped_path(name))
    assert shipped_path(name).stat().st_size <= 300_000
    assert artifact.calibration is not None
    assert artifact.card.licence
    assert len(artifact.card.data_digest) == 64
    assert {tier for tier, names in artifact.card.tiers.items() if names} == set(Tier)


def test_the_shipped_scorer_knows_hard_from_easy(shipped: Scorer) -> None:
    easy = shipped.score(Prompt("Which of these animals is a mammal?\nA. Trout\nB. Dog\nC. Bee\nD. Crow\nAnswer:"))
    hard = shipped.score(Prompt(HARD))
    assert easy.p_fast > hard.p_fast + 0.1
    for score in (easy, hard):
        assert 0 <= score.p_fast <= score.p_balanced <= score.p_deep <= 1


@pytest.mark.parametrize("text", ["", " ", "?", "\ud800", "中" * 200_000, "x" * 1_000_000, "1" * 9_999, "\x00" * 999])
def test_any_text_has_a_score(shipped: Scorer, text: str) -> None:
    score = shipped.score(Prompt(text, context=text, turns=10**6, tools=10**6, images=10**6, system_chars=10**9))
    assert 0 <= score.p_fast <= score.p_deep <= 1
    assert 0 <= score.uncertainty <= 1


def run_elsewhere(package: Path, script: str, *, home: Path) -> str:
    """What a script prints by a copy of the package whose own cache folders cannot be written, with this home."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_CACHE_HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", script, HARD]
    result = subprocess.run(command, cwd=package.parent, env=env, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_package_that_cannot_be_written_is_cached_elsewhere_or_not_at_all(tmp_path: Path, shipped: Scorer) -> None:
    package = tmp_path / "site" / PACKAGE.name
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    for room in ("features", "neural"):
        (package / room / "__pycache__").write_text("a file where a folder should be: nothing can be kept here")
    home, nowhere = tmp_path / "home", tmp_path / "a-file"
    home.mkdir()
    nowhere.write_text("")
    scored = float(run_elsewhere(package, SCRIPT, home=home))
    assert scored == pytest.approx(shipped.score(Prompt(HARD)).p_fast, abs=1e-6)
    assert len(list(home.rglob("kernels.*.nbi"))) == 2
    compiled = "from octoroute_py.neural import kernels; kernels.warm(); print(len(kernels.predict.signatures))"
    assert run_elsewhere(package, compiled, home=nowhere).strip() == "1"


def test_an_artifact_that_overflows_abstains_where_it_could_fail() -> None:
    artifact = dataclasses.replace(drawn_artifact(), calibration=calibrated())
    assert artifact.cell is not None
    beyond = dataclasses.replace(artifact.cell, gates=np.array([3e38, 3e38], dtype=np.float32))
    score = Scorer(dataclasses.replace(artifact, cell=beyond)).score(Prompt(HARD))
    assert not score.in_distribution
