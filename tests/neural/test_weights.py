"""The artifact file: what is written is read back, and everything else is refused with words."""

import dataclasses
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from octoroute_py.features.layout import SCALARS as SCALAR_NAMES
from octoroute_py.features.layout import SCHEMA_VERSION
from octoroute_py.features.lexicon import BUCKETS as FEATURE_BUCKETS
from octoroute_py.neural.artifact import BUCKETS, FEATURE_SCHEMA, SCALARS, Artifact, ArtifactError
from octoroute_py.neural.compact import Int4, LowRank, Sparse, pruned
from octoroute_py.neural.weights import MOST_BYTES, MOST_HEADER_BYTES, load, save, to_bytes
from tests.fakes.artifacts import drawn_artifact
from tests.fakes.evidence import calibrated

Tensors = dict[str, np.ndarray]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.safetensors"


def metadata_of(artifact: Artifact) -> dict[str, Any]:
    card: dict[str, Any] = msgspec.to_builtins(artifact.card)
    return {"card": card, "calibration": None}


def rewrite(path: Path, change: Callable[[Tensors, dict[str, Any]], None]) -> None:
    """Writes a good artifact with something changed in it."""
    artifact = drawn_artifact()
    save(artifact, path)
    tensors, told = load_file(path), metadata_of(artifact)
    change(tensors, told)
    save_file(tensors, path, metadata={"octoroute": msgspec.json.encode(told).decode()})


@pytest.mark.parametrize("kind", ["fastgrnn", "linear"])
def test_an_artifact_is_read_back_as_it_was_written(path: Path, kind: str) -> None:
    artifact = dataclasses.replace(drawn_artifact(kind=kind, tags=("a", "b")), calibration=calibrated())
    size = save(artifact, path)
    assert path.stat().st_size == size < 300_000
    again = load(path)
    assert again.card == artifact.card
    assert to_bytes(again) == to_bytes(artifact) == path.read_bytes()
    assert again.calibration is not None
    assert os.listdir(path.parent) == [path.name]


def test_every_form_of_the_table_is_read_back(path: Path) -> None:
    artifact = drawn_artifact()
    dense = artifact.table.dense()
    for table in (Int4.of(dense), Sparse.of(pruned(dense, 0.9)), LowRank.of(dense, 4)):
        save(dataclasses.replace(artifact, table=table), path)
        np.testing.assert_array_equal(load(path).table.dense(), table.dense())


def test_the_room_knows_the_featuriser_it_may_not_import() -> None:
    assert (SCHEMA_VERSION, FEATURE_BUCKETS, len(SCALAR_NAMES)) == (FEATURE_SCHEMA, BUCKETS, SCALARS)


CHANGES: list[tuple[str, Callable[[Tensors, dict[str, Any]], None]]] = [
    ("not finite", lambda tensors, told: tensors["head.weights"].__setitem__((0, 0), np.nan)),
    ("not finite", lambda tensors, told: tensors["cell.gates"].__setitem__(0, np.inf)),
    ("not finite", lambda tensors, told: tensors["table.scales"].__setitem__(0, 3e38)),
    (r"head.bias has the shape \(4,\)", lambda tensors, told: tensors.update({"head.bias": np.zeros(4, "f4")})),
    ("table has the shape", lambda tensors, told: tensors.update({"table.int8": np.zeros((9, 16), "i1")})),
    ("cell.u has the shape", lambda tensors, told: tensors.update({"cell.u.f32": np.zeros((4, 4), "f4")})),
    ("head.mean is missing or of a wrong type", lambda tensors, told: tensors.update({"head.mean": np.zeros(32)})),
    ("head.tags is missing", lambda tensors, told: tensors.__delitem__("head.tags")),
    ("familiar.buckets is missing", lambda tensors, told: tensors.__delitem__("familiar.buckets")),
    ("table lacks scales", lambda tensors, told: tensors.__delitem__("table.scales")),
    ("negative spread", lambda tensors, told: tensors["head.inverse_std"].__setitem__(0, -1)),
    ("more columns", lambda tensors, told: tensors.update({"table.int8": np.zeros((9, 99), "i1"), "table.scales": np.zeros(99, "f4")})),  # noqa: E501
    ("feature schema 7", lambda tensors, told: told["card"].update(schema_version=7)),
    ("has format 2", lambda tensors, told: told["card"].update(format_version=2)),
    ("metadata", lambda tensors, told: told["card"].update(kind="oracle")),
    ("metadata", lambda tensors, told: told.update(code="import os")),
    ("calibration", lambda tensors, told: told.update(calibration={"version": 99})),
    ("cell.biases has the shape", lambda tensors, told: tensors.update({"cell.biases": np.zeros((3, 16), "f4")})),
    ("head.tags has the shape", lambda tensors, told: told["card"].update(tags=["shop"])),
    ("cell.gates do not lie between 0 and 1", lambda tensors, told: tensors["cell.gates"].__setitem__(0, 3e38)),
]  # fmt: skip


@pytest.mark.parametrize(("message", "change"), CHANGES)
def test_a_file_with_something_wrong_in_it_is_refused(
    path: Path, message: str, change: Callable[[Tensors, dict[str, Any]], None]
) -> None:
    rewrite(path, change)
    with pytest.raises(ArtifactError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


class Bomb:
    """Does something when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def test_pickles_and_damaged_files_are_refused_and_never_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    whole = to_bytes(drawn_artifact())
    huge_header = (2**60).to_bytes(8, "little") + b"{}"
    for data in (pickle.dumps(Bomb()), b"", b"\x80\x04", whole[:-1], whole[:100], whole[8:], huge_header):
        path.write_bytes(data)
        with pytest.raises(ArtifactError, match="no safetensors file, or a damaged one"):
            load(path)
    assert not Path("exploded").exists()


def test_what_is_no_file_of_its_own_is_refused_without_waiting_for_it(path: Path) -> None:
    real = path.with_name("real.safetensors")
    save(drawn_artifact(), real)
    path.symlink_to(real)
    with pytest.raises(ArtifactError, match=r"a\.safetensors: is a symbolic link; name the file itself"):
        load(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ArtifactError, match="no such file"):
        load(path)


@pytest.mark.parametrize("kind", ["<f2", "<i8", "|b1"])
def test_numbers_of_a_type_that_no_artifact_has_are_refused(path: Path, kind: str) -> None:
    def add(tensors: Tensors, told: dict[str, Any]) -> None:
        tensors["more"] = np.zeros(3, kind)

    rewrite(path, add)
    with pytest.raises(ArtifactError, match="numbers of a type that no artifact has"):
        load(path)


def test_a_table_of_contents_that_is_too_large_is_refused(path: Path) -> None:
    rewrite(path, lambda tensors, told: told["card"].update(description="x" * MOST_HEADER_BYTES))
    with pytest.raises(ArtifactError, match="table of contents that is larger than any artifact's"):
        load(path)


@pytest.mark.parametrize("name", ["table", "cell.u"])
def test_two_thin_factors_of_a_matrix_beyond_all_memory_are_refused_unmultiplied(path: Path, name: str) -> None:
    def inflate(tensors: Tensors, told: dict[str, Any]) -> None:
        for part in ("int8", "scales", "f32"):
            tensors.pop(f"{name}.{part}", None)
        factors = {"left": np.ones((300_000, 1), "i1"), "scales": np.ones(1, "f4"), "right": np.ones((1, 16), "f4")}
        wide = {"right": np.ones((1, 100_000), "f4")} if name == "cell.u" else {}
        tensors.update({f"{name}.{part}": values for part, values in (factors | wide).items()})

    rewrite(path, inflate)
    with pytest.raises(ArtifactError, match=rf"{name} has the shape \(300000, \d+\), not"):
        load(path)


def test_a_calibration_of_a_number_no_float_can_hold_is_refused(path: Path) -> None:
    save(dataclasses.replace(drawn_artifact(), calibration=calibrated()), path)
    with safe_open(path, framework="np") as file:
        text = file.metadata()["octoroute"]
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    changed = re.sub(r'"set_limit":[^,}]+', '"set_limit":1' + 400 * "0", text)
    assert changed != text
    save_file(tensors, path, metadata={"octoroute": changed})
    with pytest.raises(ArtifactError, match="calibration numbers must be finite"):
        load(path)


def test_a_large_file_is_refused_before_it_is_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(ArtifactError, match=r"is 1,048,577 bytes large"):
        load(path)


def test_a_safetensors_file_of_somebody_else_is_refused(path: Path) -> None:
    save_file({"weight": np.zeros(3, "f4")}, path)
    with pytest.raises(ArtifactError, match="no artifact of octoroute"):
        load(path)


def test_what_cannot_be_read_or_written_is_told(path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file"):
        load(path)
    with pytest.raises(ArtifactError, match="no such file"):
        load(path.parent)
    with pytest.raises(ArtifactError, match="cannot be written"):
        save(drawn_artifact(), path / "below" / "a.safetensors")
