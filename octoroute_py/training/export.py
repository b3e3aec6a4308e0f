"""From what was trained to the artifact that is served."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from octoroute_py.core.words import TIERS
from octoroute_py.features.vector import SCHEMA_VERSION, Matrix
from octoroute_py.neural.artifact import OUTPUTS, Artifact, Card, Familiar, Kind, Recurrence
from octoroute_py.neural.artifact import Head as StoredHead
from octoroute_py.neural.compact import Int8, Plain
from octoroute_py.training.bodies import Body, CellBody
from octoroute_py.training.dataset import Row
from octoroute_py.training.head import Head
from octoroute_py.training.sparse import TfIdf

F32 = NDArray[np.float32]

_LEAST_SPREAD: Final = 1e-4
"""A scalar that varies less in training gets weight zero: what it would say at serving was never learned."""
_FAMILIAR: Final = 4
"""A bucket is familiar when at least so many training prompts hold it."""
_CLIP: Final = 4.0
_RIDGE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Standard:
    """How scalars are standardised, (s - mean) · inverse_std, cut off at ±4, and how they are whitened ."""

    mean: F32
    inverse_std: F32
    whitening: F32

    def apply(self, scalars: F32) -> F32:
        """Standardised scalars (N, S)."""
        clipped: F32 = np.clip((scalars - self.mean) * self.inverse_std, -_CLIP, _CLIP)
        return clipped


def standard_of(matrix: Matrix) -> Standard:
    """The standard of some prompts' scalars."""
    std = matrix.scalars.std(axis=0, dtype=np.float64)
    inverse = np.divide(1.0, std, out=np.zeros_like(std), where=std > _LEAST_SPREAD)
    mean = matrix.scalars.mean(axis=0, dtype=np.float64)
    whitening = _whitening((matrix.scalars - mean) * inverse) * inverse
    return Standard(mean.astype(np.float32), inverse.astype(np.float32), whitening.astype(np.float32))


def _whitening(standard: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower triangular (S, S) that takes standardised scalars (N, S) to uncorrelated ones; 0 where one never varies.

    A little is added to every variance, as scalars that nearly follow from others would be judged too strictly.
    """
    varies = np.flatnonzero(standard.any(axis=0))
    covariance = standard[:, varies].T @ standard[:, varies] / max(1, len(standard))
    found = np.zeros((standard.shape[1], standard.shape[1]))
    found[np.ix_(varies, varies)] = np.linalg.inv(np.linalg.cholesky(covariance + _RIDGE * np.eye(len(varies))))
    return np.tril(found)


def exported(
    body: Body,
    head: Head,
    *,
    vectors: F32,
    pooled: F32,
    prompts: TfIdf,
    standard: Standard,
    card: Card,
) -> Artifact:
    """The artifact of a trained body and head; `pooled` (N, P) are the training rows, to know what is usual."""
    own = head.parameters
    width = pooled.shape[1]
    cell = None
    weights, table = own["weights"], vectors
    if isinstance(body, CellBody):
        cell = Recurrence(Plain(body.weight("u")), body.parameters["biases"], body.gates())
        table = body.table(vectors)
    else:
        # The head's part for the mean vector moves into the table, which then holds the outputs themselves.
        table, pooled = vectors @ weights[:width], pooled @ weights[:width]
        weights = np.concatenate((np.eye(OUTPUTS, dtype=np.float32), weights[width:]))
    units = own["units"] if cell is not None else np.zeros((len(weights), 0), dtype=np.float32)
    spread = pooled.std(axis=0, dtype=np.float64)
    return Artifact(
        card=card,
        table=Int8.of(np.ascontiguousarray(table, dtype=np.float32)),
        cell=cell,
        head=StoredHead(
            weights=weights,
            bias=own["bias"],
            tags=own["tags"],
            units=units,
            units_bias=own["units_bias"],
            units_out=own["units_out"],
            mean=standard.mean,
            inverse_std=standard.inverse_std,
        ),
        familiar=Familiar(
            centre=pooled.mean(axis=0, dtype=np.float64).astype(np.float32),
            inverse_spread=(1.0 / np.maximum(spread, _LEAST_SPREAD)).astype(np.float32),
            whitening=standard.whitening,
            buckets=prompts.seen >= _FAMILIAR,
        ),
    )


def digest_of(rows: Sequence[Row]) -> str:
    """The SHA-256 of what was learned from: every row, in order."""
    digest = hashlib.sha256()
    encoder = msgspec.json.Encoder(order="deterministic")
    for row in rows:
        digest.update(encoder.encode(row) + b"\n")
    return digest.hexdigest()


def card_of(rows: Sequence[Row], *, kind: Kind, tags: tuple[str, ...], seed: int) -> Card:
    """What an artifact tells of its training rows."""
    names: dict[str, Counter[str]] = {tier.value: Counter() for tier in TIERS}
    for row in rows:
        places = list(names) if len(row.names) == len(TIERS) else [TIERS[0].value, TIERS[-1].value]
        for tier, name in zip(places, row.names, strict=False):
            names[tier][name] += 1
    return Card(
        kind=kind,
        schema_version=SCHEMA_VERSION,
        tags=tags,
        tiers={tier: tuple(name for name, _ in sorted(found.items())) for tier, found in names.items()},
        data_digest=digest_of(rows),
        rows=len(rows),
        sources=dict(sorted(Counter(row.source for row in rows).items())),
        seed=seed,
    )
