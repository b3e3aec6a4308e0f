from pathlib import Path

import numpy as np
import pytest

from octoroute_py.features.vector import Prompt
from octoroute_py.neural.artifact import Artifact
from octoroute_py.neural.shipped import shipped_path
from octoroute_py.neural.weights import load
from octoroute_py.routing.scorer import Scorer
from octoroute_py.training.dataset import Labels, Row, read_rows
from octoroute_py.training.evidence import calibration_of, evidence_of, outcomes_of
from tests.fakes.labelled import drawn_lines, write_lines


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return load(shipped_path("default"))


def row(*, ladder: Labels | None = None, pair: Labels | None = None) -> Row:
    return Row(
        id="1", prompt=Prompt("x"), group="1", source="s", subject="", ladder=ladder, pair=pair, models={}
    )  # fmt: skip


def test_a_row_is_held_against_its_ladder_and_against_its_pair_where_it_has_none() -> None:
    ladder, pair = Labels(1, 0, 1), Labels(fast=0, deep=1)
    found = outcomes_of([row(ladder=ladder), row(pair=pair), row(ladder=ladder, pair=pair)])
    assert found[0].tolist() == found[2].tolist() == [1, 0, 1]
    assert found[1, [0, 2]].tolist() == [0, 1]
    assert np.isnan(found[1, 1])


def test_evidence_holds_what_the_serving_scorer_sees(artifact: Artifact, tmp_path: Path) -> None:
    rows = read_rows(write_lines(tmp_path / "rows.jsonl", drawn_lines(40, seed=1)))
    scorer = Scorer(artifact)
    evidence = evidence_of(rows, artifact, linear=load(shipped_path("linear")))
    assert evidence.raw.tolist() == [scorer.raw(each.prompt) for each in rows]
    assert evidence.lengths.tolist() == [len(each.prompt.text) for each in rows]
    assert list(evidence.sources) == [each.source for each in rows]
    assert evidence.linear is not None
    assert evidence.linear.shape == (40,)
    assert evidence_of(rows, artifact).linear is None


def test_calibration_uses_the_rows_that_tell_of_fast_and_deep(artifact: Artifact, tmp_path: Path) -> None:
    rows = [*read_rows(write_lines(tmp_path / "rows.jsonl", drawn_lines(60, seed=2))), row(ladder=Labels(balanced=1))]
    assert calibration_of(rows, artifact).gain.rows == 60
    with pytest.raises(ValueError, match="known outcome"):
        calibration_of(rows[-1:], artifact)
