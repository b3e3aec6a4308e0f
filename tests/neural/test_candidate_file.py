"""A model file is loaded as it was saved, or refused with its reason; it is never run and never replaced by chance."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load, save

from octoroute_py.neural.candidate_file import FORMAT, LARGEST_BYTES, METADATA, SCHEMA, load_net, save_net, shipped
from octoroute_py.neural.candidate_net import CandidateNet, quantise
from octoroute_py.neural.errors import ModelNotFound, ModelRefused
from tests.fakes.candidates import random_net

Tensors = dict[str, NDArray[np.generic]]
SIGNALS = np.random.default_rng(1).uniform(-1, 1, (20, 5))
NOTES = {METADATA: json.dumps({"format": FORMAT, "schema": SCHEMA})}


def saved(folder: Path, net: CandidateNet | None = None) -> Path:
    path = folder / "model.safetensors"
    save_net(path, quantise(random_net(1)) if net is None else net, {"about": "a test"})
    return path


@pytest.mark.parametrize("small", [True, False])
def test_a_network_is_the_same_after_it_was_saved(tmp_path: Path, small: bool) -> None:
    net = quantise(random_net(1)) if small else random_net(1)
    loaded = load_net(saved(tmp_path, net))
    assert loaded.net.quantised is small
    assert np.array_equal(loaded.net.runner().confidences(SIGNALS), net.runner().confidences(SIGNALS))
    assert loaded.notes["about"] == "a test"
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_the_version_is_that_of_the_bytes(tmp_path: Path) -> None:
    first = load_net(saved(tmp_path)).version
    assert load_net(saved(tmp_path)).version == first
    assert load_net(saved(tmp_path, random_net(2))).version != first


def test_the_shipped_model_is_small_and_says_what_it_learned_from_and_what_it_does_not_know() -> None:
    loaded = load_net(shipped())
    assert shipped().stat().st_size < 60_000
    assert loaded.net.quantised
    assert "made-up" in loaded.notes["learned_from"]
    assert loaded.notes["knows_not"] == "any real model, prompt or deployment"
    assert json.loads(loaded.notes["figures"])["network"]["auc"] > 0.75


def test_a_missing_file_is_an_error_and_not_a_random_network(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no such model file"):
        load_net(tmp_path / "nothing.safetensors")


class Trap:
    """Tells when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return pytest.fail, ("the file was run",)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 7, b"not a model at all", b"\xff" * 64, pickle.dumps(Trap()), b"\x08" + b"\x00" * 7 + b"[1,2,3] "],
    ids=["empty", "too short", "text", "huge header", "pickle", "a list"],
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(ModelRefused, match="model"):
        load_net(path)


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with path.open("wb") as file:
        file.truncate(LARGEST_BYTES * 5000)
    with pytest.raises(ModelRefused, match="larger"):
        load_net(path)


def without(name: str) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.pop(name)


def put(name: str, value: NDArray[np.generic]) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update({name: value})


def spoiled(name: str, value: float) -> Callable[[Tensors], object]:
    def spoil(tensors: Tensors) -> None:
        tensors[name] = tensors[name].copy()
        tensors[name].flat[0] = value

    return spoil


CHANGES = {
    "a missing part": (without("biases"), "biases is missing"),
    "a missing matrix": (without("u.int8"), "matrix u"),
    "a missing scale": (without("head.scales"), "matrix head"),
    "an unknown part": (put("extra", np.zeros(3, np.float32)), "extra is unknown"),
    "a wrong shape": (put("w.int8", np.zeros((4, 6), np.int8)), "matrix w must be of shape"),
    "another state size": (put("u.int8", np.zeros((7, 6), np.int8)), "must be"),
    "a wrong type": (put("mean", np.zeros(5, np.float64)), "mean must be float32"),
    "a NaN": (spoiled("biases", np.nan), "not finite"),
    "an infinite scale": (spoiled("w.scales", np.inf), "finite"),
    "a scale of zero": (spoiled("scale", 0.0), "scale must be positive"),
    "a gate above 1": (spoiled("gates", 1.5), "gates must lie"),
    "answers out of order": (spoiled("held_out.light", 0.9), "sorted confidences"),
    "answers above 1": (put("held_out.heavy", np.full(30, 1.5, np.float32)), "sorted confidences"),
    "too few answers": (put("held_out.heavy", np.full(3, 0.5, np.float32)), "must hold 19 to"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_cannot_be_right_is_refused_by_what_is_wrong(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path)
    change, told = CHANGES[name]
    tensors: Tensors = dict(load(path.read_bytes()))
    change(tensors)
    path.write_bytes(save(tensors, metadata=NOTES))
    with pytest.raises(ModelRefused, match=told):
        load_net(path)


@pytest.mark.parametrize("said", [None, f'{{"format": "{FORMAT}"}}', '{"format": "other", "schema": "1"}', "[]", "{"])
def test_a_file_of_another_format_is_refused(tmp_path: Path, said: str | None) -> None:
    path = saved(tmp_path)
    path.write_bytes(save(dict(load(path.read_bytes())), metadata=None if said is None else {METADATA: said}))
    with pytest.raises(ModelRefused, match="is not a"):
        load_net(path)


@given(at=st.integers(0, 3000), value=st.integers(0, 255), cut=st.integers(0, 3000))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_refused_or_still_gives_probabilities(tmp_path: Path, at: int, value: int, cut: int) -> None:
    path = saved(tmp_path)
    content = bytearray(path.read_bytes())
    content[at % len(content)] = value
    path.write_bytes(content[: max(len(content) - (cut if cut % 3 == 0 else 0), 0)])
    try:
        found = load_net(path).net.runner().confidences(np.zeros((3, 5)))
    except ModelRefused:
        return
    assert np.all((found >= 0) & (found <= 1))
