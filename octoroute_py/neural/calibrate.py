"""Fitting a calibration on labelled outcomes."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from octoroute_py.core.words import TIERS
from octoroute_py.neural.calibration import Calibration
from octoroute_py.neural.conformal import Floats, LabelSets, RiskCurve, fit_curve, fit_guard, fit_sets
from octoroute_py.neural.platt import calibration_error, fit_platt, monotone, sigmoid

TAG_ROWS: Final = 500
"""How many labelled outcomes a tag needs for a dial of its own."""


def fit_calibration(
    raw: Floats,
    outcomes: Floats,
    *,
    tags: Sequence[str | None] | None = None,
    known_tags: frozenset[str] = frozenset(),
) -> Calibration:
    """Fits everything on labelled outcomes that the network did not learn from.

    `raw` is (N, 7) as in `Raw`; `outcomes` (N, 3) is 1 where the tier succeeded, 0 where it failed, between them where
    it did now and then, NaN where that is not known. Raises ValueError when there is no row, or none with a known
    outcome of fast and deep.
    """
    usable = ~np.isnan(outcomes[:, 0]) & ~np.isnan(outcomes[:, 2])
    if not usable.any():
        raise ValueError("calibration needs rows with a known outcome of fast and deep")
    kept = np.flatnonzero(usable)
    raw, outcomes = raw[kept], outcomes[kept]
    names = [tags[n] for n in kept.tolist()] if tags is not None else [None] * len(raw)
    platt = tuple(_platt_of(raw[:, n], outcomes[:, n], otherwise=outcomes[:, [0, 2]]) for n in range(3))
    slopes, intercepts = np.array(platt).T
    p = monotone(sigmoid(raw[:, :3] * slopes + intercepts))
    sets = fit_sets(p, smallest_success(outcomes))
    losses = losses_of(outcomes)
    gains = floored(raw[:, 3:5], p, sets)
    return Calibration(
        platt=platt,
        sets=sets,
        guard=fit_guard(raw[:, 5], raw[:, 6]),
        gain=fit_curve(gains, losses),
        failure=fit_curve(floored(1.0 - p[:, :2], p, sets), losses),
        tags=_tag_curves(gains, losses, names),
        known_tags=known_tags,
        facts={"rows": len(raw), "ece": _errors(p, outcomes)},
    )


def smallest_success(outcomes: Floats) -> NDArray[np.intp]:
    """The index of the smallest tier that succeeded, deep where none did; an unknown outcome is passed over."""
    succeeded = np.nan_to_num(outcomes) >= 0.5
    succeeded[:, 2] = True
    return np.asarray(succeeded.argmax(axis=1))


def losses_of(outcomes: Floats) -> Floats:
    """The loss (N, 2) of sending a row to fast or balanced: the chance that it fails and deep would have succeeded.

    Where balanced is not labelled it is taken to be no better than fast, so that the promise errs on the safe side.
    """
    known = np.where(np.isnan(outcomes[:, 1]), outcomes[:, 0], outcomes[:, 1])
    smaller = np.stack([outcomes[:, 0], known], axis=1)
    return np.asarray((1.0 - smaller) * outcomes[:, 2:3])


def floored(risks: Floats, p: Floats, sets: LabelSets) -> Floats:
    """The risks (N, 2) as the policy sees them: inf for a tier below every tier of the row's set."""
    lowest = sets.contains(p).argmax(axis=1)  # 0 for an empty set
    return np.where(lowest[:, None] <= np.arange(2), risks, np.inf)


def _platt_of(logits: Floats, outcomes: Floats, *, otherwise: Floats) -> tuple[float, float]:
    """The fit of one tier; a tier without a single label is put half way between the others, whatever its logits."""
    known = ~np.isnan(outcomes)
    if known.any():
        return fit_platt(logits[known], outcomes[known])
    rate = min(0.999, max(0.001, float(otherwise.mean())))
    return 0.0, math.log(rate / (1.0 - rate))


def _errors(p: Floats, outcomes: Floats) -> dict[str, float]:
    known = ~np.isnan(outcomes)
    return {tier.value: calibration_error(p[known[:, n], n], outcomes[known[:, n], n]) for n, tier in enumerate(TIERS)}


def _tag_curves(risks: Floats, losses: Floats, tags: Sequence[str | None]) -> dict[str, RiskCurve]:
    names = np.array([tag or "" for tag in tags])
    found, counts = np.unique(names, return_counts=True)
    return {
        str(tag): fit_curve(risks[names == tag], losses[names == tag])
        for tag, count in zip(found, counts, strict=True)
        if tag and count >= TAG_ROWS
    }
