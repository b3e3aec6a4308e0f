"""The model file of the network over candidates: one small safetensors file, looked at closely before it is used.

Tensors: w, u, biases, gates, head (int8 with `<name>.scale`, or float32), mean, scale, calibration.light and
calibration.heavy (float32). Metadata: format, schema, weights ("int8" or "float32"), and words about where it is from.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from octoroute_py.neural.candidate_net import INPUTS, Calibration, CandidateNet
from octoroute_py.neural.errors import ModelNotFound, ModelRefused
from octoroute_py.neural.signals import weighted

FORMAT = "octoroute-candidates"
SCHEMA = "1"
LARGEST_BYTES = 1_000_000
LARGEST_HIDDEN = 256
LARGEST_CALIBRATION = 65_536
LEAST_CALIBRATION = 19
"""Fewer held-out answers of a kind could never show less than 5 % uncertainty."""
WEIGHTS = ("w", "u", "biases", "gates", "head")

Tensors = Mapping[str, NDArray[np.generic]]


class LoadedNet(msgspec.Struct, frozen=True):
    """A network, the version of its file (of its SHA-256 the first 12 digits), and what the file says of itself."""

    net: CandidateNet
    version: str
    notes: dict[str, str]


def shipped() -> Path:
    """The model that comes with the package."""
    return Path(__file__).with_name("candidates.safetensors")


def load_net(path: Path) -> LoadedNet:
    """Read a model file. Raises ModelNotFound or ModelRefused; nothing in the file is ever executed."""
    data = _read(path)
    try:
        notes = _notes(data)
        tensors: Tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelRefused(f"{path} is not a safetensors file that can be read: {error}") from None
    if notes.get("format") != FORMAT or notes.get("schema") != SCHEMA:
        raise ModelRefused(f"{path} is not a model of the candidate router (format {FORMAT}, schema {SCHEMA})")
    try:
        net = _net(tensors, quantised=notes.get("weights") == "int8")
        _try_out(net)
    except ModelRefused as refused:
        raise ModelRefused(f"{path}: {refused}") from None
    return LoadedNet(net, hashlib.sha256(data).hexdigest()[:12], notes)


def save_net(path: Path, net: CandidateNet, notes: Mapping[str, str]) -> None:
    """Write a model file; what was there is replaced at once or not at all."""
    tensors: dict[str, NDArray[np.generic]] = {}
    for name in WEIGHTS:
        value = getattr(net, name)
        if net.quantised:
            tensors[name], scale = to_grid(value)
            tensors[f"{name}.scale"] = np.array([scale], dtype=np.float32)
        else:
            tensors[name] = value
    tensors |= {"mean": net.mean, "scale": net.scale}
    tensors |= {"calibration.light": net.calibration.light, "calibration.heavy": net.calibration.heavy}
    own = {"format": FORMAT, "schema": SCHEMA, "weights": "int8" if net.quantised else "float32"}
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(save(dict(tensors), metadata={**notes, **own}))
    os.replace(beside, path)


def quantise(net: CandidateNet) -> CandidateNet:
    """The network with every weight on an int8 grid of its tensor; what is on it already stays as it is."""
    if net.quantised:
        return net
    on_grid = {}
    for name in WEIGHTS:
        grid, scale = to_grid(getattr(net, name))
        on_grid[name] = from_grid(grid, scale)
    return msgspec.structs.replace(net, quantised=True, **on_grid)


def to_grid(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], np.float32]:
    """Weights rounded to whole steps from -127 to 127, and the size of a step."""
    largest = np.max(np.abs(weights))
    step = np.float32(largest / 127 if largest > 0 else 1.0)
    return np.clip(np.rint(weights / step), -127, 127).astype(np.int8), step


def from_grid(grid: NDArray[np.int8], step: np.float32) -> NDArray[np.float32]:
    """The weights that a grid stands for."""
    return grid.astype(np.float32) * step


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise ModelNotFound(f"{path}: no such model file") from None
    except OSError as error:
        raise ModelRefused(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > LARGEST_BYTES:
        raise ModelRefused(f"{path} is larger than {LARGEST_BYTES} bytes, no model of this kind is")
    return data


def _notes(data: bytes) -> dict[str, str]:
    """What stands in the header beside the tensors; the library that reads bytes does not tell."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise ValueError("its header is longer than the file")
    header = json.loads(data[8 : 8 + length])
    notes = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    return {str(key): str(value) for key, value in notes.items()}


def _net(tensors: Tensors, *, quantised: bool) -> CandidateNet:
    hidden = tensors["u"].shape[0] if "u" in tensors and tensors["u"].ndim == 2 else 0
    if not 1 <= hidden <= LARGEST_HIDDEN:
        raise ModelRefused(f"the state must have 1 to {LARGEST_HIDDEN} numbers")
    shapes = {
        "w": (INPUTS, hidden),
        "u": (hidden, hidden),
        "biases": (2, hidden),
        "gates": (2,),
        "head": (hidden + 1,),
        "mean": (INPUTS,),
        "scale": (INPUTS,),
    }
    expected = {*shapes, "calibration.light", "calibration.heavy"}
    expected |= {f"{name}.scale" for name in WEIGHTS} if quantised else set()
    if set(tensors) != expected:
        odd = sorted(set(tensors) ^ expected)[0]
        raise ModelRefused(f"the tensor {odd} is {'unknown' if odd in tensors else 'missing'}")
    found = {name: _weights(tensors, name, shape, quantised=quantised) for name, shape in shapes.items()}
    if not (np.all(found["scale"] > 0) and np.all((found["gates"] >= 0) & (found["gates"] <= 1))):
        raise ModelRefused("scale must be positive, and gates must lie between 0 and 1")
    calibration = Calibration(*(_answers(tensors, f"calibration.{name}") for name in ("light", "heavy")))
    return CandidateNet(calibration=calibration, quantised=quantised, **found)


def _try_out(net: CandidateNet) -> None:
    """What the network makes of nothing, of everything and of the worst must be probabilities."""
    worst = np.array([[0.0] * INPUTS, [1.0] * INPUTS, [-1.0, 0.0, 0.0, 0.0, 0.0]])
    with np.errstate(all="ignore"):
        found = net.confidences(weighted(worst))
    if not np.all((found >= 0) & (found <= 1)):
        raise ModelRefused("what it computes is no probability")


def _weights(tensors: Tensors, name: str, shape: tuple[int, ...], *, quantised: bool) -> NDArray[np.float32]:
    if quantised and name in WEIGHTS:
        grid = _checked(tensors, name, shape, np.dtype(np.int8))
        step = _checked(tensors, f"{name}.scale", (1,), np.dtype(np.float32))
        return from_grid(grid.astype(np.int8), np.float32(step[0]))
    return _checked(tensors, name, shape, np.dtype(np.float32)).astype(np.float32)


def _answers(tensors: Tensors, name: str) -> NDArray[np.float32]:
    size = tensors[name].size
    if not LEAST_CALIBRATION <= size <= LARGEST_CALIBRATION:
        raise ModelRefused(f"the tensor {name} must hold {LEAST_CALIBRATION} to {LARGEST_CALIBRATION} confidences")
    answers = _checked(tensors, name, (size,), np.dtype(np.float32)).astype(np.float32)
    if answers[0] < 0 or answers[-1] > 1 or np.any(np.diff(answers) < 0):
        raise ModelRefused(f"the tensor {name} must hold sorted confidences from 0 to 1")
    return answers


def _checked(tensors: Tensors, name: str, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    tensor = tensors[name]
    if tensor.shape != shape or tensor.dtype != dtype:
        raise ModelRefused(f"the tensor {name} must be {dtype.name} of shape {shape}")
    if not np.all(np.isfinite(tensor.astype(np.float64))):
        raise ModelRefused(f"the tensor {name} holds numbers that are not finite")
    return tensor
