"""Matrices made small: 8 and 4 bits an entry, only the largest entries, or two thin factors.

Each form gives back the matrix it stands for (`dense`), and that matrix is what is computed with: what compression
costs in quality shows in every score, and what it saves shows in the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
I8: TypeAlias = NDArray[np.int8]
U8: TypeAlias = NDArray[np.uint8]
Tensors: TypeAlias = Mapping[str, NDArray[np.generic]]

_INT8_LEVELS: Final = 127
_INT4_LEVELS: Final = 7


class Matrix(Protocol):
    """A stored matrix."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix it stands for, known before it takes any room."""
        ...

    def dense(self) -> F32:
        """The matrix it stands for, float32."""
        ...

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """What has to be kept of it, by name."""
        ...


@dataclass(frozen=True, slots=True)
class Plain:
    """Float32 as it is; for matrices so small that nothing is to be saved."""

    values: F32

    @property
    def shape(self) -> tuple[int, int]:
        """(V, W)."""
        return self.values.shape[0], self.values.shape[1]

    def dense(self) -> F32:
        """The values."""
        return self.values

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """`f32` (V, W)."""
        return {"f32": self.values}


@dataclass(frozen=True, slots=True)
class Int8:
    """Eight bits an entry, one scale a column: entry = values · scales."""

    values: I8
    scales: F32

    @classmethod
    def of(cls, matrix: F32) -> "Int8":
        """The nearest such matrix."""
        scales = _scales(matrix, _INT8_LEVELS)
        return cls(_rounded(matrix, scales, _INT8_LEVELS), scales)

    @property
    def shape(self) -> tuple[int, int]:
        """(V, W)."""
        return self.values.shape[0], self.values.shape[1]

    def dense(self) -> F32:
        """(V, W) float32."""
        return self.values.astype(np.float32) * self.scales

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """`int8` (V, W) and `scales` (W,)."""
        return {"int8": self.values, "scales": self.scales}


@dataclass(frozen=True, slots=True)
class Int4:
    """Four bits an entry, two entries a byte (the even column in the low half), one scale a column."""

    packed: U8
    scales: F32

    @classmethod
    def of(cls, matrix: F32) -> "Int4":
        """The nearest such matrix; an odd number of columns gets one of zeros, without a scale."""
        scales = _scales(matrix, _INT4_LEVELS, clip=True)
        halves = (_rounded(matrix, scales, _INT4_LEVELS) & 0x0F).astype(np.uint8)
        if halves.shape[1] % 2:
            halves = np.pad(halves, ((0, 0), (0, 1)))
        return cls(np.ascontiguousarray(halves[:, 0::2] | halves[:, 1::2] << 4), scales)

    @property
    def shape(self) -> tuple[int, int]:
        """(V, W)."""
        return len(self.packed), len(self.scales)

    def dense(self) -> F32:
        """(V, W) float32."""
        halves = np.stack((self.packed & 0x0F, self.packed >> 4), axis=2).reshape(len(self.packed), -1)
        signed = (halves.astype(np.int8) ^ 8) - 8
        return signed[:, : len(self.scales)].astype(np.float32) * self.scales

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """`int4` (V, ceil(W / 2)) and `scales` (W,)."""
        return {"int4": self.packed, "scales": self.scales}


@dataclass(frozen=True, slots=True)
class Sparse:
    """Only the entries that are not zero, in eight bits, and one bit for every entry saying where they stand."""

    bits: U8
    values: I8
    scales: F32

    @classmethod
    def of(cls, matrix: F32) -> "Sparse":
        """The nearest such matrix; entries too small for eight bits become zeros too."""
        scales = _scales(matrix, _INT8_LEVELS)
        values = _rounded(matrix, scales, _INT8_LEVELS).ravel()
        return cls(np.packbits(values != 0), values[values != 0], scales)

    @property
    def shape(self) -> tuple[int, int]:
        """(V, W)."""
        return len(self.bits) * 8 // len(self.scales), len(self.scales)

    def dense(self) -> F32:
        """(V, W) float32."""
        width = len(self.scales)
        places = np.unpackbits(self.bits)[: len(self.bits) * 8 // width * width].astype(bool)
        values = np.zeros(len(places), dtype=np.float32)
        values[places] = self.values
        return values.reshape(-1, width) * self.scales

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """`bits` (ceil(V·W / 8),), `kept` (as many as bits are set,) and `scales` (W,)."""
        return {"bits": self.bits, "kept": self.values, "scales": self.scales}


@dataclass(frozen=True, slots=True)
class LowRank:
    """Two factors, left (V, r) in eight bits and right (r, W): the matrix is their product."""

    left: Int8
    right: F32

    @classmethod
    def of(cls, matrix: F32, rank: int) -> "LowRank":
        """The best approximation of that rank (its singular vectors), the left factor rounded."""
        values, vectors = np.linalg.eigh((matrix.T @ matrix).astype(np.float64))
        right = np.ascontiguousarray(vectors[:, np.argsort(-values, kind="stable")[:rank]].T, dtype=np.float32)
        return cls(Int8.of(np.ascontiguousarray(matrix @ right.T)), right)

    @property
    def shape(self) -> tuple[int, int]:
        """(V, W)."""
        return self.left.shape[0], self.right.shape[1]

    def dense(self) -> F32:
        """(V, W) float32."""
        product: F32 = self.left.dense() @ self.right
        return product

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """`left` (V, r), `scales` (r,) and `right` (r, W)."""
        return {"left": self.left.values, "scales": self.left.scales, "right": self.right}


def pruned(matrix: F32, sparsity: float) -> F32:
    """The matrix with its smallest entries set to zero: the share `sparsity` in [0, 1) of all of them."""
    if not 0.0 <= sparsity < 1.0:
        raise ValueError("sparsity is a share from 0 up to, not including, 1")
    dropped = int(matrix.size * sparsity)
    kept = matrix.copy()
    if dropped:
        kept.ravel()[np.argsort(np.abs(matrix), axis=None, kind="stable")[:dropped]] = 0.0
    return kept


def size_bytes(matrix: Matrix) -> int:
    """What a stored matrix takes in a file, headers aside."""
    return sum(tensor.nbytes for tensor in matrix.tensors().values())


def parts_of(tensors: Tensors, name: str) -> Tensors:
    """The tensors of the matrix that a file keeps as `<name>.<part>`."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): part for key, part in tensors.items() if key.startswith(prefix)}


def read_matrix(tensors: Tensors) -> Matrix:
    """The stored matrix of these tensors; raises ValueError when they are not those of one form."""
    given = {name: (tensor.dtype.name, tensor.ndim) for name, tensor in tensors.items()}
    if given == {"f32": ("float32", 2)}:
        return Plain(tensors["f32"].astype(np.float32))
    scales = _float(tensors, "scales", 1)
    if given.keys() == {"int8", "scales"}:
        return _checked(Int8(_int8(tensors, "int8", 2), scales), (tensors["int8"].shape[1],))
    if given.keys() == {"int4", "scales"} and given["int4"] == ("uint8", 2):
        return _checked(Int4(tensors["int4"].astype(np.uint8), scales), (2 * tensors["int4"].shape[1],) * 2, odd=True)
    if given.keys() == {"bits", "kept", "scales"} and given["bits"] == ("uint8", 1):
        sparse = Sparse(tensors["bits"].astype(np.uint8), _int8(tensors, "kept", 1), scales)
        if int(np.unpackbits(sparse.bits).sum()) != len(sparse.values) or not len(scales):
            raise ValueError("its bits and its kept entries do not agree")
        return sparse
    if given.keys() == {"left", "scales", "right"}:
        right = _float(tensors, "right", 2)
        left = Int8(_int8(tensors, "left", 2), scales)
        _checked(left, (len(right),))
        return LowRank(left, right)
    raise ValueError(f"holds no known form of a matrix ({', '.join(sorted(given)) or 'nothing'})")


def _scales(matrix: F32, levels: int, *, clip: bool = False) -> F32:
    """The step of every column; with few levels the largest entries are clipped where that loses less."""
    extent = np.abs(matrix).max(axis=0, initial=0.0)
    if not clip:
        return np.asarray(extent / levels, dtype=np.float32)
    errors = []
    shares = np.linspace(0.3, 1.0, 15, dtype=np.float32)
    for share in shares:
        scales = np.asarray(extent * share / levels, dtype=np.float32)
        errors.append(((_rounded(matrix, scales, levels) * scales - matrix) ** 2).sum(axis=0))
    return np.asarray(extent * shares[np.argmin(errors, axis=0)] / levels, dtype=np.float32)


def _rounded(matrix: F32, scales: F32, levels: int) -> I8:
    steps = np.divide(matrix, scales, out=np.zeros_like(matrix), where=scales > 0)
    return np.clip(np.rint(steps), -levels, levels).astype(np.int8)


def _checked(matrix: Int8 | Int4, widths: tuple[int, ...], *, odd: bool = False) -> Int8 | Int4:
    """The matrix, if it has a scale for each of its columns."""
    allowed = {*widths, widths[0] - 1} if odd else set(widths)
    if len(matrix.scales) not in allowed:
        raise ValueError("has another number of scales than of columns")
    return matrix


def _float(tensors: Tensors, name: str, dimensions: int) -> F32:
    return _typed(tensors, name, "float32", dimensions).astype(np.float32)


def _int8(tensors: Tensors, name: str, dimensions: int) -> I8:
    return _typed(tensors, name, "int8", dimensions).astype(np.int8)


def _typed(tensors: Tensors, name: str, dtype: str, dimensions: int) -> NDArray[np.generic]:
    tensor = tensors.get(name)
    if tensor is None:
        raise ValueError(f"lacks {name}")
    if tensor.dtype.name != dtype or tensor.ndim != dimensions:
        raise ValueError(f"{name} is {tensor.dtype.name} with {tensor.ndim} dimensions, not {dtype} with {dimensions}")
    return tensor
