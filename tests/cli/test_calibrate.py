from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from octoroute_py.cli.calibrate import told
from octoroute_py.cli.main import cli
from octoroute_py.neural.calibrate import TAG_ROWS, fit_calibration
from octoroute_py.neural.shipped import shipped_path
from octoroute_py.neural.weights import load
from tests.fakes.labelled import drawn_lines, write_lines
from tests.fakes.outcomes import drawn


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(shipped_path("linear").read_bytes())
    return path


def calibrate(artifact: Path, data: Path, *more: str) -> Result:
    return CliRunner().invoke(cli, ["calibrate", "--artifact", str(artifact), "--data", str(data), *more])


def test_the_artifact_is_calibrated_in_place_and_the_dial_is_told(artifact: Path, tmp_path: Path) -> None:
    before = load(artifact).calibration
    result = calibrate(artifact, write_lines(tmp_path / "cal.jsonl", drawn_lines(200, seed=1)), "--alpha", "0.1")
    assert (result.exit_code, result.stderr) == (0, "")
    after = load(artifact).calibration
    assert after is not None
    assert after != before
    assert "calibrated on 200 of 200 rows" in result.stdout
    assert f"risk up to {after.threshold(0.1):.4f} is taken" in result.stdout


def test_calibrating_twice_gives_the_same_bytes(artifact: Path, tmp_path: Path) -> None:
    data = write_lines(tmp_path / "cal.jsonl", drawn_lines(120, seed=2))
    calibrate(artifact, data)
    first = artifact.read_bytes()
    calibrate(artifact, data)
    assert artifact.read_bytes() == first


def test_a_loss_that_the_rows_cannot_promise_is_told_as_such(artifact: Path, tmp_path: Path) -> None:
    result = calibrate(artifact, write_lines(tmp_path / "cal.jsonl", drawn_lines(20, seed=3)), "--alpha", "0.02")
    assert "everything goes to deep: 20 rows are too few" in result.stdout


def test_every_tag_with_a_dial_of_its_own_is_told() -> None:
    import numpy as np

    raw, outcomes = drawn(np.random.default_rng(4), rows=2 * TAG_ROWS)
    tags = ["ide"] * TAG_ROWS + [None] * TAG_ROWS
    lines = told(fit_calibration(raw, outcomes, tags=tags, known_tags=frozenset({"ide"})), alpha=0.05)
    assert [line.split(": ")[0] for line in lines[1:]] == [
        "dial at a tolerated loss of 0.05, all requests (1,000 rows)",
        "dial at a tolerated loss of 0.05, tag ide (500 rows)",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"prompt": "a"}', "has no outcome"),
        ('{"prompt": "a", "tiers": {"balanced": 1}}', "known outcome"),
        ("{", ":1"),
    ],
)
def test_rows_that_cannot_be_used_are_refused_and_the_artifact_stays(
    artifact: Path, tmp_path: Path, content: str, message: str
) -> None:
    before = artifact.read_bytes()
    data = tmp_path / "cal.jsonl"
    data.write_text(content + "\n")
    result = calibrate(artifact, data)
    assert result.exit_code == 1
    assert message in result.stderr
    assert artifact.read_bytes() == before


@pytest.mark.parametrize("alpha", ["0", "1", "-0.1", "much"])
def test_a_loss_outside_of_0_to_1_is_wrong_usage(artifact: Path, alpha: str) -> None:
    assert calibrate(artifact, artifact, "--alpha", alpha).exit_code == 2


def test_without_data_the_message_says_how_to_name_it(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OCTOROUTE_ROUTING_DATA", raising=False)
    result = CliRunner().invoke(cli, ["calibrate", "--artifact", str(artifact)])
    assert result.exit_code == 2
    assert "OCTOROUTE_ROUTING_DATA" in result.stderr
