"""Making an artifact smaller, and measuring what that costs."""

import dataclasses
from collections.abc import Sequence

import msgspec
import numpy as np

from octoroute_py.neural.artifact import Artifact
from octoroute_py.neural.compact import F32, Int4, Int8, LowRank, Matrix, Plain, Sparse, pruned
from octoroute_py.neural.weights import to_bytes
from octoroute_py.training.dataset import Row
from octoroute_py.training.evidence import calibration_of, evidence_of
from octoroute_py.training.metrics import auc, recovery


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How the matrices are to be stored: `bits` 8 or 4 an entry, a share of zeros, or two factors of a rank."""

    bits: int = 8
    sparsity: float | None = None
    rank: int | None = None


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """What an artifact is worth on labelled rows: APGR of the gain score, AUC of p_fast (0.5 is chance), its bytes."""

    size_bytes: int
    apgr: float | None = None
    auc_fast: float | None = None


def compressed(artifact: Artifact, form: Form) -> Artifact:
    """The artifact with its table and recurrent matrix in another form; its calibration no longer fits and is dropped.

    Raises ValueError for a form that its matrices cannot take.
    """
    cell = artifact.cell
    if cell is not None and (form.sparsity is not None or form.rank is not None):
        # Bits alone are saved where there are many entries; the recurrent matrix has 256.
        cell = dataclasses.replace(cell, u=_small(cell.u.dense(), form))
    table = _large(artifact.table.dense(), form)
    return dataclasses.replace(artifact, table=table, cell=cell, calibration=None)


def recalibrated(artifact: Artifact, rows: Sequence[Row]) -> Artifact:
    """The artifact calibrated on rows it did not learn from; raises ValueError when their labels do not suffice."""
    return dataclasses.replace(artifact, calibration=calibration_of(rows, artifact))


def quality_of(artifact: Artifact, rows: Sequence[Row]) -> Quality:
    """Size, and on labelled rows with known outcomes of fast and deep how well the raw scores rank."""
    size = len(to_bytes(artifact))
    evidence = evidence_of(rows, artifact)
    usable = ~np.isnan(evidence.outcomes[:, [0, 2]]).any(axis=1) if rows else np.zeros(0, dtype=np.bool_)
    if not usable.any():
        return Quality(size_bytes=size)
    outcomes, raw = evidence.outcomes[usable], evidence.raw[usable]
    return Quality(
        size_bytes=size,
        apgr=recovery(raw[:, 3], outcomes[:, 0], outcomes[:, 2]).apgr(),
        auc_fast=auc(raw[:, 0], outcomes[:, 0] > 0.5),
    )


def _large(matrix: F32, form: Form) -> Matrix:
    if form.rank is not None:
        return LowRank.of(matrix, _rank(matrix, form.rank))
    if form.sparsity is not None:
        return Sparse.of(pruned(matrix, form.sparsity))
    return Int4.of(matrix) if form.bits == 4 else Int8.of(matrix)


def _small(matrix: F32, form: Form) -> Matrix:
    if form.rank is not None:
        return LowRank.of(matrix, _rank(matrix, form.rank))
    return Sparse.of(pruned(matrix, form.sparsity)) if form.sparsity is not None else Plain(matrix)


def _rank(matrix: F32, rank: int) -> int:
    if not 1 <= rank < min(matrix.shape):
        raise ValueError(f"a rank must be from 1 to {min(matrix.shape) - 1} to save anything")
    return rank
