"""A scorer without a network: what it believes is said by the test, and its dial is a line."""

from collections.abc import Callable

from octoroute_py.config.schema import NeuralConfig
from octoroute_py.core.score import Score
from octoroute_py.core.trace import Trail
from octoroute_py.core.words import TIERS, Tier
from octoroute_py.features.vector import Prompt
from octoroute_py.neural.decide import Basis, Dial, Prices
from octoroute_py.routing.neural import NeuralRouter


def score(
    gain_fast: float = 0.0,
    gain_balanced: float = 0.0,
    *,
    labels: tuple[Tier, ...] = TIERS,
    uncertainty: float = 0.1,
    in_distribution: bool = True,
) -> Score:
    """Beliefs with these expected gains of deep."""
    return Score(
        p_fast=1.0 - gain_fast,
        p_balanced=1.0 - gain_balanced,
        p_deep=1.0,
        gain_fast=gain_fast,
        gain_balanced=gain_balanced,
        labels=labels,
        uncertainty=uncertainty,
        in_distribution=in_distribution,
    )


class FakeScorer:
    """Believes what `of` says of each prompt; `prompts` are those it was asked about."""

    def __init__(self, of: Callable[[Prompt], Score] | Score | None = None) -> None:
        self._of = of if of is not None else score()
        self.prompts: list[Prompt] = []

    def score(self, prompt: Prompt, trail: Trail | None = None) -> Score:
        """What the test said."""
        self.prompts.append(prompt)
        return self._of if isinstance(self._of, Score) else self._of(prompt)


class LineThresholds:
    """A calibration whose threshold is twice the tolerated loss."""

    def dial(self, alpha: float, tag: str | None = None) -> Dial:
        """The dial for a tolerated loss."""
        return Dial(alpha=alpha, threshold=2 * alpha, basis=Basis.GAIN, rows=1000, tag=tag)

    def alpha_for(self, risk: float, tag: str | None = None) -> float | None:
        """The tolerated loss at which a tier of this risk is taken."""
        return risk / 2


def neural(
    scorer: FakeScorer, *, config: NeuralConfig | None = None, prices: Prices = (1.0, 4.0, 20.0), ready: bool = True
) -> NeuralRouter:
    """A prepared router around the scorer; what it was tried with is forgotten."""
    one = NeuralRouter(scorer, LineThresholds(), config=config or NeuralConfig(), prices=prices, warm=lambda: None)
    if ready:
        one.prepare()
        scorer.prompts.clear()
    return one
