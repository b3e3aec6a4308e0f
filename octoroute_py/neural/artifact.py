"""The trained scorer as one value: everything a prediction needs, and what is to be known of where it came from."""

import enum
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from octoroute_py.neural.calibration import Calibration
from octoroute_py.neural.compact import F32, Matrix

FORMAT_VERSION: Final = 1
OUTPUTS: Final = 5
"""Logits of p_fast, p_balanced and p_deep, then gain_fast and gain_balanced."""
FEATURE_SCHEMA: Final = 1
BUCKETS: Final = 1 << 14
SCALARS: Final = 32
"""What the featuriser of that schema gives; the same numbers stand in `features`, which this room may not import."""


class ArtifactError(Exception):
    """An artifact that cannot be used; the message names the file and says what is wrong with it."""


class Kind(enum.StrEnum):
    """What stands between the tokens and the head: a recurrent cell, or nothing but their mean."""

    FASTGRNN = "fastgrnn"
    LINEAR = "linear"


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of an artifact.

    `tiers` names the models whose outcomes stand behind each tier, `data_digest` is the SHA-256 of the training data,
    `metrics` are figures measured when it was made, by name.
    """

    kind: Kind
    schema_version: int
    format_version: int = FORMAT_VERSION
    tags: tuple[str, ...] = ()
    tiers: dict[str, tuple[str, ...]] = {}
    data_digest: str = ""
    rows: int = 0
    sources: dict[str, int] = {}
    seed: int = 0
    metrics: dict[str, float] = {}
    licence: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """From pooled sequence (P,), scalars (S,) and tag to the five raw outputs.

    `weights` (P + S, 5), `bias` (5,); `tags` (n + 1, 5) is added for the tag, its first row for none or an unknown one;
    `units` (P + S, K), `units_bias` (K,) and `units_out` (K, 5) are K rectified units beside (a linear artifact has 0).
    Scalars are standardised with `mean` and `inverse_std` (S,); one that never varied in training has 0 there.
    """

    weights: F32
    bias: F32
    tags: F32
    units: F32
    units_bias: F32
    units_out: F32
    mean: F32
    inverse_std: F32


@dataclass(frozen=True, slots=True)
class Recurrence:
    """The cell's own weights: u (H, H), biases (2, H), gates (2,) = zeta and nu."""

    u: Matrix
    biases: F32
    gates: F32


@dataclass(frozen=True, slots=True)
class Familiar:
    """What training looked like: `centre` and `inverse_spread` (P,) of the pooled sequence, `buckets` (V,) bool.

    `whitening` (S, S), lower triangular, takes scalars less their mean to numbers that in training were uncorrelated
    and of one size, so that usual scalars in an unusual combination are seen; its row is 0 for one that never varied.
    """

    centre: F32
    inverse_spread: F32
    whitening: F32
    buckets: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A trained scorer.

    `table` (V, W) holds for every bucket what it adds to the sums: W x for a FastGRNN (W = H), the five outputs for a
    linear artifact (W = 5), which has no `cell`.
    """

    card: Card
    table: Matrix
    cell: Recurrence | None
    head: Head
    familiar: Familiar
    calibration: Calibration | None = None
