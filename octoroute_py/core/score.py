"""What the scorer says of one prompt, as a value that strategies, reports and explanations all read."""

import msgspec

from octoroute_py.core.words import Tier


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """Calibrated beliefs about one prompt.

    `p_*` is the probability in [0, 1] that the tier answers correctly, never falling from fast to deep. `gain_*` is
    the quality, in the same unit, that deep is expected to add over the tier. `labels` is the split-conformal set of
    tiers that may be the smallest that succeeds; `uncertainty` in [0, 1] grows with it. `in_distribution` is False for
    a prompt unlike what the artifact learned from.
    """

    p_fast: float
    p_balanced: float
    p_deep: float
    gain_fast: float
    gain_balanced: float
    labels: tuple[Tier, ...]
    uncertainty: float
    in_distribution: bool
