"""The artifact file: one safetensors file, read strictly.

A file is refused unless it is a file itself and no link to one, small, a safetensors file, of this program's format and
feature schema, and every array in it has the type and shape the others ask for and holds finite numbers only. It is
read once, and what was read is what is checked. Nothing in it is ever executed.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as safetensors_load
from safetensors.numpy import save as safetensors_bytes

from octoroute_py.neural.artifact import (
    BUCKETS,
    FEATURE_SCHEMA,
    FORMAT_VERSION,
    OUTPUTS,
    SCALARS,
    Artifact,
    ArtifactError,
    Card,
    Familiar,
    Head,
    Kind,
    Recurrence,
)
from octoroute_py.neural.calibration import Calibration
from octoroute_py.neural.compact import F32, Matrix, parts_of, read_matrix
from octoroute_py.storage.files import write_whole

__all__ = ["MOST_BYTES", "ArtifactError", "from_bytes", "load", "read_file", "save", "to_bytes"]

MOST_BYTES: Final = 1024 * 1024
"""Largest file that is looked at; what is shipped stays below 300 kB."""
MOST_HEADER_BYTES: Final = 128 * 1024
"""Largest table of contents in it; what is shipped has 3 kB."""
_KNOWN_TYPES: Final = frozenset({"F32", "F64", "I32", "I8", "U8"})
_MOST_WIDTH: Final = 64
_MOST_TAGS: Final = 1024
_METADATA: Final = "octoroute"
_NO_SAFETENSORS: Final = "is no safetensors file, or a damaged one"


class _Metadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    card: Card
    calibration: dict[str, Any] | None = None


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at in the table of contents: the types of the arrays, and our own text beside them."""

    types: frozenset[str]
    text: str | None


def load(path: Path) -> Artifact:
    """The artifact in this file.

    Raises ArtifactError saying what is wrong with it.
    """
    return from_bytes(read_file(path), of=path)


def read_file(path: Path) -> bytes:
    """The bytes of an artifact's file. Raises ArtifactError for a link, what is no file, and what is too large."""
    try:
        # Nobody who can only make links decides what is read; a pipe would keep the reader waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise FileNotFoundError
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(MOST_BYTES + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        if os.path.islink(path):
            raise ArtifactError(f"{path}: is a symbolic link; name the file itself") from None
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a usable file"
        raise ArtifactError(f"{path}: cannot be read ({reason})") from None
    if len(data) > MOST_BYTES:
        size = max(len(data), found.st_size)
        raise ArtifactError(f"{path}: is {size:,} bytes large; no artifact has more than {MOST_BYTES:,}")
    return data


def from_bytes(data: bytes, *, of: Path) -> Artifact:
    """The artifact that such a file holds; messages name the file `of`. Raises ArtifactError."""
    try:
        tensors, metadata = _read(data)
        artifact = _build(tensors, metadata)
        with np.errstate(over="ignore", invalid="ignore"):
            _check_shapes(artifact)
    except ValueError as error:
        raise ArtifactError(f"{of}: {error}") from None
    return artifact


def save(artifact: Artifact, path: Path) -> int:
    """Writes the artifact, whole or not at all; an existing file is replaced. Returns its size in bytes."""
    data = to_bytes(artifact)
    try:
        write_whole(path, data)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be written ({error.strerror or 'error'})") from None
    return len(data)


def to_bytes(artifact: Artifact) -> bytes:
    """The file of an artifact; the same artifact always gives the same bytes."""
    head, familiar, cell = artifact.head, artifact.familiar, artifact.cell
    tensors: dict[str, NDArray[Any]] = {f"table.{name}": part for name, part in artifact.table.tensors().items()}
    if cell is not None:
        tensors |= {f"cell.u.{name}": part for name, part in cell.u.tensors().items()}
        tensors |= {"cell.biases": cell.biases, "cell.gates": cell.gates}
    tensors |= {f"head.{name}": getattr(head, name) for name in Head.__dataclass_fields__}
    tensors["familiar.centre"] = familiar.centre
    tensors["familiar.inverse_spread"] = familiar.inverse_spread
    tensors["familiar.whitening"] = familiar.whitening
    tensors["familiar.buckets"] = np.packbits(familiar.buckets)
    told = None
    if artifact.calibration is not None:
        fitted, told = artifact.calibration.to_tensors()
        tensors |= fitted
    text = msgspec.json.encode(_Metadata(card=artifact.card, calibration=told), order="sorted").decode()
    contiguous = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    return safetensors_bytes(contiguous, metadata={_METADATA: text})


def _read(data: bytes) -> tuple[dict[str, NDArray[Any]], _Metadata]:
    header = _header(data)
    if not header.types <= _KNOWN_TYPES:
        raise ValueError("holds numbers of a type that no artifact has")
    try:
        tensors = safetensors_load(data)
    except (SafetensorError, TypeError, AttributeError, KeyError):
        raise ValueError(_NO_SAFETENSORS) from None
    if header.text is None:
        raise ValueError("is a safetensors file, but no artifact of octoroute: it lacks their metadata")
    try:
        return tensors, msgspec.json.decode(header.text, type=_Metadata)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"its metadata is not an artifact's ({error})") from None


def _header(data: bytes) -> _Header:
    """What the table of contents says; that its sizes fit the arrays is looked at when those are read."""
    size = int.from_bytes(data[:8], "little")
    if size > len(data) - 8:
        raise ValueError(_NO_SAFETENSORS)
    if size > MOST_HEADER_BYTES:
        raise ValueError("has a table of contents that is larger than any artifact's")
    try:
        found = msgspec.json.decode(data[8 : 8 + size], type=dict[str, dict[str, Any]])
    except (msgspec.MsgspecError, RecursionError, ValueError):
        raise ValueError(_NO_SAFETENSORS) from None
    text = found.pop("__metadata__", {}).get(_METADATA)
    return _Header(
        types=frozenset(str(each.get("dtype")) for each in found.values()), text=text if isinstance(text, str) else None
    )


def _build(tensors: Mapping[str, NDArray[Any]], metadata: _Metadata) -> Artifact:
    card = metadata.card
    if card.format_version != FORMAT_VERSION:
        raise ValueError(f"has format {card.format_version}; this program reads format {FORMAT_VERSION}")
    if card.schema_version != FEATURE_SCHEMA:
        raise ValueError(f"was trained on feature schema {card.schema_version}, we have {FEATURE_SCHEMA}: train again")
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise ValueError(f"{name} holds numbers that are not finite")
    head = Head(
        weights=_float(tensors, "head.weights", 2),
        bias=_float(tensors, "head.bias", 1),
        tags=_float(tensors, "head.tags", 2),
        units=_float(tensors, "head.units", 2),
        units_bias=_float(tensors, "head.units_bias", 1),
        units_out=_float(tensors, "head.units_out", 2),
        mean=_float(tensors, "head.mean", 1),
        inverse_std=_float(tensors, "head.inverse_std", 1),
    )
    bits = tensors.get("familiar.buckets")
    if bits is None or bits.dtype != np.uint8 or bits.ndim != 1:
        raise ValueError("familiar.buckets is missing or of a wrong type")
    familiar = Familiar(
        centre=_float(tensors, "familiar.centre", 1),
        inverse_spread=_float(tensors, "familiar.inverse_spread", 1),
        whitening=_float(tensors, "familiar.whitening", 2),
        buckets=np.unpackbits(bits).astype(np.bool_),
    )
    cell = None
    if card.kind is Kind.FASTGRNN:
        cell = Recurrence(
            _matrix(tensors, "cell.u"), _float(tensors, "cell.biases", 2), _float(tensors, "cell.gates", 1)
        )
    told = metadata.calibration
    calibration = Calibration.from_tensors(tensors, told) if told is not None else None
    return Artifact(card, _matrix(tensors, "table"), cell, head, familiar, calibration)


def _check_shapes(artifact: Artifact) -> None:
    """Every array against what the others and the featuriser ask for."""
    head, familiar, cell = artifact.head, artifact.familiar, artifact.cell
    width = artifact.table.shape[1]
    if not 1 <= width <= _MOST_WIDTH or len(artifact.card.tags) > _MOST_TAGS:
        raise ValueError("has more columns or tags than any artifact")
    pooled = width if cell is None else 3 * width
    units = len(head.units_bias)
    expected: dict[str, tuple[NDArray[Any], tuple[int, ...]]] = {
        "table": (_dense("table", artifact.table, (BUCKETS, width)), (BUCKETS, width)),
        "head.weights": (head.weights, (pooled + SCALARS, OUTPUTS)),
        "head.bias": (head.bias, (OUTPUTS,)),
        "head.tags": (head.tags, (len(artifact.card.tags) + 1, OUTPUTS)),
        "head.units": (head.units, (pooled + SCALARS, units)),
        "head.units_bias": (head.units_bias, (units,)),
        "head.units_out": (head.units_out, (units, OUTPUTS)),
        "head.mean": (head.mean, (SCALARS,)),
        "head.inverse_std": (head.inverse_std, (SCALARS,)),
        "familiar.centre": (familiar.centre, (pooled,)),
        "familiar.inverse_spread": (familiar.inverse_spread, (pooled,)),
        "familiar.whitening": (familiar.whitening, (SCALARS, SCALARS)),
        "familiar.buckets": (familiar.buckets, (BUCKETS,)),
    }
    if cell is not None:
        expected["cell.u"] = (_dense("cell.u", cell.u, (width, width)), (width, width))
        expected["cell.biases"] = (cell.biases, (2, width))
        expected["cell.gates"] = (cell.gates, (2,))
    for name, (tensor, shape) in expected.items():
        if tensor.shape != shape:
            raise _wrong_shape(name, tensor.shape, shape)
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} holds numbers that are not finite")
    if (head.inverse_std < 0).any() or (familiar.inverse_spread < 0).any():
        raise ValueError("has a negative spread")
    if cell is not None and not ((cell.gates >= 0) & (cell.gates <= 1)).all():
        raise ValueError("cell.gates do not lie between 0 and 1")


def _dense(name: str, matrix: Matrix, shape: tuple[int, int]) -> F32:
    """The matrix, if it has that shape: two thin factors in a small file may stand for more than fits in memory."""
    if matrix.shape != shape:
        raise _wrong_shape(name, matrix.shape, shape)
    return matrix.dense()


def _wrong_shape(name: str, found: tuple[int, ...], wanted: tuple[int, ...]) -> ValueError:
    return ValueError(f"{name} has the shape {found}, not {wanted}")


def _matrix(tensors: Mapping[str, NDArray[Any]], name: str) -> Matrix:
    try:
        return read_matrix(parts_of(tensors, name))
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


def _float(tensors: Mapping[str, NDArray[Any]], name: str, dimensions: int) -> F32:
    tensor = tensors.get(name)
    if tensor is None or tensor.dtype != np.float32 or tensor.ndim != dimensions:
        raise ValueError(f"{name} is missing or of a wrong type")
    return tensor
