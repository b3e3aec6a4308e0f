"""The model file of the network over candidates: one small safetensors file, looked at closely before it is used.

Tensors: the matrices w, u and head as `<name>.<part>` in any form of `compact`; biases, gates, head_bias, mean, scale,
held_out.light and held_out.heavy in float32. Metadata: one JSON object with format, schema, and words about where the
model is from.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from octoroute_py.neural.candidate_net import INPUTS, CandidateNet, HeldOut
from octoroute_py.neural.compact import Matrix, parts_of, read_matrix
from octoroute_py.neural.errors import ModelNotFound, ModelRefused
from octoroute_py.neural.signals import weighted
from octoroute_py.storage.files import write_whole

FORMAT = "octoroute-candidates"
SCHEMA = "1"
METADATA = "octoroute"
LARGEST_BYTES = 1_000_000
LARGEST_HIDDEN = 256
MOST_HELD_OUT = 65_536
LEAST_HELD_OUT = 19
"""Fewer held-out answers of a kind could never show less than 5 % uncertainty."""
MATRICES = ("w", "u", "head")
PLAIN = ("biases", "gates", "head_bias", "mean", "scale", "held_out.light", "held_out.heavy")

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
    except (SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelRefused(f"{path} is not a safetensors file that can be read: {error}") from None
    if notes.get("format") != FORMAT or notes.get("schema") != SCHEMA:
        raise ModelRefused(f"{path} is not a model of the candidate router (format {FORMAT}, schema {SCHEMA})")
    try:
        net = _net(tensors)
        _try_out(net)
    except ModelRefused as refused:
        raise ModelRefused(f"{path}: {refused}") from None
    return LoadedNet(net, hashlib.sha256(data).hexdigest()[:12], notes)


def save_net(path: Path, net: CandidateNet, notes: Mapping[str, str]) -> None:
    """Write a model file; what was there is replaced at once or not at all."""
    tensors: dict[str, NDArray[np.generic]] = {
        f"{name}.{part}": np.ascontiguousarray(tensor)
        for name in MATRICES
        for part, tensor in getattr(net, name).tensors().items()
    }
    tensors |= {name: getattr(net, name) for name in PLAIN if "." not in name}
    tensors |= {"held_out.light": net.held_out.light, "held_out.heavy": net.held_out.heavy}
    # one entry of metadata: several would be written in another order each time
    said = json.dumps({**notes, "format": FORMAT, "schema": SCHEMA}, sort_keys=True)
    write_whole(path, save(tensors, metadata={METADATA: said}))


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
    said = header.get("__metadata__", {}).get(METADATA) if isinstance(header, dict) else None
    notes = {} if said is None else json.loads(said)
    return {str(key): str(value) for key, value in notes.items()} if isinstance(notes, dict) else {}


def _net(tensors: Tensors) -> CandidateNet:
    strange = sorted(name for name in tensors if name not in PLAIN and name.split(".")[0] not in MATRICES)
    if strange:
        raise ModelRefused(f"the tensor {strange[0]} is unknown")
    matrices = {name: _matrix(tensors, name) for name in MATRICES}
    hidden = matrices["u"].shape[0]
    if not 1 <= hidden <= LARGEST_HIDDEN:
        raise ModelRefused(f"the state must have 1 to {LARGEST_HIDDEN} numbers")
    for name, shape in {"w": (INPUTS, hidden), "u": (hidden, hidden), "head": (hidden, 1)}.items():
        if matrices[name].shape != shape or not np.all(np.isfinite(matrices[name].dense())):
            raise ModelRefused(f"the matrix {name} must be of shape {shape} and finite")
    shapes = {"biases": (2, hidden), "gates": (2,), "head_bias": (1,), "mean": (INPUTS,), "scale": (INPUTS,)}
    plain = {name: _floats(tensors, name, shape) for name, shape in shapes.items()}
    if not (np.all(plain["scale"] > 0) and np.all((plain["gates"] >= 0) & (plain["gates"] <= 1))):
        raise ModelRefused("scale must be positive, and gates must lie between 0 and 1")
    return CandidateNet(
        w=matrices["w"],
        u=matrices["u"],
        head=matrices["head"],
        biases=plain["biases"],
        gates=plain["gates"],
        head_bias=plain["head_bias"],
        mean=plain["mean"],
        scale=plain["scale"],
        held_out=HeldOut(_held_out(tensors, "held_out.light"), _held_out(tensors, "held_out.heavy")),
    )


def _matrix(tensors: Tensors, name: str) -> Matrix:
    try:
        return read_matrix(parts_of(tensors, name))
    except ValueError as error:
        raise ModelRefused(f"the matrix {name} {error}") from None


def _held_out(tensors: Tensors, name: str) -> NDArray[np.float32]:
    size = tensors[name].size if name in tensors else 0
    if not LEAST_HELD_OUT <= size <= MOST_HELD_OUT:
        raise ModelRefused(f"the tensor {name} must hold {LEAST_HELD_OUT} to {MOST_HELD_OUT} confidences")
    found = _floats(tensors, name, (size,))
    if found[0] < 0 or found[-1] > 1 or np.any(np.diff(found) < 0):
        raise ModelRefused(f"the tensor {name} must hold sorted confidences from 0 to 1")
    return found


def _floats(tensors: Tensors, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    tensor = tensors.get(name)
    if tensor is None:
        raise ModelRefused(f"the tensor {name} is missing")
    if tensor.shape != shape or tensor.dtype != np.float32:
        raise ModelRefused(f"the tensor {name} must be float32 of shape {shape}")
    if not np.all(np.isfinite(tensor)):
        raise ModelRefused(f"the tensor {name} holds numbers that are not finite")
    return tensor.astype(np.float32)


def _try_out(net: CandidateNet) -> None:
    """What the network makes of nothing, of everything and of the worst must be probabilities."""
    worst = np.array([[0.0] * INPUTS, [1.0] * INPUTS, [-1.0, 0.0, 0.0, 0.0, 0.0]])
    with np.errstate(all="ignore"):
        found = net.runner().confidences(weighted(worst))
    if not np.all((found >= 0) & (found <= 1)):
        raise ModelRefused("what it computes is no probability")
