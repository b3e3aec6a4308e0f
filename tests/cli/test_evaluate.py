import dataclasses
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from octoroute_py.cli.main import cli
from octoroute_py.neural.shipped import shipped_path
from octoroute_py.neural.weights import load, save
from octoroute_py.training.report import Report
from tests.fakes.labelled import drawn_lines, write_lines


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("data") / "public_test.jsonl", drawn_lines(210, seed=1))


def evaluate(*args: object, artifact: Path | None = None) -> Result:
    path = artifact if artifact is not None else shipped_path("default")
    return CliRunner().invoke(cli, ["evaluate", "--artifact", str(path), *map(str, args)])


def test_the_report_is_printed_with_its_verdict(data: Path) -> None:
    result = evaluate("--data", data)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("default.safetensors on public_test.jsonl: 210 rows")
    assert "random mix of the same tiers at the same cost" in result.stdout.splitlines()[-1]


def test_as_json_it_holds_every_figure(data: Path) -> None:
    result = evaluate("--data", data, "--json")
    report = msgspec.json.decode(result.stdout, type=Report)
    assert report.rows == 210
    assert [group.rows for group in report.groups] == [140, 70]
    assert [group.name for group in report.sources] == ["made"]
    assert report.all.apgr_linear is not None
    assert [dial.alpha for dial in report.all.dials] == [0.02, 0.05, 0.1]


def test_plots_and_the_model_card_are_written_where_they_are_asked_for(data: Path, tmp_path: Path) -> None:
    cost, calibration, card = tmp_path / "cost.png", tmp_path / "calibration.png", tmp_path / "card.md"
    result = evaluate("--data", data, "--plot", cost, "--calibration-plot", calibration, "--card", card)
    assert result.exit_code == 0, result.output
    assert cost.stat().st_size > 10_000
    assert calibration.stat().st_size > 10_000
    assert card.read_text().startswith("# default.safetensors")


def test_without_matplotlib_one_message_says_what_to_install(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = evaluate("--data", data, "--plot", tmp_path / "cost.png")
    assert result.exit_code == 1
    assert result.stderr == "Error: plots need matplotlib: pip install 'octoroute-py[plots]'\n"


@pytest.mark.parametrize("name", ["cost.nonsense", "no/such/folder/cost.png"])
def test_a_plot_that_cannot_be_written_is_one_message(data: Path, tmp_path: Path, name: str) -> None:
    result = evaluate("--data", data, "--plot", tmp_path / name)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr


def test_an_artifact_without_calibration_is_told_to_get_one(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "raw.safetensors"
    save(dataclasses.replace(load(shipped_path("linear")), calibration=None), path)
    result = evaluate("--data", data, artifact=path)
    assert result.exit_code == 1
    assert "run `octoroute calibrate` on it first" in result.stderr


def test_the_folder_of_the_environment_is_looked_into_when_no_data_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTOROUTE_ROUTING_DATA", str(tmp_path))
    result = evaluate()
    assert result.exit_code == 1
    assert str(tmp_path / "public_test.jsonl.gz") in result.stderr
