"""Artifacts with random weights, for tests that need one but nothing learned."""

import numpy as np

from octoroute_py.neural.artifact import BUCKETS, OUTPUTS, SCALARS, Artifact, Card, Familiar, Head, Kind, Recurrence
from octoroute_py.neural.compact import Int8, Plain


def drawn_artifact(*, kind: str = "fastgrnn", tags: tuple[str, ...] = (), seed: int = 0, hidden: int = 16) -> Artifact:
    """An artifact of that kind, not calibrated."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int, scale: float = 0.3) -> np.ndarray:
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    linear = kind == "linear"
    width = OUTPUTS if linear else hidden
    pooled, units = (width, 0) if linear else (3 * width, 8)
    gates = np.array([0.7, 0.02], dtype=np.float32)
    inverse_std = np.abs(drawn(SCALARS)) + np.float32(0.5)
    inverse_std[-4:] = 0.0
    return Artifact(
        card=Card(kind=Kind(kind), schema_version=1, tags=tags, licence="MIT"),
        table=Int8.of(drawn(BUCKETS, width, scale=1.0)),
        cell=None if linear else Recurrence(Plain(drawn(width, width)), drawn(2, width), gates),
        head=Head(
            weights=drawn(pooled + SCALARS, OUTPUTS, scale=0.1),
            bias=drawn(OUTPUTS),
            tags=np.concatenate((np.zeros((1, OUTPUTS), dtype=np.float32), drawn(len(tags), OUTPUTS))),
            units=drawn(pooled + SCALARS, units, scale=0.1),
            units_bias=drawn(units),
            units_out=drawn(units, OUTPUTS),
            mean=drawn(SCALARS),
            inverse_std=inverse_std,
        ),
        familiar=Familiar(
            drawn(pooled),
            np.abs(drawn(pooled)) + np.float32(0.5),
            np.tril(drawn(SCALARS, SCALARS, scale=0.1) + np.eye(SCALARS, dtype=np.float32))
            * (inverse_std > 0)[:, None],
            rng.random(BUCKETS) < 0.7,
        ),
    )
