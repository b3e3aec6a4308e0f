"""Raw scores and outcomes of requests drawn from a known law, for tests of calibration and of the report."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def drawn(rng: np.random.Generator, *, rows: int, shift: float = 0.0) -> tuple[Floats, Floats]:
    """`rows` raw scores (N, 7) and outcomes (N, 3), half of them without a label of balanced.

    One hidden ease decides all: the logits are steeper than the truth, so that Platt scaling has something to mend.
    `shift` moves the prompts away from the usual ones, as a change of the traffic would.
    """
    ease = rng.normal(size=rows)
    chance = 1.0 / (1.0 + np.exp(-ease))
    fast = rng.random(rows) < chance
    balanced = np.where(rng.random(rows) < 0.05, False, fast | (rng.random(rows) < 0.4))
    deep = balanced | fast | (rng.random(rows) < 0.4)
    outcomes = np.stack([fast, balanced, deep], axis=1).astype(np.float64)
    outcomes[rng.random(rows) < 0.5, 1] = np.nan
    raw = np.stack(
        [
            1.5 * ease,
            ease + 1.0,
            ease + 2.0,
            (1.0 - chance) * 0.6 + rng.normal(size=rows) * 0.02,
            (1.0 - chance) * 0.3,
            np.sqrt(rng.chisquare(32, size=rows)) + shift,
            rng.beta(1.0, 30.0, size=rows),
        ],
        axis=1,
    )
    return raw, outcomes
