"""Probabilities that mean what they say, by Platt scaling of the logits, and the error that is left.

Source: Platt, Probabilistic Outputs for Support Vector Machines (1999), with his smoothed targets.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_STEPS = 50
_RIDGE = 1e-6


def fit_platt(logits: Floats, correct: Floats) -> tuple[float, float]:
    """Slope and intercept such that sigmoid(slope * logit + intercept) is the chance of success.

    `logits` and `correct` (from 0 to 1) are (N,). Without a row of either outcome nothing can be learnt, and with a
    slope that would turn the order round the logits do not predict: both give the identity or the base rate.
    """
    good = float(correct.sum())
    bad = len(correct) - good
    if not good or not bad:
        return 1.0, 0.0
    target = correct * (good + 1.0) / (good + 2.0) + (1.0 - correct) / (bad + 2.0)
    weights = np.array([1.0, 0.0])
    columns = np.stack([logits, np.ones_like(logits)], axis=1)  # (N, 2)
    for _ in range(_STEPS):
        p = sigmoid(columns @ weights)
        slope = columns.T @ (p - target)
        curve = (columns * (p * (1.0 - p))[:, None]).T @ columns + _RIDGE * np.eye(2)
        step = np.linalg.solve(curve, slope)
        weights = weights - step / max(1.0, float(np.abs(step).max()))  # at most 1 a step: far starts must not diverge
        if float(np.abs(step).max()) < 1e-10:
            break
    if weights[0] <= 0:
        return 0.0, float(np.log(good / bad))
    return float(weights[0]), float(weights[1])


def sigmoid(x: Floats) -> Floats:
    """The logistic function, safe for large values of either sign."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0, small) / (1.0 + small), dtype=np.float64)


def monotone(p: Floats) -> Floats:
    """The nearest probabilities (N, 3) that never fall from fast to deep: neighbours out of order share their mean."""
    fast, balanced, deep = p[:, 0], p[:, 1], p[:, 2]
    # Isotonic regression of three points, by its min-max formula.
    pair_low, pair_high, mean = (fast + balanced) / 2, (balanced + deep) / 2, p.mean(axis=1)
    first = np.minimum(np.minimum(fast, pair_low), mean)
    third = np.maximum(np.maximum(deep, pair_high), mean)
    second = np.maximum(np.minimum(pair_low, mean), np.minimum(balanced, pair_high))
    return np.stack([first, second, third], axis=1)


def calibration_error(p: Floats, correct: Floats, *, bins: int = 10) -> float:
    """ECE: how far stated and real success rates lie apart, averaged over equally wide bins by their rows."""
    if not len(p):
        return 0.0
    place = np.minimum((p * bins).astype(np.intp), bins - 1)
    stated = np.bincount(place, weights=p, minlength=bins)
    real = np.bincount(place, weights=correct, minlength=bins)
    return float(np.abs(stated - real).sum() / len(p))
