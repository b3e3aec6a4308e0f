"""`octoroute train`, `optimize` and `score` on 600 generated rows."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from octoroute_py.cli import optimize, score, train
from octoroute_py.neural.weights import load
from tests.fakes.labelled import drawn_lines, write_lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled rows in a folder as the variable names it, and an artifact trained on them."""
    folder = tmp_path_factory.mktemp("labelled")
    for name, lines in (("train", drawn_lines(600)), ("calibration", drawn_lines(400, seed=1))):
        plain = write_lines(folder / f"{name}.jsonl", lines)
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    arguments = ("-o", folder / "a.safetensors", "--epochs", 2, "--plot", folder / "epochs.png")
    result = invoke(train.command, *arguments, folder=folder)
    assert result.exit_code == 0, result.output
    (folder / "told").write_text(result.output)
    return folder


def invoke(command: Any, *arguments: object, folder: Path | None = None) -> Result:
    env = {"OCTOROUTE_ROUTING_DATA": str(folder) if folder is not None else None}
    return CliRunner().invoke(command, [str(argument) for argument in arguments], env=env)


def test_training_writes_a_calibrated_artifact_and_tells_how_it_went(folder: Path) -> None:
    told = (folder / "told").read_text()
    assert "epoch 2: loss" in told
    assert "APGR" in told
    assert "600 rows learned from" in told
    artifact = load(folder / "a.safetensors")
    assert artifact.calibration is not None
    assert artifact.card.tiers == {"fast": ("small", "weak"), "balanced": ("middle",), "deep": ("big", "strong")}
    assert artifact.card.sources == {"made": 600}


def test_training_draws_its_epochs_when_asked(folder: Path) -> None:
    assert (folder / "epochs.png").read_bytes().startswith(b"\x89PNG")


def test_training_twice_gives_the_same_file_whatever_the_data_is_called(folder: Path) -> None:
    again = folder / "again.safetensors"
    data = ["--data", folder / "train.jsonl", "--calibration", folder / "calibration.jsonl", "--epochs", 2]
    assert invoke(train.command, *data, "-o", again).exit_code == 0
    assert again.read_bytes() == (folder / "a.safetensors").read_bytes()


def test_training_needs_data_and_good_rows(folder: Path, tmp_path: Path) -> None:
    missing = invoke(train.command, "-o", tmp_path / "x")
    assert missing.exit_code == 2
    assert "OCTOROUTE_ROUTING_DATA" in missing.output
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "a"}\n')
    result = invoke(train.command, "-o", tmp_path / "x", "--data", bad, "--calibration", bad)
    assert result.exit_code == 1
    assert f"{bad}:1: has no outcome" in result.output
    assert not (tmp_path / "x").exists()


def test_a_teacher_can_be_named(folder: Path, tmp_path: Path) -> None:
    result = invoke(
        train.command, "-o", tmp_path / "student.safetensors", "--teacher", folder / "a.safetensors", "--epochs", 1,
        "--kind", "linear", folder=folder,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "linear, 600 rows" in result.output


@pytest.mark.parametrize("batch", [[], ["--batch"]])
def test_rows_never_seen_are_scored_in_their_order(folder: Path, tmp_path: Path, batch: list[str]) -> None:
    unseen: list[dict[str, Any]] = [{"id": 7, "prompt": "Prove the lemma of the integral."}]
    unseen += [{"messages": [{"role": "user", "content": "What is a river?"}]}, {"id": "c", "prompt": "中" * 500}]
    source, out = write_lines(tmp_path / "in.jsonl", unseen), tmp_path / "out.jsonl"
    result = invoke(score.command, "-i", source, "-o", out, "--artifact", folder / "a.safetensors", *batch)
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in lines] == [7, "line-2", "c"]
    for line in lines:
        assert set(line) == {"id", "p", "gain", "tier", "confidence", "uncertainty", "set", "in_distribution"}
        assert set(line["p"]) == {"fast", "balanced", "deep"}
        assert set(line["gain"]) == {"fast", "balanced"}
        assert 0 <= line["p"]["fast"] <= line["p"]["balanced"] <= line["p"]["deep"] <= 1
        assert line["tier"] in {"fast", "balanced", "deep", None}
    assert lines[0]["p"]["fast"] < lines[1]["p"]["fast"]
    assert lines[2]["in_distribution"] is False
    assert lines[2]["tier"] is None


def test_the_shipped_artifact_scores_to_stdout(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", [{"id": "a", "prompt": "What is a norm?"}])
    result = invoke(score.command, "-i", source, "-o", "-")
    assert result.exit_code == 0
    assert json.loads(result.output)["id"] == "a"


def test_the_input_is_its_own_output_in_a_batch_only(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", [{"id": "a", "prompt": "What is a norm?"}])
    (tmp_path / "link.jsonl").symlink_to(source)
    before = source.read_bytes()
    result = invoke(score.command, "-i", source, "-o", tmp_path / "link.jsonl")
    assert result.exit_code == 2
    assert "use --batch" in result.output
    assert source.read_bytes() == before
    assert invoke(score.command, "-i", source, "-o", source, "--batch").exit_code == 0
    assert "in_distribution" in json.loads(source.read_text())


def test_a_loss_that_is_no_number_is_wrong_usage(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", [{"id": "a", "prompt": "What is a norm?"}])
    result = invoke(score.command, "-i", source, "-o", "-", "--alpha", "nan")
    assert result.exit_code == 2
    assert "nan is no number" in result.output


def test_in_a_batch_a_wrong_row_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": 1, "prompt": "a"}\n{"id": 2}\n')
    out = tmp_path / "out.jsonl"
    result = invoke(score.command, "-i", source, "-o", out, "--batch")
    assert result.exit_code == 1
    assert f"{source}:2: needs either" in result.output
    assert not out.exists()


def test_an_artifact_that_is_none_is_told(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", [{"prompt": "a"}])
    result = invoke(score.command, "-i", source, "-o", "-", "--artifact", source)
    assert result.exit_code == 1
    assert "no safetensors file" in result.output


@pytest.mark.parametrize("form", [["--int8"], ["--int4"], ["--sparsity", "0.9"], ["--rank", "6"]])
def test_optimising_tells_quality_and_size_before_and_after(folder: Path, tmp_path: Path, form: list[str]) -> None:
    out = tmp_path / "small.safetensors"
    before = folder / "a.safetensors"
    result = invoke(optimize.command, "--artifact", before, "-o", out, *form, folder=folder)
    assert result.exit_code == 0, result.output
    first, second = result.output.splitlines()
    assert first.startswith(f"before: {before.stat().st_size:,} bytes, APGR 0.")
    assert second.startswith(f"after: {out.stat().st_size:,} bytes, APGR 0.")
    assert load(out).calibration is not None
    if form != ["--int8"]:
        assert out.stat().st_size < 0.7 * before.stat().st_size


def test_optimising_without_data_says_what_is_missing(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.safetensors"
    result = invoke(optimize.command, "--artifact", folder / "a.safetensors", "-o", out, "--int4")
    assert result.exit_code == 0, result.output
    assert "quality not measured" in result.output
    assert "octoroute calibrate" in result.output
    assert load(out).calibration is None


def test_optimising_takes_exactly_one_form(folder: Path) -> None:
    for form in ([], ["--int8", "--int4"], ["--rank", "99"]):
        result = invoke(optimize.command, "--artifact", folder / "a.safetensors", "-o", folder / "x", *form)
        assert result.exit_code in {1, 2}
        assert not (folder / "x").exists()
